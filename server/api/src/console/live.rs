//! The snapshots of the live socket.

use super::{ClusterView, ModuleView, NodeView, TaskView};
use crate::agent::NodeModuleReport;
use crate::config::{ModuleMode, WitnessKind};
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// Each message of `/api/v1/live`: everything, again. The server sends one on connecting, at every change (at most ten a
/// second) and every 5 s when nothing changes; silence for 15 s means that the page is stale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveSnapshot {
    /// Rises with each message of a connection.
    pub sequence: u64,
    /// The server's clock.
    pub unix_ms: u64,
    /// Version of the server's program.
    pub server_version: String,
    /// Hash of the console's build: reload when it changes.
    pub console_build: String,
    /// The saved cluster.
    pub cluster: ClusterView,
    /// Enrolled nodes, by number.
    pub nodes: Vec<NodeView>,
    /// Modules, by number.
    pub modules: Vec<ModuleLive>,
    /// What is wrong with the management server itself, each with what to do.
    #[serde(default)]
    pub server_problems: Vec<String>,
    /// Tasks that go on, and the latest ended ones, newest first (at most 20).
    pub tasks: Vec<TaskView>,
}

/// A module in a live snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleLive {
    /// What is saved and wanted.
    pub module: ModuleView,
    /// One for each node of the cluster, and for nodes that still hold the module.
    pub nodes: Vec<ModuleOnNode>,
    /// What the wanted version says; none: a draft.
    pub facts: Option<ModuleFacts>,
    /// The register at this server; none: the module has another witness, or none.
    pub register: Option<RegisterLive>,
}

/// What a module's wanted version says that consoles show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleFacts {
    /// Kind of module.
    pub mode: ModuleMode,
    /// Networks of the heartbeats, each with the second half of its resource `heartbeat.<ident>`.
    pub networks: Vec<NetworkFacts>,
    /// The network of the replication.
    pub flow: String,
    /// Virtual addresses.
    pub addresses: Vec<String>,
    /// Replicated directories.
    pub directories: Vec<String>,
    /// Who is asked when the nodes cannot hear each other.
    pub witness: WitnessKind,
}

/// A network of a module's heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NetworkFacts {
    /// Its name in the cluster.
    pub lan: String,
    /// Second half of the resource `heartbeat.<ident>`.
    pub ident: String,
}

/// The register of a module, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterLive {
    /// It grants.
    pub armed: bool,
    /// The nodes it waits for, by name.
    pub waits_for: Vec<String>,
}

/// A module on a node in a live snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleOnNode {
    /// Which.
    pub node: NodeId,
    /// Version held by the node; none: it does not hold the module.
    pub held: Option<u64>,
    /// The node is connected and `report` is fresh; otherwise `report` is what was last known.
    pub fresh: bool,
    /// When the report came; 0: never.
    pub reported_unix_ms: u64,
    /// The report.
    pub report: Option<NodeModuleReport>,
    /// Why the wanted version is not in force ("applying…", the node's refusal); empty: it is.
    pub pending: String,
}
