//! Clients of the server's interface: one that sets things up, readers that measure, and a console's live socket.

use super::program::{PASSWORD, Program, USER};
use crate::bank::http::Client;
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What a script or a page reads, each in turn.
const READ: [&str; 7] = ["/session", "/cluster", "/nodes", "/modules", "/modules/1", "/tasks", "/settings"];

/// Pause between two reads of one client: a page, or a script that waits for something.
const PAUSE: Duration = Duration::from_millis(25);

/// What was read, and how long that took.
pub(super) type Read = (&'static str, Duration);

/// Headers and body of an answer.
type Answer = (Vec<(String, String)>, Vec<u8>);

type Connection = Client<StreamOwned<ClientConnection, TcpStream>>;

/// A client with a session, on one connection that is kept.
pub(super) struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    cookie: String,
    connection: Mutex<Connection>,
}

fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Connection> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let session = ClientConnection::new(Arc::clone(tls), ServerName::from(address.ip()))?;
    Ok(Client::over(StreamOwned::new(session, stream)))
}

/// Trusts the server's own authority only.
pub(super) fn trust(authority: &str) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).context("no certificate")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

impl Api {
    pub(super) fn log_in(program: &Program) -> Result<Self> {
        let tls = Arc::new(trust(&program.authority()?)?.with_no_client_auth());
        let connection = Mutex::new(connect(program.address, &tls)?);
        let mut api = Self { address: program.address, tls, cookie: String::new(), connection };
        let (headers, _) = api.call("POST", "/session", Some(&json!({ "user": USER, "password": PASSWORD })))?;
        let cookie = headers.iter().find(|(name, _)| name == "set-cookie").context("no session cookie")?;
        api.cookie = cookie.1.split(';').next().unwrap_or_default().to_owned();
        Ok(api)
    }

    pub(super) fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        Ok(serde_json::from_slice(&self.call(method, path, Some(body))?.1)?)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let (host, path) = (self.address.to_string(), format!("/api/v1{path}"));
        let origin = format!("https://{host}");
        let mut headers = vec![("Host", host.as_str()), ("Origin", origin.as_str()), ("Cookie", self.cookie.as_str())];
        let text = body.map(Value::to_string).unwrap_or_default();
        headers.extend(body.map(|_| ("Content-Type", "application/json")));
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let response = connection.request_with(method, &path, &headers, text.as_bytes())?;
        if !(200..300).contains(&response.status) {
            bail!("{method} {path} answered {}: {}", response.status, response.text());
        }
        Ok((response.headers, response.body))
    }

    /// Reads one thing after another until [`Reader::finish`].
    pub(super) fn keep_reading(self) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            for path in READ.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                self.call("GET", path, None)?;
                times.push((*path, began.elapsed()));
                std::thread::sleep(PAUSE);
            }
            Ok(times)
        });
        Reader { stop, thread }
    }

    /// Opens a console's live socket and counts what comes.
    pub(super) fn watch(&self) -> Result<Console> {
        let mut request = format!("wss://{}/api/v1/live", self.address).into_client_request()?;
        request.headers_mut().insert("cookie", self.cookie.parse()?);
        request.headers_mut().insert("origin", format!("https://{}", self.address).parse()?);
        let (tls, address) = (Arc::clone(&self.tls), self.address);
        let seen = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counted = Arc::clone(&seen);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut socket = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::from(address.ip());
            let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await?;
            anyhow::Ok(tokio_tungstenite::client_async(request, stream).await?.0)
        })?;
        runtime.spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                counted.0.fetch_add(1, Ordering::Relaxed);
                counted.1.fetch_add(message.len(), Ordering::Relaxed);
            }
        });
        Ok(Console { seen, runtime: Some(runtime) })
    }
}

/// A client that reads.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Read>>>,
}

impl Reader {
    /// Ends it; how long each read took.
    pub(super) fn finish(self) -> Result<Vec<Read>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?
    }
}

/// A console that watches.
pub(super) struct Console {
    seen: Arc<(AtomicUsize, AtomicUsize)>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Console {
    /// Messages and bytes that came.
    pub(super) fn seen(&self) -> (usize, usize) {
        (self.seen.0.load(Ordering::Relaxed), self.seen.1.load(Ordering::Relaxed))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
