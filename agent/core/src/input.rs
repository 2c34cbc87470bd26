//! Everything that can happen to a node, in the past tense.

use crate::heartbeat::Heartbeat;
use crate::replica::ReplicaEvent;
use serde::{Deserialize, Serialize};

pub use holdfast_api::agent::ModuleCommand;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed; also handed in whenever `next_deadline` is reached, and at least once per pulse.
    Ticked,
    /// A heartbeat of the peer arrived on a link and its tag was right.
    HeartbeatReceived {
        /// Index of the link in the configuration.
        link: usize,
        /// What it said.
        heartbeat: Heartbeat,
    },
    /// An operator, a script or a checker asks for something.
    CommandReceived(Command),
    /// A script that was run by [`crate::output::Act::RunScript`] has ended.
    ScriptExited {
        /// The run, as in the act.
        run: u64,
        /// How.
        outcome: ScriptOutcome,
    },
    /// The data plane reports.
    Replica(ReplicaEvent),
    /// Addresses were set or released, as asked by an act with the same number.
    AddressesDone {
        /// The run, as in the act.
        run: u64,
        /// What went wrong, if anything did.
        error: Option<String>,
    },
    /// A process checker found fewer processes than wanted.
    ProcessMissing {
        /// Name of the `<proc>`.
        name: String,
        /// Its `action`.
        action: CheckAction,
    },
    /// The durable state could not be saved (error or deadline): the output it belonged to was dropped.
    SaveFailed {
        /// In plain words.
        reason: String,
    },
}

/// What an operator, a script or a checker asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Number given by the driver; the reply carries it.
    pub id: u64,
    /// What is wanted.
    pub kind: ModuleCommand,
    /// Who wants it ("admin", "boot", "start_prim", …), for the module log.
    pub actor: String,
    /// An `-i identity` was given: the command counts towards `maxloop` instead of resetting it.
    pub counted: bool,
}

/// What a checker's failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckAction {
    /// Stop and start the application here.
    Restart,
    /// Stop the module (which fails over), then start it.
    StopStart,
    /// Stop the module.
    Stop,
    /// Only say so.
    NoAction,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptOutcome {
    /// It exited with this code.
    Exited(i32),
    /// It was ended by this signal.
    Signalled(i32),
    /// It ran longer than allowed and its process group was ended.
    TimedOut,
    /// The module has no such script.
    Absent,
    /// It could not be started.
    NotStarted,
}
