//! The link to the management server: dials it again and again, never in the way of failover.

pub mod register;
mod requests;
mod session;

use crate::agent::Agent;
use crate::backoff::Backoff;
use crate::identity::Identity;
use crate::pairing::PairingStatus;
use crate::tls;
use anyhow::{Context, Result};
use holdfast_api::agent::{AGENT_PATH, AGENT_SNI, FRAME_BYTES_MAX};
use holdfast_api::enrol::Enrolment;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What the server's machine does not acknowledge for this long ends the session: that machine is lost, and the server may
/// be back at the same address on another.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// First wait before the server is dialled again, in milliseconds.
pub const BACKOFF_MIN_MS: u64 = 1_000;
/// Longest such wait: a server that is back shows every node within a minute.
pub const BACKOFF_MAX_MS: u64 = 30_000;
/// A node that is not enrolled looks for an enrolment (by `join`, in another process) this often.
const LOOK_PERIOD: Duration = Duration::from_secs(3);

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Where the server listens if its address names no port.
const SERVER_PORT: u16 = 9453;

/// Keeps the link for ever.
pub async fn run(agent: Arc<Agent>) {
    let mut backoff = Backoff::new(BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    let mut told = String::new();
    let mut known = matches!(agent.pairing.status(), PairingStatus::Enrolled);
    loop {
        let Some(enrolment) = enrolment(&agent, &mut known).await else {
            continue;
        };
        let connected = connect_any(&agent, &enrolment).await;
        match connected {
            Ok((socket, server)) => {
                told.clear();
                tracing::info!(server, "connected to the management server");
                match session::run(&agent, socket).await {
                    Ok(()) => backoff.reset(),
                    Err(error) => tracing::warn!(server, "session with the management server ended: {error:#}"),
                }
            }
            Err(error) => {
                let text = format!("{error:#}");
                agent.register.closed(&text);
                if text != told {
                    tracing::warn!("the management server cannot be reached (modules run on without it): {text}");
                    told = text;
                }
            }
        }
        backoff.wait().await;
    }
}

/// What enrolment gave; waits a little if there is none. `known`: it is in use already.
async fn enrolment(agent: &Agent, known: &mut bool) -> Option<Enrolment> {
    match agent.store.enrolment() {
        Ok(Some(enrolment)) => {
            // By `join`, in another process. (A node whose pairing was reopened keeps its old server until then.)
            if !*known {
                agent.use_enrolment(&enrolment);
                *known = true;
            }
            return Some(enrolment);
        }
        Ok(None) => *known = false,
        Err(error) => tracing::error!("the enrolment cannot be read: {error:#}"),
    }
    let mut changes = agent.pairing.changes();
    tokio::select! {
        _ = changes.changed() => {}
        () = tokio::time::sleep(LOOK_PERIOD) => {}
    }
    None
}

/// Splits `host`, `host:port`, `[v6]:port` or a URL into host and port.
pub fn host_and_port(text: &str) -> Result<(String, u16)> {
    let text = text.trim().trim_start_matches("https://").trim_start_matches("wss://").trim_end_matches('/');
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let port = port.map_or(Ok(SERVER_PORT), str::parse).ok().with_context(|| format!("{text} names no valid port"))?;
    anyhow::ensure!(!host.is_empty() && !host.contains('/'), "{text} is no server address: write https://host:9453");
    Ok((host.to_owned(), port))
}

/// Dials the servers known, most preferred first; names are resolved anew each time.
async fn connect_any(agent: &Agent, enrolment: &Enrolment) -> Result<(Socket, String)> {
    let told = agent.options.server.iter();
    let mut failures = Vec::new();
    for server in told.chain(&enrolment.servers) {
        match tokio::time::timeout(CONNECT_TIMEOUT, connect(&agent.identity(), enrolment, server)).await {
            Ok(Ok(socket)) => return Ok((socket, server.clone())),
            Ok(Err(error)) => failures.push(format!("{server}: {error:#}")),
            Err(_) => failures.push(format!("{server}: no answer within {} s", CONNECT_TIMEOUT.as_secs())),
        }
    }
    anyhow::bail!("{}", failures.join("; "))
}

async fn connect(identity: &Identity, enrolment: &Enrolment, server: &str) -> Result<Socket> {
    let (host, port) = host_and_port(server)?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    let config = tls::link(identity, &enrolment.ca)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(AGENT_SNI)?, stream).await?;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(FRAME_BYTES_MAX);
    config.max_frame_size = Some(FRAME_BYTES_MAX);
    let url = format!("wss://{AGENT_SNI}{AGENT_PATH}");
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn server_addresses_are_read_in_every_form() {
        let of = |text: &str| host_and_port(text).ok();
        assert_eq!(of("https://a.example:1/"), Some(("a.example".into(), 1)));
        assert_eq!(of("10.0.0.1"), Some(("10.0.0.1".into(), 9453)));
        assert_eq!(of("[::1]:2"), Some(("::1".into(), 2)));
        assert_eq!(of("::1"), Some(("::1".into(), 9453)));
        assert_eq!(of("a:b"), None);
        assert_eq!(of(""), None);
    }
}
