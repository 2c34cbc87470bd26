//! What a server asks of an agent, and the answers.

use super::{AsideCopy, AsidePage, LogKind, LogPage, LogWanted};
use crate::config::{ClusterConfig, ModuleConfig};
use crate::ids::ModuleId;
use serde::{Deserialize, Serialize};

/// Bytes of a snapshot in one [`Answer::SnapshotChunk`], before base64.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Most paths in one inspection.
pub const PATHS_MAX: usize = 64;

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
    /// Switch the checkers, or the process checker, of a module. Answered by `Done` or `Refused`.
    SwitchChecks {
        /// Which module.
        module: ModuleId,
        /// Which of the two.
        which: ChecksSwitch,
        /// On, or off.
        on: bool,
        /// Who wants it: the console's user.
        actor: String,
    },
    /// Read a page of the node's command log. Answered by `LogPage` or `Refused`.
    ReadCommandLog {
        /// Which lines.
        #[serde(flatten)]
        wanted: LogWanted,
    },
    /// Read a page of a log. Answered by `LogPage` or `Refused`.
    ReadLog {
        /// Which module.
        module: ModuleId,
        /// Which log.
        which: LogKind,
        /// Which lines.
        #[serde(flatten)]
        wanted: LogWanted,
    },
    /// List what was set aside of a module's copies that diverged. Answered by `SetAside` or `Refused`.
    ListSetAside {
        /// Which module.
        module: ModuleId,
    },
    /// Tell what was set aside under this name. Answered by `SetAsidePage` or `Refused`.
    ReadSetAside {
        /// Which module.
        module: ModuleId,
        /// As listed.
        id: String,
        /// Number of the first entry wanted, from 0.
        from: u64,
        /// Most entries, at most [`ASIDE_ENTRIES_MAX`](super::ASIDE_ENTRIES_MAX).
        limit: u32,
    },
    /// Delete what was set aside under this name. Answered by `Done` or `Refused`.
    DeleteSetAside {
        /// Which module.
        module: ModuleId,
        /// As listed.
        id: String,
        /// Who asks, as the node notes it.
        actor: String,
    },
    /// Send the next piece of the zip of what was set aside under this name. Answered by one `SnapshotChunk` or `Refused`:
    /// each piece is asked for, so the slowest reader sets the pace and nothing piles up.
    ExportSetAside {
        /// Which module.
        module: ModuleId,
        /// As listed.
        id: String,
        /// Number of the download, drawn at its beginning.
        download: u64,
        /// The first piece; it begins the download.
        first: bool,
        /// Who asks, as the node notes it.
        actor: String,
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
    /// What was set aside.
    SetAside {
        /// Oldest first.
        copies: Vec<AsideCopy>,
    },
    /// What one copy that was set aside holds.
    SetAsidePage(AsidePage),
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
    /// A piece of a zip, in order.
    SnapshotChunk {
        /// Base64.
        data: String,
        /// No more follow.
        last: bool,
    },
}

/// What of a module's checking is switched on or off on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ChecksSwitch {
    /// The checkers of addresses, interfaces, ports, programs and other modules.
    Checkers,
    /// The checker of processes.
    Processes,
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
