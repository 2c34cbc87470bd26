//! Everything a node wants done, in the imperative, in the order in which it is to happen.

use crate::durable::Durable;
use crate::heartbeat::Heartbeat;
use crate::replica::ReplicaCommand;
use holdfast_api::checker::When;
use holdfast_api::state::{ModuleState, Readiness};
use serde::{Deserialize, Serialize};

/// The effects of one input: *persist → send → act → report*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// 1. Save this, durably, before anything below.
    pub persist: Option<Durable>,
    /// 2. Send this now (the core also asks for it at each pulse).
    pub send: Option<Heartbeat>,
    /// On these links: all of them with anything new, else those whose pulse is due.
    pub send_on: Vec<usize>,
    /// 3. Do these, in order. Each act runs in the background; its end comes back as an input.
    pub acts: Vec<Act>,
    /// 4. Say these: lines of the module log.
    pub events: Vec<Event>,
    /// 4. Answers to commands.
    pub replies: Vec<Reply>,
}

impl Output {
    /// Nothing is saved, said to the peer, done or answered, as with most heartbeats: then nothing is left, either
    /// (see [`crate::settled`]). There may be lines for the log.
    pub fn is_idle(&self) -> bool {
        self.persist.is_none() && self.send.is_none() && self.acts.is_empty() && self.replies.is_empty()
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Run a script of the module; its end comes back as `ScriptExited` with the same `run`.
    RunScript {
        /// Number of this run.
        run: u64,
        /// Which.
        script: Script,
        /// Call it with `force` as first argument.
        force: bool,
        /// The three arguments: current state, next state, action.
        from: ModuleState,
        /// See `from`.
        to: ModuleState,
        /// Third argument.
        action: ScriptAction,
        /// What of the application a restart is about (`-Services "a, b"`); none: all of it.
        services: Vec<String>,
    },
    /// End the process group of a run that goes on (it still comes back as `ScriptExited`).
    EndScript {
        /// The run.
        run: u64,
    },
    /// Order the data plane.
    Replica(ReplicaCommand),
    /// Set the virtual addresses; comes back as `AddressesDone`.
    SetAddresses {
        /// Number of this act.
        run: u64,
    },
    /// Release the virtual addresses; comes back as `AddressesDone`.
    ReleaseAddresses {
        /// Number of this act.
        run: u64,
    },
    /// Begin to look: the checkers of this `when` and the processes of the class of the same name.
    StartChecks {
        /// Which.
        when: When,
    },
    /// Stop looking; the resources of these checkers go back to `init`.
    StopChecks {
        /// Which.
        when: When,
    },
    /// Ask the witness; comes back as `WitnessAnswered` with the same `ask`, within the witness timeout.
    ///
    /// A ping witness is pinged. A register advances its record to `{number, this node, nonce}` if `number` is higher
    /// than the record's, and grants it again to the same owner and nonce, so that a lost reply is harmless.
    AskWitness {
        /// Number of this ask.
        ask: u64,
        /// Generation number wanted; 0 for a ping witness.
        number: u64,
        /// Drawn and saved with the ask, the same when it is repeated.
        nonce: u64,
    },
    /// Reboot the machine: the module is stopped, and its configuration wants a reboot rather than a start.
    Reboot,
    /// Tell the register that asked (`RegisterRestarted`) which generation this node holds.
    ReportGeneration {
        /// The register's life, as in the input.
        life: u64,
        /// Number of this node's generation; saved.
        number: u64,
    },
    /// Put the health URL to this answer (true: 200).
    SetHealth {
        /// 200 or 404.
        ready: bool,
    },
}

/// A script of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// `prestart` (which stops what may be left of the application), or starts a level of the application.
    Start(When),
    /// Stops a level of the application; or `poststop`, after the module has stopped.
    Stop(When),
    /// Is told of every major change of state.
    Transition,
}

impl Script {
    /// Every script there is.
    pub const ALL: [Self; 11] = [
        Self::Start(When::Pre),
        Self::Start(When::Both),
        Self::Start(When::Prim),
        Self::Start(When::Second),
        Self::Start(When::Sec),
        Self::Stop(When::Sec),
        Self::Stop(When::Second),
        Self::Stop(When::Prim),
        Self::Stop(When::Both),
        Self::Stop(When::Pre),
        Self::Transition,
    ];

    /// File name in the module's `bin`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Start(When::Pre) => "prestart",
            Self::Start(When::Both) => "start_both",
            Self::Start(When::Prim) => "start_prim",
            Self::Start(When::Second) => "start_second",
            Self::Start(When::Sec) => "start_sec",
            Self::Stop(When::Sec) => "stop_sec",
            Self::Stop(When::Second) => "stop_second",
            Self::Stop(When::Prim) => "stop_prim",
            Self::Stop(When::Both) => "stop_both",
            Self::Stop(When::Pre) => "poststop",
            Self::Transition => "transition",
        }
    }
}

/// Third argument of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptAction {
    /// Starting.
    Start,
    /// Stopping.
    Stop,
    /// Stopping, to start again.
    StopStart,
    /// Stopping, to wait.
    StopWait,
}

/// A line of the module log, made by the core; the driver adds date and node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How much it matters.
    pub level: EventLevel,
    /// State after it.
    pub state: ModuleState,
    /// Readiness after it.
    pub readiness: Readiness,
    /// One sentence: what, why, by whom, and what to do next where something is wrong.
    pub text: String,
}

/// Level of a module log line; the letter is the one shown. All but I and D are shown unless asked otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventLevel {
    /// D: what checkers and rules are about to lead to, for whoever finds out why they do not do what was meant.
    Debug,
    /// I: detail.
    Info,
    /// S: a script is run.
    Script,
    /// U: somebody's command.
    User,
    /// E: what has happened: a change of state, a resource, a decision.
    Event,
    /// W: an event that is odd, but nothing has stopped.
    Warning,
    /// C: critical, needs somebody.
    Error,
}

/// Answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Number of the command.
    pub id: u64,
    /// Accepted (what will happen), or refused (why, and the cure).
    pub result: Result<String, String>,
}

/// What the driver does while a save is under way, each [`crate::node::Node::sign_ms`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhileSaving {
    /// Wait on.
    Wait,
    /// Say this on every link: nothing in it counts but that this node lives.
    Say(Box<Heartbeat>),
    /// Give the save up, for this reason, and hand in [`crate::input::Input::SaveFailed`].
    GiveUp(String),
}
