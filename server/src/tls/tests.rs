//! Tests of the certificate authority.

use super::*;

fn request(name: &str) -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::new(vec![name.to_owned()]).unwrap().serialize_request(&key).unwrap().pem().unwrap();
    (key, csr)
}

#[test]
fn the_authority_and_the_certificate_are_kept_and_a_new_name_renews() {
    let folder = tempfile::tempdir().unwrap();
    let first = Tls::open(folder.path(), &Names::default(), &[]).unwrap();
    let pem = std::fs::read(folder.path().join("server.pem")).unwrap();
    assert!(!first.renew().unwrap());
    let second = Tls::open(folder.path(), &Names::default(), &[]).unwrap();
    assert_eq!(first.ca_pem, second.ca_pem);
    assert_eq!(pem, std::fs::read(folder.path().join("server.pem")).unwrap());
    let third =
        Tls::open(folder.path(), &Names { given: vec!["holdfast.example.org".into()], ..Names::default() }, &[])
            .unwrap();
    assert_eq!(first.ca_pem, third.ca_pem);
    assert_ne!(pem, std::fs::read(folder.path().join("server.pem")).unwrap());
}

#[test]
fn a_lost_certificate_is_made_again_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open(folder.path(), &Names::default(), &[]).unwrap();
    std::fs::remove_file(folder.path().join("server.pem")).unwrap();
    assert!(tls.renew().unwrap());
}

#[test]
fn a_request_is_signed_for_its_own_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open(folder.path(), &Names::default(), &[]).unwrap();
    let (_, csr) = request("node1");
    let (signed, fingerprint) = tls.sign_request(&csr, "node1", None).unwrap();
    let certificate = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
    assert_eq!(key_fingerprint(&certificate).unwrap(), fingerprint);
    assert!(tls.sign_request(&csr, "node1", Some(&fingerprint)).is_ok());
    assert!(tls.sign_request(&csr, "node1", Some(&"0".repeat(64))).is_err());
    assert!(tls.sign_request("nonsense", "node1", None).is_err());
    assert!(tls.renew_node(&certificate, "node1").unwrap().is_none());
}

#[test]
fn a_revocation_list_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::open(folder.path(), &Names::default(), &[]).unwrap();
    tls.set_revoked(&[(new_serial(), crate::db::now_ms())]).unwrap();
}
