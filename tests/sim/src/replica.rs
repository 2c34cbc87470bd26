//! A model of the data plane: who acknowledges a write, what a resync copies, what a broken stream holds back.
//!
//! Every write of the application is synced before it is acknowledged, on both sides where both are asked; what a resync
//! copies is synced only at its end. So nothing acknowledged may be lost by any single crash, nor by two.

use super::cluster::{Cluster, Step};
use holdfast_api::ids::Generation;
use holdfast_core::input::Input;
use holdfast_core::replica::{Inventory, ReplicaCommand, ReplicaEvent};
use std::collections::{BTreeSet, VecDeque};

/// Writes that the application has under way at most.
const PENDING_MAX: usize = 4;
/// Entries per message of a resync.
const CHUNK: usize = 8;

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

/// A stream between the two data planes.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its session.
    pub session: u64,
    /// The serving node.
    pub server: usize,
    /// Messages on their way, to node 0 and to node 1.
    pub under_way: [VecDeque<Message>; 2],
    /// Node 0 and node 1 have their end open.
    pub open: [bool; 2],
    /// Since when nothing passes.
    pub stalled_since: Option<u64>,
    /// The peer has everything; every write waits for it.
    pub copied: bool,
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub enum Message {
    /// A resync begins: remove what the primary does not have.
    Keep(BTreeSet<u64>),
    /// These are there.
    Copy(Vec<u64>),
    /// That was all.
    CopyEnd,
    /// All was copied.
    Copied,
    /// A write.
    Write(u64),
    /// It is applied.
    Applied(u64),
    /// Every write waits for you: sync, save, answer.
    Complete,
    /// Saved.
    Confirm,
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
            self.tell(host, ReplicaEvent::Failed { reason: format!("{command:?} refused by the disk") });
        } else if let (true, ReplicaCommand::SetAside { run, .. }) = (fails, &command) {
            self.tell(host, ReplicaEvent::NotSetAside { run: *run, reason: "the disk is full".to_owned() });
        } else {
            self.carry_out_order(host, command);
        }
        self.schedule_order(host);
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
            ReplicaCommand::Inspect => vec![ReplicaEvent::Inspected { inventory: Inventory::default() }],
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
            ReplicaCommand::ContinueAlone { .. } | ReplicaCommand::ConfirmUpToDate => Vec::new(),
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
                let inventory = Inventory { entries, bytes: entries * 100, changed_unix_ms: 0 };
                self.tell(host, ReplicaEvent::Inspected { inventory });
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

    /// A following data plane tries to connect.
    pub fn connect(&mut self, host: usize, wanted: u64) {
        let Mode::Following { session, fenced: false } = self.hosts[host].replica.mode else {
            return;
        };
        if session != wanted || self.stream.as_ref().is_some_and(|stream| stream.open[host]) {
            return;
        }
        let server = 1 - host;
        let passes = self.net.stream_passes(0) && self.net.stream_passes(1);
        let accepts = matches!(
            self.hosts[server].replica.mode,
            Mode::Serving { accept: Some(accepted), refusing: false, .. } if accepted == session
        );
        let free = self.stream.as_ref().is_none_or(|stream| !stream.open[server]);
        if !(passes && accepts && free && self.hosts[server].awake(self.schedule.now())) {
            let life = self.hosts[host].replica.life;
            self.schedule.after(50, Step::Connect { host, life, session });
            return;
        }
        self.oracle_paired();
        self.streams += 1;
        self.stream = Some(Stream {
            session,
            server,
            under_way: [VecDeque::new(), VecDeque::new()],
            open: [true, true],
            stalled_since: None,
            copied: false,
        });
        self.tell(server, ReplicaEvent::PeerConnected { session });
        self.tell(host, ReplicaEvent::Following { session });
        let all = self.hosts[server].disk.content.clone();
        self.push(host, Message::Keep(all.clone()));
        for chunk in all.into_iter().collect::<Vec<_>>().chunks(CHUNK) {
            self.push(host, Message::Copy(chunk.to_vec()));
        }
        self.push(host, Message::CopyEnd);
        self.schedule.after(100, Step::StreamCheck { stream: self.streams });
    }

    /// Puts a message into the stream, if the sender's end is open.
    fn push(&mut self, to: usize, message: Message) {
        let number = self.streams;
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.open[1 - to]) else {
            return;
        };
        stream.under_way[to].push_back(message);
        if stream.under_way[to].len() == 1 {
            let delay = self.rng.within(self.options.stream_ms);
            self.schedule.after(delay, Step::StreamDeliver { stream: number, to });
        }
    }

    /// The first message to `to` arrives, or tries again later.
    pub fn stream_deliver(&mut self, number: u64, to: usize) {
        if number != self.streams {
            return;
        }
        let ready = self.net.stream_passes(1 - to) && self.hosts[to].awake(self.schedule.now());
        let Some(stream) = &mut self.stream else {
            return;
        };
        if !ready && stream.open[to] {
            self.schedule.after(20, Step::StreamDeliver { stream: number, to });
            return;
        }
        let Some(message) = stream.under_way[to].pop_front() else {
            return;
        };
        if !stream.under_way[to].is_empty() {
            let delay = self.rng.within(self.options.stream_ms);
            self.schedule.after(delay, Step::StreamDeliver { stream: number, to });
        }
        if stream.open[to] {
            let session = stream.session;
            self.receive(to, session, message);
        }
    }

    fn receive(&mut self, host: usize, session: u64, message: Message) {
        match message {
            Message::Keep(keep) => {
                let gone: Vec<u64> = self.hosts[host].disk.content.difference(&keep).copied().collect();
                for write in gone {
                    self.oracle_overwritten(host, write);
                    self.hosts[host].disk.content.remove(&write);
                }
            }
            Message::Copy(writes) => self.hosts[host].disk.content.extend(writes),
            Message::CopyEnd => self.push(1 - host, Message::Copied),
            Message::Copied => {
                if let Some(stream) = &mut self.stream {
                    stream.copied = true;
                }
                if let Mode::Serving { alone, .. } = &mut self.hosts[host].replica.mode {
                    *alone = false;
                }
                self.tell(host, ReplicaEvent::ResyncCopied { session });
            }
            Message::Write(write) => {
                self.hosts[host].disk.write_synced(write);
                self.push(1 - host, Message::Applied(write));
            }
            Message::Applied(write) => {
                let replica = &mut self.hosts[host].replica;
                if let Some(at) = replica.pending.iter().position(|pending| *pending == write) {
                    replica.pending.remove(at);
                    self.acknowledge(host, write);
                }
            }
            Message::Complete => {
                self.hosts[host].disk.sync();
                self.tell(host, ReplicaEvent::CaughtUp { session });
            }
            Message::Confirm => self.tell(host, ReplicaEvent::PeerUpToDate { session }),
        }
    }

    /// The application hears of success.
    fn acknowledge(&mut self, host: usize, write: u64) {
        let Mode::Serving { generation, .. } = self.hosts[host].replica.mode else {
            return;
        };
        self.hosts[host].disk.write_synced(write);
        self.oracle_acknowledged(host, write, generation);
    }

    /// The application writes, if it can.
    pub fn app_write(&mut self, host: usize) {
        let Mode::Serving { alone, refusing: false, .. } = self.hosts[host].replica.mode else {
            return;
        };
        if self.hosts[host].replica.pending.len() >= PENDING_MAX {
            return;
        }
        self.writes += 1;
        let write = self.writes;
        self.hosts[host].disk.content.insert(write);
        let follower_open = self.stream.as_ref().is_some_and(|stream| stream.open[host] && stream.server == host);
        if follower_open {
            self.push(1 - host, Message::Write(write));
        }
        if alone {
            self.acknowledge(host, write);
        } else {
            self.hosts[host].replica.pending.push(write);
        }
    }

    /// This node's end of the stream is closed, by its own doing; what it had sent may still arrive.
    pub fn close_end(&mut self, host: usize) {
        let lost = self.rng.coin() == 0;
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.open[host]) {
            stream.open[host] = false;
            if lost {
                stream.under_way[1 - host].clear();
            }
        }
    }

    /// Looks after a stream: an end notices that the other is gone, or that nothing passes.
    pub fn stream_check(&mut self, number: u64) {
        if number != self.streams {
            return;
        }
        let now = self.schedule.now();
        let passes = self.net.stream_passes(0) && self.net.stream_passes(1);
        let up = [0, 1].map(|host| self.hosts[host].up);
        let awake = [0, 1].map(|host| self.hosts[host].awake(now));
        let patience = self.options.stream_timeout_ms;
        let Some(stream) = &mut self.stream else {
            return;
        };
        if stream.open == [false, false] {
            return;
        }
        if passes && awake[0] && awake[1] {
            stream.stalled_since = None;
        } else if stream.stalled_since.is_none() {
            stream.stalled_since = Some(now);
        }
        let stalled = stream.stalled_since.is_some_and(|since| now - since >= patience);
        let (open, session) = (stream.open, stream.session);
        for host in 0..2 {
            // The kernel of the other node answers for a closed end at once; a dead machine answers nothing.
            let reset = !open[1 - host] && passes && up[1 - host];
            if open[host] && awake[host] && (reset || stalled) {
                self.lose_stream(host, session, if reset { "closed by the peer" } else { "no progress" });
            }
        }
        self.schedule.after(100, Step::StreamCheck { stream: number });
    }

    /// This node's data plane finds its stream broken.
    pub fn lose_stream(&mut self, host: usize, session: u64, reason: &str) {
        self.close_end(host);
        if let Mode::Serving { alone: false, refusing: false, .. } = self.hosts[host].replica.mode {
            self.hosts[host].replica.held_since = Some(self.schedule.now());
        }
        if let Mode::Serving { accept, .. } = &mut self.hosts[host].replica.mode {
            *accept = None;
        }
        self.tell(host, ReplicaEvent::StreamLost { session, reason: reason.to_owned() });
    }

    /// This node could get a new write acknowledged now.
    pub fn serves(&self, host: usize) -> bool {
        let Mode::Serving { alone, refusing: false, .. } = self.hosts[host].replica.mode else {
            return false;
        };
        let followed = self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.server == host && stream.open == [true, true] && stream.copied);
        self.hosts[host].up && (alone || followed)
    }
}
