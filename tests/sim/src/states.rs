//! Which states of the world runs have reached: a count of what was tried, not of how long.

use super::cluster::Cluster;
use super::replica::Mode;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The distinct states seen, as hashes.
#[derive(Clone, Debug, Default)]
pub struct States(HashSet<u64>);

impl States {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes over what another run has seen.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

impl Cluster {
    /// Notes the state after a step. Numbers count only by how they relate, time not at all.
    pub fn note_state(&mut self) {
        let mut hasher = DefaultHasher::new();
        let numbers = [0, 1].map(|host| self.hosts[host].disk.ledger.generation.number);
        let newest = numbers[0].max(numbers[1]);
        for (host, number) in numbers.into_iter().enumerate() {
            let machine = &self.hosts[host];
            let ledger = &machine.disk.ledger;
            (newest - number).min(3).hash(&mut hasher);
            (ledger.data as u8, ledger.solo, ledger.was_primary, ledger.continued, ledger.running).hash(&mut hasher);
            (ledger.outdated_since > number, ledger.asked > number, ledger.witness_asked > number).hash(&mut hasher);
            machine.node.as_ref().map(|node| node.status()).hash(&mut hasher);
            (machine.up, machine.saving.is_some(), machine.application, machine.addresses, machine.healthy)
                .hash(&mut hasher);
            (machine.asleep_until.max(machine.frozen_until) > self.schedule.now(), machine.scripts.len())
                .hash(&mut hasher);
            match machine.replica.mode {
                Mode::Idle => 0_u8,
                Mode::Serving { alone, accept, refusing, .. } => {
                    1 + u8::from(alone) + 2 * u8::from(accept.is_some()) + 4 * u8::from(refusing)
                }
                Mode::Following { fenced, .. } => 10 + u8::from(fenced),
            }
            .hash(&mut hasher);
            (0..self.net.links()).for_each(|link| self.net.passes(host, link).hash(&mut hasher));
        }
        self.stream.as_ref().map(|stream| (stream.server, stream.open, stream.copied)).hash(&mut hasher);
        let register = &self.register;
        register.record.map(|record| (record.owner.0, record.number.cmp(&newest))).hash(&mut hasher);
        (register.up, register.arming.armed(), self.options.witness.setting() as u8).hash(&mut hasher);
        self.states.0.insert(hasher.finish());
    }
}
