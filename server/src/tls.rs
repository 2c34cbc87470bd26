//! The server's own certificate authority, its certificate, and the TLS configurations for browsers and agents.

mod leaf;
pub mod names;
pub mod own;

use anyhow::{Context, bail};
use holdfast_api::console::{CertificateForm, CertificateView};
use leaf::{Shown, ToBrowsers};
use names::Names;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Days for which a node's certificate is valid; removal of the node is revocation.
const NODE_DAYS: i64 = 3650;
/// A node's certificate is renewed on connecting when fewer days are left.
const NODE_RENEW_DAYS: i64 = 730;
/// Days for which the authority itself is valid.
const CA_DAYS: i64 = 7300;

/// A certificate signed for a node.
#[derive(Clone, Debug)]
pub struct SignedNode {
    /// The certificate (PEM).
    pub pem: String,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Its end, Unix milliseconds.
    pub not_after_ms: u64,
}

/// The authority and the live TLS configurations. Renewal and revocation replace what new connections use.
pub struct Tls {
    folder: PathBuf,
    reached: Names,
    issuer: Issuer<'static, KeyPair>,
    ca: CertificateDer<'static>,
    /// The authority's certificate (PEM), offered on the login page.
    pub ca_pem: String,
    leaf: Arc<Shown>,
    /// Why browsers are not shown the certificate that was given; empty: they are, or none was.
    own_problem: RwLock<String>,
    browsers: Arc<ServerConfig>,
    agents: RwLock<Arc<ServerConfig>>,
}

/// Fingerprint of a certificate's key: lower-case hex SHA-256 of its SubjectPublicKeyInfo (DER).
///
/// # Errors
/// The certificate cannot be read.
pub fn key_fingerprint(certificate: &[u8]) -> anyhow::Result<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).context("the certificate cannot be read")?;
    Ok(sha256_hex(parsed.tbs_certificate.subject_pki.raw))
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    hex(digest.as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes from the system's random source.
///
/// # Panics
/// The system has no random source.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// Sets validity from yesterday for `days`; returns its end in Unix milliseconds.
fn set_validity(params: &mut CertificateParams, days: i64) -> anyhow::Result<u64> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8);
    let begin = today.checked_sub(jiff::Span::new().days(1))?;
    let end = begin.checked_add(jiff::Span::new().days(days))?;
    params.not_before = day(begin);
    params.not_after = day(end);
    let end = end.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_millisecond();
    Ok(u64::try_from(end)?)
}

/// Writes a file whole or not at all, readable by its owner only.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}

fn ca_params(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    set_validity(&mut params, CA_DAYS)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

impl Tls {
    /// Loads the authority from `folder` or makes it there, and makes sure of a server certificate for the
    /// names by which it is reached. `revoked`: see [`Tls::set_revoked`].
    ///
    /// # Errors
    /// The folder cannot be used, or what is in it cannot be read.
    pub fn open(folder: &Path, reached: &Names, revoked: &[(Vec<u8>, u64)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (key_file, ca_file) = (folder.join("ca.key"), folder.join("ca.pem"));
        if !ca_file.exists() {
            let key = KeyPair::generate()?;
            let name = format!("Holdfast authority {}", hex(&random::<4>()));
            write_private(&key_file, &key.serialize_pem())?;
            write_private(&ca_file, &ca_params(&name)?.self_signed(&key)?.pem())?;
        }
        let read =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let (key_pem, ca_pem) = (read(&key_file)?, read(&ca_file)?);
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("ca.pem holds no certificate")?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, KeyPair::from_pem(&key_pem).context("ca.key holds no key")?)?;
        let leaf = match leaf::load(folder, reached, &ca) {
            Ok(leaf) => leaf,
            Err(reason) => {
                tracing::info!("making a server certificate: {reason:#}");
                leaf::make(folder, reached, &issuer, &ca)?
            }
        };
        let mut own_problem = String::new();
        let own = own::load(folder).unwrap_or_else(|error| {
            own_problem = format!(
                "the certificate that an administrator gave cannot be used ({error:#}); browsers get the one of this \
                 server's own authority: give it anew in the settings, or remove it there"
            );
            tracing::error!("{own_problem}");
            None
        });
        let leaf = Arc::new(Shown::new(leaf, own));
        let browsers = Arc::new(ToBrowsers(Arc::clone(&leaf)));
        let mut browsers = builder()?.with_no_client_auth().with_cert_resolver(browsers);
        browsers.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let agents = agent_config(&issuer, &ca, &leaf, revoked)?;
        Ok(Self {
            folder: folder.to_owned(),
            reached: reached.clone(),
            issuer,
            ca,
            ca_pem,
            leaf,
            own_problem: RwLock::new(own_problem),
            browsers: Arc::new(browsers),
            agents: RwLock::new(Arc::new(agents)),
        })
    }

    /// SHA-256 of the authority's certificate, hex: what browsers show.
    pub fn ca_fingerprint(&self) -> String {
        sha256_hex(&self.ca)
    }

    /// Fingerprint of the authority's key: what join tokens carry.
    pub fn ca_key_fingerprint(&self) -> String {
        key_fingerprint(&self.ca).unwrap_or_default()
    }

    /// Configuration for a connection with this SNI.
    pub fn config_for(&self, agent: bool) -> Arc<ServerConfig> {
        match self.agents.read() {
            Ok(config) if agent => Arc::clone(&config),
            _ => Arc::clone(&self.browsers),
        }
    }

    /// How the server is reached.
    pub fn reached(&self) -> &Names {
        &self.reached
    }

    /// Renews the server's certificate if it is near its end or lacks a name of this host; true if it did. New
    /// connections get the new one.
    ///
    /// # Errors
    /// The new certificate cannot be made or written.
    pub fn renew(&self) -> anyhow::Result<bool> {
        if leaf::load(&self.folder, &self.reached, &self.ca).is_ok() {
            return Ok(false);
        }
        let new = leaf::make(&self.folder, &self.reached, &self.issuer, &self.ca)?;
        self.leaf.set_made(new);
        Ok(true)
    }

    /// The certificate that browsers see.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn shown(&self) -> anyhow::Result<CertificateView> {
        match self.leaf.own() {
            Some(own) => own::view(&own, true),
            None => {
                let view = own::view(&self.leaf.made(), false)?;
                let warning = self.own_problem.read().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(CertificateView { warning, ..view })
            }
        }
    }

    fn own_is_settled(&self) {
        self.own_problem.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Gives browsers the certificate of `form`, which [`own::check`] has read, on new connections and after a restart.
    ///
    /// # Errors
    /// It cannot be saved; nothing has changed then.
    pub fn set_own(&self, form: &CertificateForm, certified: CertifiedKey) -> anyhow::Result<CertificateView> {
        let view = own::view(&certified, true)?;
        own::keep(&self.folder, form)?;
        self.leaf.set_own(Some(certified));
        self.own_is_settled();
        Ok(view)
    }

    /// Gives browsers the certificate of the server's own authority again; true if they saw another one.
    ///
    /// # Errors
    /// The other one cannot be removed; nothing has changed then.
    pub fn forget_own(&self) -> anyhow::Result<bool> {
        let was = own::forget(&self.folder)?;
        self.leaf.set_own(None);
        self.own_is_settled();
        Ok(was)
    }

    /// Refuses these client certificates (serial number, time of revocation in Unix milliseconds) from now on.
    ///
    /// # Errors
    /// The list cannot be made.
    pub fn set_revoked(&self, revoked: &[(Vec<u8>, u64)]) -> anyhow::Result<()> {
        let config = agent_config(&self.issuer, &self.ca, &self.leaf, revoked)?;
        if let Ok(mut current) = self.agents.write() {
            *current = Arc::new(config);
        }
        Ok(())
    }

    /// Signs a node's request. The request proves that the node has the key, and names the key; name and uses of the
    /// certificate are ours.
    ///
    /// # Errors
    /// The request cannot be read, is not signed by its key, or is of another key than `fingerprint`.
    pub fn sign_request(
        &self,
        csr: &str,
        name: &str,
        fingerprint: Option<&str>,
    ) -> anyhow::Result<(SignedNode, String)> {
        use x509_parser::prelude::FromDer;
        let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(csr.as_bytes())
            .ok()
            .context("the certificate request is not PEM")?;
        let (_, request) = x509_parser::certification_request::X509CertificationRequest::from_der(&der)
            .ok()
            .context("the certificate request cannot be read")?;
        request.verify_signature().ok().context("the certificate request is not signed by its key")?;
        let key = request.certification_request_info.subject_pki.raw;
        let actual = sha256_hex(key);
        if fingerprint.is_some_and(|wanted| wanted != actual) {
            bail!("the certificate request is of another key than the connection's");
        }
        Ok((self.sign_key(key, name)?, actual))
    }

    /// Signs a new certificate for the key of `certificate` if that is near its end.
    ///
    /// # Errors
    /// The certificate cannot be read or signed.
    pub fn renew_node(&self, certificate: &[u8], name: &str) -> anyhow::Result<Option<SignedNode>> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).context("the certificate cannot be read")?;
        let left = parsed.validity().not_after.timestamp() - jiff::Timestamp::now().as_second();
        if left > NODE_RENEW_DAYS * 86_400 {
            return Ok(None);
        }
        self.sign_key(parsed.tbs_certificate.subject_pki.raw, name).map(Some)
    }

    fn sign_key(&self, spki: &[u8], name: &str) -> anyhow::Result<SignedNode> {
        let key = SubjectPublicKeyInfo::from_der(spki).context("the key is of an unknown kind")?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        let not_after_ms = set_validity(&mut params, NODE_DAYS)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let serial = new_serial();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(SignedNode { pem: certificate.pem(), serial, not_after_ms })
    }
}

/// 16 random bytes, positive as an ASN.1 integer.
fn new_serial() -> Vec<u8> {
    let mut serial = random::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial.to_vec()
}

fn builder() -> anyhow::Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn agent_config(
    issuer: &Issuer<'static, KeyPair>,
    ca: &CertificateDer<'static>,
    leaf: &Arc<Shown>,
    revoked: &[(Vec<u8>, u64)],
) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !revoked.is_empty() {
        verifier = verifier.with_crls([revocation_list(issuer, revoked)?]).only_check_end_entity_revocation();
    }
    let mut config = builder()?.with_client_cert_verifier(verifier.build()?).with_cert_resolver(Arc::clone(leaf) as _);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn revocation_list(
    issuer: &Issuer<'static, KeyPair>,
    revoked: &[(Vec<u8>, u64)],
) -> anyhow::Result<CertificateRevocationListDer<'static>> {
    let day = |unix_ms: u64| -> anyhow::Result<_> {
        let stamp = jiff::Timestamp::from_millisecond(i64::try_from(unix_ms)?)?;
        let date = stamp.to_zoned(jiff::tz::TimeZone::UTC).date();
        Ok(date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8))
    };
    let now = crate::db::now_ms();
    let mut certificates = Vec::new();
    for (serial, at_ms) in revoked {
        certificates.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: day(*at_ms)?,
            reason_code: None,
            invalidity_date: None,
        });
    }
    let list = CertificateRevocationListParams {
        this_update: day(now)?,
        next_update: day(now + 3650 * 86_400_000)?,
        crl_number: SerialNumber::from_slice(&now.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: certificates,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(issuer)?.into())
}

#[cfg(test)]
mod tests;
