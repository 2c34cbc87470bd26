//! What was moved or linked into directories while a resync walks them: bounded, and honest when it overflows.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::lock;
use crate::op::FileId;

/// Most moves remembered between two looks.
const ENTRIES_MAX: usize = 65536;

/// What was moved or linked since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// (directory, object that came into it).
    pub entries: Vec<(FileId, FileId)>,
    /// There were more than fit: everything is to be walked again.
    pub overflowed: bool,
}

#[derive(Debug, Default)]
pub(super) struct TouchedList {
    watching: AtomicBool,
    state: Mutex<(BTreeSet<(FileId, FileId)>, bool)>,
}

impl TouchedList {
    pub(super) fn watch(&self, on: bool) {
        let mut state = lock(&self.state);
        *state = (BTreeSet::new(), false);
        self.watching.store(on, Ordering::Release);
    }

    pub(super) fn note(&self, directory: FileId, object: FileId) {
        if !self.watching.load(Ordering::Acquire) {
            return;
        }
        let mut state = lock(&self.state);
        if state.0.len() < ENTRIES_MAX {
            state.0.insert((directory, object));
        } else {
            state.1 = true;
        }
    }

    /// What was moved is not known any more.
    pub(super) fn overflow(&self) {
        if self.watching.load(Ordering::Acquire) {
            lock(&self.state).1 = true;
        }
    }

    pub(super) fn take(&self) -> Touched {
        let (entries, overflowed) = std::mem::take(&mut *lock(&self.state));
        Touched { entries: entries.into_iter().collect(), overflowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_remembered_once_and_only_while_watched() {
        let list = TouchedList::default();
        list.note(FileId(1), FileId(9));
        assert_eq!(list.take(), Touched::default());
        list.watch(true);
        list.note(FileId(1), FileId(9));
        list.note(FileId(1), FileId(9));
        assert_eq!(list.take().entries, [(FileId(1), FileId(9))]);
        assert_eq!(list.take(), Touched::default());
    }

    #[test]
    fn too_many_moves_are_told_as_overflow() {
        let list = TouchedList::default();
        list.watch(true);
        for id in 0..=ENTRIES_MAX as u64 {
            list.note(FileId(1), FileId(id));
        }
        let touched = list.take();
        assert!(touched.overflowed);
        assert_eq!(touched.entries.len(), ENTRIES_MAX);
    }
}
