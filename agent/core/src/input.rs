//! Everything that can happen to a node, in the past tense.

use crate::heartbeat::Heartbeat;
use crate::replica::{Inventory, ReplicaEvent};
use holdfast_api::resource::ResourceValue;
use serde::{Deserialize, Serialize};

pub use holdfast_api::agent::ModuleCommand;
pub use holdfast_api::checker::CheckAction;

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
    /// The process checker found fewer processes than wanted, or more.
    ProcessMissing {
        /// Name of the `<proc>`.
        name: String,
        /// What is wrong, in plain words ("process java is missing").
        problem: String,
        /// Its `action`.
        action: CheckAction,
        /// Its `restart_services`: what of the application a restart is about; none: all of it.
        services: Vec<String>,
    },
    /// A script or a handler counts a restart of its own towards `maxloop`, or asks how many are left.
    LoopOrdered {
        /// Number given by the driver; the reply carries it.
        id: u64,
        /// What is wanted.
        order: LoopOrder,
        /// Who, for the module log.
        by: String,
    },
    /// A checker, a script or an operator says what a resource is.
    ResourceSet {
        /// Such as `tcp.web`.
        name: String,
        /// Its value.
        value: ResourceValue,
        /// Who says so ("tcpcheck", "admin", …), for the module log.
        by: String,
    },
    /// The witness has answered, or cannot.
    WitnessAnswered {
        /// The ask, as in the act.
        ask: u64,
        /// What it said.
        answer: WitnessAnswer,
    },
    /// The agent is told to end: the module stops in order, and stays saved as running for the agent's next start.
    ShutdownOrdered {
        /// Number given by the driver, as of a command; the reply carries it.
        id: u64,
        /// Who ("SIGTERM"), for the module log.
        by: String,
        /// Ordered once more: what the stop waits for is cut short.
        hurry: bool,
    },
    /// The replicated directories of a stopped module were counted.
    DirectoriesCounted {
        /// What they hold.
        inventory: Inventory,
    },
    /// A register that lives anew asks which generation this node holds: see [`holdfast_api::register::Arming`]. What
    /// this node had asked or been granted in an earlier life of the register and has not used yet is forgotten first;
    /// the answer is [`crate::output::Act::ReportGeneration`].
    RegisterRestarted {
        /// The register's life, as it names it; goes back with the answer.
        life: u64,
    },
    /// The durable state could not be saved (error or deadline), or what was left for the next agent could not be taken
    /// back: the output it belonged to was dropped, and nothing of it was done.
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

/// What a script wants of the count that `maxloop` bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoopOrder {
    /// Count one more; refused once the limit is reached.
    Count,
    /// Count anew from zero.
    Reset,
    /// Only say; refused once the limit is reached.
    Check,
}

/// What a witness said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WitnessAnswer {
    /// A ping witness: at least one address answered (`true`), or none did within the time limit.
    Reachable(bool),
    /// A register: the number asked for is this node's; durable at the register.
    Granted,
    /// A register: somebody else holds this number or a higher one, or the register may not grant yet.
    Refused {
        /// Number of the record; 0: there is none.
        number: u64,
        /// In plain words, with the cure.
        reason: String,
    },
    /// A register that could not be asked.
    Unreachable {
        /// In plain words.
        reason: String,
    },
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
