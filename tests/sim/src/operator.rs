//! The person at the console: chooses the reference at the first start, starts what stopped, and when everything is
//! repaired does what a WAIT asks for. (Orders at bad times are faults.)

use super::cluster::{Cluster, Step};
use holdfast_api::state::{DataState, ModuleState};
use holdfast_core::arbiter;
use holdfast_core::input::{Command, Input, ModuleCommand};
use holdfast_core::view::View;

/// What the operator is about.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    /// The node to start as primary first, until that is done.
    pub first_start: Option<usize>,
    /// Diverged copies may be given up now.
    pub repairs: bool,
    commands: u64,
    choices: u64,
    /// Looks in a row at which a node asked for a choice.
    asked: u64,
}

/// The node asks whether its files may be overwritten.
fn asks_leave(view: &View) -> bool {
    view.waiting_for.as_ref().is_some_and(|text| text.contains("waits for an operator to agree"))
}

impl Cluster {
    /// Gives a command.
    pub fn command(&mut self, host: usize, kind: ModuleCommand, actor: &str) {
        let machine = &self.hosts[host];
        let now = self.schedule.now();
        if machine.node.is_none() || !machine.awake(now) || machine.frozen_until > now {
            return;
        }
        self.operator.commands += 1;
        let id = self.operator.commands;
        self.oracle_commanded(host, id, kind);
        let command = Command { id, kind, actor: actor.to_owned(), counted: actor == "start_prim" };
        self.input(host, Input::CommandReceived(command));
    }

    /// The agent is told to end; ordered once more, it hurries.
    pub fn shut_down(&mut self, host: usize, hurry: bool) {
        if self.hosts[host].node.is_none() {
            return;
        }
        self.operator.commands += 1;
        let id = self.operator.commands;
        self.oracle_commanded(host, id, ModuleCommand::Stop);
        self.input(host, Input::ShutdownOrdered { id, by: "SIGTERM".to_owned(), hurry });
    }

    /// The operator looks at both nodes, and comes back later.
    pub fn look(&mut self) {
        self.schedule.after(self.options.timeout_ms, Step::Look);
        if let Some(first) = self.operator.first_start {
            self.first_start(first);
            return;
        }
        if self.operator.repairs && self.options.nodes == 1 {
            self.repair_the_only();
        } else if self.operator.repairs {
            self.repair();
        }
    }

    /// Everything is repaired: a module that is stopped is started.
    fn repair_the_only(&mut self) {
        if self.hosts[0].node.as_ref().is_some_and(|node| node.view().state == ModuleState::Stop) {
            self.command(0, ModuleCommand::Start, "operator");
        }
    }

    /// Primary first; the other once that serves.
    fn first_start(&mut self, first: usize) {
        if self.options.nodes == 1 {
            self.operator.first_start = None;
            return self.command(0, ModuleCommand::Start, "operator");
        }
        let state = |host: usize| self.hosts[host].node.as_ref().map(|node| node.view().state);
        match (state(first), state(1 - first)) {
            (Some(ModuleState::Stop), Some(ModuleState::Stop))
                if self.hosts[first].disk.ledger.generation.number == 0 =>
            {
                self.command(first, ModuleCommand::Prim, "operator");
            }
            (Some(ModuleState::Alone), Some(ModuleState::Stop)) => {
                self.command(1 - first, ModuleCommand::Second, "operator");
                self.operator.first_start = None;
            }
            (Some(_), Some(_)) if self.operator.repairs || self.hosts[first].disk.ledger.generation.number > 0 => {
                self.operator.first_start = None;
            }
            _ => {}
        }
    }

    /// Starts the module on a node.
    pub fn operator_starts(&mut self, host: usize) {
        self.command(host, ModuleCommand::Start, "operator");
    }

    /// Everything is repaired: start what is stopped, choose where a choice is asked for.
    fn repair(&mut self) {
        let views = [0, 1].map(|host| self.hosts[host].node.as_ref().map(|node| node.view()));
        let [Some(first), Some(second)] = views else {
            return;
        };
        let states = [first.state, second.state];
        let data = [first.data, second.data];
        let serves = |host: usize| matches!(states[host], ModuleState::Prim | ModuleState::Alone);
        for host in 0..2 {
            if states[host] == ModuleState::Stop {
                self.command(host, ModuleCommand::Start, "operator");
            } else if states[host] == ModuleState::Wait
                && serves(1 - host)
                && (data[host] == DataState::Diverged
                    || data[host] == DataState::Unknown
                    || asks_leave([&first, &second][host]))
            {
                self.command(host, ModuleCommand::Second, "operator");
            }
        }
        // Neither serves and neither will: choose a whole copy where both have diverged, or nobody was chosen yet. A node
        // that only waits for the other's word may still get it: for a while the operator lets it.
        let wants_choice = |view: &View| {
            view.waiting_for.as_ref().is_some_and(|text| text.contains("`prim") || text.contains("`second`"))
        };
        let wanting = [&first, &second].into_iter().filter(|view| wants_choice(view)).count();
        let both_wait = states == [ModuleState::Wait, ModuleState::Wait];
        self.operator.asked = if both_wait && wanting > 0 { self.operator.asked + 1 } else { 0 };
        let stuck = both_wait && (wanting == 2 || wanting == 1 && self.operator.asked > 4);
        if stuck {
            let choice = (0..2).find(|host| data[*host] == DataState::UpToDate);
            let choice = choice.or_else(|| (0..2).find(|host| arbiter::whole(data[*host])));
            let choice = choice.unwrap_or_else(|| usize::from(data[0] == DataState::Inconsistent));
            // Where `prim` did not help, the node has said why and named `primforce`.
            self.operator.choices += 1;
            let order = if self.operator.choices > 2 { ModuleCommand::PrimForce } else { ModuleCommand::Prim };
            self.command(choice, order, "operator");
        }
    }
}
