//! TLS 1.3 between nodes: only the fingerprint of the other's key counts (hex SHA-256 of its SubjectPublicKeyInfo).
//!
//! Who signed the certificate and until when is not looked at, since clocks are wrong after outages; a key is trusted as
//! long as the cluster configuration names it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// Lower-case hex SHA-256 of the SubjectPublicKeyInfo of a certificate (DER); `None` if it is no certificate.
pub fn fingerprint(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, certificate.public_key().raw);
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The end that accepts, for peers whose keys have one of the `fingerprints`.
///
/// # Errors
/// Key and certificate do not belong together.
pub fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprints: Vec<String>,
) -> Result<ServerConfig, rustls::Error> {
    let pin = Pin::new(fingerprints);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&pin.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(pin)
        .with_single_cert(chain, key)?;
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// The end that dials a peer whose key has this `fingerprint`.
///
/// # Errors
/// Key and certificate do not belong together.
pub fn client(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    fingerprint: &str,
) -> Result<ClientConfig, rustls::Error> {
    let pin = Pin::new(vec![fingerprint.to_owned()]);
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&pin.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pin)
        .with_client_auth_cert(chain, key)?;
    client.resumption = rustls::client::Resumption::disabled();
    client.enable_sni = false;
    Ok(client)
}

/// Trusts exactly these keys, as either end.
#[derive(Debug)]
struct Pin {
    fingerprints: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn new(fingerprints: Vec<String>) -> Arc<Self> {
        Arc::new(Self { fingerprints, provider: Arc::new(ring::default_provider()) })
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let seen = fingerprint(certificate).unwrap_or_else(|| "none".into());
        if self.fingerprints.contains(&seen) {
            return Ok(());
        }
        // The other end reads this too: it is not told the keys of the whole cluster.
        let wanted = match self.fingerprints.as_slice() {
            [one] => format!(" ({one})"),
            _ => String::new(),
        };
        Err(rustls::Error::General(format!(
            "the peer's key {seen} is not the one in the cluster configuration{wanted}: another machine answers there, \
             or the node was removed, or it was installed anew and must be enrolled again"
        )))
    }
}

/// How signatures are checked: the same for both ends, and rustls wants it in the trait of each.
macro_rules! check_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.2 is not spoken between nodes".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    check_signatures!();
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    check_signatures!();
}
