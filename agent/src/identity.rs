//! The node's key pair and certificate, made at first start; the key's fingerprint is what the cluster pins.

use crate::files;
use crate::options::Layout;
use anyhow::{Context, Result};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

const PEM_MAX: u64 = 64 * 1024;

/// The node's key and certificate.
#[derive(Debug)]
pub struct Identity {
    key: KeyPair,
    /// Certificate (PEM): self-signed, or by the server's CA after enrolment.
    pub certificate_pem: String,
    /// Lower-case hex SHA-256 of the key's SubjectPublicKeyInfo.
    pub fingerprint: String,
}

/// Lower-case hex SHA-256.
fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Identity {
    /// Loads the key and certificate, or makes them.
    pub fn open(layout: &Layout) -> Result<Self> {
        let key = match files::read_bounded(&layout.key(), PEM_MAX)? {
            Some(pem) => {
                let pem = String::from_utf8(pem).context("node.key is not text")?;
                KeyPair::from_pem(&pem).with_context(|| format!("{} holds no usable key", layout.key().display()))?
            }
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                files::write_atomically(&layout.key(), key.serialize_pem().as_bytes(), 0o600)?;
                key
            }
        };
        let fingerprint = sha256_hex(&key.subject_public_key_info());
        let certificate_pem = match files::read_bounded(&layout.certificate(), PEM_MAX)? {
            Some(pem) => String::from_utf8(pem).context("node.crt is not text")?,
            None => {
                let pem = parameters(&fingerprint)?.self_signed(&key)?.pem();
                files::write_atomically(&layout.certificate(), pem.as_bytes(), 0o644)?;
                pem
            }
        };
        Ok(Self { key, certificate_pem, fingerprint })
    }

    /// The private key, PKCS#8 DER.
    pub fn key_der(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// A certificate request (PEM) for the node's key.
    pub fn request_pem(&self) -> Result<String> {
        Ok(parameters(&self.fingerprint)?.serialize_request(&self.key)?.pem()?)
    }

    /// Replaces the certificate file by one from the server's CA.
    pub fn save_certificate(layout: &Layout, pem: &str) -> Result<()> {
        files::write_atomically(&layout.certificate(), pem.as_bytes(), 0o644)
    }
}

fn parameters(fingerprint: &str) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(vec!["node.holdfast.internal".to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, format!("holdfast node {}", &fingerprint[..16]));
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::Identity;
    use crate::options::Layout;

    #[test]
    fn key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout { data: dir.path().to_owned(), run: dir.path().to_owned() };
        let first = Identity::open(&layout).unwrap();
        let second = Identity::open(&layout).unwrap();
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(first.certificate_pem, second.certificate_pem);
        assert_eq!(first.fingerprint.len(), 64);
        assert!(first.request_pem().unwrap().contains("REQUEST"));
    }
}
