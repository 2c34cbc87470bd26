//! Fan-out to consoles: one full small snapshot, made at every change (at most ten a second) and every few seconds.

use crate::app::{App, Desired, VERSION};
use crate::db::{self, now_ms};
use crate::hub::NodeLive;
use crate::tasks::Thing;
use axum::extract::ws::{Message, WebSocket};
use holdfast_api::agent::HeldModule;
use holdfast_api::config::WitnessKind;
use holdfast_api::console::{LiveSnapshot, ModuleLive, ModuleOnNode, ModuleView, NodeView};
use holdfast_api::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
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
    latest: watch::Sender<Option<Arc<LiveSnapshot>>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { changes: watch::Sender::new(0), latest: watch::Sender::new(None) }
    }
}

impl Live {
    /// Something that consoles show has changed.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Makes snapshots for ever.
    pub async fn keep(app: Arc<App>) {
        let mut changes = app.live.changes.subscribe();
        loop {
            app.live.latest.send_replace(Some(Arc::new(snapshot(&app))));
            tokio::time::sleep(COALESCE).await;
            let _ = tokio::time::timeout(QUIET, changes.changed()).await;
            changes.borrow_and_update();
        }
    }

    /// Serves one console's socket until it closes or its session ends.
    pub async fn serve(app: Arc<App>, mut socket: WebSocket, session: Vec<u8>) {
        let mut latest = app.live.latest.subscribe();
        let mut check = tokio::time::interval(Duration::from_secs(15));
        // The first is made now: it shows what this user has just changed.
        let mut current = Some(Arc::new(snapshot(&app)));
        let mut sequence = 0;
        loop {
            if let Some(current) = current.take() {
                sequence += 1;
                let snapshot = LiveSnapshot { sequence, ..(*current).clone() };
                let Ok(text) = serde_json::to_string(&snapshot) else { return };
                let send = socket.send(Message::Text(text.into()));
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
                    let session = session.clone();
                    let stands = app.db.call(move |tx| db::users::session(tx, &session)).await;
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
        nodes: desired.nodes.iter().map(|node| node_view(app, &desired, &nodes, node.id)).collect(),
        modules: desired.modules.iter().map(|module| module_live(app, &desired, &nodes, module, now)).collect(),
        tasks: app.tasks.recent(TASKS),
    }
}

/// One node as consoles show it (empty names for one that is not enrolled).
pub fn node_view(app: &App, desired: &Desired, nodes: &BTreeMap<NodeId, NodeLive>, id: NodeId) -> NodeView {
    let live = nodes.get(&id).cloned().unwrap_or_default();
    let row = desired.node(id);
    let report = live.report.clone().unwrap_or_default();
    let in_cluster = desired.members().contains(&id);
    let mut problems = app.hub.plan(id, desired).problems;
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
        address: row.map(|row| row.address.clone()).unwrap_or_default(),
        fingerprint: row.map(|row| row.fingerprint.clone()).unwrap_or_default(),
        in_cluster,
        connected: live.session.is_some(),
        last_seen_unix_ms: live.seen_ms.max(row.map_or(0, |row| row.last_seen_ms)),
        agent_version: row.map(|row| row.agent_version.clone()).unwrap_or_default(),
        cluster_version: live.held.cluster,
        clock_offset_ms: live.clock_offset_ms,
        cpu_percent: report.cpu_percent,
        memory_percent: report.memory_percent,
        problem: problems.join("; "),
        modules: held
            .map(|(id, (name, version))| HeldModule { id: *id, name: name.clone(), version: *version })
            .collect(),
    }
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
    let on_node = |id: NodeId| {
        let live = nodes.get(&id).cloned().unwrap_or_default();
        let held = live.held.modules.get(&module.id).map(|(_, version)| *version);
        ModuleOnNode {
            node: id,
            held,
            fresh: live.session.is_some() && now.saturating_sub(live.reported_ms) < FRESH_MS,
            reported_unix_ms: live.reported_ms,
            pending: pending(module, &live, held),
            report: live.report.and_then(|report| report.modules.into_iter().find(|report| report.id == module.id)),
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
