//! `holdfast-agent join`: enrolment with a one-time token, for unattended installs.

use super::keep;
use crate::identity::Identity;
use crate::link::host_and_port;
use crate::options::{Join, Layout, Options};
use crate::store::Store;
use crate::{files, tls};
use anyhow::{Context, Result, bail, ensure};
use holdfast_api::agent::JOIN_SNI;
use holdfast_api::enrol::{ENROL_VERSION, Enrolment, JoinRequest, JoinToken};
use holdfast_api::problem::Problem;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 1024 * 1024;

/// Enrols this node; an agent that runs on the same data folder notices by itself.
pub async fn join(options: &Options, arguments: &Join) -> Result<()> {
    let token = JoinToken::parse(&arguments.token).map_err(|reason| anyhow::anyhow!(reason))?;
    if let Some(told) = &arguments.ca_fingerprint {
        let told: String = told.chars().filter(char::is_ascii_hexdigit).collect();
        ensure!(
            told.eq_ignore_ascii_case(&token.ca_fingerprint),
            "the token is of another authority than --ca-fingerprint"
        );
    }
    let layout = Layout::new(options)?;
    files::make_dir(&layout.data)?;
    let store = Store::open(&layout.store())?;
    ensure!(store.enrolment()?.is_none(), "this node is enrolled already: remove it in the console first");
    let identity = Identity::open(&layout)?;
    let name = arguments.name.clone().or_else(|| options.node_name.clone()).unwrap_or_else(crate::agent::host_name);
    let request = JoinRequest {
        protocol: ENROL_VERSION,
        secret: token.secret.clone(),
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        csr: identity.request_pem()?,
    };
    let asked = tokio::time::timeout(TIMEOUT, ask(&arguments.server, &token.ca_fingerprint, &request));
    let enrolment = asked.await.context("the server did not answer in time")??;
    keep(&layout, &store, &identity.fingerprint, &enrolment)?;
    println!("enrolled as {} ({}); servers: {}", enrolment.name, enrolment.node, enrolment.servers.join(", "));
    Ok(())
}

async fn ask(server: &str, ca_fingerprint: &str, request: &JoinRequest) -> Result<Enrolment> {
    let (host, port) = host_and_port(server)?;
    let stream =
        TcpStream::connect((host.as_str(), port)).await.with_context(|| format!("{server} does not answer"))?;
    // Not the host's name: under that, browsers may see a certificate of another authority.
    let name = ServerName::try_from(JOIN_SNI)?;
    let connector = TlsConnector::from(Arc::new(tls::join(ca_fingerprint)?));
    let stream = connector.connect(name, stream).await.with_context(|| format!("no trusted answer from {server}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/join")
        .header(HOST, format!("{host}:{port}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(request)?)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?.to_bytes();
    if !status.is_success() {
        let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_default();
        bail!("the server refused ({status}): {}", problem.detail);
    }
    serde_json::from_slice(&body).context("the server's answer is not understood")
}
