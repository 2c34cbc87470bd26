//! A contender: a real `Node` with its ledger and its data plane, what it is asked and what it says.

use super::spoken::Spoken;
use super::{Alone, Message, Part};
use crate::model::machine::{PULSE_MS, Plane, obey, settings};
use crate::model::world::relative;
use holdfast_api::ids::Generation;
use holdfast_api::state::DataState;
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::Heartbeat;
use holdfast_core::input::{Command, Input, ModuleCommand, WitnessAnswer};
use holdfast_core::node::Node;
use holdfast_core::output::Act;
use holdfast_core::replica::ReplicaCommand;
use holdfast_core::settings::BrokenRules;
use holdfast_core::time::{Instant, Moment};
use stateright::actor::{Id, Out};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// So many pulses are longer than any timeout.
const PULSES: u64 = 3;

/// A node, what it saved and what its data plane does.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    register: Id,
    node: Node,
    ledger: Durable,
    pub(super) plane: Plane,
    now: u64,
    starts: u64,
    /// Numbers drawn, in all lives.
    draws: u64,
    /// Generations it has served, in all lives.
    pub(super) served: BTreeSet<u64>,
    /// The last life of the register that asked it.
    asked_by: u64,
    /// Its newest heartbeat.
    said: Option<Heartbeat>,
}

impl Contender {
    pub(super) fn new(host: usize, register: Id, ledger: Durable, broken: BrokenRules, out: &mut Out<Part>) -> Self {
        let node = Node::new(settings(host, 1, broken), ledger.clone(), Moment { now: Instant(0), nonce: 1 });
        let served = BTreeSet::new();
        let plane = Plane::Idle;
        let mut made =
            Self { register, node, ledger, plane, now: 0, starts: 0, draws: 0, served, asked_by: 0, said: None };
        made.start(host, broken, out);
        made
    }

    pub(super) fn shown(&self) -> String {
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

    pub(super) fn alone(&mut self, host: usize, what: Alone, broken: BrokenRules, out: &mut Out<Part>) {
        match what {
            Alone::Restart => self.start(host, broken, out),
            // A register's, or done by the machine.
            Alone::Restore | Alone::Repeat => {}
            Alone::Speak => self.speak(host, out),
            Alone::Overdue => self.wait(host, out),
            Alone::Sleep => {
                self.now += PULSES * PULSE_MS;
                self.feed(host, Input::Ticked, out);
            }
        }
    }

    fn speak(&self, host: usize, out: &mut Out<Part>) {
        if let Some(heartbeat) = &self.said {
            // The first two are each other's peers.
            out.send(Id::from(1 - host), Message::Heartbeat(Spoken::new(heartbeat, self.now)));
        }
    }

    /// Both nodes have started in silence, and hear each other now.
    pub(super) fn meet(&mut self, host: usize, peer: Durable, broken: BrokenRules, out: &mut Out<Part>) {
        let mut unheard = Out::new();
        let mut other = Self::new(1 - host, self.register, peer, broken, &mut unheard);
        // Each is believed once it answers the other's word.
        for _ in 0..2 {
            let words = [self.said.clone(), other.said.clone()];
            let [own, theirs] = words.map(|word| word.map(|heartbeat| Input::HeartbeatReceived { link: 0, heartbeat }));
            theirs.into_iter().for_each(|input| self.feed(host, input, out));
            own.into_iter().for_each(|input| other.feed(1 - host, input, &mut unheard));
        }
    }

    pub(super) fn hear(&mut self, host: usize, message: Message, out: &mut Out<Part>) {
        let (ask, answer) = match message {
            Message::Granted { start, ask } if start == self.starts => (ask, WitnessAnswer::Granted),
            Message::Refused { start, ask, number } if start == self.starts => {
                (ask, WitnessAnswer::Refused { number, reason: String::new() })
            }
            Message::Question { life } if life > self.asked_by => {
                self.asked_by = life;
                return self.feed(host, Input::RegisterRestarted { life }, out);
            }
            Message::Heartbeat(spoken) => {
                return self.feed(host, Input::HeartbeatReceived { link: 0, heartbeat: spoken.heartbeat() }, out);
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
            self.said = output.send.or(self.said.take());
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

/// A copy that is whole and up to date, of this generation; 0: none yet.
pub fn copy(number: u64) -> Durable {
    Durable {
        covered: Some(Arc::default()),
        generation: Generation { number, id: number * 11 },
        data: if number == 0 { DataState::Unknown } else { DataState::UpToDate },
        running: true,
        ..Durable::default()
    }
}
