//! The automaton as a table: every edge between two states, the event that takes it, and the reason the log gives.

use holdfast_api::state::{ModuleState, Readiness};
use std::fmt;

/// State and readiness together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub ModuleState, pub Readiness);

/// Stopped.
pub const STOP: Status = Status(ModuleState::Stop, Readiness::NotReady);
/// Starting, stopping, listening.
pub const WAIT: Status = Status(ModuleState::Wait, Readiness::Transient);
/// Blocked on something that has a name.
pub const BLOCKED: Status = Status(ModuleState::Wait, Readiness::NotReady);
/// Connecting or being resynced.
pub const FOLLOWING: Status = Status(ModuleState::Second, Readiness::Transient);
/// Holds every acknowledged write.
pub const SECOND: Status = Status(ModuleState::Second, Readiness::Ready);
/// Primary without secondary, scripts running.
pub const ALONE_BUSY: Status = Status(ModuleState::Alone, Readiness::Transient);
/// Primary without secondary.
pub const ALONE: Status = Status(ModuleState::Alone, Readiness::Ready);
/// Primary with a secondary, scripts running.
pub const PRIM_BUSY: Status = Status(ModuleState::Prim, Readiness::Transient);
/// Primary with a secondary.
pub const PRIM: Status = Status(ModuleState::Prim, Readiness::Ready);

/// Active in a light module, scripts running.
pub const UP_BUSY: Status = Status(ModuleState::Up, Readiness::Transient);
/// Active in a light module.
pub const UP: Status = Status(ModuleState::Up, Readiness::Ready);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// What takes an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// An operator, the boot, or a stopstart starts the module.
    StartOrdered,
    /// Nothing can be done before something named changes.
    Blocked,
    /// What blocked has gone, or there is news to listen for.
    Unblocked,
    /// The peer serves and offers a session.
    PrimaryFound,
    /// The resync is complete and saved.
    CaughtUp,
    /// The stream broke, or this copy was declared out of date.
    FellBehind,
    /// The primary is gone and this copy may not take its place.
    PrimaryGone,
    /// The right to serve alone was saved.
    Granted,
    /// Nothing keeps a light module from running.
    Opened,
    /// The start scripts have ended.
    Started,
    /// The secondary has saved that it is up to date.
    SecondaryReady,
    /// Going on alone under a new grant.
    SecondaryGone,
    /// The application is stopped, to start again or elsewhere.
    Leaving,
    /// The replicated directories are released.
    Released,
    /// The module is stopped by order or by a fault.
    StopOrdered,
    /// The module is stopped.
    Stopped,
}

/// One edge.
#[derive(Clone, Copy, Debug)]
pub struct Transition {
    /// From.
    pub from: Status,
    /// What happened.
    pub event: Trigger,
    /// To.
    pub to: Status,
    /// What the module log says.
    pub reason: &'static str,
}

const fn row(from: Status, event: Trigger, to: Status, reason: &'static str) -> Transition {
    Transition { from, event, to, reason }
}

/// Every edge there is.
pub const TRANSITIONS: &[Transition] = &[
    row(STOP, Trigger::StartOrdered, WAIT, "start"),
    row(WAIT, Trigger::Blocked, BLOCKED, "blocked"),
    row(BLOCKED, Trigger::Unblocked, WAIT, "no longer blocked"),
    row(WAIT, Trigger::PrimaryFound, FOLLOWING, "the peer is primary: resync from it"),
    row(BLOCKED, Trigger::PrimaryFound, FOLLOWING, "the peer is primary: resync from it"),
    row(FOLLOWING, Trigger::CaughtUp, SECOND, "resync complete: up to date"),
    row(SECOND, Trigger::FellBehind, FOLLOWING, "no longer in sync with the primary"),
    row(FOLLOWING, Trigger::PrimaryGone, BLOCKED, "no primary to follow"),
    row(SECOND, Trigger::PrimaryGone, BLOCKED, "no primary to follow"),
    row(WAIT, Trigger::Granted, ALONE_BUSY, "become primary"),
    row(BLOCKED, Trigger::Granted, ALONE_BUSY, "become primary"),
    row(FOLLOWING, Trigger::Granted, ALONE_BUSY, "take over"),
    row(SECOND, Trigger::Granted, ALONE_BUSY, "take over"),
    row(WAIT, Trigger::Opened, UP_BUSY, "start the application"),
    row(BLOCKED, Trigger::Opened, UP_BUSY, "start the application"),
    row(UP_BUSY, Trigger::Started, UP, "application started"),
    row(ALONE_BUSY, Trigger::Started, ALONE, "application started"),
    row(PRIM_BUSY, Trigger::Started, PRIM, "application started"),
    row(ALONE, Trigger::SecondaryReady, PRIM, "the secondary is up to date; application untouched"),
    row(ALONE_BUSY, Trigger::SecondaryReady, PRIM_BUSY, "the secondary is up to date"),
    row(PRIM, Trigger::SecondaryGone, ALONE, "go on alone; application untouched"),
    row(PRIM_BUSY, Trigger::SecondaryGone, ALONE_BUSY, "go on alone"),
    row(ALONE, Trigger::Leaving, ALONE_BUSY, "stop the application"),
    row(PRIM, Trigger::Leaving, PRIM_BUSY, "stop the application"),
    row(UP, Trigger::Leaving, UP_BUSY, "stop the application"),
    row(UP_BUSY, Trigger::Released, WAIT, "application stopped"),
    row(ALONE_BUSY, Trigger::Released, WAIT, "application stopped, directories released"),
    row(PRIM_BUSY, Trigger::Released, WAIT, "application stopped, directories released"),
    row(BLOCKED, Trigger::StopOrdered, WAIT, "stop"),
    row(FOLLOWING, Trigger::StopOrdered, WAIT, "stop"),
    row(SECOND, Trigger::StopOrdered, WAIT, "stop"),
    row(WAIT, Trigger::Stopped, STOP, "stopped"),
];

/// The edge taken from `from` by `event`, if there is one.
pub fn transition(from: Status, event: Trigger) -> Option<&'static Transition> {
    TRANSITIONS.iter().find(|row| row.from == from && row.event == event)
}

/// The automaton as a Mermaid state diagram, for the README.
pub fn mermaid() -> String {
    let name = |status: Status| format!("{}_{}", status.0, status.1);
    let mut out = String::from("stateDiagram-v2\n    [*] --> STOP_NotReady\n");
    let mut seen: Vec<Status> = Vec::new();
    for status in TRANSITIONS.iter().flat_map(|row| [row.from, row.to]) {
        if !seen.contains(&status) {
            seen.push(status);
            out.push_str(&format!("    {} : {status}\n", name(status)));
        }
    }
    for row in TRANSITIONS {
        out.push_str(&format!("    {} --> {} : {:?}\n", name(row.from), name(row.to), row.event));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_at_most_one_edge_from_each_state() {
        for (index, row) in TRANSITIONS.iter().enumerate() {
            let same = |other: &Transition| other.from == row.from && other.event == row.event;
            assert!(!TRANSITIONS[..index].iter().any(same), "{row:?} twice");
            assert_ne!(row.from, row.to, "{row:?} goes nowhere");
        }
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        for status in TRANSITIONS.iter().flat_map(|row| [row.from, row.to]) {
            assert!(TRANSITIONS.iter().any(|row| row.to == status), "{status} is never entered");
            assert!(TRANSITIONS.iter().any(|row| row.from == status), "{status} is never left");
        }
    }

    #[test]
    fn the_diagram_names_every_edge() {
        let diagram = mermaid();
        assert_eq!(diagram.lines().filter(|line| line.contains("-->")).count(), TRANSITIONS.len() + 1);
    }
}
