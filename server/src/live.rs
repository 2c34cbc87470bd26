//! Fan-out to consoles: one full small snapshot, made at every change (at most ten a second) and every few seconds.

use crate::app::{App, Desired, VERSION};
use crate::auth;
use crate::db::now_ms;
use crate::hub::NodeLive;
use crate::tasks::Thing;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use holdfast_api::agent::HeldModule;
use holdfast_api::config::WitnessKind;
use holdfast_api::console::{LiveSnapshot, ModuleLive, ModuleOnNode, ModuleView, NodeView};
use holdfast_api::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Least time between two snapshots.
const COALESCE: Duration = Duration::from_millis(100);
/// Most time between two snapshots.
const QUIET: Duration = Duration::from_secs(5);
/// A report older than this is no longer fresh.
const FRESH_MS: u64 = 15_000;
/// Tasks in a snapshot.
const TASKS: usize = 20;
/// A console takes a message within this.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// The changes, and the latest snapshot.
pub struct Live {
    changes: watch::Sender<u64>,
    latest: watch::Sender<Option<Arc<Told>>>,
    made: AtomicU64,
}

/// A snapshot as all consoles are sent it.
struct Told {
    sequence: u64,
    text: Utf8Bytes,
}

impl Default for Live {
    fn default() -> Self {
        Self { changes: watch::Sender::new(0), latest: watch::Sender::new(None), made: AtomicU64::new(0) }
    }
}

impl Live {
    /// Something that consoles show has changed.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Makes snapshots for ever, as long as a console is open. A large one is made less often, so that the making takes a
    /// tenth of a processor at most.
    pub async fn keep(app: Arc<App>) {
        let mut changes = app.live.changes.subscribe();
        loop {
            let began = tokio::time::Instant::now();
            if app.live.latest.receiver_count() > 0
                && let Some(told) = Self::tell(&app).await
            {
                app.live.latest.send_replace(Some(told));
            }
            tokio::time::sleep(COALESCE.max(began.elapsed() * 9)).await;
            let _ = tokio::time::timeout(QUIET, changes.changed()).await;
            changes.borrow_and_update();
        }
    }

    /// Makes a snapshot, beside the threads that answer requests.
    async fn tell(app: &Arc<App>) -> Option<Arc<Told>> {
        let app = Arc::clone(app);
        let make = move || {
            let sequence = app.live.made.fetch_add(1, Ordering::Relaxed) + 1;
            let text = serde_json::to_string(&LiveSnapshot { sequence, ..snapshot(&app) }).ok()?;
            Some(Arc::new(Told { sequence, text: text.into() }))
        };
        tokio::task::spawn_blocking(make).await.ok().flatten()
    }

    /// Serves one console's socket until it closes or its session ends.
    pub async fn serve(app: Arc<App>, mut socket: WebSocket, session: Vec<u8>) {
        let mut latest = app.live.latest.subscribe();
        let mut check = tokio::time::interval(Duration::from_secs(15));
        // The first is made now: it shows what this user has just changed.
        let mut current = Self::tell(&app).await;
        let mut sequence = 0;
        loop {
            // One that was begun before the first, and published after it, is older.
            if let Some(told) = current.take().filter(|told| told.sequence > sequence) {
                sequence = told.sequence;
                let send = socket.send(Message::Text(told.text.clone()));
                if !matches!(tokio::time::timeout(SEND_TIMEOUT, send).await, Ok(Ok(()))) {
                    return;
                }
            }
            tokio::select! {
                changed = latest.changed() => {
                    if changed.is_err() { return }
                    current.clone_from(&latest.borrow_and_update());
                }
                _ = check.tick() => {
                    let stands = auth::session_user(&app, session.clone()).await;
                    if !matches!(stands, Ok(Some(_))) { return }
                }
                frame = socket.recv() => match frame {
                    None | Some(Err(_) | Ok(Message::Close(_))) => return,
                    Some(Ok(_)) => {}
                }
            }
        }
    }
}

/// Everything that consoles show, now.
pub fn snapshot(app: &App) -> LiveSnapshot {
    let desired = app.desired();
    let nodes = app.hub.all();
    let now = now_ms();
    LiveSnapshot {
        sequence: 0,
        unix_ms: now,
        server_version: VERSION.to_owned(),
        console_build: app.console.build(),
        cluster: desired.cluster_view(),
        nodes: desired.nodes.iter().map(|node| node_view(&desired, &nodes, node.id)).collect(),
        modules: desired.modules.iter().map(|module| module_live(app, &desired, &nodes, module, now)).collect(),
        server_problems: server_problems(app),
        tasks: app.tasks.recent(TASKS),
    }
}

/// What is wrong with this server itself.
fn server_problems(app: &App) -> Vec<String> {
    let certificate =
        app.tls.shown().map_or_else(|error| format!("its certificate cannot be read: {error:#}"), |view| view.warning);
    Some(certificate).filter(|problem| !problem.is_empty()).into_iter().collect()
}

/// One node as consoles show it (empty names for one that is not enrolled).
pub fn node_view(desired: &Desired, nodes: &BTreeMap<NodeId, NodeLive>, id: NodeId) -> NodeView {
    let unknown = NodeLive::default();
    let live = nodes.get(&id).unwrap_or(&unknown);
    let row = desired.node(id);
    let in_cluster = desired.is_member(id);
    let mut problems = crate::hub::plan_of(id, live, desired).problems;
    if live.session.is_none() {
        problems.clear();
        problems.extend(Some(live.problem.clone()).filter(|problem| !problem.is_empty()));
    } else if in_cluster
        && let Some((thing, (reason, _))) = live.refused.iter().next_back()
        && matches!(thing, Thing::Cluster(_))
    {
        problems.push(reason.clone());
    }
    let held = live.held.modules.iter();
    NodeView {
        id,
        name: row.map(|row| row.name.clone()).unwrap_or_default(),
        address: told(&live.address, row.map(|row| &row.address)),
        fingerprint: row.map(|row| row.fingerprint.clone()).unwrap_or_default(),
        in_cluster,
        connected: live.session.is_some(),
        last_seen_unix_ms: live.seen_ms.max(row.map_or(0, |row| row.last_seen_ms)),
        agent_version: told(&live.agent_version, row.map(|row| &row.agent_version)),
        cluster_version: live.held.cluster,
        clock_offset_ms: live.clock_offset_ms,
        cpu_percent: live.report.as_ref().map_or_else(Default::default, |report| report.cpu_percent),
        memory_percent: live.report.as_ref().map_or_else(Default::default, |report| report.memory_percent),
        problem: problems.join("; "),
        modules: held
            .map(|(id, (name, version))| HeldModule { id: *id, name: name.clone(), version: *version })
            .collect(),
    }
}

/// What a node has said since the server started, else what is saved of it.
fn told(live: &str, saved: Option<&String>) -> String {
    if live.is_empty() { saved.cloned().unwrap_or_default() } else { live.to_owned() }
}

fn module_live(
    app: &App,
    desired: &Desired,
    nodes: &BTreeMap<NodeId, NodeLive>,
    module: &ModuleView,
    now: u64,
) -> ModuleLive {
    let holders = nodes.iter().filter(|(_, live)| live.held.modules.contains_key(&module.id)).map(|(id, _)| *id);
    let shown: BTreeSet<NodeId> = desired.members().into_iter().chain(holders).collect();
    let unknown = NodeLive::default();
    let on_node = |id: NodeId| {
        let live = nodes.get(&id).unwrap_or(&unknown);
        let reports = live.report.iter().flat_map(|report| &report.modules);
        let held = live.held.modules.get(&module.id).map(|(_, version)| *version);
        ModuleOnNode {
            node: id,
            held,
            fresh: live.session.is_some() && now.saturating_sub(live.reported_ms) < FRESH_MS,
            reported_unix_ms: live.reported_ms,
            pending: pending(module, live, held),
            report: reports.into_iter().find(|report| report.id == module.id).cloned(),
        }
    };
    let facts = desired.facts.get(&module.id).map(|(_, facts)| facts.clone());
    let registered = facts.as_ref().is_some_and(|facts| facts.witness == WitnessKind::Register);
    let register = registered.then(|| crate::register::glance(&app.register, desired, module.id));
    ModuleLive { module: module.clone(), nodes: shown.into_iter().map(on_node).collect(), facts, register }
}

/// Why the wanted version is not in force on a node; empty: it is.
fn pending(module: &ModuleView, live: &NodeLive, held: Option<u64>) -> String {
    let Some(wanted) = module.desired else {
        return String::new();
    };
    if held == Some(wanted) {
        return String::new();
    }
    if live.session.is_none() {
        return format!("not connected: it gets version {wanted} when it comes back");
    }
    let thing = Thing::Module(module.id, wanted);
    match live.refused.get(&thing) {
        Some((reason, _)) => reason.clone(),
        None if held.is_some_and(|held| held > wanted) => "the node holds a newer version than the server".into(),
        None => format!("applying version {wanted}…"),
    }
}
