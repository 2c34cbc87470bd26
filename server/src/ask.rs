//! Asks whether a server answers, as a browser would: for the script that watches one from outside.

use anyhow::{Context, ensure};
use holdfast_api::agent::JOIN_SNI;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Who does not answer within this does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server of this data folder at an address who is logged in, which goes through TLS, routes and database. Its own
/// authority is trusted, whatever certificate browsers see.
///
/// # Errors
/// Why there was no answer, or which.
pub async fn ask(data_dir: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let file = data_dir.join("pki/ca.pem");
    let pem = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let answered = tokio::time::timeout(TIMEOUT, status(&pem, address)).await;
    let status = answered.with_context(|| format!("{address} did not answer within {} s", TIMEOUT.as_secs()))??;
    ensure!(status.is_success(), "{address} answered {status}");
    Ok(())
}

async fn status(ca: &[u8], address: SocketAddr) -> anyhow::Result<hyper::StatusCode> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca).context("the authority's certificate is damaged")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.with_context(|| format!("{address} cannot be reached"))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(JOIN_SNI)?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = hyper::Request::get("/api/v1/session").header("host", JOIN_SNI).body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.status())
}
