//! Three contenders for one module and the register between them, as actors: each wraps a real `Node`, the register the
//! real decision.

mod contender;
mod keeper;
mod spoken;

pub use contender::copy;

use super::machine::Plane;
use contender::Contender;
use holdfast_api::register::{Arming, Record};
use holdfast_core::durable::Durable;
use holdfast_core::settings::BrokenRules;
use keeper::Keeper;
use spoken::Spoken;
use stateright::actor::{Actor, Id, Out, model_timeout};
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What one machine sends another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// A node asks, in its `start`th life.
    Ask {
        /// The asker's life.
        start: u64,
        /// The ask in it.
        ask: u64,
        /// Number, owner and nonce.
        wanted: (u64, u16, u64),
    },
    /// The register grants what was asked.
    Granted { start: u64, ask: u64 },
    /// It refuses: `number` is taken (0: ask later).
    Refused { start: u64, ask: u64, number: u64 },
    /// A register of this life asks which generation a node holds.
    Question { life: u64 },
    /// It holds this one.
    Report { node: u16, life: u64, number: u64 },
    /// A node says what it is to its peer.
    Heartbeat(Spoken),
}

/// What happens to a machine by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alone {
    /// No answer comes in time.
    Overdue,
    /// A node dies and starts again with what it saved; a register starts anew with its record.
    Restart,
    /// A node sleeps for longer than the timeout.
    Sleep,
    /// The register starts anew with an older record.
    Restore,
    /// What a machine sent last arrives once more.
    Repeat,
    /// (No fault) A node's newest heartbeat sets out to its peer.
    Speak,
}

/// What a machine is at.
#[derive(Clone, Debug)]
pub struct Machine {
    part: At,
    /// Faults that it has had.
    pub faults: usize,
    /// Heartbeats of it that set out.
    pub words: usize,
    /// What it sent last, and to whom.
    last: Option<(Id, Message)>,
    /// Of all that it shows of itself.
    digest: [u64; 2],
}

#[derive(Clone, Debug)]
enum At {
    Contender(Box<Contender>),
    Keeper(Keeper),
}

impl Machine {
    fn new(part: At) -> Self {
        let mut machine = Self { part, faults: 0, words: 0, last: None, digest: [0; 2] };
        machine.settle();
        machine
    }

    fn note_sent(&mut self, out: &Out<Part>) {
        let mut sent = out.iter().filter_map(|command| match command {
            stateright::actor::Command::Send(to, message) => Some((*to, message.clone())),
            _ => None,
        });
        self.last = sent.next_back().or(self.last.take());
    }

    /// Notes what it shows of itself now, with times relative to its own.
    fn settle(&mut self) {
        let shown = match &self.part {
            At::Contender(at) => at.shown(),
            At::Keeper(at) => format!("{at:?}"),
        };
        self.digest = ["a", "b"].map(|salt| {
            let mut hasher = DefaultHasher::new();
            (salt, self.faults, self.words, &self.last, &shown).hash(&mut hasher);
            hasher.finish()
        });
    }

    /// It could get a write acknowledged.
    pub fn serves(&self) -> bool {
        self.contender().is_some_and(|at| matches!(at.plane, Plane::Alone { .. }))
    }

    /// Generations it has served.
    pub fn served(&self) -> impl Iterator<Item = u64> + '_ {
        self.contender().into_iter().flat_map(|at| at.served.iter().copied())
    }

    fn contender(&self) -> Option<&Contender> {
        match &self.part {
            At::Contender(at) => Some(at),
            At::Keeper(_) => None,
        }
    }
}

impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Hash for Machine {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.digest.hash(hasher);
    }
}

/// Who a machine is, and what it begins with.
#[expect(clippy::large_enum_variant, reason = "a handful of them, made once")]
#[derive(Clone, Debug)]
pub enum Part {
    /// A node with this saved state.
    Contender {
        /// What it saved.
        ledger: Durable,
        /// Rules it breaks.
        broken: BrokenRules,
        /// Where the register is.
        register: Id,
        /// What its peer saved, where the two have just heard each other; `None`: nobody hears it.
        peer: Option<Durable>,
    },
    /// The register with this record.
    Keeper {
        /// What it granted last.
        record: Option<Record>,
        /// What it had granted before.
        past: Option<Record>,
        /// The module's nodes.
        nodes: u16,
        /// It lives anew, and has to hear from every node first.
        anew: bool,
        /// It grants before it has heard from every node.
        unarmed: bool,
    },
}

impl Actor for Part {
    type Msg = Message;
    type State = Machine;
    type Timer = Alone;
    type Storage = ();
    type Random = ();

    fn on_start(&self, id: Id, _: &Option<()>, out: &mut Out<Self>) -> Machine {
        match self {
            Self::Contender { ledger, broken, register, peer } => {
                for timer in [Alone::Overdue, Alone::Restart, Alone::Sleep, Alone::Repeat] {
                    out.set_timer(timer, model_timeout());
                }
                let host = id.into();
                let mut contender = Contender::new(host, *register, ledger.clone(), *broken, out);
                if let Some(peer) = peer {
                    out.set_timer(Alone::Speak, model_timeout());
                    contender.meet(host, peer.clone(), *broken, out);
                }
                Machine::new(At::Contender(Box::new(contender)))
            }
            Self::Keeper { record, past, nodes, anew, .. } => {
                for timer in [Alone::Restart, Alone::Restore, Alone::Repeat] {
                    out.set_timer(timer, model_timeout());
                }
                let arming = Arming::new([]);
                let mut keeper = Keeper { record: *record, past: *past, nodes: *nodes, arming, life: 0 };
                if *anew {
                    keeper.live_anew(out);
                }
                Machine::new(At::Keeper(keeper))
            }
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, Machine>, _: Id, message: Message, out: &mut Out<Self>) {
        let mut machine = state.as_ref().clone();
        match (self, &mut machine.part) {
            (Self::Contender { .. }, At::Contender(at)) => at.hear(id.into(), message, out),
            (Self::Keeper { unarmed, .. }, At::Keeper(at)) => at.hear(*unarmed, message, out),
            _ => {}
        }
        machine.note_sent(out);
        machine.settle();
        // What changes nothing is no event.
        if machine != **state {
            *state = Cow::Owned(machine);
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, Machine>, timer: &Alone, out: &mut Out<Self>) {
        out.set_timer(*timer, model_timeout());
        let machine = state.to_mut();
        match timer {
            Alone::Speak => machine.words += 1,
            _ => machine.faults += 1,
        }
        match (self, &mut machine.part) {
            _ if *timer == Alone::Repeat => {
                if let Some((to, message)) = machine.last.clone() {
                    out.send(to, message);
                }
            }
            (Self::Contender { broken, .. }, At::Contender(at)) => at.alone(id.into(), *timer, *broken, out),
            (Self::Keeper { .. }, At::Keeper(at)) => {
                if *timer == Alone::Restore {
                    at.record = at.past;
                }
                at.live_anew(out);
            }
            _ => {}
        }
        machine.note_sent(out);
        machine.settle();
    }
}
