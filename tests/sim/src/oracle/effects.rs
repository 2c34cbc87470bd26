//! What the oracle demands of what a node says and does, and of what its data plane does with that.

use super::{Grant, key};
use crate::cluster::Cluster;
use crate::disk::OWN;
use holdfast_api::checker::When;
use holdfast_api::ids::Generation;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use holdfast_core::automaton;
use holdfast_core::output::{Act, Output, Script};
use holdfast_core::replica::ReplicaCommand;

impl Cluster {
    /// What a node wants done, before anything of it is done.
    pub fn oracle_output(&mut self, host: usize, output: &Output) {
        let node = Self::name(host);
        if let Some(event) = output.events.iter().find(|event| event.text.contains("internal:")) {
            let text = event.text.clone();
            self.oracle_violated(format!("{node}: {text}"));
        }
        // Only where something was done or said, or where it waits, can this have changed.
        let quiet = output.acts.is_empty() && output.events.is_empty();
        let node_now = self.hosts[host].node.as_ref().filter(|node| !quiet || node.status() == automaton::BLOCKED);
        let Some(view) = node_now.map(|node| node.view()) else {
            return;
        };
        let blocked = view.state == ModuleState::Wait && view.readiness == Readiness::NotReady;
        self.require(!blocked || view.waiting_for.is_some(), || format!("{node} is blocked and does not say on what"));
        let serving = matches!(view.state, ModuleState::Prim | ModuleState::Alone | ModuleState::Up);
        self.require(!view.healthy || (serving && view.readiness == Readiness::Ready), || {
            format!("{node} is healthy in {} {}", view.state, view.readiness)
        });
    }

    /// What is about to be sent and done finds on disk what it relies on.
    pub fn oracle_effects(&mut self, host: usize, output: &Output) {
        let disk = self.hosts[host].disk.ledger.clone();
        let node = Self::name(host);
        if let Some(said) = &output.send {
            let honest = said.generation == disk.generation
                && said.outdated_since == disk.outdated_since
                && said.data == disk.data
                && said.solo == disk.solo;
            self.require(honest, || format!("{node} says what is not saved: {said:?}, on disk {disk:?}"));
        }
        for act in &output.acts {
            let Act::Replica(command) = act else { continue };
            let saved = match command {
                ReplicaCommand::Serve { generation } => disk.generation == *generation && disk.solo,
                ReplicaCommand::ContinueAlone { generation } => disk.generation == *generation && disk.solo,
                ReplicaCommand::AcceptPeer { session } => disk.session == *session && disk.solo,
                ReplicaCommand::CompleteResync => !disk.solo,
                ReplicaCommand::Follow { session, .. } => {
                    disk.session == *session && disk.data == DataState::Inconsistent && !disk.solo
                }
                ReplicaCommand::ConfirmUpToDate => disk.data == DataState::UpToDate && !disk.solo,
                _ => true,
            };
            self.require(saved, || format!("{node} orders {command:?} with {disk:?} on disk"));
        }
    }

    /// An input has been handled: a node that was suspended until now drops its addresses first.
    pub fn oracle_woken(&mut self, host: usize, output: &Output) {
        let now = self.schedule.now();
        let gap = now - std::mem::replace(&mut self.oracle.seen[host].handled_at, now);
        if gap >= self.options.timeout_ms {
            self.oracle.seen[host].woken_at = Some(now);
            self.oracle.seen[host].was_in_sync = false;
        }
        if gap < self.options.timeout_ms || !self.serves(host) || !self.hosts[host].addresses {
            return;
        }
        let releases = |act: &Act| matches!(act, Act::ReleaseAddresses { .. });
        let first = output.acts.iter().find(|act| !matches!(act, Act::SetHealth { .. }));
        self.require(first.is_some_and(releases), || {
            format!("{} was suspended for {gap} ms and keeps its addresses", Self::name(host))
        });
    }

    /// Its agent has looked at its save: it was awake, unless that comes a timeout late.
    pub fn oracle_awake(&mut self, host: usize) {
        let (now, seen) = (self.schedule.now(), &mut self.oracle.seen[host]);
        if now - seen.handled_at < self.options.timeout_ms {
            seen.handled_at = now;
        }
    }

    /// A save has ended that began at `begun`.
    pub fn oracle_saved_slowly(&mut self, host: usize, begun: u64) {
        let now = self.schedule.now();
        if now - begun > self.options.save_ms.1 {
            self.oracle.seen[host].saved_slowly_at = now;
        }
    }

    /// The addresses must not be set while the other node gets writes acknowledged, unless apart, which does not count
    /// where a witness decides.
    pub fn oracle_addresses_set(&mut self, host: usize) {
        let excused = if self.options.witness.fences() { self.apart_by_order() } else { self.apart() };
        let other_serves = self.serves(1 - host);
        self.require(!other_serves || excused, || {
            format!("{} sets its addresses while {} serves", Self::name(host), Self::name(1 - host))
        });
    }

    fn apart_by_order(&self) -> bool {
        let held = [0, 1].map(|host| key(self.hosts[host].disk.ledger.generation));
        let [one, other] = held.map(|generation| self.oracle.lineage(generation));
        self.oracle.overruled(&one, &other)
    }

    /// Where a witness decides, two nodes that are there and awake do not both keep their addresses for longer than its
    /// word, and what follows from that, takes.
    pub fn oracle_addresses(&mut self) {
        let now = self.schedule.now();
        let both = [0, 1].into_iter().all(|host| {
            let machine = &self.hosts[host];
            machine.addresses && machine.node.is_some() && machine.awake(now) && now >= machine.frozen_until
        });
        if !both || !self.options.witness.fences() {
            self.oracle.both_addresses_since = None;
            return;
        }
        let since = *self.oracle.both_addresses_since.get_or_insert(now);
        let work = self.options.work_ms() + 500;
        let limit_ms = self.options.witness_timeout_ms + self.options.pulse_ms * 3 + self.options.delay_ms.1 + work;
        let excused = now <= since + limit_ms || self.apart_by_order();
        self.require(excused, || format!("both nodes have had their addresses since {since} ms"));
    }

    /// Cut off from each other, or by an order, both may run: that is not fenced.
    fn apart(&self) -> bool {
        let held = [0, 1].map(|host| key(self.hosts[host].disk.ledger.generation));
        let [one, other] = held.map(|generation| self.oracle.lineage(generation));
        let unfenced = |grant: &Grant| grant.silent || grant.forced;
        self.oracle.took(&one, &other, unfenced) || self.oracle.took(&other, &one, unfenced)
    }

    /// `start_prim` must not begin while the other node's application still gets writes acknowledged, unless apart.
    pub fn oracle_script_begins(&mut self, host: usize, script: Script, from: ModuleState) {
        let other_serves = self.serves(1 - host);
        let apart = self.apart();
        // A primary that restarts its application on the spot may not know yet that it is cut off.
        let on_the_spot = matches!(from, ModuleState::Alone | ModuleState::Prim) && self.options.witness.fences();
        if script == Script::Start(When::Prim) {
            self.require(!other_serves || apart || on_the_spot, || {
                format!("{} starts the application while {} serves", Self::name(host), Self::name(1 - host))
            });
        }
    }

    /// A data plane acknowledges alone under `generation` from now on.
    pub fn oracle_served(&mut self, host: usize, generation: Generation) {
        let first = *self.oracle.served_by.entry(key(generation)).or_insert(host);
        self.require(first == host, || format!("both nodes serve {generation}"));
    }

    /// The application was told that its write is safe.
    pub fn oracle_acknowledged(&mut self, host: usize, write: u64, generation: Generation) {
        self.oracle.acknowledged.insert(write, key(generation));
        let held = self.hosts[host].disk.synced.contains(&write);
        self.require(held, || format!("write {write} acknowledged and not held"));
    }

    /// A resync removes a write from a copy.
    pub fn oracle_overwritten(&mut self, host: usize, write: u64) {
        let acknowledged = self.oracle.acknowledged.contains_key(&write) || write >= OWN;
        let elsewhere = self.hosts[1 - host].disk.content.contains(&write);
        let agreed = self.oracle.seen[host].agreed || self.hosts[host].disk.aside.contains(&write);
        self.require(!acknowledged || elsewhere || agreed, || {
            format!("write {write} of {} is overwritten without `second`", Self::name(host))
        });
    }

    /// A follower connects to a primary.
    pub fn oracle_paired(&mut self) {
        let signatures = [0, 1].map(|host| self.hosts[host].node.as_ref().map(|node| node.settings().signature));
        // A data plane whose agent is away for a moment connects for a session that both agents had agreed upon.
        let both_there = signatures.iter().all(Option::is_some);
        self.require(!both_there || signatures[0] == signatures[1], || {
            "nodes with unequal configurations pair".to_owned()
        });
    }
}
