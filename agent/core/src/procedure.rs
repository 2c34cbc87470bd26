//! Promotion, demotion, start and stop as ordered steps: data, carried out by `node::steps`.

use crate::output::{Script, ScriptAction};

/// One step; those that wait for an answer say for which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Run `prestart`; waits for its end.
    Prestart,
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
    /// Run `start_prim`; waits for its end.
    StartPrim,
    /// Health 200, processes watched.
    Ready,
    /// Health 404, processes not watched.
    Unready,
    /// Answer EIO to everything held back and to every later change. Waits for nothing.
    Refuse,
    /// Release the virtual addresses; waits for `AddressesDone`. Skipped if they were never set.
    ReleaseAddresses,
    /// Wait for the end of a script that was told to end.
    AwaitScript,
    /// Run `stop_prim`; waits for its end. Skipped if `start_prim` was never run.
    StopPrim,
    /// Run `stop_prim force`; likewise.
    StopPrimForce,
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
    /// Enter STOP; start again if that was the order.
    Stopped,
}

impl Step {
    /// The script it runs, if it runs one.
    pub fn script(self) -> Option<Script> {
        match self {
            Self::Prestart => Some(Script::Prestart),
            Self::StartPrim => Some(Script::StartPrim),
            Self::StopPrim | Self::StopPrimForce => Some(Script::StopPrim),
            Self::Poststop => Some(Script::Poststop),
            _ => None,
        }
    }
}

/// A procedure: what it is for and its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Procedure {
    /// Which.
    pub kind: Kind,
    /// Its steps, in order.
    pub steps: &'static [Step],
    /// Third argument of the scripts it runs.
    pub action: ScriptAction,
}

/// Which procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// STOP to WAIT.
    Start,
    /// WAIT or SECOND to ALONE.
    Promote,
    /// Stop and start the application here.
    Restart,
    /// Anything to STOP.
    Stop,
    /// PRIM to WAIT, handing over.
    Swap,
    /// PRIM or ALONE to WAIT at once: the right to serve is lost.
    Lose,
    /// Anything to STOP at once: nothing can be saved any more.
    Halt,
}

/// Before a role is decided.
pub const START: Procedure =
    Procedure { kind: Kind::Start, steps: &[Step::Prestart, Step::Inspect], action: ScriptAction::Start };

/// Fence, ask, grant, serve, address, application: in this order and no other.
pub const PROMOTE: Procedure = Procedure {
    kind: Kind::Promote,
    steps: &[Step::Fence, Step::AskWitness, Step::Grant, Step::Serve, Step::SetAddresses, Step::StartPrim, Step::Ready],
    action: ScriptAction::Start,
};

/// Health is 404 meanwhile: a load balancer must not send clients to an application that is down.
pub const RESTART: Procedure = Procedure {
    kind: Kind::Restart,
    steps: &[Step::Unready, Step::StopPrim, Step::StopPrimForce, Step::StartPrim, Step::Ready],
    action: ScriptAction::StopStart,
};

/// Graceful, then forced; the peer takes over once everything here has ended.
pub const STOP: Procedure = Procedure {
    kind: Kind::Stop,
    steps: &[
        Step::Unready,
        Step::ReleaseAddresses,
        Step::AwaitScript,
        Step::StopPrim,
        Step::StopPrimForce,
        Step::Release,
        Step::HandOver,
        Step::Park,
        Step::Poststop,
        Step::Stopped,
    ],
    action: ScriptAction::Stop,
};

/// As a stop, without leaving the module.
pub const SWAP: Procedure = Procedure {
    kind: Kind::Swap,
    steps: &[
        Step::Unready,
        Step::ReleaseAddresses,
        Step::AwaitScript,
        Step::StopPrim,
        Step::StopPrimForce,
        Step::Release,
        Step::HandOver,
        Step::Park,
    ],
    action: ScriptAction::StopWait,
};

/// Frozen requests are answered first, so that the application can end; an unkillable writer cannot block it.
pub const LOSE: Procedure = Procedure {
    kind: Kind::Lose,
    steps: &[
        Step::Refuse,
        Step::Unready,
        Step::ReleaseAddresses,
        Step::AwaitScript,
        Step::StopPrim,
        Step::StopPrimForce,
        Step::ReleaseAbort,
        Step::Park,
    ],
    action: ScriptAction::StopWait,
};

/// As losing, and the module stays stopped.
pub const HALT: Procedure = Procedure {
    kind: Kind::Halt,
    steps: &[
        Step::Refuse,
        Step::Unready,
        Step::ReleaseAddresses,
        Step::AwaitScript,
        Step::StopPrim,
        Step::StopPrimForce,
        Step::ReleaseAbort,
        Step::Park,
        Step::Poststop,
        Step::Stopped,
    ],
    action: ScriptAction::Stop,
};
