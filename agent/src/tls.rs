//! TLS of the agent: to the server under the CA pinned at enrolment, on 9001 with its own key, by token for `join`, and
//! between nodes by the keys in the cluster configuration.

use crate::identity::Identity;
use anyhow::{Context, Result};
use holdfast_api::agent::AGENT_SNI;
use holdfast_api::config::ClusterConfig;
use holdfast_replica::tls::pin::{self, fingerprint};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// What is spoken on the cluster link; its version is in the greeting, where a mismatch can be explained.
const CLUSTER_ALPN: &[u8] = b"holdfast-cluster";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn own(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes()).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key_der()));
    Ok((certificates.context("node.crt holds no certificate")?, key))
}

/// To the server: its certificate is signed by `ca_pem`, ours by the same.
pub fn link(identity: &Identity, ca_pem: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("the CA kept at enrolment is damaged")?)?;
    let (certificates, key) = own(identity)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_client_auth_cert(certificates, key)?)
}

/// Port 9001: the node's own key; who asks is told by the pairing code.
pub fn enrolment(identity: &Identity) -> Result<ServerConfig> {
    let (certificates, key) = own(identity)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(certificates, key)?)
}

/// Of the cluster link, for the nodes of this cluster that dial.
pub fn from_nodes(identity: &Identity, cluster: &ClusterConfig) -> Result<ServerConfig> {
    let (certificates, key) = own(identity)?;
    let nodes = cluster.nodes.iter().map(|node| node.fingerprint.clone()).collect();
    let mut config = pin::server(certificates, key, nodes)?;
    config.alpn_protocols = vec![CLUSTER_ALPN.to_vec()];
    Ok(config)
}

/// Of the cluster link, to the node whose key has this fingerprint.
pub fn to_node(identity: &Identity, fingerprint: &str) -> Result<ClientConfig> {
    let (certificates, key) = own(identity)?;
    let mut config = pin::client(certificates, key, fingerprint)?;
    config.alpn_protocols = vec![CLUSTER_ALPN.to_vec()];
    Ok(config)
}

/// To a server known by the fingerprint of its CA's key only.
pub fn join(ca_fingerprint: &str) -> Result<ClientConfig> {
    let verifier = ByAuthority { ca_fingerprint: ca_fingerprint.to_owned(), provider: provider() };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts a chain that holds a CA with the right key which has signed the leaf.
#[derive(Debug)]
struct ByAuthority {
    ca_fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let wanted = |certificate: &&CertificateDer<'_>| {
            fingerprint(certificate).is_some_and(|found| found == self.ca_fingerprint)
        };
        let ca = intermediates.iter().find(wanted).ok_or_else(|| {
            rustls::Error::General(
                "the server's authority is not the one of the token: wrong server, or a man in the middle; \
                 take address and token from the same server"
                    .into(),
            )
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let inner = inner.map_err(|error| rustls::Error::General(error.to_string()))?;
        // The authority is what is pinned; the address by which the server was reached need not be in its certificate.
        let name = ServerName::try_from(AGENT_SNI).map_err(|error| rustls::Error::General(error.to_string()))?;
        inner.verify_server_cert(end_entity, intermediates, &name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{ByAuthority, DigitallySignedStruct, HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use super::{CertificateDer, ServerName, SignatureScheme, UnixTime, provider};

    /// Accepts any certificate, as a server does that dials a node which is not enrolled.
    #[derive(Debug)]
    pub(crate) struct AnyKey;

    impl AnyKey {
        fn inner() -> ByAuthority {
            ByAuthority { ca_fingerprint: String::new(), provider: provider() }
        }
    }

    impl ServerCertVerifier for AnyKey {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Self::inner().verify_tls12_signature(message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Self::inner().verify_tls13_signature(message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            Self::inner().supported_verify_schemes()
        }
    }
}
