//! Accepts connections: TLS by SNI (browsers or agents), then HTTP/1.1 or HTTP/2.

use crate::app::App;
use crate::tls::key_fingerprint;
use axum::Router;
use axum::body::Body;
use holdfast_api::agent::AGENT_SNI;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tower::ServiceExt;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 2048;
/// A TLS handshake or a request's head may take this long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Both ends of a connection; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Who called.
    pub peer: SocketAddr,
    /// Our address that was called.
    pub local: IpAddr,
    /// The caller came to a node by plain http, and the node carries the request.
    pub plain: bool,
}

/// The certificate that an agent showed; an extension of requests to the agents' router.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    /// DER.
    pub der: Arc<[u8]>,
    /// Fingerprint of its key.
    pub fingerprint: String,
}

/// Accepts for ever. `browsers` serves console and REST, `agents` the agents' socket.
pub async fn accept(app: Arc<App>, listener: TcpListener, browsers: Router, agents: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, browsers, agents) = (Arc::clone(&app), browsers.clone(), agents.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(&app, stream, peer, browsers, agents).await {
                tracing::debug!("connection of {peer}: {error:#}");
            }
            drop(slot);
        });
    }
}

async fn connection(
    app: &App,
    stream: TcpStream,
    peer: SocketAddr,
    browsers: Router,
    agents: Router,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let ends = Ends { peer, local: stream.local_addr()?.ip(), plain: false };
    let handshake = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let agent = start.client_hello().server_name() == Some(AGENT_SNI);
        let stream = start.into_stream(app.tls.config_for(agent)).await?;
        anyhow::Ok((agent, stream))
    };
    let (agent, stream) = tokio::time::timeout(HEAD_TIMEOUT, handshake).await??;
    let mut router = if agent { agents } else { browsers };
    if agent {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(certificate) = certificates.first() else { anyhow::bail!("no client certificate") };
        let der: Arc<[u8]> = certificate.to_vec().into();
        let fingerprint = key_fingerprint(&der)?;
        router = router.layer(axum::Extension(PeerCertificate { der, fingerprint }));
    }
    let router = router.layer(axum::Extension(ends));
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
        .map_err(|error| anyhow::anyhow!("{error}"))
}
