//! A certificate that an administrator gives for browsers: checked before anything is changed, kept in one file.

use super::leaf::held_names;
use super::names::{self, Names};
use super::{sha256_hex, write_private};
use anyhow::Context;
use holdfast_api::agent::{AGENT_SNI, JOIN_SNI};
use holdfast_api::console::{CertificateForm, CertificateView};
use holdfast_api::problem::FieldProblem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::Path;
use x509_parser::certificate::X509Certificate;

/// Key and chain in one file, so that no crash leaves one without the other.
const FILE: &str = "own.pem";
/// Days before its end from which on an administrator is warned.
const WARN_DAYS: i64 = 30;

/// The certificate in `folder`, if one was given.
///
/// # Errors
/// The file cannot be read or holds something else.
pub fn load(folder: &Path) -> anyhow::Result<Option<CertifiedKey>> {
    let path = folder.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let read = pair(&text, &text).map_err(|problem| anyhow::anyhow!("{}: {}", path.display(), problem.message))?;
    Ok(Some(read))
}

/// Keeps what was checked.
///
/// # Errors
/// The file cannot be written.
pub fn keep(folder: &Path, form: &CertificateForm) -> anyhow::Result<()> {
    write_private(&folder.join(FILE), &format!("{}\n{}\n", form.key.trim(), form.certificate.trim()))
}

/// Forgets the certificate; true if there was one.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(folder: &Path) -> anyhow::Result<bool> {
    match std::fs::remove_file(folder.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("cannot remove the certificate"),
    }
}

/// Checks a form: the key fits, the certificate is for servers, valid now, and for one of the names in `reached`.
///
/// # Errors
/// Which field is wrong, and what to do.
pub fn check(form: &CertificateForm, reached: &[String]) -> Result<CertifiedKey, Vec<FieldProblem>> {
    let certified = pair(&form.certificate, &form.key).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut wrong = |message: String| problems.push(FieldProblem::new("certificate", message));
    for (i, der) in certified.cert.iter().enumerate() {
        match x509_parser::parse_x509_certificate(der) {
            Err(_) => wrong(format!("certificate {} of the file cannot be read; export it again as PEM", i + 1)),
            Ok((_, parsed)) if i == 0 => check_leaf(&parsed, reached, &mut wrong),
            Ok((_, parsed)) if !parsed.validity().is_valid() => {
                wrong(format!("the issuer's certificate ({}) is not valid now; ask for a new chain", parsed.subject()));
            }
            Ok(_) => {}
        }
    }
    if problems.is_empty() { Ok(certified) } else { Err(problems) }
}

fn check_leaf(parsed: &X509Certificate<'_>, reached: &[String], wrong: &mut impl FnMut(String)) {
    let now = jiff::Timestamp::now().as_second();
    let validity = parsed.validity();
    if validity.not_after.timestamp() <= now {
        wrong(format!("it expired on {}; ask its issuer for a new one", day(validity.not_after.timestamp())));
    }
    if validity.not_before.timestamp() > now {
        let from = day(validity.not_before.timestamp());
        wrong(format!("it is valid from {from} on; set this server's clock, or wait until then"));
    }
    if let Ok(Some(uses)) = parsed.extended_key_usage()
        && !uses.value.server_auth
        && !uses.value.any
    {
        wrong("it is not for servers; ask for one with the extended use \"server authentication\"".into());
    }
    let held = held_names(parsed);
    if !reached.iter().any(|name| held.iter().any(|held| covers(held, name))) {
        let held = if held.is_empty() { "no name".to_owned() } else { held.join(", ") };
        wrong(format!(
            "it is for {held}; this server is reached as {}: ask for a certificate with one of these names, or start \
             the server with --name and the certificate's name",
            reached.join(", ")
        ));
    }
}

/// True if a certificate's name stands for a host; `*` stands for one label.
fn covers(held: &str, host: &str) -> bool {
    let (held, host) = (held.to_ascii_lowercase(), host.to_ascii_lowercase());
    match (held.strip_prefix("*."), host.split_once('.')) {
        (Some(held), Some((_, rest))) => held == rest && host.parse::<std::net::IpAddr>().is_err(),
        _ => held == host,
    }
}

fn day(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).unwrap_or_default().strftime("%Y-%m-%d").to_string()
}

/// Reads chain and key and sees that they fit.
fn pair(chain: &str, key: &str) -> Result<CertifiedKey, FieldProblem> {
    let in_chain = |message: &str| FieldProblem::new("certificate", message);
    let in_key = |message: &str| FieldProblem::new("key", message);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.map_err(|_| in_chain("this is no PEM; it begins with -----BEGIN CERTIFICATE-----"))?;
    if chain.is_empty() {
        return Err(in_chain("there is no certificate in it; give PEM, beginning with -----BEGIN CERTIFICATE-----"));
    }
    if key.contains("ENCRYPTED") {
        return Err(in_key("the key has a passphrase; take it off with: openssl pkey -in key.pem -out plain.pem"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| in_key("there is no key in it; give PEM, beginning with -----BEGIN PRIVATE KEY-----"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|_| in_key("keys of this kind are not known here; take RSA (2048 bits or more), ECDSA or Ed25519"))?;
    let certified = CertifiedKey::new(chain, key);
    let fits = certified.keys_match();
    fits.map_err(|_| {
        in_key(
            "it is not the key of the first certificate; the server's own certificate comes first, then its issuer's",
        )
    })?;
    Ok(certified)
}

/// A certificate as the console shows it.
///
/// # Errors
/// It cannot be read.
pub fn view(certificate: &CertifiedKey, own: bool) -> anyhow::Result<CertificateView> {
    let der = certificate.end_entity_cert()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(der).context("the certificate cannot be read")?;
    let end = parsed.validity().not_after.timestamp();
    let left = (end - jiff::Timestamp::now().as_second()) / 86_400;
    let warning = match left {
        left if !own || left >= WARN_DAYS => String::new(),
        left if left < 0 => format!("it expired on {}: browsers warn; give a new one", day(end)),
        left => format!("it expires in {left} days: give a new one before"),
    };
    let mut names = held_names(&parsed);
    names.retain(|name| name != AGENT_SNI && name != JOIN_SNI);
    Ok(CertificateView {
        own,
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names,
        not_after_unix_ms: u64::try_from(end).unwrap_or(0) * 1000,
        fingerprint: sha256_hex(der),
        warning,
    })
}

/// Names by which browsers reach this server: the one they use now (`host`), those of the command line, the host's.
pub fn reached(host: Option<&str>, server: &Names) -> Vec<String> {
    let local = ["localhost", "127.0.0.1", "::1", AGENT_SNI, JOIN_SNI];
    let mut found: Vec<String> = host.map(|host| names::bare_host(host).to_owned()).into_iter().collect();
    found.extend(names::certificate_names(server).into_iter().filter(|name| !local.contains(&name.as_str())));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateForm {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        CertificateForm { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn problem(form: &CertificateForm) -> (String, String) {
        let problems = check(form, &["holdfast.example.org".into()]).err().unwrap();
        (problems[0].field.clone(), problems[0].message.clone())
    }

    #[test]
    fn a_certificate_that_fits_is_kept_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        for names in [&["holdfast.example.org"][..], &["*.example.org", "10.0.0.1"]] {
            let form = signed(names, |_| {});
            let checked = check(&form, &["Holdfast.example.org".into()]).unwrap();
            keep(folder.path(), &form).unwrap();
            assert_eq!(load(folder.path()).unwrap().unwrap().cert, checked.cert);
            assert_eq!(view(&checked, true).unwrap().names, names);
        }
        assert!(forget(folder.path()).unwrap() && !forget(folder.path()).unwrap());
    }

    #[test]
    fn what_does_not_fit_names_the_field_and_the_cure() {
        let good = signed(&["holdfast.example.org"], |_| {});
        let with_key = |key: String| CertificateForm { key, ..good.clone() };
        let of = |names: &[&str], change: fn(&mut CertificateParams)| problem(&signed(names, change));
        let cases = [
            (problem(&with_key(signed(&["x"], |_| {}).key)), "key", "first certificate"),
            (problem(&with_key("hello".into())), "key", "BEGIN PRIVATE KEY"),
            (problem(&with_key("-----BEGIN ENCRYPTED PRIVATE KEY-----".into())), "key", "openssl pkey"),
            (
                problem(&CertificateForm { certificate: "hello".into(), ..good.clone() }),
                "certificate",
                "BEGIN CERTIFICATE",
            ),
            (of(&["other.example.org"], |_| {}), "certificate", "reached as holdfast.example.org"),
            (of(&["*.org"], |_| {}), "certificate", "reached as holdfast.example.org"),
            (
                of(&["holdfast.example.org"], |p| p.not_after = rcgen::date_time_ymd(2020, 1, 2)),
                "certificate",
                "2020-01-02",
            ),
            (
                of(&["holdfast.example.org"], |p| p.not_before = rcgen::date_time_ymd(2090, 1, 2)),
                "certificate",
                "clock",
            ),
            (
                of(&["holdfast.example.org"], |p| {
                    p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]
                }),
                "certificate",
                "server authentication",
            ),
        ];
        for ((field, message), wanted, word) in cases {
            assert_eq!(field, wanted, "{message}");
            assert!(message.contains(word), "{message}");
        }
    }
}
