//! The server's certificate: the one its own authority makes, and what browsers and agents are shown.

use super::names::{self, Names};
use super::{new_serial, set_validity, write_private};
use anyhow::{Context, bail};
use holdfast_api::agent::JOIN_SNI;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// Days for which the server's certificate is valid: what browsers accept.
const LEAF_DAYS: i64 = 397;
/// The server's certificate is renewed when fewer days are left.
const RENEW_DAYS: i64 = 60;
/// What is shown to new connections: to agents the certificate that was made here, to browsers the one that was given, if
/// there is one.
#[derive(Debug)]
pub struct Shown {
    made: RwLock<Arc<CertifiedKey>>,
    own: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Shown {
    /// From what is saved.
    pub fn new(made: CertifiedKey, own: Option<CertifiedKey>) -> Self {
        Self { made: RwLock::new(Arc::new(made)), own: RwLock::new(own.map(Arc::new)) }
    }

    /// The one of the server's own authority.
    pub fn made(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.made.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one that was given.
    pub fn own(&self) -> Option<Arc<CertifiedKey>> {
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After a renewal.
    pub fn set_made(&self, made: CertifiedKey) {
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
    }

    /// After another one was given, or taken away.
    pub fn set_own(&self, own: Option<CertifiedKey>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own.map(Arc::new);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.made())
    }
}

/// As browsers are answered; a node that joins is told from them by its SNI.
#[derive(Debug)]
pub struct ToBrowsers(pub Arc<Shown>);

impl ResolvesServerCert for ToBrowsers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let own = self.0.own().filter(|_| hello.server_name() != Some(JOIN_SNI));
        Some(own.unwrap_or_else(|| self.0.made()))
    }
}

fn certified(leaf: CertificateDer<'static>, ca: &CertificateDer<'static>, key: &str) -> anyhow::Result<CertifiedKey> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("server.key holds no key")?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    let certified = CertifiedKey::new(vec![leaf, ca.clone()], key);
    certified.keys_match().context("server.key is not the key of server.pem")?;
    Ok(certified)
}

/// The saved certificate; fails, with the reason, if a new one is needed.
pub fn load(folder: &Path, reached: &Names, ca: &CertificateDer<'static>) -> anyhow::Result<CertifiedKey> {
    let pem = std::fs::read_to_string(folder.join("server.pem")).context("there is none yet")?;
    let key = std::fs::read_to_string(folder.join("server.key")).context("its key is missing")?;
    let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).context("server.pem holds no certificate")?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).context("server.pem cannot be read")?;
    let (_, authority) = x509_parser::parse_x509_certificate(ca).context("ca.pem cannot be read")?;
    parsed.verify_signature(Some(authority.public_key())).context("it is from another authority")?;
    let left = parsed.validity().not_after.timestamp() - jiff::Timestamp::now().as_second();
    if left < RENEW_DAYS * 86_400 {
        bail!("its end is near");
    }
    let held = held_names(&parsed);
    if let Some(missing) = names::certificate_names(reached).iter().find(|name| !held.contains(name)) {
        bail!("it lacks the name {missing}");
    }
    let leaf = leaf.clone();
    certified(leaf, ca, &key)
}

/// Names and addresses in a certificate.
pub fn held_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

/// Makes and saves a certificate for the names by which the server is reached.
pub fn make(
    folder: &Path,
    reached: &Names,
    issuer: &Issuer<'static, KeyPair>,
    ca: &CertificateDer<'static>,
) -> anyhow::Result<CertifiedKey> {
    let names = names::certificate_names(reached);
    let mut params = CertificateParams::new(names.clone())?;
    set_validity(&mut params, LEAF_DAYS)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("holdfast", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(SerialNumber::from_slice(&new_serial()));
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let key = key.serialize_pem();
    write_private(&folder.join("server.key"), &key)?;
    write_private(&folder.join("server.pem"), &certificate.pem())?;
    certified(certificate.der().clone(), ca, &key)
}
