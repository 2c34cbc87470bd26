//! The table behind [`Inodes`]: which object is known, by which names, and who refers to it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use rustix::io::Errno;

use super::inode::{Held, Inode};
use super::inodes::Inodes;
use super::lock;
use crate::op::{FileId, FileKind, Op};
use crate::replicate::Replicate;
use crate::tree::handle::FileHandle;
use crate::tree::{Backing, Descriptors, Level, Result, Status};

/// Ids below this are kept for the roots of replicated directories.
pub(super) const FIRST_ID: u64 = 1 << 16;
/// Most names remembered of one object; one is enough to bind it.
const PLACES_MAX: usize = 64;

/// What tells one object from every other: inode numbers are reused, so a tag goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) device: u64,
    pub(super) ino: u64,
    pub(super) tag: u64,
}

pub(super) struct Entry {
    pub(super) inode: Arc<Inode>,
    pub(super) key: Key,
    refs: u64,
    /// Those of them that the kernel has.
    pub(super) kernel: u64,
    /// Names under which the object is known, each keeping its directory known.
    places: Vec<(FileId, Box<[u8]>)>,
}

impl Entry {
    pub(super) fn place(&self) -> Option<(FileId, &[u8])> {
        self.places.first().map(|(parent, name)| (*parent, &**name))
    }
}

/// All objects in use.
#[derive(Default)]
pub(super) struct Table {
    by_id: HashMap<FileId, Entry>,
    by_key: HashMap<Key, FileId>,
}

impl Table {
    pub(super) fn insert(&mut self, inode: Arc<Inode>, key: Key, refs: u64) {
        self.by_key.insert(key, inode.id());
        self.by_id.insert(inode.id(), Entry { inode, key, refs, kernel: 0, places: Vec::new() });
    }

    /// The key means this object no longer: another one may have it.
    pub(super) fn unkey(&mut self, key: Key) {
        self.by_key.remove(&key);
    }

    pub(super) fn entry(&mut self, id: FileId) -> Option<&mut Entry> {
        self.by_id.get_mut(&id)
    }

    /// The object `id` with one reference more.
    pub(super) fn refer(&mut self, id: FileId, count: u64) -> Option<Arc<Inode>> {
        let entry = self.by_id.get_mut(&id)?;
        entry.refs += count;
        Some(entry.inode.clone())
    }

    pub(super) fn find(&self, id: FileId) -> Option<Arc<Inode>> {
        Some(self.by_id.get(&id)?.inode.clone())
    }

    pub(super) fn all(&self) -> Vec<Arc<Inode>> {
        self.by_id.values().map(|entry| entry.inode.clone()).collect()
    }

    pub(super) fn any(&self, mut found: impl FnMut(&Inode) -> bool) -> bool {
        self.by_id.values().any(|entry| found(&entry.inode))
    }

    fn nameless(&self) -> Vec<Arc<Inode>> {
        let nameless = |entry: &&Entry| {
            entry.places.is_empty() && !entry.inode.is_root() && !entry.inode.is_removed() && !entry.inode.is_excluded()
        };
        self.by_id.values().filter(nameless).map(|entry| entry.inode.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn place(&self, id: FileId) -> Option<(FileId, &[u8])> {
        self.by_id.get(&id)?.place()
    }

    fn has_place(&self, id: FileId, parent: FileId, name: &[u8]) -> bool {
        self.by_id.get(&id).is_some_and(|entry| entry.places.iter().any(|(p, n)| *p == parent && **n == *name))
    }

    /// Notes a name; one of too many is dropped for it.
    pub(super) fn add_place(&mut self, id: FileId, parent: FileId, name: &[u8], gone: &mut Vec<Arc<Inode>>) {
        if self.has_place(id, parent, name) {
            return;
        }
        let Some(entry) = self.by_id.get_mut(&id) else {
            return;
        };
        let displaced = (entry.places.len() >= PLACES_MAX).then(|| entry.places.remove(0).0);
        entry.places.push((parent, name.into()));
        if let Some(parent) = self.by_id.get_mut(&parent) {
            parent.refs += 1;
        }
        if let Some(displaced) = displaced {
            self.unrefer(displaced, 1, gone);
        }
    }

    /// The name added last is a replicated one: so is its object, by that name first of all.
    fn met_replicated(&mut self, id: FileId) {
        if let Some(entry) = self.by_id.get_mut(&id).filter(|entry| entry.inode.is_excluded()) {
            entry.inode.mark_replicated();
            entry.places.rotate_right(1);
        }
    }

    /// Takes a name away from an object; the reference it was for its directory is the caller's to drop.
    #[must_use]
    fn remove_place(&mut self, id: FileId, parent: FileId, name: &[u8]) -> bool {
        let Some(entry) = self.by_id.get_mut(&id) else {
            return false;
        };
        let before = entry.places.len();
        entry.places.retain(|(p, n)| !(*p == parent && **n == *name));
        entry.places.len() < before
    }

    /// Drops references; what has none left leaves the table, and with it the references its places were.
    fn unrefer(&mut self, id: FileId, count: u64, gone: &mut Vec<Arc<Inode>>) {
        let mut pending = vec![(id, count)];
        while let Some((id, count)) = pending.pop() {
            let Some(entry) = self.by_id.get_mut(&id) else {
                continue;
            };
            entry.refs = entry.refs.saturating_sub(count);
            if entry.refs > 0 {
                continue;
            }
            if let Some(entry) = self.by_id.remove(&id) {
                if self.by_key.get(&entry.key) == Some(&id) {
                    self.by_key.remove(&entry.key);
                }
                pending.extend(entry.places.into_iter().map(|(parent, _)| (parent, 1)));
                gone.push(entry.inode);
            }
        }
    }
}

impl Inodes {
    /// The object behind `fd` (good for `level`), which has this name in this directory: the known one, or a new one
    /// with a fresh id. The caller holds the order lock of the directory.
    pub(super) fn register(
        self: &Arc<Self>,
        place: (FileId, &[u8]),
        status: &Status,
        fd: OwnedFd,
        level: Level,
    ) -> Result<Held> {
        let (parent, name) = place;
        let handle = if self.handles { FileHandle::of(&fd).ok() } else { None };
        let key = key_of(status, handle.as_ref());
        let excluded = !self.filter().is_empty()
            && self
                .find(parent)
                .is_some_and(|parent| self.excludes(&parent, name, status.kind() == FileKind::Directory));
        let known = |mut table: MutexGuard<'_, Table>| {
            let id = *table.by_key.get(&key)?;
            let news = !table.has_place(id, parent, name) || table.find(id).is_some_and(|inode| inode.is_excluded());
            let mut gone = Vec::new();
            table.add_place(id, parent, name, &mut gone);
            if !excluded {
                table.met_replicated(id);
            }
            if news {
                self.keep_place(&mut table, id);
            }
            let inode = table.refer(id, 1);
            drop(table);
            self.dispose(gone);
            inode
        };
        if let Some(inode) = known(lock(&self.table)) {
            return Ok(Held::adopt(self, inode));
        }
        self.learn_mount(status, &fd);
        let handle = handle.filter(|_| self.descriptors.has_mount(status.device));
        let backing = self.descriptors.adopt_opened((status.kind(), status.device), handle, fd, level)?;
        let mut table = lock(&self.table);
        if table.by_key.contains_key(&key) {
            // Another thread has met it under another name meanwhile.
            drop(backing);
            return known(table).map(|inode| Held::adopt(self, inode)).ok_or(Errno::STALE);
        }
        let id = FileId(self.ids.fetch_add(1, Ordering::Relaxed));
        let inode = Arc::new(Inode::new(id, status.kind(), backing, excluded));
        table.insert(inode.clone(), key, 1);
        table.add_place(id, parent, name, &mut Vec::new());
        Ok(Held::adopt(self, inode))
    }

    /// A new object that has no name (yet), reached by `fd` (good for writing) as long as it is known.
    pub(super) fn register_unnamed(self: &Arc<Self>, parent: &Inode, status: &Status, fd: OwnedFd) -> Result<Held> {
        let key = key_of(status, if self.handles { FileHandle::of(&fd).ok() } else { None }.as_ref());
        let backing = self.descriptors.adopt_opened((status.kind(), status.device), None, fd, Level::Write)?;
        let id = FileId(self.ids.fetch_add(1, Ordering::Relaxed));
        let inode = Arc::new(Inode::new(id, status.kind(), backing, parent.is_excluded()));
        lock(&self.table).insert(inode.clone(), key, 1);
        Ok(Held::adopt(self, inode))
    }

    /// Handles of another file system mounted below need a descriptor of a directory there.
    fn learn_mount(&self, status: &Status, fd: &OwnedFd) {
        if self.descriptors.has_mount(status.device) || status.kind() != FileKind::Directory {
            return;
        }
        if let Ok(directory) = crate::tree::list::open_listing(fd)
            && handles_work(&directory)
        {
            self.descriptors.add_mount(status.device, Arc::new(directory));
        }
    }

    pub(super) fn find(&self, id: FileId) -> Option<Arc<Inode>> {
        lock(&self.table).find(id)
    }

    pub(super) fn all(&self) -> Vec<Arc<Inode>> {
        lock(&self.table).all()
    }

    /// Whether an object is in use of which no name is known, though it has one: only a walk over everything meets it.
    pub(crate) fn any_lost_name(&self) -> bool {
        let nameless = lock(&self.table).nameless();
        let lost = |inode: &Arc<Inode>| self.status(inode).is_ok_and(|status| status.links > 0);
        nameless.iter().any(lost)
    }

    pub(super) fn refer(&self, id: FileId, count: u64) {
        lock(&self.table).refer(id, count);
    }

    /// Drops references (FORGET, a dropped [`Held`]).
    pub(super) fn unrefer(&self, id: FileId, count: u64) {
        let mut gone = Vec::new();
        lock(&self.table).unrefer(id, count, &mut gone);
        self.dispose(gone);
    }

    fn dispose(&self, gone: Vec<Arc<Inode>>) {
        for inode in gone {
            self.forget_kept(&inode);
            self.descriptors.forget(inode.backing());
            let session = inode.bound_session();
            if session != 0 {
                lock(&self.forgotten).push((inode.id(), session));
                self.forgotten_count.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Tells the peer of the ids that are not used any more.
    pub fn submit_forgotten(&self, replicate: &dyn Replicate) {
        if self.forgotten_count.load(Ordering::Acquire) == 0 {
            return;
        }
        let forgotten = std::mem::take(&mut *lock(&self.forgotten));
        self.forgotten_count.fetch_sub(forgotten.len(), Ordering::Release);
        let session = replicate.session();
        for (id, bound) in forgotten {
            if bound == session {
                replicate.submit_later(&Op::Forget { id });
            }
        }
    }

    /// Whether `name` in `parent` is known to be `id`. Certain while the order lock of `parent` is held.
    pub(super) fn is_at(&self, id: FileId, parent: FileId, name: &[u8]) -> bool {
        lock(&self.table).has_place(id, parent, name)
    }

    /// A name by which `id` is known other than this one.
    pub(super) fn other_place(&self, id: FileId, (parent, name): (FileId, &[u8])) -> Option<(FileId, Vec<u8>)> {
        let mut table = lock(&self.table);
        let mut places = table.entry(id)?.places.iter();
        let other = places.find(|(p, n)| *p != parent || **n != *name)?;
        Some((other.0, other.1.to_vec()))
    }

    /// `inode` got the name (link). The caller holds both order locks.
    pub(super) fn placed(self: &Arc<Self>, inode: &Inode, parent: FileId, name: &[u8]) {
        let mut gone = Vec::new();
        let mut table = lock(&self.table);
        table.add_place(inode.id(), parent, name, &mut gone);
        self.keep_place(&mut table, inode.id());
        drop(table);
        self.dispose(gone);
        let held = self.get(inode.id()).filter(|held| self.touched.is_watching() && !held.is_excluded());
        if held.is_some_and(|held| self.touched.keep_linked(held)) {
            self.touched.sift_linked(|held| self.status(held).is_ok_and(|status| status.links > 1));
        }
    }

    /// A resync looks again at what came into a directory, unless it is this node's own. Before the peer is told.
    pub(super) fn came_into(self: &Arc<Self>, directory: FileId, inode: &Inode) {
        if self.touched.is_watching()
            && !inode.is_excluded()
            && let Some(held) = self.get(inode.id())
        {
            self.touched.note(directory, held);
        }
    }

    /// `inode` lost a name, not the last, of which the peer has to be told yet: a resync looks whether the peer has
    /// another. The caller holds both order locks.
    pub(super) fn bereft(&self, inode: &Inode) {
        if !inode.is_excluded() {
            self.touched.note_bereft(inode.id());
        }
    }

    /// `inode` lost the name; `last`: it has no other, so nothing finds it any more but those who use it.
    pub(super) fn unplaced(&self, inode: &Inode, parent: FileId, name: &[u8], last: bool) {
        let mut gone = Vec::new();
        let mut table = lock(&self.table);
        if table.remove_place(inode.id(), parent, name) {
            table.unrefer(parent, 1, &mut gone);
        }
        if last {
            inode.mark_removed();
            if let Some(key) = table.by_id.get(&inode.id()).map(|entry| entry.key)
                && table.by_key.get(&key) == Some(&inode.id())
            {
                table.by_key.remove(&key);
            }
        }
        self.keep_place(&mut table, inode.id());
        drop(table);
        self.dispose(gone);
        if last {
            self.touched.removed(inode.id());
        }
    }

    /// `inode` was renamed. The caller holds the order locks.
    pub(super) fn moved(&self, inode: &Inode, from: (FileId, &[u8]), to: (FileId, &[u8])) {
        let mut gone = Vec::new();
        lock(&self.table).add_place(inode.id(), to.0, to.1, &mut gone);
        self.dispose(gone);
        self.unplaced(inode, from.0, from.1, false);
    }
}

fn key_of(status: &Status, handle: Option<&FileHandle>) -> Key {
    let born = status.born.unwrap_or_default();
    let tag = match handle {
        Some(handle) => handle.tag(),
        None => born.seconds.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(u64::from(born.nanoseconds)),
    };
    Key { device: status.device, ino: status.ino, tag }
}

/// Key and backing of an object opened as `fd`.
pub(super) fn identify(
    descriptors: &Descriptors,
    handles: bool,
    status: &Status,
    fd: OwnedFd,
) -> Result<(Key, Arc<Backing>)> {
    let handle = if handles { FileHandle::of(&fd).ok() } else { None };
    let key = key_of(status, handle.as_ref());
    Ok((key, descriptors.adopt(status.kind(), status.device, handle, fd)?))
}

/// Whether handles of this file system can be made and opened by this process.
pub(super) fn handles_work(directory: &OwnedFd) -> bool {
    FileHandle::of(directory).and_then(|handle| handle.open(directory, rustix::fs::OFlags::PATH)).is_ok()
}
