//! What gained or lost names while a resync walks the directories: bounded, and honest when it overflows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::inode::Held;
use super::lock;
use crate::op::FileId;

/// Most moves remembered between two looks.
const ENTRIES_MAX: usize = 65536;

/// What was moved or linked since the last look.
#[derive(Debug, Default)]
pub struct Touched {
    /// (directory, object that came into it).
    pub entries: Vec<(FileId, Held)>,
    /// There were more than fit: everything is to be walked again.
    pub overflowed: bool,
    /// Objects that lost a name, not the last, since the peer was last told of one (not only since the last look).
    pub bereft: Vec<FileId>,
}

#[derive(Debug, Default)]
struct State {
    /// What came into directories, and into which. It is held: forgotten by the kernel, and its directory as well, nobody
    /// would know where it is.
    moved: BTreeMap<FileId, (Held, BTreeSet<FileId>)>,
    /// Pairs of object and directory in all that.
    entries: usize,
    overflowed: bool,
    /// What lost a name, not the last: the peer may know none of the others yet, and so have lost the object.
    bereft: BTreeSet<FileId>,
    /// What got a further name.
    linked: BTreeMap<FileId, Held>,
    /// What the resync has met by one of several names.
    met: HashMap<FileId, Held>,
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

    pub(super) fn is_watching(&self) -> bool {
        self.watching.load(Ordering::Acquire)
    }

    pub(super) fn note(&self, directory: FileId, object: Held) {
        if !self.is_watching() {
            return;
        }
        let mut state = lock(&self.state);
        if state.entries >= ENTRIES_MAX {
            state.overflowed = true;
            return drop(state);
        }
        let directories = match state.moved.get_mut(&object.id()) {
            Some((_, directories)) => directories,
            None => &mut state.moved.entry(object.id()).or_insert_with(|| (object.clone(), BTreeSet::new())).1,
        };
        let news = directories.insert(directory);
        state.entries += usize::from(news);
    }

    /// `object` lost a name and has others. To be called before the peer is told.
    pub(super) fn note_bereft(&self, object: FileId) {
        if !self.is_watching() {
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

    /// `object` lost its last name: there is nothing to look at, and nothing that it could be taken for. Kept any longer
    /// it would take room on both nodes.
    pub(super) fn removed(&self, object: FileId) {
        if !self.is_watching() {
            return;
        }
        let mut state = lock(&self.state);
        state.bereft.remove(&object);
        let moved = state.moved.remove(&object);
        state.entries -= moved.as_ref().map_or(0, |(_, directories)| directories.len());
        let kept = (state.linked.remove(&object), state.met.remove(&object));
        drop(state);
        drop((moved, kept));
    }

    /// Keeps an object that the resync has met by one of several names: by the next it is known to be the same.
    pub(super) fn keep_met(&self, object: Held) {
        if !self.is_watching() {
            return;
        }
        let before = lock(&self.state).met.insert(object.id(), object);
        drop(before);
    }

    /// Keeps an object that got a further name: by its next name it is known to be the same. Answers whether there are
    /// so many that those with one name should be let go ([`TouchedList::sift_linked`]).
    pub(super) fn keep_linked(&self, object: Held) -> bool {
        if !self.is_watching() {
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
        if self.is_watching() {
            lock(&self.state).overflowed = true;
        }
    }

    pub(super) fn take(&self) -> Touched {
        let mut state = lock(&self.state);
        let (moved, overflowed) = (std::mem::take(&mut state.moved), std::mem::take(&mut state.overflowed));
        state.entries = 0;
        if overflowed {
            // All is compared again, by every name.
            state.bereft.clear();
        }
        let bereft = state.bereft.iter().copied().collect();
        drop(state);
        let each = |(held, directories): (Held, BTreeSet<FileId>)| {
            directories.into_iter().map(move |directory| (directory, held.clone()))
        };
        Touched { entries: moved.into_values().flat_map(each).collect(), overflowed, bereft }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::Inodes;
    use std::sync::Arc;

    fn one_file() -> (tempfile::TempDir, Arc<Inodes>, Held) {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let inodes = Inodes::open(&[folder.path().to_owned()]).unwrap();
        let file = inodes.child(&inodes.root(0).unwrap(), b"file").unwrap();
        (folder, inodes, file)
    }

    fn moves(list: &TouchedList) -> Vec<(FileId, FileId)> {
        list.take().entries.into_iter().map(|(directory, object)| (directory, object.id())).collect()
    }

    #[test]
    fn moves_are_remembered_once_and_only_while_watched() {
        let (_folder, _inodes, file) = one_file();
        let list = TouchedList::default();
        list.note(FileId(1), file.clone());
        assert_eq!(moves(&list), []);
        list.watch(true);
        for directory in [1, 1, 2] {
            list.note(FileId(directory), file.clone());
        }
        assert_eq!(moves(&list), [(FileId(1), file.id()), (FileId(2), file.id())]);
        assert_eq!(moves(&list), []);
    }

    #[test]
    fn what_was_moved_is_known_until_it_is_looked_at_or_removed() {
        let (_folder, inodes, file) = one_file();
        let list = TouchedList::default();
        list.watch(true);
        let id = file.id();
        list.note(FileId(1), file.clone());
        list.keep_met(file.clone());
        assert!(!list.keep_linked(file.clone()));
        list.note_bereft(id);
        drop(file);
        assert!(inodes.get(id).is_some());
        list.removed(id);
        assert!(inodes.get(id).is_none() && !list.is_bereft(id));
        assert_eq!(moves(&list), []);
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
        list.note_bereft(FileId(1 << 40));
        assert!(!list.take().overflowed, "what is compared again has room again");
    }

    #[test]
    fn too_many_moves_are_told_as_overflow() {
        let (_folder, _inodes, file) = one_file();
        let list = TouchedList::default();
        list.watch(true);
        for id in 0..=ENTRIES_MAX as u64 {
            list.note(FileId(id), file.clone());
        }
        let touched = list.take();
        assert!(touched.overflowed);
        assert_eq!(touched.entries.len(), ENTRIES_MAX);
    }
}
