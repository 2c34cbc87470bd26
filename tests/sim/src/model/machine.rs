//! What the models have in common of a machine: how its node is set, and what its data plane does when it is told to.

use holdfast_api::ids::NodeId;
use holdfast_api::userconfig::{Boot, DefaultPrim, Mode};
use holdfast_core::heartbeat::Incarnation;
use holdfast_core::replica::{Inventory, ReplicaCommand, ReplicaEvent};
use holdfast_core::settings::{BrokenRules, Rules, SAVE_LIMIT_MS, Settings, Witness};

/// Time passes in steps of a pulse; two make the timeout.
pub(super) const PULSE_MS: u64 = 4;

/// What a data plane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plane {
    Idle,
    Alone { accept: u64 },
    Paired,
    Following { session: u64 },
    Fenced,
    Refusing,
}

/// What a data plane does from now on (`None`: what it did), and what it says at once.
pub(super) fn obey(command: ReplicaCommand) -> (Option<Plane>, Option<ReplicaEvent>) {
    match command {
        ReplicaCommand::Inspect => {
            (None, Some(ReplicaEvent::Inspected { inventory: Inventory::default(), uncovered: Inventory::default() }))
        }
        ReplicaCommand::CompareAll | ReplicaCommand::CompleteResync | ReplicaCommand::ConfirmUpToDate => (None, None),
        ReplicaCommand::SetAside { run, .. } => {
            (None, Some(ReplicaEvent::SetAside { run, entries: 0, bytes: 0, folder: String::new() }))
        }
        ReplicaCommand::Serve { .. } => (Some(Plane::Alone { accept: 0 }), Some(ReplicaEvent::Serving)),
        ReplicaCommand::ContinueAlone { .. } => (Some(Plane::Alone { accept: 0 }), None),
        ReplicaCommand::AcceptPeer { session } => (Some(Plane::Alone { accept: session }), None),
        ReplicaCommand::Follow { session, .. } => (Some(Plane::Following { session }), None),
        ReplicaCommand::Fence => (Some(Plane::Fenced), Some(ReplicaEvent::Fenced)),
        ReplicaCommand::Refuse => (Some(Plane::Refusing), Some(ReplicaEvent::Refusing)),
        ReplicaCommand::Release { .. } => (Some(Plane::Idle), Some(ReplicaEvent::Released)),
    }
}

/// How the node of machine `host` is set at its `starts`th start. Its peer is the other of the first two; a machine
/// beyond them takes the first for its peer.
pub(super) fn settings(host: usize, starts: u64, broken: BrokenRules) -> Settings {
    let peer = usize::from(host == 0);
    let (node, peer) = (host + 1, peer + 1);
    Settings {
        module: "m".to_owned(),
        node: NodeId(node as u16),
        node_name: format!("node{node}"),
        peer: NodeId(peer as u16),
        peer_name: format!("node{peer}"),
        links: 1,
        pulse_ms: PULSE_MS,
        timeout_ms: PULSE_MS * 2,
        link_times: Vec::new(),
        maxloop: 3,
        loop_interval_ms: 1_000_000,
        failover: true,
        mode: Mode::Mirror,
        link_idents: Vec::new(),
        defaultprim: DefaultPrim::Alone,
        automatic_reboot: false,
        boot: Boot::Ignore,
        scripts: Vec::new(),
        checkers: Vec::new(),
        rules: Rules::default(),
        covered: Default::default(),
        signature: 7,
        boot_id: starts,
        incarnation: Incarnation { count: starts, id: starts },
        witness: Witness::Register,
        witness_timeout_ms: PULSE_MS * 2,
        save_limit_ms: SAVE_LIMIT_MS,
        broken,
    }
}
