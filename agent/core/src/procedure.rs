//! Promotion, demotion, start and stop as ordered steps: data, carried out by `node::steps`.
//!
//! What never touches the role (the scripts of a secondary, ALONE to PRIM and back) is no procedure: it runs beside
//! everything else, see `node::scripts`.

use crate::levels::Levels;
use crate::output::ScriptAction;
use holdfast_api::state::ModuleState;

/// One step; those that wait for an answer say for which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run `transition` for a new state; waits for its end. Skipped if it knows.
    Transition(ModuleState),
    /// Run `prestart`; waits for its end.
    Prestart,
    /// The `pre` checkers look from here on.
    WatchPre,
    /// They look no longer.
    UnwatchPre,
    /// Let the data plane count what is there; waits for `Inspected`.
    Inspect,
    /// Stop following: apply all that was received; waits for `Fenced`. Skipped if nothing is followed.
    Fence,
    /// Ask the witness, where its word is needed; waits for that.
    AskWitness,
    /// Decide again whether the right to serve is still there, and save it; else the procedure ends here.
    Grant,
    /// Mount read-write; waits for `Serving`.
    Serve,
    /// Set the virtual addresses; waits for `AddressesDone`.
    SetAddresses,
    /// Enter UP.
    Open,
    /// Stop the levels that are not to be kept, each gracefully, then by force; waits for the end of each script.
    StopLevels,
    /// Start the levels that this state wants and that do not run; waits for the end of each script.
    StartLevels,
    /// Call the stop scripts of all levels that have run, with `force`; waits for the end of each.
    ForceLevels,
    /// Health 200.
    Ready,
    /// Health 404.
    Unready,
    /// Answer EIO to everything held back and to every later change. Waits for nothing.
    Refuse,
    /// Release the virtual addresses; waits for `AddressesDone`. Skipped if they were never set.
    ReleaseAddresses,
    /// End the script that runs, and wait for its end.
    AwaitScript,
    /// Unmount; waits for `Released`, and aborts after a while. Skipped if nothing is mounted.
    Release,
    /// Abort the mount; waits for `Released`.
    ReleaseAbort,
    /// Promise a secondary that holds everything the next number, so that it takes over at once.
    HandOver,
    /// Enter WAIT.
    Park,
    /// Run `poststop`; waits for its end.
    Poststop,
    /// Enter STOP; start again, or reboot, if that was the order.
    Stopped,
}

/// A procedure: what it is for and its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Procedure {
    /// Which.
    pub kind: Kind,
    /// Its steps, in order, phase by phase.
    phases: &'static [&'static [Step]],
    /// Levels that `StopLevels` leaves alone.
    pub keep: Levels,
    /// The state that its stop scripts are told to come next; `None`: the one the node is in.
    pub towards: Option<ModuleState>,
    /// Third argument of the scripts it runs.
    pub action: ScriptAction,
}

impl Procedure {
    /// The step at this place; `None` behind the last.
    pub fn step(&self, at: usize) -> Option<Step> {
        self.phases.iter().flat_map(|phase| phase.iter()).nth(at).copied()
    }
}

/// Which procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// STOP to WAIT.
    Start,
    /// WAIT or SECOND to ALONE.
    Promote,
    /// WAIT to UP.
    Open,
    /// Stop and start the application here.
    Restart,
    /// Anything to STOP.
    Stop,
    /// Anything to STOP, without asking the application.
    ForceStop,
    /// Anything to WAIT, until a rule no longer holds.
    Wait,
    /// PRIM to WAIT, handing over.
    Swap,
    /// PRIM or ALONE to WAIT at once: the right to serve is lost.
    Lose,
    /// Anything to STOP at once: nothing can be saved any more.
    Halt,
}

impl Kind {
    /// The node is on its way out of its role.
    pub fn leaves(self) -> bool {
        self.stops() || matches!(self, Self::Wait | Self::Swap | Self::Lose)
    }

    /// The node is on its way to STOP.
    pub fn stops(self) -> bool {
        matches!(self, Self::Stop | Self::ForceStop | Self::Halt)
    }
}

/// Graceful, then forced; the peer takes over once everything here has ended. The hand-over waits for no `transition`.
const LEAVE: &[Step] = &[
    Step::Unready,
    Step::ReleaseAddresses,
    Step::AwaitScript,
    Step::StopLevels,
    Step::Release,
    Step::HandOver,
    Step::Park,
];

/// Frozen requests are answered first, so that the application can end; an unkillable writer cannot block it.
const GIVE_UP: &[Step] = &[
    Step::Refuse,
    Step::Unready,
    Step::ReleaseAddresses,
    Step::AwaitScript,
    Step::StopLevels,
    Step::ReleaseAbort,
    Step::Park,
];

/// As giving up, without a graceful stop; what is written meanwhile is refused, so handing over stays safe.
const FORCE: &[Step] = &[
    Step::Refuse,
    Step::Unready,
    Step::ReleaseAddresses,
    Step::AwaitScript,
    Step::ForceLevels,
    Step::ReleaseAbort,
    Step::HandOver,
    Step::Park,
];

const ARRIVE: &[Step] = &[Step::Transition(ModuleState::Wait)];

/// The peer may serve already.
const END: &[Step] =
    &[Step::ForceLevels, Step::UnwatchPre, Step::Poststop, Step::Transition(ModuleState::Stop), Step::Stopped];

/// Before a role is decided.
pub const START: Procedure = Procedure {
    kind: Kind::Start,
    phases: &[&[Step::Transition(ModuleState::Wait), Step::Prestart, Step::WatchPre, Step::Inspect]],
    keep: Levels::NONE,
    towards: None,
    action: ScriptAction::Start,
};

/// Fence, ask, grant, serve, address, application: in this order and no other.
///
/// Neither the fence nor the witness nor the grant waits for a script. Once the grant is saved nobody else can serve; then
/// `stop_second` goes first, since what it stops may hold files of the read-only mount, which `Serve` replaces.
/// `start_prim` would have to wait for it anyway.
pub const PROMOTE: Procedure = Procedure {
    kind: Kind::Promote,
    phases: &[
        &[Step::Fence, Step::AskWitness, Step::Grant],
        &[Step::AwaitScript, Step::StopLevels, Step::Serve, Step::SetAddresses],
        &[Step::Transition(ModuleState::Alone), Step::StartLevels, Step::Ready],
    ],
    keep: Levels::ALONE,
    towards: None,
    action: ScriptAction::Start,
};

/// A light module has neither peer nor data.
pub const OPEN: Procedure = Procedure {
    kind: Kind::Open,
    phases: &[&[Step::AwaitScript, Step::Open, Step::Transition(ModuleState::Up), Step::StartLevels, Step::Ready]],
    keep: Levels::BOTH,
    towards: None,
    action: ScriptAction::Start,
};

/// Health is 404 meanwhile: a load balancer must not send clients to an application that is down.
pub const RESTART: Procedure = Procedure {
    kind: Kind::Restart,
    phases: &[&[Step::Unready, Step::AwaitScript, Step::StopLevels, Step::StartLevels, Step::Ready]],
    keep: Levels::NONE,
    towards: None,
    action: ScriptAction::StopStart,
};

/// An orderly stop.
pub const STOP: Procedure = Procedure {
    kind: Kind::Stop,
    phases: &[LEAVE, ARRIVE, END],
    keep: Levels::NONE,
    towards: Some(ModuleState::Wait),
    action: ScriptAction::Stop,
};

/// When a stop has no effect.
pub const FORCE_STOP: Procedure = Procedure { kind: Kind::ForceStop, phases: &[FORCE, ARRIVE, END], ..STOP };

/// A stop that the agent before this one did not bring to its end: all that is left of the application is ended by force.
pub const FINISH: Procedure = Procedure { phases: &[END], towards: None, ..STOP };

/// As a stop; the module stays in WAIT, and its `pre` checkers go on looking.
pub const WAIT: Procedure =
    Procedure { kind: Kind::Wait, phases: &[LEAVE, ARRIVE], action: ScriptAction::StopWait, ..STOP };

/// As a stop, on the way to SECOND: what runs in both states goes on.
pub const SWAP: Procedure = Procedure {
    kind: Kind::Swap,
    phases: &[LEAVE],
    keep: Levels::BOTH,
    towards: Some(ModuleState::Second),
    action: ScriptAction::StopStart,
};

/// The right to serve is lost.
pub const LOSE: Procedure =
    Procedure { kind: Kind::Lose, phases: &[GIVE_UP, ARRIVE], action: ScriptAction::StopWait, ..STOP };

/// As losing, and the module stays stopped.
pub const HALT: Procedure = Procedure { kind: Kind::Halt, phases: &[GIVE_UP, ARRIVE, END], ..STOP };
