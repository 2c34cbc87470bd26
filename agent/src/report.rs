//! What the node is now: the report of each module, kept for the health URL, the page, the command line and the server.

use crate::clock;
use holdfast_api::agent::{
    InventoryReport, NodeModuleReport, PeerReport, ReplicationReport, ResourceReport, ResyncReport, ScrubReport,
};
use holdfast_api::ids::{Generation, ModuleId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use holdfast_core::resources::{INCOMING, OUTGOING, REPLICATION, Resource};
use holdfast_core::time::Instant;
use holdfast_core::view::View;
use holdfast_replica::control::Stats;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Held {
    node: String,
    modules: BTreeMap<String, (NodeModuleReport, bool)>,
    /// Figures of each module's data plane, read when a report is made: a change of them alone is no news.
    figures: BTreeMap<String, watch::Receiver<Option<Stats>>>,
    /// Where the scrub of each module that has a schedule stands.
    scrubs: BTreeMap<String, ScrubReport>,
    /// Copies that are set aside of each module.
    set_aside: BTreeMap<String, u32>,
}

impl Held {
    /// A report with what the data plane did in the last second; a stopped module's says nothing.
    fn with_figures(&self, report: &NodeModuleReport) -> NodeModuleReport {
        let running = report.state != ModuleState::Stop;
        let figures = self.figures.get(&report.module).filter(|_| running).and_then(|figures| *figures.borrow());
        let replication = figures.map(|figures| ReplicationReport {
            bytes_per_s: figures.bytes_per_s,
            ops_per_s: figures.ops_per_s,
            ack_p99_us: figures.ack_p99_us,
            held_back: figures.held_back,
        });
        let mut resources = report.resources.clone();
        if let Some(figures) = figures {
            resources.extend(bandwidths(&figures, report.state, clock::unix_ms()));
            resources.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let scrub = self.scrubs.get(&report.module).cloned();
        let set_aside = self.set_aside.get(&report.module).copied().unwrap_or_default();
        NodeModuleReport { replication, resources, scrub, set_aside, ..report.clone() }
    }
}

/// What the replication moves, as resources in KiB per second, beside those the module itself says: figures of the last
/// second, with no history, since they are read when somebody asks and no rule is tried because of them.
fn bandwidths(figures: &Stats, state: ModuleState, unix_ms: u64) -> Vec<ResourceReport> {
    let serves = matches!(state, ModuleState::Prim | ModuleState::Alone);
    let payload = serves.then_some((REPLICATION, figures.bytes_per_s));
    let wire = [(INCOMING, figures.received_per_s), (OUTGOING, figures.sent_per_s)];
    let resource = |(name, bytes): (&str, u64)| ResourceReport {
        name: name.to_owned(),
        value: ResourceValue::Other((bytes / 1024).to_string()),
        since_unix_ms: unix_ms,
        by: "replication".to_owned(),
    };
    payload.into_iter().chain(wire).map(resource).collect()
}

/// All reports of the node; clones share them.
#[derive(Clone, Debug)]
pub struct Reports {
    held: Arc<RwLock<Held>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Reports {
    /// No module yet.
    pub fn new(node: &str) -> Self {
        let held = Held { node: node.to_owned(), ..Held::default() };
        Self { held: Arc::new(RwLock::new(held)), changes: Arc::new(watch::channel(0).0) }
    }

    /// Name of the node.
    pub fn node(&self) -> String {
        self.held.read().unwrap_or_else(PoisonError::into_inner).node.clone()
    }

    /// The node got a name.
    pub fn set_node(&self, name: &str) {
        name.clone_into(&mut self.held.write().unwrap_or_else(PoisonError::into_inner).node);
        self.changes.send_modify(|count| *count += 1);
    }

    /// A module is now this; `healthy` is the answer of its health URL.
    pub fn set(&self, report: NodeModuleReport, healthy: bool) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let same = held.modules.get(&report.module).is_some_and(|old| *old == (report.clone(), healthy));
        if !same {
            held.modules.insert(report.module.clone(), (report, healthy));
            drop(held);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Where the figures of a module's data plane are had.
    pub fn watch(&self, module: &str, figures: watch::Receiver<Option<Stats>>) {
        self.held.write().unwrap_or_else(PoisonError::into_inner).figures.insert(module.to_owned(), figures);
    }

    /// Where the scrub of a module stands; none: it has no schedule.
    pub fn set_scrub(&self, module: &str, scrub: Option<ScrubReport>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.scrubs.get(module) == scrub.as_ref() {
            return;
        }
        match scrub {
            Some(scrub) => drop(held.scrubs.insert(module.to_owned(), scrub)),
            None => drop(held.scrubs.remove(module)),
        }
        drop(held);
        self.changes.send_modify(|count| *count += 1);
    }

    /// So many copies of a module's data are set aside here.
    pub fn count_set_aside(&self, module: &str, count: u32) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.set_aside.insert(module.to_owned(), count).unwrap_or_default() != count {
            drop(held);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// A module is gone.
    pub fn remove(&self, module: &str) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.modules.remove(module);
        held.figures.remove(module);
        held.set_aside.remove(module);
        drop(held);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Answer of a module's health URL.
    pub fn healthy(&self, module: &str) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.modules.get(module).is_some_and(|(_, healthy)| *healthy)
    }

    /// All modules, by name.
    pub fn all(&self) -> Vec<NodeModuleReport> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.modules.values().map(|(report, _)| held.with_figures(report)).collect()
    }

    /// One module.
    pub fn get(&self, module: &str) -> Option<NodeModuleReport> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.modules.get(module).map(|(report, _)| held.with_figures(report))
    }

    /// State and readiness of a module, as its log shows them.
    pub fn status(&self, module: &str) -> Option<String> {
        self.get(module).map(|report| format!("{} {}", report.state, report.readiness))
    }

    /// Wakes at each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Report of a module that is held and does not run, because of `detail`.
pub fn blank(module: &str, id: ModuleId, node: &str, version: u64, detail: &str) -> NodeModuleReport {
    NodeModuleReport {
        module: module.to_owned(),
        id,
        node: node.to_owned(),
        state: ModuleState::Stop,
        readiness: Readiness::NotReady,
        data: DataState::Unknown,
        generation: Generation::default(),
        since_unix_ms: clock::unix_ms(),
        waiting_for: None,
        detail: detail.to_owned(),
        boot_start: false,
        running: false,
        peer: None,
        resync: None,
        inventory: None,
        version,
        resources: Vec::new(),
        replication: None,
        scrub: None,
        set_aside: 0,
    }
}

/// Wall-clock dates of instants, read once each, so that a report does not change when nothing else does.
#[derive(Debug, Default)]
pub struct Dates {
    known: HashMap<String, (Instant, u64)>,
}

impl Dates {
    /// Unix milliseconds of `since`, since when `what` is as it is.
    fn date(&mut self, what: &str, since: Instant) -> u64 {
        match self.known.get(what) {
            Some((known, date)) if *known == since => *date,
            _ => {
                let date = clock::unix_ms().saturating_sub(clock::now().since(since));
                self.known.insert(what.to_owned(), (since, date));
                date
            }
        }
    }
}

/// Report of a running module.
pub fn of_view(view: &View, module: &str, id: ModuleId, version: u64, dates: &mut Dates) -> NodeModuleReport {
    let peer = view.peer.as_ref().map(|peer| PeerReport {
        node: peer.node.clone(),
        state: peer.state,
        readiness: peer.readiness,
        data: peer.data,
        heard: peer.heard,
        generation: peer.generation,
    });
    let resync = view.resync.map(|resync| ResyncReport {
        entries_done: resync.entries_done,
        entries_total: resync.entries_total,
        bytes_done: resync.bytes_done,
        bytes_total: resync.bytes_total,
        bytes_sent: resync.bytes_sent,
        elapsed_ms: resync.elapsed_ms,
        bytes_per_s: resync.bytes_per_s,
        left_ms: resync.left_ms,
    });
    let inventory = view.inventory.map(|inventory| InventoryReport {
        entries: inventory.entries,
        bytes: inventory.bytes,
        changed_unix_ms: inventory.changed_unix_ms,
    });
    let resource = |(name, resource): (&str, &Resource)| ResourceReport {
        name: name.to_owned(),
        value: resource.value.clone(),
        since_unix_ms: dates.date(name, resource.since),
        by: resource.by.clone(),
    };
    let resources = view.resources.iter().map(resource).collect();
    NodeModuleReport {
        module: module.to_owned(),
        id,
        node: view.node.clone(),
        state: view.state,
        readiness: view.readiness,
        data: view.data,
        generation: view.generation,
        since_unix_ms: dates.date("", view.since),
        waiting_for: view.waiting_for.clone(),
        detail: view.detail.clone(),
        boot_start: view.boot_start,
        running: view.running,
        peer,
        resync,
        inventory,
        version,
        resources,
        replication: None,
        scrub: None,
        set_aside: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_replication_moves_is_among_the_resources_while_it_runs() {
        let reports = Reports::new("node1");
        let (figures, seen) = watch::channel(None);
        reports.watch("bank", seen);
        let report = NodeModuleReport { state: ModuleState::Prim, ..blank("bank", ModuleId(1), "node1", 1, "") };
        reports.set(report.clone(), true);
        let resources = || -> Vec<(String, String)> {
            let report = reports.get("bank").unwrap();
            report.resources.iter().map(|found| (found.name.clone(), found.value.to_string())).collect()
        };
        assert_eq!(resources(), []);
        let moved = Stats { bytes_per_s: 9 << 20, sent_per_s: 10 << 20, received_per_s: 3000, ..Stats::default() };
        figures.send_replace(Some(moved));
        let named = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let wire = [("rfs.netin_bandwidth", "2"), ("rfs.netout_bandwidth", "10240")];
        assert_eq!(resources(), named(&[wire[0], wire[1], ("rfs.rep_bandwidth", "9216")]));
        reports.set(NodeModuleReport { state: ModuleState::Second, ..report.clone() }, true);
        assert_eq!(resources(), named(&wire), "a secondary's application writes nothing");
        reports.set(NodeModuleReport { state: ModuleState::Stop, ..report }, false);
        assert_eq!(resources(), [], "a stopped module moves nothing");
    }

    #[test]
    fn what_is_set_aside_is_told_with_the_report_and_a_change_of_it_is_news() {
        let reports = Reports::new("node1");
        reports.set(blank("bank", ModuleId(1), "node1", 1, ""), false);
        let mut changes = reports.changes();
        changes.mark_unchanged();
        reports.count_set_aside("bank", 0);
        assert!(!changes.has_changed().unwrap(), "nothing is no news");
        reports.count_set_aside("bank", 2);
        assert!(changes.has_changed().unwrap() && reports.get("bank").unwrap().set_aside == 2);
        changes.mark_unchanged();
        reports.count_set_aside("bank", 2);
        assert!(!changes.has_changed().unwrap());
        reports.remove("bank");
        reports.set(blank("bank", ModuleId(1), "node1", 1, ""), false);
        assert_eq!(reports.get("bank").unwrap().set_aside, 0, "of a module that is gone");
    }
}
