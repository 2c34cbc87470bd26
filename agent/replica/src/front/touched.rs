//! What was moved or linked into directories while a resync walks them: bounded, and honest when it overflows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::inodes::Held;
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
    /// Objects that lost a name, not the last, since the peer was last told of one (not only since the last look).
    pub bereft: Vec<FileId>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeSet<(FileId, FileId)>,
    overflowed: bool,
    /// What lost a name, not the last: the peer may know none of the others yet, and so have lost the object.
    bereft: BTreeSet<FileId>,
    /// What got a further name.
    linked: BTreeMap<FileId, Held>,
}

#[derive(Debug, Default)]
pub(super) struct TouchedList {
    watching: AtomicBool,
    state: Mutex<State>,
}

impl TouchedList {
    pub(super) fn watch(&self, on: bool) {
        // What is kept is let go outside the lock.
        let before = {
            let mut state = lock(&self.state);
            self.watching.store(on, Ordering::Release);
            std::mem::take(&mut *state)
        };
        drop(before);
    }

    pub(super) fn note(&self, directory: FileId, object: FileId) {
        if !self.watching.load(Ordering::Acquire) {
            return;
        }
        let mut state = lock(&self.state);
        if state.entries.len() < ENTRIES_MAX {
            state.entries.insert((directory, object));
        } else {
            state.overflowed = true;
        }
    }

    /// `object` lost a name and has others. To be called before the peer is told.
    pub(super) fn note_bereft(&self, object: FileId) {
        if !self.watching.load(Ordering::Acquire) {
            return;
        }
        let mut state = lock(&self.state);
        if state.bereft.len() < ENTRIES_MAX {
            state.bereft.insert(object);
        } else {
            state.overflowed = true;
        }
    }

    pub(super) fn is_bereft(&self, object: FileId) -> bool {
        lock(&self.state).bereft.contains(&object)
    }

    /// The peer is told of another name of `object`, under the order lock of its directory: whether it lost one before.
    pub(super) fn found_again(&self, object: FileId) -> bool {
        lock(&self.state).bereft.remove(&object)
    }

    /// Keeps an object that got a further name: by its next name it is known to be the same. Answers whether there are
    /// so many that those with one name should be let go ([`TouchedList::sift_linked`]).
    pub(super) fn keep_linked(&self, object: Held) -> bool {
        if !self.watching.load(Ordering::Acquire) {
            return false;
        }
        let mut state = lock(&self.state);
        let before = state.linked.insert(object.id(), object);
        let full = state.linked.len() >= ENTRIES_MAX;
        drop(state);
        drop(before);
        full
    }

    /// Lets go of what has one name by now. If too much is left, everything is to be walked again.
    pub(super) fn sift_linked(&self, has_several_names: impl Fn(&Held) -> bool) {
        let linked = std::mem::take(&mut lock(&self.state).linked);
        let several: Vec<(FileId, Held)> = linked.into_iter().filter(|(_, held)| has_several_names(held)).collect();
        let mut state = lock(&self.state);
        if several.len() < ENTRIES_MAX / 2 {
            state.linked.extend(several);
        } else {
            state.overflowed = true;
        }
    }

    /// What was moved is not known any more.
    pub(super) fn overflow(&self) {
        if self.watching.load(Ordering::Acquire) {
            lock(&self.state).overflowed = true;
        }
    }

    pub(super) fn take(&self) -> Touched {
        let mut state = lock(&self.state);
        let (entries, overflowed) = (std::mem::take(&mut state.entries), std::mem::take(&mut state.overflowed));
        Touched { entries: entries.into_iter().collect(), overflowed, bereft: state.bereft.iter().copied().collect() }
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
    fn what_lost_a_name_is_remembered_until_it_is_compared() {
        let list = TouchedList::default();
        list.note_bereft(FileId(9));
        assert!(!list.is_bereft(FileId(9)));
        list.watch(true);
        list.note_bereft(FileId(9));
        assert_eq!(list.take().bereft, [FileId(9)]);
        assert!(list.is_bereft(FileId(9)));
        assert!(list.found_again(FileId(9)) && !list.found_again(FileId(9)));
        assert!(!list.is_bereft(FileId(9)));
        for id in 0..=ENTRIES_MAX as u64 {
            list.note_bereft(FileId(id));
        }
        assert!(list.take().overflowed);
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
