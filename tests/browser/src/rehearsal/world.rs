//! Sessions and snapshots as a server would send them, to begin a rehearsal with.

use holdfast_api::agent::{NodeModuleReport, ReplicationReport, ResourceReport};
use holdfast_api::config::{ModuleMode, ModuleSettings, WitnessKind};
use holdfast_api::console::{
    ClusterNodeForm, ClusterView, LiveSnapshot, ModuleFacts, ModuleLive, ModuleOnNode, ModuleView, NetworkFacts,
    NodeView, SessionView, SettingsView, UserRole, UserView,
};
use holdfast_api::ids::{Generation, ModuleId, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};

/// A moment at which everything began, Unix milliseconds.
const BEGAN: u64 = 1_764_000_000_000;
/// Since when things are as they are: so long that a second more is not told.
const LONG_AGO: u64 = BEGAN - 3 * 24 * 3_600_000;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Somebody with this role is logged in.
pub fn session(role: UserRole) -> SessionView {
    SessionView {
        user: Some(UserView { name: "rehearsal".into(), role }),
        setup_needed: false,
        server_version: VERSION.into(),
        console_build: "rehearsal".into(),
        ca_fingerprint: "00".repeat(32),
        plain_http: false,
        https_address: String::new(),
    }
}

/// A cluster of so many nodes, all in contact, without a module.
pub fn snapshot(nodes: u16) -> LiveSnapshot {
    let form = |number| ClusterNodeForm {
        id: NodeId(number),
        name: format!("node{number}"),
        addresses: [("default".to_owned(), format!("192.0.2.{number}"))].into(),
    };
    LiveSnapshot {
        sequence: 1,
        unix_ms: BEGAN,
        server_version: VERSION.into(),
        console_build: "rehearsal".into(),
        cluster: ClusterView {
            version: 1,
            name: "rehearsal".into(),
            lans: vec!["default".into()],
            nodes: (1..=nodes).map(form).collect(),
            author: "admin".into(),
            saved_unix_ms: BEGAN,
        },
        nodes: (1..=nodes).map(node).collect(),
        modules: Vec::new(),
        server_problems: Vec::new(),
        tasks: Vec::new(),
    }
}

fn node(number: u16) -> NodeView {
    NodeView {
        id: NodeId(number),
        name: format!("node{number}"),
        address: format!("192.0.2.{number}"),
        fingerprint: "00".repeat(32),
        in_cluster: true,
        connected: true,
        last_seen_unix_ms: BEGAN,
        agent_version: VERSION.into(),
        cluster_version: 1,
        clock_offset_ms: 0,
        cpu_percent: 1.0,
        memory_percent: 10.0,
        problem: String::new(),
        modules: Vec::new(),
    }
}

/// A configured mirror module with nothing known of any node.
pub fn module(id: u16, name: &str) -> ModuleLive {
    let network = NetworkFacts { lan: "default".into(), ident: "default".into() };
    ModuleLive {
        module: ModuleView {
            id: ModuleId(id),
            name: name.into(),
            template: "mirror.safe".into(),
            version: 1,
            desired: Some(1),
            author: "admin".into(),
            saved_unix_ms: BEGAN,
        },
        nodes: Vec::new(),
        facts: Some(ModuleFacts {
            mode: ModuleMode::Mirror,
            networks: vec![network],
            flow: "default".into(),
            addresses: vec!["192.0.2.100".into()],
            directories: vec!["/srv/data".into()],
            witness: WitnessKind::None,
        }),
        register: None,
    }
}

/// A module on a node that reports this.
pub fn on(node: u16, report: Option<NodeModuleReport>) -> ModuleOnNode {
    let reported_unix_ms = if report.is_some() { BEGAN } else { 0 };
    ModuleOnNode {
        node: NodeId(node),
        held: Some(1),
        fresh: report.is_some(),
        reported_unix_ms,
        report,
        pending: String::new(),
    }
}

/// What a node says of a module in this state.
pub fn report(module: &ModuleLive, node: u16, state: ModuleState, readiness: Readiness) -> NodeModuleReport {
    let resource =
        |name: &str, value| ResourceReport { name: name.into(), value, since_unix_ms: BEGAN, by: "rehearsal".into() };
    NodeModuleReport {
        module: module.module.name.clone(),
        id: module.module.id,
        node: format!("node{node}"),
        state,
        readiness,
        data: DataState::UpToDate,
        generation: Generation::default(),
        since_unix_ms: LONG_AGO,
        waiting_for: None,
        detail: "up to date".into(),
        boot_start: true,
        running: state != ModuleState::Stop,
        peer: None,
        resync: None,
        inventory: None,
        version: 1,
        resources: vec![
            resource("heartbeat.default", ResourceValue::Up),
            resource("tcp.web", ResourceValue::Up),
            resource("proc.bank", ResourceValue::Up),
        ],
        replication: Some(ReplicationReport { bytes_per_s: 0, ops_per_s: 0, ack_p99_us: 0, held_back: 0 }),
        scrub: None,
        set_aside: 0,
    }
}

/// So many modules, each primary on node1 and secondary on node2.
pub fn pairs(modules: u16) -> LiveSnapshot {
    let mut all = snapshot(2);
    for id in 1..=modules {
        let mut one = module(id, &format!("module{id}"));
        let states = [(1, ModuleState::Prim), (2, ModuleState::Second)];
        one.nodes = states.map(|(node, state)| on(node, Some(report(&one, node, state, Readiness::Ready)))).to_vec();
        all.modules.push(one);
    }
    all
}

/// The saved settings of a mirror module that can be configured as they are.
pub fn settings(name: &str) -> SettingsView {
    let script = "#!/bin/sh\nexit 0\n".to_owned();
    let settings = ModuleSettings {
        name: name.into(),
        mode: ModuleMode::Mirror,
        pulse_ms: 700,
        timeout_ms: 5000,
        maxloop: 3,
        loop_interval_h: 24,
        directories: vec!["/srv/data".into()],
        polltimer_s: 10,
        networks: vec!["default".into()],
        flow: "default".into(),
        scripts: ["start_prim", "stop_prim"].map(|name| (name.to_owned(), script.clone())).into(),
        ..ModuleSettings::default()
    };
    SettingsView { version: 1, settings: Some(settings), problems: Vec::new() }
}
