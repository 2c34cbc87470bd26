//! The disk under a node: its ledger (with a save under way) and its copy of the replicated files.

use super::clock::Rng;
use holdfast_core::durable::Durable;
use std::collections::BTreeSet;

/// From this number on, what is in the files is no write of the application but a node's own file.
pub const OWN: u64 = 1 << 40;

/// What survives a crash, and what may.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The ledger as a restarted agent would read it.
    pub ledger: Durable,
    /// Agent starts so far (durable).
    pub starts: u64,
    /// Writes in the files, as the running system sees them.
    pub content: BTreeSet<u64>,
    /// Writes that were set aside (durable).
    pub aside: BTreeSet<u64>,
    /// Files where the configuration does not reach: this node's own (durable).
    pub own: BTreeSet<u64>,
    /// Writes in the files that a crash leaves.
    pub synced: BTreeSet<u64>,
}

impl Disk {
    /// A write that is synced before anybody hears of it.
    pub fn write_synced(&mut self, write: u64) {
        self.content.insert(write);
        self.synced.insert(write);
    }

    /// Everything seen is now also safe.
    pub fn sync(&mut self) {
        self.synced = self.content.clone();
    }

    /// The configuration reaches the place of the node's own files from now on, or no longer does.
    pub fn cover(&mut self, covers: bool) {
        if covers {
            self.content.extend(&self.own);
            self.synced.extend(&self.own);
            self.own.clear();
        } else {
            self.own = self.content.split_off(&OWN);
            self.synced.split_off(&OWN);
        }
    }

    /// Power is lost: of what differs between page cache and disk, anything may have made it.
    pub fn crash(&mut self, rng: &mut Rng) {
        let differing: Vec<u64> = self.content.symmetric_difference(&self.synced).copied().collect();
        for write in differing {
            if rng.coin() == 0 {
                self.content.insert(write);
            } else {
                self.content.remove(&write);
            }
        }
        self.sync();
    }
}
