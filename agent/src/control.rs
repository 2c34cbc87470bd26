//! The command line's Unix socket: one JSON line asks, one or more answer; versioned and bounded.

pub mod client;
pub mod server;

use crate::drivers::checks::Order;
use crate::pairing::PairingStatus;
use holdfast_api::agent::{LogKind, LogPage, NodeModuleReport};
use holdfast_api::config::ClusterConfig;
use holdfast_api::ids::ModuleId;
use holdfast_core::input::{LoopOrder, ModuleCommand};
use serde::{Deserialize, Serialize};

/// Version of these messages. History: 1, first.
pub const PROTOCOL: u32 = 1;
/// Longest line, in bytes: a package of 16 MiB in base64 and a little more.
pub const LINE_MAX: usize = 24 * 1024 * 1024;
/// Bytes of a snapshot in one line, before base64.
pub const CHUNK: usize = 256 * 1024;

/// A line from the command line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What is asked.
    pub request: Request,
}

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What the modules are; answered by `States`.
    State {
        /// Of this module only.
        module: Option<String>,
    },
    /// A command for a module; answered by `Done` or `Refused`.
    Command {
        /// Which.
        module: String,
        /// What.
        kind: ModuleCommand,
        /// Who.
        actor: String,
        /// It came with `-i`.
        counted: bool,
    },
    /// A page of a log; answered by `Log`.
    Log {
        /// Which module.
        module: String,
        /// Which log.
        which: LogKind,
        /// Position to read from; none: the last `limit` lines.
        from: Option<u64>,
        /// Most lines.
        limit: u32,
    },
    /// A line for the module log; answered by `Done`.
    Print {
        /// Which module.
        module: String,
        /// Level E, not I.
        error: bool,
        /// Text.
        text: String,
    },
    /// A resource is now this; answered by `Done` or `Refused`.
    SetResource {
        /// Which module.
        module: String,
        /// Such as `custom.web`.
        name: String,
        /// `up`, `down`, or a word.
        value: String,
        /// Who says so.
        by: String,
    },
    /// An order to the checkers; answered by `Done` or `Refused`.
    Checks {
        /// Of which module.
        module: String,
        /// What.
        order: Order,
        /// Who.
        by: String,
    },
    /// A script counts its restarts; answered by `Done`, or by `Refused` once the limit is reached.
    Loop {
        /// Of which module.
        module: String,
        /// What.
        order: LoopOrder,
        /// Who.
        by: String,
    },
    /// The pairing; answered by `Pairing`.
    Pairing {
        /// Open it with a new code.
        reopen: bool,
    },
    /// Fingerprint of the node's key; answered by `Done`.
    Key,
    /// Support zip; answered by `Chunk`s.
    Snapshot {
        /// Of this module only.
        module: Option<String>,
    },
    /// Hold this cluster configuration; answered by `Done` or `Refused`.
    ClusterConfigure {
        /// The configuration.
        config: ClusterConfig,
    },
    /// The cluster configuration held, without its secret; answered by `Cluster`.
    Cluster,
    /// Install a package for editing; answered by `Done` or `Refused`.
    ModuleInstall {
        /// Name of the module.
        module: String,
        /// Number; none: the one it has, or the lowest free one.
        id: Option<ModuleId>,
        /// The `.safe` zip, base64.
        package: String,
    },
    /// Configure an installed module as edited; answered by `Done` or `Refused`.
    ModuleConfigure {
        /// Which.
        module: String,
    },
    /// Check an installed module as edited; answered by `Done` or `Refused`.
    ModuleCheck {
        /// Which.
        module: String,
    },
    /// Forget a stopped module; answered by `Done` or `Refused`.
    ModuleRemove {
        /// Which.
        module: String,
    },
    /// Installed and configured modules; answered by `Modules`.
    ModuleList,
    /// Look at paths before replicating them; answered by `Paths`.
    VerifyPaths {
        /// Absolute paths.
        paths: Vec<String>,
    },
}

/// A module as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedModule {
    /// Name.
    pub module: String,
    /// Number.
    pub id: ModuleId,
    /// It has an editable folder.
    pub installed: bool,
    /// Version of its configuration; none: not configured.
    pub version: Option<u64>,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Answer {
    /// It was done.
    Done {
        /// What was done.
        text: String,
    },
    /// It was not done.
    Refused {
        /// Why, and the cure.
        reason: String,
    },
    /// The modules.
    States {
        /// By name.
        modules: Vec<NodeModuleReport>,
    },
    /// A page of a log.
    Log {
        /// The page.
        page: LogPage,
    },
    /// The pairing.
    Pairing {
        /// How it stands.
        status: PairingStatus,
        /// Name of the node.
        node: String,
        /// Fingerprint of its key.
        fingerprint: String,
    },
    /// The cluster.
    Cluster {
        /// Without its secret; none: not configured.
        config: Option<ClusterConfig>,
    },
    /// The modules.
    Modules {
        /// By name.
        modules: Vec<ListedModule>,
    },
    /// What is at the paths.
    Paths {
        /// In the order asked.
        paths: Vec<holdfast_api::agent::PathFacts>,
    },
    /// A piece of a snapshot.
    Chunk {
        /// Base64.
        data: String,
        /// No more follow.
        last: bool,
    },
}
