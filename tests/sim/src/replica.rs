//! A model of the data plane: who acknowledges a write, what a resync copies, what a broken stream holds back.
//!
//! Which order it takes in which role is decided by the real process's own [`plan`]; what an order brings about is modelled.
//! Every write of the application is synced before it is acknowledged, on both sides where both are asked; what a resync
//! copies is synced only at its end. So nothing acknowledged may be lost by any single crash, nor by two.

mod stream;

pub use stream::{Message, Stream};

use super::cluster::{Cluster, Step};
use holdfast_api::ids::Generation;
use holdfast_core::input::Input;
use holdfast_core::replica::{Inventory, ReplicaCommand, ReplicaEvent};
use holdfast_replica::process::{Role, plan};
use std::collections::VecDeque;

/// What a scenario's host finds bad while a path that guards its directories is missing.
pub const GUARD: &str = "rfs.guard";

/// The data plane of one node.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// Counts processes, so that events of an older one are dropped.
    pub life: u64,
    /// What it does.
    pub mode: Mode,
    /// Orders not carried out yet.
    pub orders: VecDeque<ReplicaCommand>,
    /// Counts schedulings of the first order, so that an urgent one can overtake.
    pub order_number: u64,
    /// Writes the application waits for.
    pub pending: Vec<u64>,
    /// Since when writes are held back with no stream to wait for.
    pub held_since: Option<u64>,
    /// The last session, of a module without directories.
    pub session: u64,
}

/// What a data plane does.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Mode {
    /// Nothing is mounted.
    #[default]
    Idle,
    /// Mounted read-write.
    Serving {
        /// Under this grant.
        generation: Generation,
        /// Acknowledges without the peer.
        alone: bool,
        /// Lets the peer connect for this session.
        accept: Option<u64>,
        /// Answers EIO.
        refusing: bool,
    },
    /// Mounted read-only.
    Following {
        /// The session it wants.
        session: u64,
        /// Takes nothing more.
        fenced: bool,
    },
}

impl Replica {
    /// What it does, as the real process calls it.
    fn role(&self) -> Role {
        match self.mode {
            Mode::Idle => Role::Idle,
            Mode::Serving { refusing: false, .. } => Role::Serving,
            Mode::Serving { refusing: true, .. } => Role::Refusing,
            Mode::Following { fenced: false, .. } => Role::Following,
            Mode::Following { fenced: true, .. } => Role::Fenced,
        }
    }
}

impl Cluster {
    /// The agent orders something of its data plane.
    pub fn order(&mut self, host: usize, command: ReplicaCommand) {
        let urgent = matches!(command, ReplicaCommand::Refuse | ReplicaCommand::Release { abort: true });
        let replica = &mut self.hosts[host].replica;
        replica.orders.push_back(command);
        if replica.orders.len() == 1 {
            self.schedule_order(host);
        } else if urgent && replica.orders.front() == Some(&ReplicaCommand::Release { abort: false }) {
            replica.order_number += 1;
            let (life, number) = (replica.life, replica.order_number);
            self.schedule.after(1, Step::OrderDone { host, life, number });
        }
    }

    fn schedule_order(&mut self, host: usize) {
        let Some(command) = self.hosts[host].replica.orders.front() else {
            return;
        };
        let mut delay = self.rng.within(self.options.replica_ms);
        if *command == (ReplicaCommand::Release { abort: false })
            && self.rng.chance(self.options.release_hangs)
            && self.faulty
        {
            delay += 60_000;
        }
        if let ReplicaCommand::Release { abort: true } | ReplicaCommand::Refuse = command {
            delay = delay.min(20);
        }
        let replica = &mut self.hosts[host].replica;
        replica.order_number += 1;
        let (life, number) = (replica.life, replica.order_number);
        self.schedule.after(delay, Step::OrderDone { host, life, number });
    }

    /// An order takes effect.
    pub fn order_done(&mut self, host: usize) {
        let Some(command) = self.hosts[host].replica.orders.pop_front() else {
            return;
        };
        let fails = self.faulty && self.rng.chance(self.options.replica_fails);
        let may_fail =
            matches!(command, ReplicaCommand::Inspect | ReplicaCommand::Serve { .. } | ReplicaCommand::Follow { .. });
        if !self.options.replicates {
            self.answer_without_data(host, &command);
        } else if fails && may_fail {
            self.fail_order(host, &command);
        } else if let (true, ReplicaCommand::SetAside { run, .. }) = (fails, &command) {
            self.tell(host, ReplicaEvent::NotSetAside { run: *run, reason: "the disk is full".to_owned() });
        } else {
            self.plan_order(host, command);
        }
        self.schedule_order(host);
    }

    /// The real process's decision, and what it brings about.
    fn plan_order(&mut self, host: usize, command: ReplicaCommand) {
        let role = match plan(self.hosts[host].replica.role(), &command) {
            Ok((role, _)) => role,
            Err(reason) => return self.tell(host, ReplicaEvent::Failed { reason }),
        };
        self.carry_out_order(host, command);
        let now = self.hosts[host].replica.role();
        if now != role {
            self.oracle_violated(format!("internal: the data plane of {} is {now:?}, not {role:?}", Self::name(host)));
        }
    }

    /// A step of the order fails: nothing is applied any more, but what is served goes on.
    fn fail_order(&mut self, host: usize, command: &ReplicaCommand) {
        if let Mode::Following { fenced, .. } = &mut self.hosts[host].replica.mode
            && *command != ReplicaCommand::Inspect
        {
            *fenced = true;
            self.close_end(host);
        }
        self.tell(host, ReplicaEvent::Failed { reason: format!("{command:?} refused by the disk") });
    }

    /// As the agent answers for a module without directories: what it is asked is true at once.
    fn answer_without_data(&mut self, host: usize, command: &ReplicaCommand) {
        match *command {
            ReplicaCommand::AcceptPeer { session } | ReplicaCommand::Follow { session, .. } => {
                self.hosts[host].replica.session = session;
            }
            _ => {}
        }
        let session = self.hosts[host].replica.session;
        let events = match command {
            ReplicaCommand::Inspect => {
                vec![ReplicaEvent::Inspected { inventory: Inventory::default(), uncovered: Inventory::default() }]
            }
            ReplicaCommand::Serve { .. } => vec![ReplicaEvent::Serving],
            ReplicaCommand::AcceptPeer { .. } => {
                vec![ReplicaEvent::PeerConnected { session }, ReplicaEvent::ResyncCopied { session }]
            }
            ReplicaCommand::Follow { .. } => {
                vec![ReplicaEvent::Following { session }, ReplicaEvent::CaughtUp { session }]
            }
            ReplicaCommand::Fence => vec![ReplicaEvent::Fenced],
            ReplicaCommand::Refuse => vec![ReplicaEvent::Refusing],
            ReplicaCommand::Release { .. } => vec![ReplicaEvent::Released],
            ReplicaCommand::CompleteResync => vec![ReplicaEvent::PeerUpToDate { session }],
            ReplicaCommand::SetAside { run, .. } => {
                vec![ReplicaEvent::SetAside { run: *run, entries: 0, bytes: 0, folder: String::new() }]
            }
            ReplicaCommand::ContinueAlone { .. } | ReplicaCommand::ConfirmUpToDate | ReplicaCommand::CompareAll => {
                Vec::new()
            }
        };
        events.into_iter().for_each(|event| self.tell(host, event));
    }

    fn carry_out_order(&mut self, host: usize, command: ReplicaCommand) {
        match command {
            ReplicaCommand::Inspect if self.hosts[host].bad.contains(GUARD) => {
                self.tell(host, ReplicaEvent::Missing { path: "/srv/data/here".to_owned() });
            }
            ReplicaCommand::Inspect => {
                let entries = self.hosts[host].disk.content.len() as u64;
                let of = |entries| Inventory { entries, bytes: entries * 100, changed_unix_ms: 0 };
                let (inventory, uncovered) = (of(entries), of(self.uncovered(host)));
                self.tell(host, ReplicaEvent::Inspected { inventory, uncovered });
            }
            ReplicaCommand::Serve { generation } => {
                self.close_end(host);
                self.hosts[host].replica.mode =
                    Mode::Serving { generation, alone: true, accept: None, refusing: false };
                self.oracle_served(host, generation);
                self.tell(host, ReplicaEvent::Serving);
            }
            ReplicaCommand::AcceptPeer { session } => {
                self.close_end(host);
                if let Mode::Serving { accept, .. } = &mut self.hosts[host].replica.mode {
                    *accept = Some(session);
                }
            }
            ReplicaCommand::CompleteResync => {
                if self.stream.as_ref().is_some_and(|stream| stream.open[host] && stream.copied) {
                    self.push(1 - host, Message::Complete);
                }
            }
            ReplicaCommand::ContinueAlone { generation } => self.continue_alone(host, generation),
            ReplicaCommand::Follow { session, .. } => {
                self.close_end(host);
                self.hosts[host].replica.mode = Mode::Following { session, fenced: false };
                let life = self.hosts[host].replica.life;
                self.schedule.after(1, Step::Connect { host, life, session });
            }
            ReplicaCommand::SetAside { run, .. } => self.set_aside(host, run),
            // What is compared makes no difference to what is the same afterwards.
            ReplicaCommand::CompareAll => {}
            ReplicaCommand::ConfirmUpToDate => self.push(1 - host, Message::Confirm),
            ReplicaCommand::Fence => self.fence(host),
            ReplicaCommand::Refuse => {
                self.refuse(host);
                self.tell(host, ReplicaEvent::Refusing);
            }
            ReplicaCommand::Release { .. } => {
                self.refuse(host);
                self.close_end(host);
                self.hosts[host].replica.mode = Mode::Idle;
                self.tell(host, ReplicaEvent::Released);
            }
        }
    }

    /// Copies what the serving peer lacks, synced, if there is one to compare with.
    fn set_aside(&mut self, host: usize, run: u64) {
        let serves = matches!(self.hosts[1 - host].replica.mode, Mode::Serving { refusing: false, .. });
        if !serves {
            let reason = "the primary does not answer".to_owned();
            return self.tell(host, ReplicaEvent::NotSetAside { run, reason });
        }
        let theirs = self.hosts[1 - host].disk.content.clone();
        let disk = &mut self.hosts[host].disk;
        let lacked: Vec<u64> = disk.content.difference(&theirs).copied().collect();
        let entries = lacked.len() as u64;
        disk.aside.extend(lacked);
        self.tell(host, ReplicaEvent::SetAside { run, entries, bytes: entries * 100, folder: "aside".to_owned() });
    }

    fn continue_alone(&mut self, host: usize, granted: Generation) {
        self.close_end(host);
        if let Mode::Serving { generation, alone, accept, refusing } = &mut self.hosts[host].replica.mode {
            (*generation, *alone, *accept) = (granted, true, None);
            if *refusing {
                return;
            }
        }
        self.oracle_served(host, granted);
        self.hosts[host].replica.held_since = None;
        for write in std::mem::take(&mut self.hosts[host].replica.pending) {
            self.acknowledge(host, write);
        }
    }

    fn fence(&mut self, host: usize) {
        if let Mode::Following { fenced, .. } = &mut self.hosts[host].replica.mode {
            *fenced = true;
        }
        self.close_end(host);
        self.hosts[host].disk.sync();
        self.tell(host, ReplicaEvent::Fenced);
    }

    fn refuse(&mut self, host: usize) {
        if let Mode::Serving { refusing, .. } = &mut self.hosts[host].replica.mode {
            *refusing = true;
        }
        self.hosts[host].replica.pending.clear();
        self.hosts[host].replica.held_since = None;
    }

    /// The process ends (with its agent, or by itself): mounts are dead, what was pending fails.
    pub fn end_replica(&mut self, host: usize) {
        self.close_end(host);
        let replica = &mut self.hosts[host].replica;
        replica.life += 1;
        replica.mode = Mode::Idle;
        replica.orders.clear();
        replica.pending.clear();
        replica.held_since = None;
    }

    fn tell(&mut self, host: usize, event: ReplicaEvent) {
        self.to_agent(host, Input::Replica(event));
    }
}
