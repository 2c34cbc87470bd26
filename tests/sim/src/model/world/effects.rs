//! How one machine of the model works: an input goes in, and everything it brings about there happens at once.

use super::{Message, WIRE_MAX, World};
use crate::model::machine::obey;
use holdfast_api::ids::{Generation, NodeId};
use holdfast_api::register::Ask;
use holdfast_core::durable::Durable;
use holdfast_core::input::Input;
use holdfast_core::output::{Act, Output};
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_core::time::{Instant, Moment};
use std::collections::VecDeque;

impl World {
    pub(super) fn handle(&mut self, host: usize, input: Input) -> Output {
        let machine = &mut self.machines[host];
        let moment = Moment { now: Instant(machine.now), nonce: self.draws };
        let output = machine.node.handle(moment, input);
        if let Some(durable) = &output.persist {
            let drawn = |durable: &Durable| (durable.generation.id, durable.session, durable.witness_nonce);
            self.draws += u64::from(drawn(durable) != drawn(&machine.ledger));
        }
        output
    }

    /// Hands an input in, and everything that its effects bring about at once on the same machine.
    pub(super) fn feed(&mut self, host: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let output = self.handle(host, input);
            if output.persist.is_some() || !output.acts.is_empty() || !output.replies.is_empty() {
                // What the node keeps in case this could not be done is no part of its state any more.
                inputs.push_back(Input::Ticked);
            }
            if let Some(durable) = output.persist {
                self.machines[host].ledger = durable;
            }
            if let Some(heartbeat) = output.send {
                let wire = &mut self.wires[1 - host];
                wire.push(heartbeat);
                if wire.len() > WIRE_MAX {
                    wire.remove(0);
                }
            }
            for act in output.acts {
                self.carry_out(host, act, &mut inputs);
            }
        }
    }

    fn carry_out(&mut self, host: usize, act: Act, inputs: &mut VecDeque<Input>) {
        match act {
            Act::Replica(command) => {
                if let Some(event) = self.order(host, command) {
                    inputs.push_back(Input::Replica(event));
                }
            }
            Act::SetAddresses { run } | Act::ReleaseAddresses { run } => {
                inputs.push_back(Input::AddressesDone { run, error: None });
            }
            Act::AskWitness { ask, number, nonce } => {
                self.asks.push((host, ask, Ask { number, owner: NodeId(host as u16 + 1), nonce }));
            }
            Act::ReportGeneration { life, number } if life == self.life => {
                self.arming.report(NodeId(host as u16 + 1), number);
            }
            _ => {}
        }
    }

    fn order(&mut self, host: usize, command: ReplicaCommand) -> Option<ReplicaEvent> {
        match command {
            ReplicaCommand::Serve { generation } | ReplicaCommand::ContinueAlone { generation } => {
                self.note_served(host, generation);
            }
            ReplicaCommand::CompleteResync => self.say(host, Message::Complete),
            ReplicaCommand::ConfirmUpToDate => self.say(host, Message::Confirm),
            _ => {}
        }
        let (plane, event) = obey(command);
        let Some(plane) = plane else { return event };
        self.machines[host].plane = plane;
        if let Some(stream) = &mut self.stream {
            stream.open[host] = false;
        }
        event
    }

    fn say(&mut self, host: usize, message: Message) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.open[host]) {
            stream.message = Some(message);
        }
    }

    fn note_served(&mut self, host: usize, generation: Generation) {
        let first = *self.served_by.entry((generation.number, generation.id)).or_insert(host);
        self.served_twice |= first != host;
    }
}
