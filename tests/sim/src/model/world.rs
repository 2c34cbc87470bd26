//! The world of the model checker: two machines that wrap real `Node`s, a register, and what is on its way between them.

mod effects;
mod shown;

pub(super) use shown::relative;

use super::machine::{PULSE_MS, Plane, settings};
use holdfast_api::ids::NodeId;
use holdfast_api::register::{self, Arming, Ask, Record};
use holdfast_core::automaton;
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::Heartbeat;
use holdfast_core::input::{Command, Input, ModuleCommand, WitnessAnswer};
use holdfast_core::node::Node;
use holdfast_core::replica::ReplicaEvent;
use holdfast_core::settings::BrokenRules;
use holdfast_core::time::{Instant, Moment};
use std::collections::BTreeMap;

/// Heartbeats kept on their way in each direction.
const WIRE_MAX: usize = 2;

/// A node, its disk and its data plane.
#[derive(Clone, Debug)]
struct Machine {
    node: Node,
    ledger: Durable,
    now: u64,
    starts: u64,
    plane: Plane,
}

/// A stream: who serves, whose ends are open, and the message of the end of a resync under way in it.
#[derive(Clone, Debug)]
struct Stream {
    server: usize,
    session: u64,
    open: [bool; 2],
    message: Option<Message>,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Complete,
    Confirm,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct World {
    machines: [Machine; 2],
    /// Heartbeats on their way to node 0 and to node 1, in the order of sending.
    wires: [Vec<Heartbeat>; 2],
    stream: Option<Stream>,
    record: Option<Record>,
    past: Option<Record>,
    arming: Arming,
    life: u64,
    asks: Vec<(usize, u64, Ask)>,
    answers: Vec<(usize, u64, WitnessAnswer)>,
    draws: u64,
    faults_left: u8,
    /// Events so far, no part of what is compared.
    pub events: usize,
    served_by: BTreeMap<(u64, u64), usize>,
    /// Two nodes have served the same generation.
    pub served_twice: bool,
    broken: BrokenRules,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A pulse passes on a node.
    Tick(usize),
    /// A heartbeat arrives; those sent before it are lost, or come too late to count.
    Deliver(usize, usize),
    /// A node notices that its end of the stream is broken.
    Break(usize),
    /// The peer connects and everything is copied.
    Resync,
    /// The message in the stream arrives.
    Stream,
    /// An ask arrives at the register.
    Asked(usize),
    /// An answer arrives, and the node dies right after saving what follows, or not.
    Answered(usize, bool),
    /// The register asks a node which generation it holds.
    Question(usize),
    /// Fault: a node sleeps for longer than the timeout.
    Sleep(usize),
    /// Fault: a node dies and starts again.
    Crash(usize),
    /// Fault: the register starts anew, with the record before its last or with its own.
    Register(bool),
    /// Fault: an operator swaps the roles.
    Swap(usize),
}

impl World {
    /// Node 1 is PRIM, node 2 is SECOND, and nothing is on its way.
    pub fn in_sync(broken: BrokenRules, faults: u8) -> Self {
        let machine = |host: usize| {
            let moment = Moment { now: Instant(0), nonce: host as u64 };
            let node = Node::new(settings(host, 1, broken), Durable::default(), moment);
            Machine { node, ledger: Durable::default(), now: 0, starts: 1, plane: Plane::Idle }
        };
        let mut arming = Arming::new([]);
        arming.arm();
        let mut world = Self {
            machines: [machine(0), machine(1)],
            wires: [Vec::new(), Vec::new()],
            stream: None,
            record: None,
            past: None,
            arming,
            life: 1,
            asks: Vec::new(),
            answers: Vec::new(),
            draws: 1,
            faults_left: faults,
            events: 0,
            served_by: BTreeMap::new(),
            served_twice: false,
            broken,
        };
        world.command(0, ModuleCommand::Prim);
        world.calm();
        world.command(1, ModuleCommand::Second);
        world.calm();
        assert_eq!(world.machines[0].node.status(), automaton::PRIM, "{world:?}");
        assert_eq!(world.machines[1].node.status(), automaton::SECOND);
        world.events = 0;
        world
    }

    /// No link has passed for a timeout, and both have noticed that the stream is broken.
    pub fn apart(mut self) -> Self {
        for host in 0..2 {
            self.happen(Action::Break(host));
        }
        for host in [0, 1, 0, 1] {
            self.happen(Action::Tick(host));
        }
        self.wires = [Vec::new(), Vec::new()];
        self.events = 0;
        self
    }

    /// The register has granted the primary's ask, but the answer is on its way; the secondary has asked too.
    pub fn granted(mut self) -> Self {
        self.happen(Action::Asked(0));
        self.happen(Action::Tick(1));
        self.wires = [Vec::new(), Vec::new()];
        self.events = 0;
        assert!(self.register_decided() && !self.asks.is_empty(), "{self:?}");
        self
    }

    /// Whatever can happen without a fault happens, until both have been quiet for a while.
    fn calm(&mut self) {
        for round in 0..12 {
            self.happen(Action::Tick(round % 2));
            loop {
                let mut actions = Vec::new();
                self.actions(&mut actions);
                let next = actions.into_iter().find(|action| {
                    matches!(
                        action,
                        Action::Deliver(..)
                            | Action::Resync
                            | Action::Stream
                            | Action::Asked(_)
                            | Action::Answered(_, false)
                    )
                });
                let Some(next) = next else { break };
                self.happen(next);
            }
        }
    }

    /// A node could get a write acknowledged.
    pub fn serves(&self, host: usize) -> bool {
        let streams = |stream: &Stream| stream.server == host && stream.open == [true, true];
        match self.machines[host].plane {
            Plane::Alone { .. } => true,
            Plane::Paired => self.stream.as_ref().is_some_and(streams),
            _ => false,
        }
    }

    /// The register has granted more than the first start.
    pub fn register_decided(&self) -> bool {
        self.record.is_some_and(|record| record.number > 1)
    }

    /// What can happen now.
    pub fn actions(&self, actions: &mut Vec<Action>) {
        for host in 0..2 {
            actions.push(Action::Tick(host));
            (0..self.wires[host].len()).for_each(|index| actions.push(Action::Deliver(host, index)));
            if self.stream.as_ref().is_some_and(|stream| stream.open[host]) {
                actions.push(Action::Break(host));
            }
            if !self.arming.armed() && self.arming.waits_for().any(|node| node == NodeId(host as u16 + 1)) {
                actions.push(Action::Question(host));
            }
            if self.faults_left > 0 {
                actions.extend([Action::Sleep(host), Action::Crash(host)]);
                if self.machines[host].node.status() == automaton::PRIM {
                    actions.push(Action::Swap(host));
                }
            }
        }
        if self.faults_left > 0 {
            actions.extend([Action::Register(false), Action::Register(true)]);
        }
        if self.can_connect().is_some() {
            actions.push(Action::Resync);
        }
        if self.stream.as_ref().is_some_and(|stream| stream.message.is_some() && stream.open == [true, true]) {
            actions.push(Action::Stream);
        }
        (0..self.asks.len()).for_each(|index| actions.push(Action::Asked(index)));
        for index in 0..self.answers.len() {
            actions.push(Action::Answered(index, false));
            if self.faults_left > 0 {
                actions.push(Action::Answered(index, true));
            }
        }
    }

    /// Lets it happen.
    pub fn happen(&mut self, action: Action) {
        self.events += 1;
        match action {
            Action::Tick(host) => {
                self.machines[host].now += PULSE_MS;
                self.feed(host, Input::Ticked);
            }
            Action::Deliver(host, index) => {
                let heartbeat = self.wires[host].drain(..=index).next_back();
                if let Some(heartbeat) = heartbeat {
                    self.feed(host, Input::HeartbeatReceived { link: 0, heartbeat });
                }
            }
            Action::Break(host) => self.break_end(host),
            Action::Resync => self.connect(),
            Action::Stream => self.pass_message(),
            Action::Asked(index) => self.asked(index),
            Action::Answered(index, crash) => self.answered(index, crash),
            Action::Question(host) => self.feed(host, Input::RegisterRestarted { life: self.life }),
            Action::Sleep(host) => {
                self.faults_left -= 1;
                self.machines[host].now += PULSE_MS * 3;
                self.feed(host, Input::Ticked);
            }
            Action::Crash(host) => {
                self.faults_left -= 1;
                self.restart(host);
            }
            Action::Register(restored) => {
                self.faults_left -= 1;
                self.life += 1;
                self.arming = Arming::new([NodeId(1), NodeId(2)]);
                if restored {
                    self.record = self.past;
                }
            }
            Action::Swap(host) => {
                self.faults_left -= 1;
                self.command(host, ModuleCommand::Swap);
            }
        }
    }

    fn command(&mut self, host: usize, kind: ModuleCommand) {
        let command = Command { id: 1, kind, actor: "operator".to_owned(), counted: false };
        self.feed(host, Input::CommandReceived(command));
    }

    fn asked(&mut self, index: usize) {
        let (host, ask, wanted) = self.asks.remove(index);
        let answer = match register::answer(self.record.as_ref(), &self.arming, &wanted) {
            Ok(new) => {
                if new.is_some() {
                    self.past = self.record;
                    self.record = new;
                }
                WitnessAnswer::Granted
            }
            Err(refusal) => WitnessAnswer::Refused { number: refusal.number(), reason: String::new() },
        };
        self.answers.push((host, ask, answer));
    }

    fn answered(&mut self, index: usize, crash: bool) {
        let (host, ask, answer) = self.answers.remove(index);
        let input = Input::WitnessAnswered { ask, answer };
        if crash {
            self.faults_left -= 1;
            let output = self.handle(host, input);
            if let Some(durable) = output.persist {
                self.machines[host].ledger = durable;
            }
            self.restart(host);
        } else {
            self.feed(host, input);
        }
    }

    /// The agent and its data plane die, and start again on a machine that was booted.
    fn restart(&mut self, host: usize) {
        let machine = &mut self.machines[host];
        machine.starts += 1;
        machine.plane = Plane::Idle;
        let moment = Moment { now: Instant(machine.now), nonce: self.draws };
        machine.node = Node::new(settings(host, machine.starts, self.broken), machine.ledger.clone(), moment);
        if let Some(stream) = &mut self.stream {
            stream.open[host] = false;
        }
        self.asks.retain(|(asker, ..)| *asker != host);
        self.answers.retain(|(asker, ..)| *asker != host);
        self.command(host, ModuleCommand::Start);
    }

    fn break_end(&mut self, host: usize) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.open[host]) {
            stream.open[host] = false;
            let (session, reason) = (stream.session, String::new());
            self.feed(host, Input::Replica(ReplicaEvent::StreamLost { session, reason }));
        }
    }

    /// The server that accepts what the other wants to follow.
    fn can_connect(&self) -> Option<(usize, u64)> {
        let closed = self.stream.as_ref().is_none_or(|stream| stream.open == [false, false]);
        (0..2).filter(|_| closed).find_map(|server| {
            match (self.machines[server].plane, self.machines[1 - server].plane) {
                (Plane::Alone { accept }, Plane::Following { session }) if accept == session && accept != 0 => {
                    Some((server, session))
                }
                _ => None,
            }
        })
    }

    fn connect(&mut self) {
        let Some((server, session)) = self.can_connect() else { return };
        self.stream = Some(Stream { server, session, open: [true, true], message: None });
        self.feed(server, Input::Replica(ReplicaEvent::PeerConnected { session }));
        self.feed(1 - server, Input::Replica(ReplicaEvent::Following { session }));
        if self.stream.as_ref().is_some_and(|stream| stream.open == [true, true]) {
            self.machines[server].plane = Plane::Paired;
            self.feed(server, Input::Replica(ReplicaEvent::ResyncCopied { session }));
        }
    }

    fn pass_message(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let (server, session) = (stream.server, stream.session);
        match stream.message.take() {
            Some(Message::Complete) => self.feed(1 - server, Input::Replica(ReplicaEvent::CaughtUp { session })),
            Some(Message::Confirm) => self.feed(server, Input::Replica(ReplicaEvent::PeerUpToDate { session })),
            None => {}
        }
    }
}
