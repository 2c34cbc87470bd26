//! Messages between server and agent over the agent's WebSocket: JSON text frames, mutual TLS, one session per node.
//!
//! The agent dials `wss://<server>/agent` with SNI [`AGENT_SNI`] and speaks first ([`FromAgent::Hello`]); the server
//! answers `Welcome` or `Refused`. Then the server sends `Request`s (each answered by one `Answer` with its id, a
//! snapshot by several) and the agent sends `Report`s: at once on every change and at least every
//! [`REPORT_INTERVAL_MS`]. A report is a level: the whole of what the node is, so a lost one costs nothing.

use crate::config::{ClusterConfig, ModuleConfig};
use crate::ids::{Generation, ModuleId, NodeId};
use crate::resource::ResourceValue;
use crate::state::{DataState, ModuleState, Readiness};
use serde::{Deserialize, Serialize};

/// Version of these messages. History: 1, first.
pub const PROTOCOL_VERSION: u32 = 1;
/// Longest frame, in bytes; longer ones end the session.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a snapshot in one [`Answer::SnapshotChunk`], before base64.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Most log lines in one page.
pub const LOG_LINES_MAX: u32 = 2000;
/// Most paths in one inspection.
pub const PATHS_MAX: usize = 64;
/// Name by which agents, and only agents, ask the server's TLS for a session with client certificate.
pub const AGENT_SNI: &str = "agent.holdfast.internal";
/// Path of the agents' WebSocket.
pub const AGENT_PATH: &str = "/agent";
/// A quiet agent repeats its report this often.
pub const REPORT_INTERVAL_MS: u64 = 5_000;

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAgent {
    /// First frame of a session.
    Hello(Hello),
    /// What the node is now.
    Report(NodeReport),
    /// Answer to the request with this id.
    Answer {
        /// Number of the request.
        id: u64,
        /// The answer.
        answer: Answer,
    },
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromServer {
    /// The session stands.
    Welcome {
        /// This node's number.
        node: NodeId,
        /// This node's name, as the cluster knows it.
        name: String,
        /// Version of the server's program.
        server_version: String,
        /// Where to dial from now on ("host:port"), most preferred first; replaces what enrolment said.
        servers: Vec<String>,
        /// A renewed certificate (PEM) for the node's key, when the old one is near its end.
        certificate: Option<String>,
    },
    /// The session is refused; the connection closes.
    Refused {
        /// Why, and the cure.
        reason: String,
    },
    /// Something to do; answered by `FromAgent::Answer` with the same id.
    Request {
        /// Number, unique within the session.
        id: u64,
        /// What.
        request: Request,
    },
}

/// First frame of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the agent.
    pub protocol: u32,
    /// Version of the agent's program.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// The machine's boot id, as text.
    pub boot_id: String,
    /// Version of the cluster configuration held; 0: none.
    pub cluster_version: u64,
    /// Modules held.
    pub modules: Vec<HeldModule>,
}

/// A module that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldModule {
    /// Its number.
    pub id: ModuleId,
    /// Its name.
    pub name: String,
    /// Version of its configuration.
    pub version: u64,
}

/// What a server asks of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Request {
    /// Hold this cluster configuration. Answered by `Done` or `Refused`.
    PushCluster {
        /// The configuration.
        config: ClusterConfig,
    },
    /// Hold and configure this module. Answered by `Done` or `Refused`.
    PushModule {
        /// The module.
        config: ModuleConfig,
    },
    /// Forget this module (refused while it is not stopped). Answered by `Done` or `Refused`.
    RemoveModule {
        /// Which.
        module: ModuleId,
    },
    /// Give this command to a module. Answered by `Done` when it has been carried out as far as this node alone
    /// decides (states follow by report), or `Refused`.
    Command {
        /// Which.
        module: ModuleId,
        /// What.
        kind: ModuleCommand,
        /// Who wants it: the console's user.
        actor: String,
    },
    /// Read a page of a log. Answered by `LogPage` or `Refused`.
    ReadLog {
        /// Which module.
        module: ModuleId,
        /// Which log.
        which: LogKind,
        /// Position to read from (see [`LogPage`]); none: the last `limit` lines.
        from: Option<u64>,
        /// Most lines, at most [`LOG_LINES_MAX`].
        limit: u32,
    },
    /// Look at paths, for the wizard. Answered by `Paths`.
    InspectPaths {
        /// Absolute paths, at most [`PATHS_MAX`].
        paths: Vec<String>,
    },
    /// List the running processes, for the wizard. Answered by `Processes`.
    ListProcesses,
    /// Make a support zip. Answered by `SnapshotChunk`s until one is the last, or `Refused`. The sender keeps at most
    /// a few chunks in flight.
    Snapshot {
        /// Of this module; none: of the whole node.
        module: Option<ModuleId>,
    },
    /// Forget the cluster, the modules and the server: the node was removed. Answered by `Done` or `Refused`.
    Leave,
}

/// An agent's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Answer {
    /// It was done.
    Done {
        /// What was done, for people; may have several lines.
        text: String,
    },
    /// It was not done.
    Refused {
        /// Why, and the cure.
        reason: String,
    },
    /// A page of a log.
    LogPage(LogPage),
    /// What is at the paths, in the order asked.
    Paths {
        /// One for each path.
        paths: Vec<PathFacts>,
    },
    /// The running processes.
    Processes {
        /// Sorted by name, at most 5000.
        processes: Vec<ProcessFacts>,
    },
    /// A piece of a snapshot, in order.
    SnapshotChunk {
        /// Base64.
        data: String,
        /// No more follow.
        last: bool,
    },
}

/// Commands for a module on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ModuleCommand {
    /// Start, in the role that the data allows.
    Start,
    /// Start as primary where that is safe.
    Prim,
    /// Start as primary whatever the data state is.
    PrimForce,
    /// As `Prim`, and the secondary copies everything (which it always does in this version).
    PrimFullSync,
    /// Start as secondary; agrees to overwrite this copy.
    Second,
    /// As `Second`, and everything is copied (which it always is in this version).
    SecondFullSync,
    /// Stop.
    Stop,
    /// Stop when `Stop` has no effect: without a graceful stop of the application.
    ForceStop,
    /// Stop and start the application here; no failover.
    Restart,
    /// Stop the module, then start it.
    StopStart,
    /// Exchange roles.
    Swap,
    /// Start the module at boot from now on.
    BootOn,
    /// Do not start the module at boot.
    BootOff,
    /// Start the module at boot if it was running when the machine went down.
    BootAuto,
    /// A secondary takes over by itself from now on.
    FailoverOn,
    /// Only an operator makes a secondary primary from now on.
    FailoverOff,
}

impl ModuleCommand {
    /// As typed on the command line and shown in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Prim => "prim",
            Self::PrimForce => "primforce",
            Self::PrimFullSync => "prim fullsync",
            Self::Second => "second",
            Self::SecondFullSync => "second fullsync",
            Self::Stop => "stop",
            Self::ForceStop => "forcestop",
            Self::Restart => "restart",
            Self::StopStart => "stopstart",
            Self::Swap => "swap",
            Self::BootOn => "boot on",
            Self::BootOff => "boot off",
            Self::BootAuto => "boot auto",
            Self::FailoverOn => "failover on",
            Self::FailoverOff => "failover off",
        }
    }
}

/// Which log of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// The dated events with their reasons.
    #[default]
    Module,
    /// Output of the scripts.
    Application,
}

/// Lines of a log. Positions are numbers that only rise along a log (a byte offset or a line number, as the agent
/// likes); a log that was cut off at its old end has a higher `first`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogPage {
    /// Position of the oldest line there is.
    pub first: u64,
    /// Position to go on from; equal to `end` when there is no more for now.
    pub next: u64,
    /// Position after the newest line.
    pub end: u64,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Its position.
    pub at: u64,
    /// When; 0 if unknown.
    pub unix_ms: u64,
    /// `I`, `S`, `W` or `E` (information, state, warning, error); empty in the application log.
    #[serde(default)]
    pub level: String,
    /// The text, without line end.
    pub text: String,
}

/// What is at a path of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PathFacts {
    /// The path asked for.
    pub path: String,
    /// Something is there.
    pub exists: bool,
    /// It is a directory.
    pub directory: bool,
    /// Entries directly in it (counted up to 10000).
    pub entries: u64,
    /// Bytes in files below it; none if counting took too long.
    pub bytes: Option<u64>,
    /// Mount point of the file system it is (or would be) on.
    pub mount_point: String,
    /// Type of that file system.
    pub file_system: String,
    /// Free bytes on it.
    pub free_bytes: u64,
    /// What to mind (a mount point itself, no room, a system directory); empty: nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProcessFacts {
    /// Its number.
    pub pid: u32,
    /// Command name (15 bytes at most).
    pub name: String,
    /// Command line, cut at 1024 bytes.
    pub arguments: String,
    /// Owner's number.
    pub uid: u32,
}

/// What a node is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeReport {
    /// The node's wall clock when it was made, Unix milliseconds (the server computes the offset).
    pub unix_ms: u64,
    /// The machine's boot id.
    pub boot_id: String,
    /// Busy share of all processors since the last report, percent.
    pub cpu_percent: f32,
    /// Used memory, percent.
    pub memory_percent: f32,
    /// Version of the cluster configuration in force; 0: none.
    pub cluster_version: u64,
    /// Its modules.
    pub modules: Vec<NodeModuleReport>,
}

/// What a module on a node is now; also what `holdfast state --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeModuleReport {
    /// Name of the module.
    pub module: String,
    /// Number of the module.
    pub id: ModuleId,
    /// Name of the node.
    pub node: String,
    /// State.
    pub state: ModuleState,
    /// Readiness.
    pub readiness: Readiness,
    /// Data state.
    pub data: DataState,
    /// Generation of this copy.
    pub generation: Generation,
    /// Since when state and readiness are as they are.
    pub since_unix_ms: u64,
    /// In WAIT: what for, and what an operator can do.
    pub waiting_for: Option<String>,
    /// One sentence about the state and its reason.
    pub detail: String,
    /// The module is started when the node boots.
    pub boot_start: bool,
    /// The operator wants it running here.
    pub running: bool,
    /// The other node, as heard by this one; none: never heard.
    pub peer: Option<PeerReport>,
    /// A resync under way.
    pub resync: Option<ResyncReport>,
    /// What the replicated directories hold; none: not counted.
    pub inventory: Option<InventoryReport>,
    /// Version of the module's configuration in force.
    pub version: u64,
    /// Its resources, by name.
    #[serde(default)]
    pub resources: Vec<ResourceReport>,
}

/// A resource of a module on a node: what a checker, a script or the module itself says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceReport {
    /// Such as `tcp.web`.
    pub name: String,
    /// `init`, `up`, `down`, `unknown`, or a number or a word.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub value: ResourceValue,
    /// Since when it has this value.
    pub since_unix_ms: u64,
    /// Who said so.
    pub by: String,
}

/// The other node of a module, as heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerReport {
    /// Its name.
    pub node: String,
    /// Its state, as last heard.
    pub state: ModuleState,
    /// Its readiness, as last heard.
    pub readiness: Readiness,
    /// Its data state, as last heard.
    pub data: DataState,
    /// It was heard within the timeout.
    pub heard: bool,
    /// Its generation, as last heard.
    pub generation: Generation,
}

/// Progress of a resync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResyncReport {
    /// Entries compared so far.
    pub entries_done: u64,
    /// Entries in all (may grow).
    pub entries_total: u64,
    /// Bytes compared so far.
    pub bytes_done: u64,
    /// Bytes in all (may grow).
    pub bytes_total: u64,
    /// Bytes that differed and were sent.
    pub bytes_sent: u64,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
}

/// What the replicated directories of a node hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InventoryReport {
    /// Files and directories.
    pub entries: u64,
    /// Sum of file sizes.
    pub bytes: u64,
    /// Latest change of any file, Unix milliseconds; 0 if there is none.
    pub changed_unix_ms: u64,
}
