//! What must hold at every step, checked from outside the nodes: from disks, deliveries and acknowledgements alone.
//!
//! - A generation is served by one node only, and numbers never fall on a node.
//! - A generation is taken only (a) when the peer's *disk* holds its promise, (c) when nothing the peer sent reached this
//!   node on any link for `timeout` while it was awake, or (d) by an operator's order; and only with whole data.
//!   Silence counts only for a node that was solo, or in sync with its peer in this life of its agent.
//!   With a ping witness the silence counts only if it answered (or the node was solo); with a register silence counts
//!   for nothing, and the register must have granted that very number to that very node.
//! - Two nodes serve at once only if the later of the two grants was taken in such silence (or by an order), and not
//!   once each has heard the other serve. With a register, or a ping witness that one side alone reaches, never: but for
//!   an operator's `primforce`.
//! - Where a witness decides, two nodes never both keep their addresses for longer than its word takes.
//! - A stopped node has no addresses; one that could not begin what it decided does not believe it done.
//! - A suspended node drops its addresses before anything else. Nodes with unequal configurations never pair.
//! - A write acknowledged is on every later primary, unless an operator forced that, or the copies diverged in silence.
//! - Nothing acknowledged is overwritten without `second`, or setting it aside, unless the other copy has it too; nor is a
//!   node's own file that a new configuration covers.
//! - Persist, send, act: every act finds on disk what it relies on, every heartbeat says what is on disk.
//! - A command gets one reply; a blocked node says for what it waits; no freeze outlasts the timeout by more than the
//!   grace of three pulses and the time of a save.

mod effects;
mod grants;

use super::cluster::Cluster;
use super::witness::Kind;
use holdfast_api::ids::Generation;
use holdfast_api::state::DataState;
use holdfast_core::arbiter;
use holdfast_core::automaton;
use holdfast_core::heartbeat::{Heartbeat, Incarnation};
use holdfast_core::input::ModuleCommand;
use holdfast_core::output::Act;
use holdfast_core::replica::ReplicaCommand;
use std::collections::{BTreeMap, BTreeSet};

/// A generation as a key.
type Key = (u64, u64);

fn key(generation: Generation) -> Key {
    (generation.number, generation.id)
}

/// How a generation came to be.
#[derive(Clone, Debug)]
struct Grant {
    host: usize,
    at: u64,
    /// Nothing of the peer had reached the node for the timeout.
    silent: bool,
    /// So it was, whatever else gave it the right.
    cut_off: bool,
    forced: bool,
    /// By an order that overrules the witness.
    overruled: bool,
    parent: Key,
}

/// What the oracle has seen.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// The first rule that was broken.
    pub violation: Option<String>,
    /// Two nodes have served at once.
    pub split_brain: bool,
    acknowledged: BTreeMap<u64, Key>,
    grants: BTreeMap<Key, Grant>,
    served_by: BTreeMap<Key, usize>,
    seen: [Seen; 2],
    /// See `oracle_addresses`.
    both_addresses_since: Option<u64>,
}

/// What has happened to one node.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Silence counts from here: the agent's start, or the end of a sleep.
    awake_since: u64,
    last_asleep_until: u64,
    asleep_since: u64,
    /// Too short a sleep to be noticed.
    nap: bool,
    /// Per link.
    delivered_at: BTreeMap<usize, u64>,
    proven: BTreeSet<Key>,
    /// Its agent's incarnation.
    own: Option<Incarnation>,
    sequences: BTreeMap<(usize, Key), u64>,
    /// The peer's generation that this node has heard being served, and when it had dealt with that.
    heard_serving: Option<(Key, u64)>,
    /// Orders of prim or primforce that were not refused.
    forced: BTreeSet<u64>,
    /// An operator overruled whatever spoke against it, with `primforce`, or a ping witness with `prim`.
    overruled: BTreeSet<u64>,
    /// When its agent last handled anything, or looked at its save.
    handled_at: u64,
    /// When a save last ended that was slow: its own disk holds the application up, too.
    saved_slowly_at: u64,
    /// An operator ordered second.
    agreed: bool,
    /// Generations that this agent has heard the peer hold, with data up to date.
    heard_of: BTreeSet<Key>,
    /// This agent has been in sync with the peer: without that, silence says nothing.
    was_in_sync: bool,
    /// It slept longer than the timeout until then, and has not found itself in sync since.
    woken_at: Option<u64>,
    open_commands: BTreeMap<u64, ModuleCommand>,
}

fn incarnation_key(incarnation: Incarnation) -> Key {
    (incarnation.count, incarnation.id)
}

impl Oracle {
    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Grants taken so far.
    pub fn grants(&self) -> usize {
        self.grants.len()
    }

    /// A generation and all it descends from.
    fn lineage(&self, from: Key) -> Vec<Key> {
        let mut all = vec![from];
        while let Some(grant) = all.last().and_then(|last| self.grants.get(last)) {
            all.push(grant.parent);
        }
        all
    }

    /// An operator's order that overrules the witness parted the two lineages: what it cost is the operator's choice.
    fn overruled(&self, one: &[Key], other: &[Key]) -> bool {
        let overruled = |grant: &Grant| grant.overruled;
        self.took(one, other, overruled) || self.took(other, one, overruled)
    }

    /// A generation of `ours` that the other copy does not have was taken in this `way`.
    fn took(&self, ours: &[Key], theirs: &[Key], way: impl Fn(&Grant) -> bool) -> bool {
        let mut own = ours.iter().filter(|generation| !theirs.contains(generation));
        own.any(|generation| self.grants.get(generation).is_some_and(&way))
    }
}

impl Cluster {
    /// A rule is broken.
    pub fn oracle_violated(&mut self, what: String) {
        if self.oracle.violation.is_none() {
            let now = self.schedule.now();
            self.say(|| format!("VIOLATION {what}"));
            self.oracle.violation = Some(format!("at {:.3} s: {what}", now as f64 / 1000.0));
        }
    }

    fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.oracle_violated(what());
        }
    }

    /// An agent started.
    pub fn oracle_agent_started(&mut self, host: usize) {
        let now = self.schedule.now();
        // An order to serve ends with the agent it was given to.
        let Seen { agreed, .. } = std::mem::take(&mut self.oracle.seen[host]);
        self.oracle.seen[host] = Seen { awake_since: now, handled_at: now, agreed, ..Seen::default() };
        self.register.answered_at[host] = None;
    }

    /// An agent goes on with what its predecessor left running: what that one knew still holds.
    pub fn oracle_agent_adopted(&mut self, host: usize) {
        let now = self.schedule.now();
        let seen = &mut self.oracle.seen[host];
        seen.awake_since = now;
        // The peer has to prove itself to the new agent.
        seen.proven.clear();
        seen.forced.clear();
        seen.overruled.clear();
        self.register.answered_at[host] = None;
    }

    /// An agent is gone, and with it the commands it had not answered.
    pub fn oracle_agent_gone(&mut self, host: usize) {
        self.oracle.seen[host].open_commands.clear();
        self.oracle.seen[host].heard_serving = None;
    }

    /// A command is given.
    pub fn oracle_commanded(&mut self, host: usize, id: u64, kind: ModuleCommand) {
        let seen = &mut self.oracle.seen[host];
        seen.open_commands.insert(id, kind);
        let asks_nobody = matches!(self.options.witness, Kind::PingFrom(_)) && kind == ModuleCommand::Prim;
        if kind == ModuleCommand::PrimForce || asks_nobody {
            seen.overruled.insert(id);
        }
        match kind {
            ModuleCommand::Prim | ModuleCommand::PrimForce | ModuleCommand::PrimFullSync => {
                seen.forced.insert(id);
            }
            ModuleCommand::Second | ModuleCommand::SecondFullSync => seen.agreed = true,
            _ => {}
        }
    }

    /// A command is answered.
    pub fn oracle_replied(&mut self, host: usize, id: u64, accepted: bool) {
        let seen = &mut self.oracle.seen[host];
        let known = seen.open_commands.remove(&id);
        if !accepted {
            seen.forced.remove(&id);
            seen.overruled.remove(&id);
        }
        self.require(known.is_some(), || format!("{} answers command {id} twice", Self::name(host)));
    }

    /// A datagram that arrived at `arrived` is about to be handed in. Whether it counts as heard: it is new and its speaker
    /// has proven itself.
    pub fn oracle_delivered(&mut self, host: usize, link: usize, heartbeat: &Heartbeat, arrived: u64) -> bool {
        let own = self.hosts[host].node.as_ref().map(|node| node.settings().incarnation);
        let speaker = incarnation_key(heartbeat.incarnation);
        let seen = &mut self.oracle.seen[host];
        if seen.own != own {
            // What was proven to it by another name is proven anew.
            seen.own = own;
            seen.proven.clear();
        }
        if own == Some(heartbeat.echo) {
            seen.proven.retain(|proven| proven.0 >= speaker.0);
            seen.proven.insert(speaker);
        }
        let newest = seen.proven.iter().next_back().copied() == Some(speaker);
        let sequence = seen.sequences.entry((link, speaker)).or_default();
        if newest && heartbeat.sequence > *sequence {
            *sequence = heartbeat.sequence;
            seen.delivered_at.insert(link, arrived);
            return true;
        }
        false
    }

    /// A heartbeat has been handled.
    pub fn oracle_handled(&mut self, host: usize, heartbeat: &Heartbeat) {
        if heartbeat.data == DataState::UpToDate {
            self.oracle.seen[host].heard_of.insert(key(heartbeat.generation));
        }
        let woken_at = self.oracle.seen[host].woken_at;
        if woken_at.is_some_and(|at| self.schedule.now() >= at + self.options.timeout_ms)
            && heartbeat.data == DataState::UpToDate
            && heartbeat.session != 0
            && heartbeat.session == self.hosts[host].disk.ledger.session
            && heartbeat.generation == self.hosts[host].disk.ledger.generation
            && self.hosts[host].disk.ledger.data == DataState::UpToDate
        {
            self.oracle.seen[host].woken_at = None;
            self.oracle.seen[host].was_in_sync = true;
        }
        if arbiter::serves(heartbeat) {
            let now = self.schedule.now();
            let heard = key(heartbeat.generation);
            let seen = &mut self.oracle.seen[host];
            if seen.heard_serving.is_none_or(|(generation, _)| generation != heard) {
                seen.heard_serving = Some((heard, now));
            }
        }
    }

    /// Truly silent: nothing new of the peer was delivered on any link for the link's timeout, and the node was awake.
    pub fn truly_silent(&self, host: usize) -> bool {
        let seen = &self.oracle.seen[host];
        let delivered_at = |link| seen.delivered_at.get(&link).copied().unwrap_or_default();
        let silent_from = |link| delivered_at(link).max(seen.awake_since) + self.options.link_timeout_ms(link);
        (0..self.options.links).all(|link| self.schedule.now() >= silent_from(link))
    }

    /// After every step.
    pub fn oracle_check(&mut self) {
        let now = self.schedule.now();
        let nap_ms = (self.options.pulse_ms * 3).max(1000).min(self.options.timeout_ms / 2);
        for host in 0..2 {
            let until = self.hosts[host].asleep_until.max(self.hosts[host].frozen_until);
            let seen = &mut self.oracle.seen[host];
            if until > seen.last_asleep_until {
                if seen.last_asleep_until <= now {
                    seen.asleep_since = now;
                }
                seen.last_asleep_until = until;
                seen.nap = until.saturating_sub(seen.asleep_since) < nap_ms;
            }
            if seen.last_asleep_until <= now && !seen.nap {
                seen.awake_since = seen.awake_since.max(seen.last_asleep_until);
            }
            self.check_freeze(host, now);
            self.check_stopped(host);
        }
        self.oracle_addresses();
        if self.serves(0) && self.serves(1) {
            self.check_both_serve(now);
        }
    }

    /// A node that has stopped has left no address on its machine.
    fn check_stopped(&mut self, host: usize) {
        let stopped = self.hosts[host].node.as_ref().is_some_and(|node| node.status() == automaton::STOP);
        self.require(!(stopped && self.hosts[host].addresses), || {
            format!("{} is stopped and still has its addresses", Self::name(host))
        });
    }

    fn check_freeze(&mut self, host: usize, now: u64) {
        let Some(since) = self.hosts[host].replica.held_since else {
            return;
        };
        let slept = self.oracle.seen[host].last_asleep_until.max(self.oracle.seen[host].saved_slowly_at);
        let grace = self.options.pulse_ms * 3 + self.options.work_ms() + 200;
        let witness = if self.options.witness == Kind::None { 0 } else { self.options.witness_timeout_ms };
        let timeout = (0..self.options.links).map(|link| self.options.link_timeout_ms(link)).max();
        let bound = since.max(slept) + timeout.unwrap_or_default() + witness + grace;
        let stopping =
            self.hosts[host].replica.orders.iter().any(|order| matches!(order, ReplicaCommand::Release { .. }));
        // The right to go on alone is there; its own disk keeps it from using it.
        let grants = |act: &Act| matches!(act, Act::Replica(ReplicaCommand::ContinueAlone { .. }));
        let saves = self.hosts[host].saving.as_ref().is_some_and(|saving| saving.output.acts.iter().any(grants));
        self.require(now <= bound || stopping || saves, || {
            format!("the application on {} is frozen since {since} ms", Self::name(host))
        });
    }

    /// Two nodes serve: only if they parted in silence and have not heard of each other since.
    fn check_both_serve(&mut self, now: u64) {
        self.oracle.split_brain = true;
        let generations = [0, 1].map(|host| match self.hosts[host].replica.mode {
            super::replica::Mode::Serving { generation, .. } => key(generation),
            _ => (0, 0),
        });
        let grants = generations.map(|generation| self.oracle.grants.get(&generation).cloned());
        let [Some(first), Some(second)] = grants else {
            return self.oracle_violated("two nodes serve, one without a grant".to_owned());
        };
        let [one, other] = generations.map(|generation| self.oracle.lineage(generation));
        let overruled = self.oracle.overruled(&one, &other);
        if self.options.witness.fences() {
            return self.require(overruled, || format!("two nodes serve, {generations:?}, in spite of the witness"));
        }
        let later = if first.at >= second.at { &first } else { &second };
        let ordered = overruled || (first.forced || second.forced) && later.cut_off;
        let silent = later.silent || later.forced || ordered;
        let (at, host) = (later.at, later.host);
        self.require(silent, || {
            format!("two nodes serve, though {} was not cut off when it took its grant at {at} ms", Self::name(host))
        });
        let slack = self.options.work_ms() + 500;
        let told = [0, 1].map(|host| {
            self.oracle.seen[host].heard_serving.is_some_and(|(generation, heard_at)| {
                let awake = heard_at.max(self.oracle.seen[host].last_asleep_until);
                generation == generations[1 - host] && now > awake + slack
            })
        });
        self.require(told != [true, true], || "two nodes have heard each other serve, and both go on".to_owned());
    }

    /// No command is left without an answer.
    pub fn check_replies(&mut self) {
        for host in 0..2 {
            let open = self.oracle.seen[host].open_commands.len();
            self.require(open == 0, || format!("{} left {open} commands unanswered", Self::name(host)));
        }
    }
}
