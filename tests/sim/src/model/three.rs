//! Three contenders for one module: every order of events between them and their register, to a bound.
//!
//! A mirror has two nodes, but more machines than two may hold a copy of it and ask its register: one that was replaced
//! and could not be told, one that came back from an image, one that was left behind at an older generation. The first
//! two are each other's peers; nobody hears the third, so that the register alone stands between it and them.
//!
//! **Bound.** From four states every order of at most so many events, with so many faults and heartbeats among them as
//! [`BEGINNINGS`] says. Three nodes have just come back, with their asks on the way: silent to each other, (1) two with the
//! newest copy and one left behind, beside an armed register; (2) each with another generation, beside a register that
//! has just been restored from before any of them; and with the first two having heard each other, (3) the copies of the
//! first; (4) a newest copy beside a node that is new, while the third, which the new one has replaced, has the same copy.
//! A fault is: an answer overdue (the ask is repeated), a message that arrives twice, a restart of a node, a suspension, a
//! restart of the register, its restoration from the record before its last. A heartbeat sets out when an event says so,
//! and arrives by another, which may never come. Messages are lost (never delivered) and reordered without limit; that
//! is no fault. Each node is a real `Node`, and the register decides by the real rules. That is 27,607 distinct states, in
//! about nine seconds of one processor.

use super::contenders::{Machine, Part, copy};
use holdfast_api::ids::NodeId;
use holdfast_api::register::Record;
use holdfast_core::settings::BrokenRules;
use stateright::actor::{ActorModel, ActorModelState, Id};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

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
    /// The first two have heard each other.
    met: bool,
    /// Events in a row.
    depth: usize,
    /// Faults among them.
    faults: usize,
    /// Heartbeats that set out, on the whole.
    words: usize,
}

/// Nobody hears anybody.
const SILENT: Beginning =
    Beginning { copies: [5, 5, 4], granted: 5, anew: false, met: false, depth: 5, faults: 1, words: 0 };

const BEGINNINGS: [Beginning; 4] = [
    SILENT,
    Beginning { copies: [6, 5, 4], granted: 3, anew: true, ..SILENT },
    Beginning { met: true, depth: 5, words: 2, ..SILENT },
    Beginning { copies: [5, 0, 5], met: true, depth: 6, faults: 0, words: 2, ..SILENT },
];

type Network = ActorModel<Part, (), ()>;
type State = ActorModelState<Part, ()>;

/// The machines and their network, to a bound.
struct Three {
    network: Network,
    beginning: Beginning,
}

/// A state, and how many events led there: no part of what is compared.
#[derive(Clone, Debug)]
struct Reached {
    state: State,
    events: usize,
}

impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

impl Hash for Reached {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state.hash(hasher);
    }
}

impl Reached {
    fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.state.actor_states.iter().map(Arc::as_ref)
    }
}

impl Model for Three {
    type State = Reached;
    type Action = <Network as Model>::Action;

    fn init_states(&self) -> Vec<Reached> {
        self.network.init_states().into_iter().map(|state| Reached { state, events: 0 }).collect()
    }

    fn actions(&self, reached: &Reached, actions: &mut Vec<Self::Action>) {
        // The states after the last event are still looked at.
        if reached.events < self.beginning.depth {
            self.network.actions(&reached.state, actions);
        }
    }

    fn next_state(&self, reached: &Reached, action: Self::Action) -> Option<Reached> {
        let state = self.network.next_state(&reached.state, action)?;
        Some(Reached { state, events: reached.events + 1 })
    }

    fn within_boundary(&self, reached: &Reached) -> bool {
        let Beginning { faults, words, .. } = self.beginning;
        let sum = |count: fn(&Machine) -> usize| reached.machines().map(count).sum::<usize>();
        sum(|machine| machine.faults) <= faults && sum(|machine| machine.words) <= words
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("at most one node serves", |_, reached: &Reached| {
                reached.machines().filter(|machine| machine.serves()).count() <= 1
            }),
            // Also at different times: a generation has one owner for ever.
            Property::always("a generation is served by one node", |_, reached: &Reached| {
                let mut seen = BTreeSet::new();
                reached.machines().flat_map(Machine::served).all(|number| seen.insert(number))
            }),
            // Behind the register's record, or behind what the others report.
            Property::always("a node left behind never serves", |model: &Self, reached: &Reached| {
                let [first, _, third] = model.beginning.copies;
                third == first || reached.machines().nth(2).is_none_or(|third| third.served().next().is_none())
            }),
        ];
        // A register that lives anew takes more events than the bound has before it grants anything.
        if !self.beginning.anew {
            properties.push(Property::sometimes(NEWEST_SERVES, |_, reached: &Reached| {
                reached.machines().next().is_some_and(Machine::serves)
            }));
        }
        properties
    }
}

fn model(beginning: Beginning, broken: BrokenRules) -> Three {
    let record = |number| Some(Record { number, owner: NodeId(1), nonce: 1 });
    let register = Id::from(beginning.copies.len());
    let peers = [Some(1), Some(0), None].map(|peer: Option<usize>| peer.filter(|_| beginning.met));
    let node = |host: usize| {
        let peer = peers[host].map(|peer| copy(beginning.copies[peer]));
        Part::Contender { ledger: copy(beginning.copies[host]), broken, register, peer }
    };
    let keeper = Part::Keeper {
        record: record(beginning.granted),
        past: record(beginning.granted - 1),
        nodes: beginning.copies.len() as u16,
        anew: beginning.anew,
        unarmed: broken.grant_unarmed,
    };
    let network = ActorModel::new((), ())
        .actors([0, 1, 2].map(node))
        .actor(keeper)
        .init_network(stateright::actor::Network::new_unordered_nonduplicating([]));
    Three { network, beginning }
}

/// Checks all that can happen within the bound; what was looked at.
///
/// # Panics
/// A property does not hold: with the events that lead there.
pub fn check() -> String {
    let checked = BEGINNINGS.map(|beginning| {
        // One thread: only then is every state first reached by a shortest way.
        let checker = model(beginning, BrokenRules::default()).checker().threads(1).spawn_bfs().join();
        checker.assert_properties();
        let (all, distinct) = (checker.state_count(), checker.unique_state_count());
        format!("{beginning:?}: {all} states, {distinct} of them distinct")
    });
    checked.join("\n")
}

/// What the property is called that nodes break which break these rules, and after how many events; `None`: they break
/// none.
pub fn breaks(broken: BrokenRules) -> Option<(&'static str, usize)> {
    BEGINNINGS.into_iter().find_map(|beginning| {
        let stop = HasDiscoveries::AnyFailures;
        let checker = model(beginning, broken).checker().threads(1).finish_when(stop).spawn_bfs().join();
        let found = checker.discoveries().into_iter().find(|(name, _)| *name != NEWEST_SERVES);
        found.map(|(name, path)| (name, path.into_actions().len()))
    })
}
