//! Model checking: every order of events, to a bound, around two real `Node`s, a real register decision and a lossy
//! network that repeats and reorders.
//!
//! **Bound.** From three states (in sync; cut from each other for a timeout, the stream broken; and then with the
//! register's grant on its way to the primary while the secondary has asked too) every sequence of at
//! most [`DEPTH`] events with at most [`FAULTS_MAX`] faults (crash and restart, also between a save and what follows it;
//! a suspension; a restart of the register, with its record or an older one; a planned swap). Losing a message is never
//! delivering it. States that differ only in absolute time or in sequence numbers count as one. What is proven to that
//! bound: with a register at most one node can get a write acknowledged at any time, and no generation is ever served
//! by two. That no acknowledged write is lost is the simulator's to show.
//!
//! **Why two nodes and one module are enough.** A mirror has two nodes: a third machine of its cluster takes no part in
//! its decisions, only in those of other modules. And modules share no state: of a register they share the process,
//! whose every new life (with an old record or its own) may come here between any two events, but each has its record
//! and its arming. So whatever order of events several modules on three machines see, each of them sees one of the
//! orders that are checked here. What hits several modules at one moment is the simulator's to show.
//! Machines beyond the two that hold an old copy of the module and ask its register are the model of [`three`].

mod contenders;
mod machine;
pub mod three;
mod world;

use holdfast_core::settings::BrokenRules;
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::World;

pub use world::Action;

/// Events in a row, by default.
pub const DEPTH: usize = 6;

/// Faults among them.
const FAULTS_MAX: u8 = 2;

/// What is checked: nodes that obey these rules.
#[derive(Clone)]
struct Nodes {
    broken: BrokenRules,
    /// Events in a row.
    depth: usize,
}

impl Model for Nodes {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let in_sync = World::in_sync(self.broken, FAULTS_MAX);
        let apart = in_sync.clone().apart();
        let granted = apart.clone().granted();
        vec![in_sync, apart, granted]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        // The states after the last event are still looked at.
        if state.events < self.depth {
            state.actions(actions);
        }
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        let mut next = state.clone();
        next.happen(action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one node serves", |_, state: &World| !(state.serves(0) && state.serves(1))),
            Property::always("a generation is served by one node", |_, state: &World| !state.served_twice),
            Property::sometimes("a register decides", |_, state: &World| state.register_decided()),
            Property::sometimes("a secondary takes over", |_, state: &World| state.serves(1)),
        ]
    }
}

/// Checks every sequence of `depth` events; what was looked at.
///
/// # Panics
/// A property does not hold: with the events that lead there.
pub fn check(depth: usize) -> String {
    // One thread: only then is every state first reached by a shortest way, so that the bound is what it says.
    let checker = Nodes { broken: BrokenRules::default(), depth }.checker().threads(1).spawn_bfs().join();
    checker.assert_properties();
    let (all, distinct) = (checker.state_count(), checker.unique_state_count());
    format!("{all} states, {distinct} of them distinct, to a depth of {depth} events")
}

/// The events by which two nodes come to serve at once, if nodes that break these rules can.
pub fn two_serve(broken: BrokenRules) -> Option<Vec<Action>> {
    let stop = HasDiscoveries::AnyFailures;
    let checker = Nodes { broken, depth: DEPTH }.checker().threads(1).finish_when(stop).spawn_bfs().join();
    Some(checker.discovery("at most one node serves")?.into_actions())
}
