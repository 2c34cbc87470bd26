//! Names that come into a directory while somebody lists it piece by piece.
//!
//! A listing looks at the directory without its order lock, so what comes in meanwhile may be missed. Every change of a
//! name says so here first, under the directory's order lock; who holds that lock knows every name there may be: those of
//! the look, and these.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::op::FileId;

/// Most names remembered of one directory.
const NAMES_MAX: usize = if cfg!(test) { 64 } else { 16384 };

/// The names that changed in one directory since it is watched.
#[derive(Debug)]
pub(super) struct Arrivals {
    directory: FileId,
    names: Mutex<Arrived>,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) names: BTreeSet<Vec<u8>>,
    /// There were more than fit.
    pub(super) overflowed: bool,
}

impl Arrivals {
    /// Looks at what came, and changes it. Complete only while the directory's order lock is held.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Arrived) -> T) -> T {
        look(&mut lock(&self.names))
    }
}

/// All directories that are watched.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// A rule is broken, to see that a test notices: nothing is remembered.
    #[cfg(test)]
    pub(super) deaf: std::sync::atomic::AtomicBool,
    count: AtomicUsize,
    all: Mutex<Vec<Arc<Arrivals>>>,
}

impl Watches {
    /// Watches a directory. The caller holds its order lock, so that no change is half-way.
    pub(super) fn watch(&self, directory: FileId) -> Arc<Arrivals> {
        let arrivals = Arc::new(Arrivals { directory, names: Mutex::default() });
        let mut all = lock(&self.all);
        all.push(arrivals.clone());
        self.count.store(all.len(), Ordering::Release);
        arrivals
    }

    /// Nobody lists it any more.
    pub(super) fn end(&self, arrivals: &Arc<Arrivals>) {
        let mut all = lock(&self.all);
        all.retain(|watched| !Arc::ptr_eq(watched, arrivals));
        self.count.store(all.len(), Ordering::Release);
    }

    /// A name of `directory` is about to change. The caller holds its order lock.
    pub(super) fn note(&self, directory: FileId, name: &[u8]) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        #[cfg(test)]
        if self.deaf.load(Ordering::Relaxed) {
            return;
        }
        for watched in lock(&self.all).iter().filter(|watched| watched.directory == directory) {
            watched.with(|arrived| {
                if arrived.names.len() < NAMES_MAX {
                    arrived.names.insert(name.to_vec());
                } else {
                    arrived.overflowed |= !arrived.names.contains(name);
                }
            });
        }
    }
}
