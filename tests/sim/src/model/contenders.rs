//! Three contenders for one module and the register between them, as actors: each wraps a real `Node`, the register the
//! real decision.

use super::machine::{PULSE_MS, Plane, obey, settings};
use super::world::relative;
use holdfast_api::ids::{Generation, NodeId};
use holdfast_api::register::{self, Arming, Ask, Record};
use holdfast_api::state::DataState;
use holdfast_core::durable::Durable;
use holdfast_core::input::{Command, Input, ModuleCommand, WitnessAnswer};
use holdfast_core::node::Node;
use holdfast_core::output::Act;
use holdfast_core::replica::ReplicaCommand;
use holdfast_core::settings::BrokenRules;
use holdfast_core::time::{Instant, Moment};
use stateright::actor::{Actor, Id, Out, model_timeout};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

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
}

/// A node, what it saved and what its data plane does.
#[derive(Clone, Debug)]
pub struct Contender {
    register: Id,
    node: Node,
    ledger: Durable,
    plane: Plane,
    now: u64,
    starts: u64,
    /// Numbers drawn, in all lives.
    draws: u64,
    /// Generations it has served, in all lives.
    served: BTreeSet<u64>,
    /// The last life of the register that asked it.
    asked_by: u64,
}

/// The register.
#[derive(Clone, Debug)]
pub struct Keeper {
    record: Option<Record>,
    past: Option<Record>,
    nodes: u16,
    arming: Arming,
    life: u64,
}

/// What a machine is at.
#[derive(Clone, Debug)]
pub struct Machine {
    part: At,
    /// Faults that it has had.
    pub faults: usize,
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
        let mut machine = Self { part, faults: 0, last: None, digest: [0; 2] };
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
            (salt, self.faults, &self.last, &shown).hash(&mut hasher);
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

/// So many pulses are longer than any timeout.
const PULSES: u64 = 3;

impl Actor for Part {
    type Msg = Message;
    type State = Machine;
    type Timer = Alone;
    type Storage = ();
    type Random = ();

    fn on_start(&self, id: Id, _: &Option<()>, out: &mut Out<Self>) -> Machine {
        match self {
            Self::Contender { ledger, broken, register } => {
                for timer in [Alone::Overdue, Alone::Restart, Alone::Sleep, Alone::Repeat] {
                    out.set_timer(timer, model_timeout());
                }
                Machine::new(At::Contender(Box::new(Contender::new(
                    id.into(),
                    *register,
                    ledger.clone(),
                    *broken,
                    out,
                ))))
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
        machine.faults += 1;
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

impl Keeper {
    fn live_anew(&mut self, out: &mut Out<Part>) {
        self.life += 1;
        self.arming = Arming::new((1..=self.nodes).map(NodeId));
        (0..self.nodes).for_each(|node| out.send(Id::from(usize::from(node)), Message::Question { life: self.life }));
    }

    fn hear(&mut self, unarmed: bool, message: Message, out: &mut Out<Part>) {
        match message {
            Message::Report { node, life, number } if life == self.life => self.arming.report(NodeId(node), number),
            Message::Ask { start, ask, wanted: (number, owner, nonce) } => {
                let mut arming = self.arming.clone();
                if unarmed {
                    arming.arm();
                }
                let wanted = Ask { number, owner: NodeId(owner), nonce };
                let answer = match register::answer(self.record.as_ref(), &arming, &wanted) {
                    Ok(new) => {
                        if new.is_some() {
                            self.past = self.record;
                            self.record = new;
                        }
                        Message::Granted { start, ask }
                    }
                    Err(refusal) => Message::Refused { start, ask, number: refusal.number() },
                };
                out.send(Id::from(usize::from(owner) - 1), answer);
            }
            _ => {}
        }
    }
}

impl Contender {
    fn new(host: usize, register: Id, ledger: Durable, broken: BrokenRules, out: &mut Out<Part>) -> Self {
        let node = Node::new(settings(host, 1, broken), ledger.clone(), Moment { now: Instant(0), nonce: 1 });
        let served = BTreeSet::new();
        let plane = Plane::Idle;
        let mut made = Self { register, node, ledger, plane, now: 0, starts: 0, draws: 0, served, asked_by: 0 };
        made.start(host, broken, out);
        made
    }

    fn shown(&self) -> String {
        let rest = (self.plane, self.starts, self.draws, self.asked_by, &self.served);
        let shown = format!("{:?} {:?} {rest:?}", self.node, self.ledger);
        relative(&shown, self.now, (PULSES * PULSE_MS) as i64)
    }

    /// The agent and its data plane start with what was saved, on a machine that was booted.
    fn start(&mut self, host: usize, broken: BrokenRules, out: &mut Out<Part>) {
        self.starts += 1;
        self.plane = Plane::Idle;
        let moment = self.moment(host);
        self.node = Node::new(settings(host, self.starts, broken), self.ledger.clone(), moment);
        let kind = ModuleCommand::Start;
        let command = Command { id: 1, kind, actor: "boot".to_owned(), counted: false };
        self.feed(host, Input::CommandReceived(command), out);
        self.wait(host, out);
    }

    fn moment(&self, host: usize) -> Moment {
        Moment { now: Instant(self.now), nonce: (host as u64 + 1) * 1000 + self.draws }
    }

    /// Time passes, pulse by pulse, until whatever a node waits for by time alone has come.
    fn wait(&mut self, host: usize, out: &mut Out<Part>) {
        for _ in 0..PULSES {
            self.now += PULSE_MS;
            self.feed(host, Input::Ticked, out);
        }
    }

    fn alone(&mut self, host: usize, what: Alone, broken: BrokenRules, out: &mut Out<Part>) {
        match what {
            Alone::Restart => self.start(host, broken, out),
            // A register's, or done by the machine.
            Alone::Restore | Alone::Repeat => {}
            Alone::Overdue => self.wait(host, out),
            Alone::Sleep => {
                self.now += PULSES * PULSE_MS;
                self.feed(host, Input::Ticked, out);
            }
        }
    }

    fn hear(&mut self, host: usize, message: Message, out: &mut Out<Part>) {
        let (ask, answer) = match message {
            Message::Granted { start, ask } if start == self.starts => (ask, WitnessAnswer::Granted),
            Message::Refused { start, ask, number } if start == self.starts => {
                (ask, WitnessAnswer::Refused { number, reason: String::new() })
            }
            Message::Question { life } if life > self.asked_by => {
                self.asked_by = life;
                return self.feed(host, Input::RegisterRestarted { life }, out);
            }
            _ => return,
        };
        self.feed(host, Input::WitnessAnswered { ask, answer }, out);
    }

    /// Hands an input in, and all that its effects bring about at once on this machine.
    fn feed(&mut self, host: usize, input: Input, out: &mut Out<Part>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let output = self.node.handle(self.moment(host), input);
            if let Some(durable) = output.persist {
                let drawn = |durable: &Durable| (durable.generation.id, durable.session, durable.witness_nonce);
                self.draws += u64::from(drawn(&durable) != drawn(&self.ledger));
                self.ledger = durable;
                // What the node keeps in case the save had failed is no part of its state any more.
                inputs.push_back(Input::Ticked);
            }
            for act in output.acts {
                inputs.extend(self.carry_out(host, act, out));
            }
        }
    }

    fn carry_out(&mut self, host: usize, act: Act, out: &mut Out<Part>) -> Option<Input> {
        let (register, node) = (self.register, host as u16 + 1);
        match act {
            Act::Replica(command) => {
                if let ReplicaCommand::Serve { generation } | ReplicaCommand::ContinueAlone { generation } = command {
                    self.served.insert(generation.number);
                }
                let (plane, event) = obey(command);
                self.plane = plane.unwrap_or(self.plane);
                return event.map(Input::Replica);
            }
            Act::SetAddresses { run } | Act::ReleaseAddresses { run } => {
                return Some(Input::AddressesDone { run, error: None });
            }
            Act::AskWitness { ask, number, nonce } => {
                let wanted = (number, node, nonce);
                out.send(register, Message::Ask { start: self.starts, ask, wanted });
            }
            Act::ReportGeneration { life, number } => out.send(register, Message::Report { node, life, number }),
            _ => {}
        }
        None
    }
}

/// A copy that is whole and up to date, of this generation.
pub fn copy(number: u64) -> Durable {
    Durable {
        covered: Some(Arc::default()),
        generation: Generation { number, id: number * 11 },
        data: DataState::UpToDate,
        running: true,
        ..Durable::default()
    }
}
