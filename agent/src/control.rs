//! The command line's Unix socket: one JSON line asks, one or more answer; versioned and bounded.
//!
//! Agents ask each other the same over the cluster link: a request for another node is passed on to it unchanged.

pub mod client;
pub mod server;
mod words;

pub use words::command;

use crate::cluster_link::members::Member;
use crate::cluster_link::message::Mark;
use crate::drivers::checks::Order;
use crate::pairing::PairingStatus;
use holdfast_api::agent::{AsideCopy, LogKind, LogPage, LogWanted, NodeModuleReport};
use holdfast_api::config::{ClusterConfig, ModuleConfig};
use holdfast_api::ids::ModuleId;
use holdfast_core::input::{LoopOrder, ModuleCommand};
use holdfast_replica::control::VerifyReport;
use serde::{Deserialize, Serialize};

/// Version of these messages. History: 1, first; 2, the actor and the node beside the request.
pub const PROTOCOL: u32 = 2;
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
    /// Who asks: a person, or what a script gave with `-i`.
    pub actor: String,
    /// Name of the node that is to carry it out; none: the one asked.
    pub on: Option<String>,
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
        /// It came with `-i`.
        counted: bool,
    },
    /// A page of a log; answered by `Log`.
    Log {
        /// Which module.
        module: String,
        /// Which log.
        which: LogKind,
        /// Which lines.
        wanted: LogWanted,
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
    },
    /// An order to the checkers; answered by `Done` or `Refused`.
    Checks {
        /// Of which module.
        module: String,
        /// What.
        order: Order,
    },
    /// A script counts its restarts; answered by `Done`, or by `Refused` once the limit is reached.
    Loop {
        /// Of which module.
        module: String,
        /// What.
        order: LoopOrder,
    },
    /// Compare both copies of a module, or tell how far that is; answered by `Verify`.
    Verify {
        /// Which.
        module: String,
        /// Begin.
        start: bool,
    },
    /// Compare this node's copy of a module with the serving peer's before it follows, or tell how far that is; answered by
    /// `Verify` or `Refused`.
    Diff {
        /// Which.
        module: String,
        /// Begin.
        start: bool,
    },
    /// What was set aside of a module on this node; answered by `Diverged`.
    Diverged {
        /// Which.
        module: String,
    },
    /// Write what was set aside into one zip on that node; answered by `Done` or `Refused`.
    DivergedExport {
        /// Which module.
        module: String,
        /// Under which name.
        id: String,
        /// Absolute path of the zip, which must not exist yet.
        to: String,
    },
    /// Delete what was set aside; answered by `Done` or `Refused`.
    DivergedDelete {
        /// Which module.
        module: String,
        /// Under which name.
        id: String,
    },
    /// The pairing; answered by `Pairing`.
    Pairing {
        /// Open it with a new code.
        reopen: bool,
    },
    /// Fingerprint of the node's key; answered by `Done`.
    Key,
    /// What the node is; answered by `Level`.
    Level {
        /// With what the `level` script of this module says.
        module: Option<String>,
    },
    /// What the `state` script of a module says; answered by `Done`, with nothing if it has none.
    ToldState {
        /// Of which module.
        module: String,
    },
    /// Where things are on the node; answered by `Places`.
    Places {
        /// Those of this module too.
        module: Option<String>,
    },
    /// Repair a module; answered by `Done` or `Refused`.
    Clean {
        /// Which module.
        module: String,
        /// What of it.
        part: Cleaned,
    },
    /// Keep a support zip of a module on the node; answered by `Done` or `Refused`.
    Dump {
        /// Which module.
        module: String,
    },
    /// Resolve a module's names anew and run its `update` script; answered by `Done` or `Refused`.
    ModuleUpdate {
        /// Which.
        module: String,
    },
    /// The editable files of an installed module; answered by `Package`.
    ModulePackage {
        /// Which.
        module: String,
    },
    /// Forget a stopped module and remove its editable files; answered by `Done` or `Refused`.
    ModuleUninstall {
        /// Which.
        module: String,
    },
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
    /// The nodes of the cluster and what is known of them; answered by `Members`.
    ClusterState,
    /// Check a cluster configuration without holding it; answered by `Done` or `Refused`.
    ClusterCheck {
        /// The configuration.
        config: ClusterConfig,
    },
    /// Forget the cluster, the stopped modules and the server; answered by `Done` or `Refused`.
    ClusterLeave,
    /// A module's configuration in use and as edited; answered by `ModuleInfo`.
    ModuleInfo {
        /// Which.
        module: String,
    },
    /// Hold a module as another node does, with the same number and version; answered by `Done` or `Refused`.
    ModuleTake {
        /// The module.
        config: ModuleConfig,
    },
    /// The cluster configuration held, with its secret, for another node; answered by `ClusterGiven`.
    ClusterGive,
    /// A module's configuration held, for another node; answered by `ModuleGiven`.
    ModuleGive {
        /// Which.
        module: String,
    },
    /// Give another node the cluster configuration, or a module as it is here; answered by that node.
    Export {
        /// Which module; none: the cluster configuration.
        module: Option<String>,
        /// Name of the node.
        to: String,
    },
    /// A page of the command log; answered by `Log`.
    CommandLog {
        /// Which lines.
        wanted: LogWanted,
    },
}

/// What of a module is cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleaned {
    /// Its logs.
    Log,
    /// Processes that its scripts have left running.
    Process,
    /// Its resources.
    Resource,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelReport {
    /// Its name in the cluster.
    pub node: String,
    /// Its own name.
    pub host: String,
    /// Name and version of the operating system.
    pub system: String,
    /// Kernel and processor.
    pub kernel: String,
    /// Version of Holdfast.
    pub version: String,
    /// What the module's `level` script said; none without a module or such a script.
    pub module: Option<String>,
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

/// A module's configuration in use and as edited, for comparing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// Name.
    pub module: String,
    /// In use; none: not configured.
    pub used: Option<Mark>,
    /// As edited, without a version; none: not installed, or not usable as it is (see `confcheck`).
    pub edited: Option<Mark>,
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
    /// The node that was to do it cannot be reached.
    Unreachable {
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
    /// A comparison of both copies.
    Verify {
        /// How far it is, or what it found.
        report: VerifyReport,
    },
    /// What was set aside.
    Diverged {
        /// Oldest first.
        copies: Vec<AsideCopy>,
    },
    /// What is at the paths.
    Paths {
        /// In the order asked.
        paths: Vec<holdfast_api::agent::PathFacts>,
    },
    /// The nodes of the cluster.
    Members {
        /// By number.
        members: Vec<Member>,
    },
    /// A module's configurations.
    ModuleInfo(ModuleInfo),
    /// The cluster configuration.
    ClusterGiven {
        /// With its secret.
        config: ClusterConfig,
    },
    /// A module's configuration.
    ModuleGiven {
        /// With its package.
        config: ModuleConfig,
    },
    /// The node.
    Level(Box<LevelReport>),
    /// Folders by the name of their variable.
    Places {
        /// By name.
        places: std::collections::BTreeMap<String, String>,
    },
    /// A module's editable files.
    Package {
        /// The `.safe` zip, base64.
        package: String,
    },
    /// A piece of a snapshot.
    Chunk {
        /// Base64.
        data: String,
        /// No more follow.
        last: bool,
    },
}
