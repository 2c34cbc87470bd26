//! What the oracle demands of a save: generations taken by right, and no acknowledged write left behind.

use super::{Grant, Key, key};
use crate::cluster::Cluster;
use crate::witness::Kind;
use holdfast_api::state::DataState;
use holdfast_core::durable::Durable;

impl Cluster {
    /// The ledger is about to hold `new`; the output was made at `decided_at`, `silent` or not.
    pub fn oracle_saved(&mut self, host: usize, new: &Durable, decided_at: u64, silent: bool) {
        let old = self.hosts[host].disk.ledger.clone();
        let node = Self::name(host);
        if old.data == DataState::Diverged && new.data == DataState::Inconsistent {
            let (ours, theirs) = (&self.hosts[host].disk, &self.hosts[1 - host].disk);
            let lost = ours.content.iter().find(|write| !theirs.content.contains(write) && !ours.aside.contains(write));
            let lost = lost.copied();
            self.require(lost.is_none(), || {
                format!("{node} gives up write {lost:?} of its diverged copy, not set aside")
            });
        }
        if new.data == DataState::Inconsistent && old.data != DataState::Inconsistent {
            // It follows: no order to serve outlasts that.
            self.oracle.seen[host].forced.clear();
            self.oracle.seen[host].overruled.clear();
        }
        let now = self.schedule.now();
        if new.data == DataState::Inconsistent && new.session != old.session {
            // Whatever catches it up now was begun after it woke.
            self.oracle.seen[host].woken_at.take_if(|at| *at < now);
        }
        let caught_up = new.data == DataState::UpToDate && old.data == DataState::Inconsistent;
        let paired = old.solo && !new.solo && new.data == DataState::UpToDate;
        // The operator's word was for what it followed.
        self.oracle.seen[host].agreed &= !caught_up;
        let unsure = caught_up && self.oracle.seen[host].woken_at.is_some();
        self.oracle.seen[host].was_in_sync |= (caught_up || paired) && !unsure;
        if new.generation == old.generation {
            return;
        }
        self.require(new.generation.number > old.generation.number, || {
            format!("generation of {node} falls from {} to {}", old.generation, new.generation)
        });
        if !self.oracle.grants.contains_key(&key(new.generation)) {
            self.check_grant(host, &old, new, decided_at, silent);
        }
    }

    /// A generation that nobody held before is taken.
    fn check_grant(&mut self, host: usize, old: &Durable, new: &Durable, decided_at: u64, silent: bool) {
        let node = Self::name(host);
        let forced = !self.oracle.seen[host].forced.is_empty();
        let peer = &self.hosts[1 - host].disk.ledger;
        let [one, other] = [old.generation, peer.generation].map(|generation| self.oracle.lineage(key(generation)));
        let overruled = self.oracle.overruled(&one, &other);
        let promised = peer.outdated_since >= new.generation.number
            && (peer.generation.number < new.generation.number || overruled);
        let both_outdated = old.data == DataState::Outdated && peer.data != DataState::UpToDate && promised;
        self.require(new.solo, || format!("{node} takes {} without being solo", new.generation));
        let answered = self.register.answered_at[host].is_some_and(|at| at + self.options.timeout_ms >= decided_at);
        let apart = match self.options.witness {
            Kind::None => silent,
            Kind::PingFromBoth | Kind::PingFrom(_) => silent && (old.solo || answered),
            Kind::Register => self.register.granted.contains(&(new.generation.number, host)),
        };
        self.require(forced || apart || promised, || {
            format!("{node} takes {} without promise, silence, witness or order", new.generation)
        });
        self.require(forced || old.data == DataState::UpToDate || both_outdated, || {
            format!("{node} takes {} with data {}", new.generation, old.data)
        });
        let in_sync = old.solo || self.oracle.seen[host].was_in_sync;
        let in_sync = in_sync || self.options.witness == Kind::Register;
        self.require(forced || promised || in_sync, || {
            format!("{node} takes {} after silence, but cannot know what was served before", new.generation)
        });
        // Knowing of a later generation of its own data, a node waits for that, however silent the peer.
        let old_key = key(old.generation);
        let knew_later = self.oracle.seen[host]
            .heard_of
            .iter()
            .find(|heard| **heard != old_key && self.oracle.lineage(**heard).contains(&old_key))
            .copied();
        self.require(forced || promised || knew_later.is_none(), || {
            format!("{node} takes {} though it knew of {knew_later:?}", new.generation)
        });
        let cut_off = silent;
        let silent = silent && !promised && !self.options.witness.fences();
        let overruled = forced && !self.oracle.seen[host].overruled.is_empty();
        let grant = Grant { host, at: decided_at, silent, cut_off, forced, overruled, parent: key(old.generation) };
        self.oracle.grants.insert(key(new.generation), grant);
        self.oracle.seen[host].forced.clear();
        self.oracle.seen[host].overruled.clear();
        self.check_writes(host, new);
    }

    /// What landed in the ledger by a save that was reported as failed is overwritten: nobody ever acted on it.
    pub fn oracle_never_used(&mut self, landed: &Durable) {
        if !self.oracle.served_by.contains_key(&key(landed.generation)) {
            self.oracle.grants.remove(&key(landed.generation));
        }
    }

    /// A new primary holds every write acknowledged before, unless the copies parted in silence or by an order: its own,
    /// or, where one of both was cut off when it took its grant and no witness fences, one given to the other.
    fn check_writes(&mut self, host: usize, new: &Durable) {
        let ours = self.oracle.lineage(key(new.generation));
        let cut_off = self.oracle.grants.get(&key(new.generation)).is_some_and(|grant| grant.cut_off);
        let unfenced = cut_off && !self.options.witness.fences();
        let parted_rightly = |lineage: &[Key], other: &[Key]| {
            // The first generation that the other copy does not have.
            let first = lineage.iter().rev().find(|generation| !other.contains(generation));
            first.and_then(|first| self.oracle.grants.get(first)).is_some_and(|grant| grant.silent || grant.forced)
        };
        let mut missing = None;
        for (write, generation) in &self.oracle.acknowledged {
            if self.hosts[host].disk.content.contains(write) {
                continue;
            }
            let theirs = self.oracle.lineage(*generation);
            let descends = ours.contains(generation);
            let forced = |lineage: &[Key], other: &[Key]| self.oracle.took(lineage, other, |grant| grant.forced);
            let forced_apart = self.oracle.took(&theirs, &ours, |grant| grant.forced && grant.cut_off);
            if forced(&ours, &theirs)
                || (unfenced && forced(&theirs, &ours))
                || (!self.options.witness.fences() && forced_apart)
                || self.oracle.overruled(&ours, &theirs)
                || (!descends && parted_rightly(&ours, &theirs) && parted_rightly(&theirs, &ours))
            {
                continue;
            }
            missing = Some((*write, *generation));
        }
        if let Some((write, generation)) = missing {
            let text = format!(
                "{} becomes primary with {} and lacks write {write}, acknowledged under {}:{:08x}",
                Self::name(host),
                new.generation,
                generation.0,
                generation.1 as u32
            );
            self.oracle_violated(text);
        }
    }
}
