//! Simulated nodes: the real protocol over real WebSockets and mutual TLS, the real agent's back-off, no modules behind.

use super::api::{Api, trust};
use super::lively;
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use holdfast_agent::backoff::Backoff;
use holdfast_agent::link::{BACKOFF_MAX_MS, BACKOFF_MIN_MS};
use holdfast_agent::report::blank;
use holdfast_api::agent::{
    AGENT_PATH, AGENT_SNI, Answer, FRAME_BYTES_MAX, FromAgent, FromServer, HeldModule, Hello, NodeReport,
    PROTOCOL_VERSION, REPORT_INTERVAL_MS, Request,
};
use holdfast_api::enrol::{ENROL_VERSION, Enrolment, JoinRequest, JoinToken};
use holdfast_api::ids::ModuleId;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

type Socket = WebSocketStream<TlsStream<tokio::net::TcpStream>>;

/// An enrolled node that is not in session yet.
pub(super) struct Node {
    pub(super) id: u16,
    pub(super) name: String,
    tls: Arc<ClientConfig>,
    held: BTreeMap<ModuleId, (String, u64)>,
    cluster: u64,
    /// Its modules move figures, look at things and write logs.
    lively: bool,
}

impl Node {
    /// Enrols by token, as `holdfast-agent join` does; it holds `own` modules that no server gave it.
    pub(super) fn join(api: &Api, number: usize, own: u16) -> Result<Self> {
        let made = api.send("POST", "/nodes/tokens", &json!({ "minutes": 30 }))?;
        let token = made["token"].as_str().context("no token")?;
        let token = JoinToken::parse(token).map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
        let (key, name) = (KeyPair::generate()?, format!("node{number}"));
        let request = JoinRequest {
            protocol: ENROL_VERSION,
            secret: token.secret,
            name: name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            csr: CertificateParams::new(vec![name.clone()])?.serialize_request(&key)?.pem()?,
        };
        let enrolment: Enrolment =
            serde_json::from_value(api.send("POST", "/join", &serde_json::to_value(request)?)?)?;
        let chain = vec![CertificateDer::from_pem_slice(enrolment.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        let tls = Arc::new(trust(&enrolment.ca)?.with_client_auth_cert(chain, key)?);
        let foreign = |module: u16| (ModuleId(module), (format!("own{number}-{module}"), 1));
        let held = (1..=own).map(foreign).collect();
        Ok(Self { id: enrolment.node.0, name, tls, held, cluster: 0, lively: false })
    }

    /// The same, with modules of which there is always something to tell.
    pub(super) fn livened(self) -> Self {
        Self { lively: true, ..self }
    }

    fn hello(&self) -> Hello {
        let held = |(id, (name, version)): (&ModuleId, &(String, u64))| HeldModule {
            id: *id,
            name: name.clone(),
            version: *version,
        };
        Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.name.clone(),
            boot_id: format!("boot-{}", self.id),
            cluster_version: self.cluster,
            modules: self.held.iter().map(held).collect(),
        }
    }

    fn report(&self) -> NodeReport {
        let unix_ms = holdfast_agent::clock::unix_ms();
        let modules = self.held.iter().map(|(id, (name, version))| {
            let mut report = blank(name, *id, &self.name, *version, "");
            report.state = if self.id % 2 == 1 { ModuleState::Prim } else { ModuleState::Second };
            (report.readiness, report.data, report.running) = (Readiness::Ready, DataState::UpToDate, true);
            if self.lively {
                lively::liven(&mut report, unix_ms);
            }
            report
        });
        NodeReport {
            unix_ms,
            boot_id: format!("boot-{}", self.id),
            cluster_version: self.cluster,
            modules: modules.collect(),
            ..NodeReport::default()
        }
    }

    async fn dial(&self, address: SocketAddr) -> Result<Socket> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(ServerName::try_from(AGENT_SNI)?, stream).await?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(FRAME_BYTES_MAX);
        config.max_frame_size = Some(FRAME_BYTES_MAX);
        let url = format!("wss://{AGENT_SNI}{AGENT_PATH}");
        Ok(tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?.0)
    }

    /// One session; `Ok` after one that was welcomed.
    async fn session(&mut self, address: SocketAddr, counts: &Counts) -> Result<()> {
        let mut socket = self.dial(address).await?;
        say(&mut socket, &FromAgent::Hello(self.hello())).await?;
        match hear(&mut socket).await? {
            Some(FromServer::Welcome { .. }) => {}
            other => bail!("no welcome: {other:?}"),
        }
        counts.connected.fetch_add(1, Ordering::Relaxed);
        let ended = self.carry(&mut socket, counts).await;
        counts.connected.fetch_sub(1, Ordering::Relaxed);
        // However it ended: the next wait is a short one again, as the agent has it.
        tracing::debug!("{}: {ended:?}", self.name);
        Ok(())
    }

    async fn carry(&mut self, socket: &mut Socket, counts: &Counts) -> Result<()> {
        let mut due = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    say(socket, &FromAgent::Report(self.report())).await?;
                    let every = if self.lively { lively::NEWS_MS } else { REPORT_INTERVAL_MS };
                    due = tokio::time::Instant::now() + Duration::from_millis(every);
                }
                message = hear(socket) => if let Some(FromServer::Request { id, request }) = message? {
                    let answer = self.take(request, counts);
                    // As an agent does: what changed is told soon.
                    let changed = matches!(answer, Answer::Done { .. });
                    say(socket, &FromAgent::Answer { id, answer }).await?;
                    if changed {
                        due = due.min(tokio::time::Instant::now() + Duration::from_millis(50));
                    }
                }
            }
        }
    }

    fn take(&mut self, request: Request, counts: &Counts) -> Answer {
        match request {
            Request::PushCluster { config } => self.cluster = config.version,
            Request::PushModule { config } => {
                self.held.insert(config.id, (config.name, config.version));
                counts.pushed.fetch_add(1, Ordering::Relaxed);
            }
            Request::ReadLog { wanted, .. } if self.lively => {
                return Answer::LogPage(lively::page(&wanted, holdfast_agent::clock::unix_ms()));
            }
            _ => return Answer::Refused { reason: "a simulated node does not do this".into() },
        }
        Answer::Done { text: "taken".into() }
    }
}

async fn say(socket: &mut Socket, message: &FromAgent) -> Result<()> {
    Ok(socket.send(Message::text(serde_json::to_string(message)?)).await?)
}

async fn hear(socket: &mut Socket) -> Result<Option<FromServer>> {
    match socket.next().await.context("closed")?? {
        Message::Text(text) => Ok(Some(serde_json::from_str(&text)?)),
        Message::Close(_) => bail!("closed"),
        _ => Ok(None),
    }
}

#[derive(Default)]
struct Counts {
    connected: AtomicUsize,
    pushed: AtomicUsize,
    dials: Mutex<Vec<Instant>>,
}

/// All nodes, each keeping its session for as long as this lives.
pub(super) struct Fleet {
    counts: Arc<Counts>,
    nodes: usize,
    _runtime: tokio::runtime::Runtime,
}

impl Fleet {
    pub(super) fn start(nodes: Vec<Node>, address: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (counts, count) = (Arc::new(Counts::default()), nodes.len());
        for mut node in nodes {
            let counts = Arc::clone(&counts);
            runtime.spawn(async move {
                let mut backoff = Backoff::new(BACKOFF_MIN_MS, BACKOFF_MAX_MS);
                loop {
                    counts.dials.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    match node.session(address, &counts).await {
                        Ok(()) => backoff.reset(),
                        Err(error) => tracing::debug!("{}: {error:#}", node.name),
                    }
                    backoff.wait().await;
                }
            });
        }
        Ok(Self { counts, nodes: count, _runtime: runtime })
    }

    /// All of them.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Nodes in session.
    pub(super) fn connected(&self) -> usize {
        self.counts.connected.load(Ordering::Relaxed)
    }

    /// Module configurations taken.
    pub(super) fn pushed(&self) -> usize {
        self.counts.pushed.load(Ordering::Relaxed)
    }

    /// Counts dials from now on.
    pub(super) fn forget_dials(&self) {
        self.counts.dials.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Most dials within any second, and the average of a node.
    pub(super) fn dials(&self) -> (usize, f64) {
        let dials = self.counts.dials.lock().unwrap_or_else(PoisonError::into_inner);
        let within =
            |at: &Instant| dials.iter().filter(|dial| **dial >= *at && **dial < *at + Duration::from_secs(1)).count();
        (dials.iter().map(within).max().unwrap_or(0), dials.len() as f64 / self.nodes as f64)
    }
}
