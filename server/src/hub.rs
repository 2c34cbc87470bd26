//! Agents' sessions: who is connected, what each node holds and reports, and requests to it.

pub mod session;

use crate::app::{App, Desired};
use crate::db::nodes::Heard;
use crate::db::{self, now_ms};
use crate::error::{Failure, Outcome};
use crate::reconcile::{Held, Plan, Wanted, plan};
use crate::tasks::Thing;
use holdfast_api::agent::{Answer, Hello, NodeReport, Request};
use holdfast_api::ids::NodeId;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Requests waiting to be sent to one node.
const QUEUE: usize = 64;
/// Answers of one request waiting to be read (a snapshot has several).
const ANSWERS: usize = 256;
/// Time between two savings of which nodes were heard: five hundred that come at once are one write.
const SAVE_PERIOD: Duration = Duration::from_secs(2);
/// A refused push is tried again after this long.
pub const RETRY_MS: u64 = 30_000;

/// A request on its way to an agent.
pub struct Outgoing {
    request: Request,
    answers: mpsc::Sender<Answer>,
}

/// A live session.
#[derive(Clone)]
pub struct Handle {
    id: u64,
    outgoing: mpsc::Sender<Outgoing>,
    kick: Arc<Notify>,
}

/// What is known of a node since the server started.
#[derive(Clone, Default)]
pub struct NodeLive {
    /// Its session.
    pub session: Option<Handle>,
    /// What it holds.
    pub held: Arc<Held>,
    /// Address from which it dialled last; empty: not since the server started.
    pub address: String,
    /// When, where and with which version it was heard is not saved yet.
    unsaved: bool,
    /// Version of its agent; empty: not connected since the server started.
    pub agent_version: String,
    /// Its last report.
    pub report: Option<Arc<NodeReport>>,
    /// When that came, Unix milliseconds; 0: never.
    pub reported_ms: u64,
    /// Its clock minus ours when it reported, milliseconds.
    pub clock_offset_ms: i64,
    /// When it was last heard, Unix milliseconds; 0: not since the server started.
    pub seen_ms: u64,
    /// Why its last session was refused; empty: it was not.
    pub problem: String,
    /// Pushes it refused: why, and when (Unix milliseconds).
    pub refused: BTreeMap<Thing, (String, u64)>,
    /// The push under way.
    pub pushing: Option<Thing>,
}

/// All sessions.
pub struct Hub {
    nodes: Mutex<BTreeMap<NodeId, NodeLive>>,
    next: std::sync::atomic::AtomicU64,
    wake: watch::Sender<u64>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { nodes: Mutex::default(), next: 1.into(), wake: watch::Sender::new(0) }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, NodeLive>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desired configuration has changed: look again what to push.
    pub fn wake(&self) {
        self.wake.send_modify(|count| *count += 1);
    }

    /// What is known of every node.
    pub fn all(&self) -> BTreeMap<NodeId, NodeLive> {
        self.lock().clone()
    }

    /// What is known of a node.
    pub fn get(&self, node: NodeId) -> NodeLive {
        self.lock().get(&node).cloned().unwrap_or_default()
    }

    /// True if the node's agent is connected.
    pub fn connected(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_some_and(|live| live.session.is_some())
    }

    /// A session begins; an older one of the same node ends.
    fn begin(&self, node: NodeId, hello: &Hello, from: IpAddr) -> (Handle, mpsc::Receiver<Outgoing>) {
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let handle = Handle { id, outgoing, kick: Arc::new(Notify::new()) };
        let modules = hello.modules.iter().map(|held| (held.id, (held.name.clone(), held.version))).collect();
        let mut nodes = self.lock();
        let live = nodes.entry(node).or_default();
        if let Some(older) = live.session.replace(handle.clone()) {
            older.kick.notify_one();
        }
        live.held = Arc::new(Held { cluster: hello.cluster_version, modules });
        live.agent_version = hello.version.clone();
        live.address = from.to_string();
        live.unsaved = true;
        live.seen_ms = now_ms();
        live.problem.clear();
        live.refused.clear();
        live.pushing = None;
        (handle, queue)
    }

    /// A session has ended.
    fn end(&self, node: NodeId, session: u64) {
        let mut nodes = self.lock();
        if let Some(live) = nodes.get_mut(&node)
            && live.session.as_ref().is_some_and(|handle| handle.id == session)
        {
            live.session = None;
            live.pushing = None;
            live.unsaved = true;
        }
    }

    /// Saves which nodes were heard, when and from where, every few seconds in one go, for ever.
    pub async fn keep(app: Arc<App>) {
        loop {
            tokio::time::sleep(SAVE_PERIOD).await;
            let heard = app.hub.unsaved();
            if heard.is_empty() {
                continue;
            }
            let save =
                move |tx: &rusqlite::Transaction<'_>| heard.iter().try_for_each(|node| db::nodes::seen(tx, node));
            if let Err(failure) = app.db.call(save).await {
                tracing::warn!("which nodes were heard was not saved: {failure}");
            }
        }
    }

    fn unsaved(&self) -> Vec<Heard> {
        let mut nodes = self.lock();
        let heard = |(id, live): (&NodeId, &mut NodeLive)| Heard {
            node: *id,
            at_ms: live.seen_ms,
            address: live.address.clone(),
            agent_version: live.agent_version.clone(),
        };
        let unsaved = nodes.iter_mut().filter_map(|(id, live)| std::mem::take(&mut live.unsaved).then_some((id, live)));
        unsaved.map(heard).collect()
    }

    fn update(&self, node: NodeId, change: impl FnOnce(&mut NodeLive)) {
        change(self.lock().entry(node).or_default());
    }

    /// A node was refused before it had a session.
    fn refused(&self, node: NodeId, reason: &str) {
        self.update(node, |live| {
            live.problem = reason.to_owned();
            live.seen_ms = now_ms();
        });
    }

    /// A report came. What a node holds rises with its reports and falls only with a new hello. True if it says of the
    /// modules what no report said before; what else is in it (load, clock) is no reason to tell consoles at once.
    fn report(&self, node: NodeId, report: NodeReport) -> bool {
        let mut news = false;
        self.update(node, |live| {
            let now = now_ms();
            news = live
                .report
                .as_ref()
                .is_none_or(|last| last.modules != report.modules || last.cluster_version != report.cluster_version);
            live.seen_ms = now;
            live.reported_ms = now;
            live.clock_offset_ms = i64::try_from(report.unix_ms).unwrap_or(i64::MAX).saturating_sub_unsigned(now);
            let held = Arc::make_mut(&mut live.held);
            held.cluster = held.cluster.max(report.cluster_version);
            for module in &report.modules {
                let held = held.modules.entry(module.id).or_insert_with(|| (module.module.clone(), 0));
                held.1 = held.1.max(module.version);
            }
            live.report = Some(Arc::new(report));
        });
        news
    }

    /// Forgets a node that was removed; ends its session.
    pub fn forget(&self, node: NodeId) {
        let removed = self.lock().remove(&node);
        if let Some(handle) = removed.and_then(|live| live.session) {
            handle.kick.notify_one();
        }
    }

    /// Lets a refused push be tried again at once.
    pub fn retry(&self, node: NodeId) {
        self.update(node, |live| live.refused.clear());
        self.wake();
    }

    /// What this node is to be sent next, and what pushes cannot mend.
    pub fn plan(&self, node: NodeId, desired: &Desired) -> Plan {
        plan_of(node, &self.get(node), desired)
    }

    /// Sends a request; answers come through the receiver.
    ///
    /// # Errors
    /// The node is not connected.
    pub async fn send(&self, node: NodeId, name: &str, request: Request) -> Outcome<mpsc::Receiver<Answer>> {
        let session = self.lock().get(&node).and_then(|live| live.session.clone());
        let gone = || Failure::node(format!("{name} is not connected to the server; check its agent and the network"));
        let session = session.ok_or_else(gone)?;
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let send = session.outgoing.send(Outgoing { request, answers });
        tokio::time::timeout(Duration::from_secs(10), send)
            .await
            .map_err(|_| Failure::node(format!("{name} takes no requests at the moment; try again")))?
            .map_err(|_| gone())?;
        Ok(receiver)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The node is not connected, does not answer within `timeout`, goes away, or refuses.
    pub async fn ask(&self, node: NodeId, name: &str, request: Request, timeout: Duration) -> Outcome<Answer> {
        let mut receiver = self.send(node, name, request).await?;
        match tokio::time::timeout(timeout, receiver.recv()).await {
            Ok(Some(Answer::Refused { reason })) => Err(Failure::node(format!("{name}: {reason}"))),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Failure::node(format!("the connection to {name} was lost before it answered"))),
            Err(_) => Err(Failure::node(format!("{name} did not answer within {} s", timeout.as_secs()))),
        }
    }
}

/// See [`Hub::plan`], for a node of which all that is known is `live`.
pub fn plan_of(node: NodeId, live: &NodeLive, desired: &Desired) -> Plan {
    let mut plan = plan(&wanted(node, desired), &live.held);
    let now = now_ms();
    plan.pushes.retain(|push| live.refused.get(push).is_none_or(|(_, at)| now.saturating_sub(*at) >= RETRY_MS));
    plan
}

/// What a node should hold.
fn wanted(node: NodeId, desired: &Desired) -> Wanted {
    let removed = desired.removed.clone();
    let Some(saved) = desired.cluster.as_ref().filter(|saved| saved.config.node(node).is_some()) else {
        return Wanted { removed, ..Wanted::default() };
    };
    let configured =
        desired.modules.iter().filter_map(|module| Some((module.id, module.name.clone(), module.desired?)));
    Wanted { cluster: Some(saved.config.version), modules: configured.collect(), removed }
}
