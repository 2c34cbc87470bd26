//! The console over plain http: carries a browser's request on port 9010 to the management server, if that wants it.

use crate::identity::Identity;
use crate::tls;
use anyhow::{Context, Result, ensure};
use holdfast_api::agent::{AGENT_SNI, CLIENT_HEADER};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The server reads what nodes tell it before it answers, which takes it a minute at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// What an end does not acknowledge for this long has lost it.
const LOST: Duration = Duration::from_secs(15);
/// Requests carried at once: fewer than the port takes connections, so that load balancers are always answered.
const CARRIED_MAX: usize = 96;

/// Where the console is, while the server wants it carried; shared by the link and the port.
#[derive(Clone)]
pub struct Console {
    target: Arc<Mutex<Option<Target>>>,
    slots: Arc<Semaphore>,
}

/// The server, as the link reached it.
#[derive(Clone)]
struct Target {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
}

impl Default for Console {
    fn default() -> Self {
        Self { target: Arc::default(), slots: Arc::new(Semaphore::new(CARRIED_MAX)) }
    }
}

impl Console {
    /// Carries requests to this server from now on; its certificate is signed by `authority`.
    ///
    /// # Errors
    /// The address or the authority cannot be read.
    pub fn open(&self, server: &str, identity: &Identity, authority: &str) -> Result<()> {
        let (host, port) = crate::link::host_and_port(server)?;
        let tls = Arc::new(tls::link(identity, authority)?);
        *self.lock() = Some(Target { host, port, tls });
        Ok(())
    }

    /// Carries none any more; true if it did. What is under way is answered.
    pub fn close(&self) -> bool {
        self.lock().take().is_some()
    }

    /// Whether requests are carried.
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Target>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one request, whatever it upgrades to included.
    ///
    /// # Errors
    /// The status to answer with and why, for people.
    pub async fn carry(
        &self,
        mut request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<Incoming>, (StatusCode, String)> {
        let no = |status, why: &str| (status, why.to_owned());
        let elsewhere = "the console is not served here: open it with https on the management server, port 9453";
        let target = self.lock().clone().ok_or_else(|| no(StatusCode::NOT_FOUND, elsewhere))?;
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let busy = "too many requests at once: try again in a moment";
        let slot = slot.map_err(|_| no(StatusCode::SERVICE_UNAVAILABLE, busy))?;
        let browser = hyper::upgrade::on(&mut request);
        adapt(request.headers_mut(), client);
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, ask(&target, request, slot)).await;
        let failed = |why: String| {
            let why = format!("the management server does not answer ({why}): does it run, and is its port open?");
            no(StatusCode::BAD_GATEWAY, &why)
        };
        let answered = answered.map_err(|_| failed(format!("nothing within {} s", ANSWER_TIMEOUT.as_secs())))?;
        let (mut response, slot) = answered.map_err(|error| failed(format!("{error:#}")))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let server = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                let _slot = slot;
                if let (Ok(browser), Ok(server)) = tokio::join!(browser, server) {
                    let (mut browser, mut server) = (TokioIo::new(browser), TokioIo::new(server));
                    let _ = tokio::io::copy_bidirectional(&mut browser, &mut server).await;
                }
            });
        } else {
            hop_by_hop(response.headers_mut());
        }
        Ok(response)
    }
}

/// Asks the server; the slot is free again once the answer, or what it was upgraded to, has ended.
async fn ask(
    target: &Target,
    request: Request<Incoming>,
    slot: OwnedSemaphorePermit,
) -> Result<(Response<Incoming>, Arc<OwnedSemaphorePermit>)> {
    let connect = async {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        watched(&stream)?;
        let name = ServerName::try_from(AGENT_SNI)?;
        anyhow::Ok(TlsConnector::from(Arc::clone(&target.tls)).connect(name, stream).await?)
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
    let stream = connected.with_context(|| format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))??;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let slot = Arc::new(slot);
    let held = Arc::clone(&slot);
    tokio::spawn(async move {
        let _slot = held;
        let _ = connection.with_upgrades().await;
    });
    let response = sender.send_request(request).await?;
    ensure!(response.status() != StatusCode::CONTINUE, "an answer without an end");
    Ok((response, slot))
}

/// Has a connection end whose other end is lost without a word: it would hold its place for ever.
///
/// # Errors
/// The system refuses.
pub(super) fn watched(stream: &TcpStream) -> std::io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(LOST))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(LOST).with_interval(LOST / 3))
}

/// What is between browser and agent stays there, what is upgraded excepted; the server learns who asks.
fn adapt(headers: &mut HeaderMap, client: SocketAddr) {
    let upgrade = headers.get(UPGRADE).cloned();
    hop_by_hop(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    if let Ok(client) = HeaderValue::from_str(&client.to_string()) {
        headers.insert(CLIENT_HEADER, client);
    }
    // HTTP/1.0 may come without one; the server tells pages of its own by it.
    headers.entry(HOST).or_insert(HeaderValue::from_static(AGENT_SNI));
}

/// Takes away what is said to the next neighbour only (RFC 9110, 7.6.1).
fn hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [CONNECTION, UPGRADE, TE, TRAILER, TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];
    named.iter().chain(&always).for_each(|name| drop(headers.remove(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_the_agent_alone_is_not_carried_and_the_client_is_told() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("cookie", "a=b"),
            (CLIENT_HEADER, "9.9.9.9:9"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        adapt(&mut headers, "10.0.0.7:4711".parse().unwrap());
        assert_eq!(headers.get("cookie").unwrap(), "a=b");
        assert!(headers.get("x-own").is_none() && headers.get("keep-alive").is_none());
        assert!(headers.get(CONNECTION).is_none());
        let told: Vec<_> = headers.get_all(CLIENT_HEADER).iter().collect();
        assert_eq!(told, ["10.0.0.7:4711"]);
    }

    #[test]
    fn an_upgrade_is_carried() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        adapt(&mut headers, "10.0.0.7:1".parse().unwrap());
        assert_eq!(headers.get(UPGRADE).unwrap(), "websocket");
        assert_eq!(headers.get(CONNECTION).unwrap(), "upgrade");
    }
}
