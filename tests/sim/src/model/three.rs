//! Three contenders for one module: every order of events between them and their register, to a bound.
//!
//! A mirror has two nodes, but more machines than two may hold a copy of it and ask its register: one that was replaced
//! and could not be told, one that came back from an image, one that was left behind at an older generation. None here
//! hears another (what two say to each other is the model of two's), so that the register alone stands between them.
//!
//! **Bound.** From two states every order of at most [`DEPTH`] events with at most [`FAULTS_MAX`] faults among them. Three
//! nodes have just come back, silent to each other and with their asks on the way: (1) two with the newest copy and one
//! left behind, beside an armed register; (2) each with another generation, beside a register that has just been restored
//! from before any of them. A fault is: an answer overdue (the ask is repeated), a message that arrives twice, a restart
//! of a node, a suspension, a restart of the register, its restoration from the record before its last. Messages are lost
//! (never delivered) and reordered without limit; that is no fault. Each node is a real `Node`, and the register decides
//! by the real rules. That is 17,357 distinct states, in about six seconds of one processor.

use super::contenders::{Part, copy};
use holdfast_api::ids::NodeId;
use holdfast_api::register::Record;
use holdfast_core::settings::BrokenRules;
use stateright::actor::{ActorModel, ActorModelState, Id, Network};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::collections::BTreeSet;

/// Faults on the whole.
const FAULTS_MAX: usize = 1;
/// Events in a row.
const DEPTH: usize = 5;

const ONE_SERVES: &str = "at most one node serves";
const NEWEST_SERVES: &str = "the newest copy is served";

/// Where it begins.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// The generation of each node's copy.
    copies: [u64; 3],
    /// What the register granted last, to the first node.
    granted: u64,
    /// It lives anew, and has heard from nobody yet.
    anew: bool,
}

const BEGINNINGS: [Beginning; 2] =
    [Beginning { copies: [5, 5, 4], granted: 5, anew: false }, Beginning { copies: [6, 5, 4], granted: 3, anew: true }];

type Three = ActorModel<Part, (), ()>;
type State = ActorModelState<Part, ()>;

fn one_serves(_: &Three, state: &State) -> bool {
    state.actor_states.iter().filter(|machine| machine.serves()).count() <= 1
}

/// Also at different times: a generation has one owner for ever.
fn served_once(_: &Three, state: &State) -> bool {
    let mut seen = BTreeSet::new();
    state.actor_states.iter().flat_map(|machine| machine.served()).all(|number| seen.insert(number))
}

fn newest_serves(_: &Three, state: &State) -> bool {
    state.actor_states[0].serves()
}

/// The third is behind the register's record, or behind what the others report.
fn left_behind_never_serves(_: &Three, state: &State) -> bool {
    state.actor_states[2].served().next().is_none()
}

fn within_bound(_: &(), state: &State) -> bool {
    state.actor_states.iter().map(|machine| machine.faults).sum::<usize>() <= FAULTS_MAX
}

fn model(beginning: Beginning, broken: BrokenRules) -> Three {
    let record = |number| Some(Record { number, owner: NodeId(1), nonce: 1 });
    let register = Id::from(beginning.copies.len());
    let nodes = beginning.copies.map(|number| Part::Contender { ledger: copy(number), broken, register });
    let keeper = Part::Keeper {
        record: record(beginning.granted),
        past: record(beginning.granted - 1),
        nodes: beginning.copies.len() as u16,
        anew: beginning.anew,
        unarmed: broken.grant_unarmed,
    };
    let model = ActorModel::new((), ())
        .actors(nodes)
        .actor(keeper)
        .init_network(Network::new_unordered_nonduplicating([]))
        .within_boundary(within_bound)
        .property(Expectation::Always, ONE_SERVES, one_serves)
        .property(Expectation::Always, "a generation is served by one node", served_once)
        .property(Expectation::Always, "a node left behind never serves", left_behind_never_serves);
    // A register that lives anew takes more events than the bound has before it grants anything.
    match beginning.anew {
        true => model,
        false => model.property(Expectation::Sometimes, NEWEST_SERVES, newest_serves),
    }
}

/// Checks all that can happen within the bound; what was looked at.
///
/// # Panics
/// A property does not hold: with the events that lead there.
pub fn check() -> String {
    let checked = BEGINNINGS.map(|beginning| {
        // One thread: only then is every state first reached by a shortest way. The first state has depth 1.
        let checker = model(beginning, BrokenRules::default()).checker().threads(1).target_max_depth(DEPTH + 1);
        let checker = checker.spawn_bfs().join();
        checker.assert_properties();
        let (all, distinct) = (checker.state_count(), checker.unique_state_count());
        format!("{beginning:?}: {all} states, {distinct} of them distinct, to a depth of {DEPTH} events")
    });
    checked.join("\n")
}

/// What the property is called that nodes break which break these rules, and after how many events; `None`: they break
/// none.
pub fn breaks(broken: BrokenRules) -> Option<(&'static str, usize)> {
    BEGINNINGS.into_iter().find_map(|beginning| {
        let stop = HasDiscoveries::AnyFailures;
        let checker = model(beginning, broken)
            .checker()
            .threads(1)
            .target_max_depth(DEPTH + 1)
            .finish_when(stop)
            .spawn_bfs()
            .join();
        let found = checker.discoveries().into_iter().find(|(name, _)| *name != NEWEST_SERVES);
        found.map(|(name, path)| (name, path.into_actions().len()))
    })
}
