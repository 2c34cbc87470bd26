//! One object of a replicated directory: what is known of it, its order lock, and the hold that keeps it known.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::inodes::Inodes;
use super::lock;
use super::places::FIRST_ID;
use crate::keep::Slot;
use crate::op::{FileId, FileKind};
use crate::tree::Backing;

/// One object of a replicated directory.
pub struct Inode {
    id: FileId,
    kind: FileKind,
    backing: Arc<Backing>,
    order: Mutex<()>,
    bound: AtomicU64,
    removed: AtomicBool,
    /// It is this node's own: nothing of it travels.
    excluded: AtomicBool,
    /// Who has it open, and whether its modification time has still to be sent.
    pub(super) use_count: Mutex<UseCount>,
    /// Where it is kept for the next process, while the kernel knows it.
    pub(super) slot: Mutex<Option<Slot>>,
    /// Its descriptor is held for the next process.
    pub(super) pinned_outside: AtomicBool,
}

/// Opens of a file through the mount.
#[derive(Debug, Default)]
pub(super) struct UseCount {
    pub(super) opens: u32,
    pub(super) writers: u32,
    pub(super) written: bool,
}

/// The order lock of one object: while it is held nobody else changes it, so what is submitted meanwhile has its place
/// in the stream. Take several only through [`lock_orders`].
#[must_use]
pub struct OrderGuard<'a>(#[allow(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

impl Inode {
    pub(super) fn new(id: FileId, kind: FileKind, backing: Arc<Backing>, excluded: bool) -> Inode {
        Inode {
            id,
            kind,
            backing,
            order: Mutex::new(()),
            bound: AtomicU64::new(0),
            removed: AtomicBool::new(false),
            excluded: AtomicBool::new(excluded),
            use_count: Mutex::new(UseCount::default()),
            slot: Mutex::default(),
            pinned_outside: AtomicBool::new(false),
        }
    }

    pub(super) fn mark_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    pub(super) fn bound_session(&self) -> u64 {
        self.bound.load(Ordering::Acquire)
    }

    /// Its id.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Its kind.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// Takes the order lock. Hold it briefly (one extent, one directory page): the application's writes wait for it.
    pub fn lock_order(&self) -> OrderGuard<'_> {
        OrderGuard(lock(&self.order))
    }

    /// Whether the peer knows this id in session `session` ([`Replicate::session`]); 0 needs no binding.
    pub fn is_bound(&self, session: u64) -> bool {
        session == 0 || self.is_root() || self.bound.load(Ordering::Acquire) == session
    }

    /// Marks the id as known to the peer in `session` (0: not known). To be called with the order lock held.
    pub fn mark_bound(&self, session: u64) {
        self.bound.store(session, Ordering::Release);
    }

    /// Whether it was written since its modification time was last sent to the peer.
    pub fn has_unsent_time(&self) -> bool {
        lock(&self.use_count).written
    }

    /// How often it is open, and how often for writing.
    pub(super) fn uses(&self) -> (u32, u32) {
        let uses = lock(&self.use_count);
        (uses.opens, uses.writers)
    }

    /// Whether it is this node's own (`<notreplicated>`): its changes stay here, and nobody compares it.
    pub fn is_excluded(&self) -> bool {
        self.excluded.load(Ordering::Acquire)
    }

    /// It was met by a name that is replicated.
    pub(super) fn mark_replicated(&self) {
        self.excluded.store(false, Ordering::Release);
    }

    /// Whether its last name is gone (it lives on while it is open).
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Whether it is the root of a replicated directory (known to the peer by its number).
    pub fn is_root(&self) -> bool {
        self.id.0 < FIRST_ID
    }

    pub(super) fn backing(&self) -> &Arc<Backing> {
        &self.backing
    }
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inode").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Takes the order locks of several objects, in the one order that cannot deadlock (by id; the same object once).
pub fn lock_orders<'a>(objects: &[&'a Inode]) -> Vec<OrderGuard<'a>> {
    let mut sorted = objects.to_vec();
    sorted.sort_by_key(|inode| inode.id);
    sorted.dedup_by_key(|inode| inode.id);
    sorted.into_iter().map(Inode::lock_order).collect()
}

/// An object kept in the table while this lives.
pub struct Held {
    inodes: Arc<Inodes>,
    inode: Arc<Inode>,
}

impl Deref for Held {
    type Target = Inode;
    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inode.fmt(f)
    }
}

impl Clone for Held {
    fn clone(&self) -> Held {
        self.inodes.refer(self.inode.id, 1);
        Held { inodes: self.inodes.clone(), inode: self.inode.clone() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inodes.unrefer(self.inode.id, 1);
    }
}

impl Held {
    pub(super) fn adopt(inodes: &Arc<Inodes>, inode: Arc<Inode>) -> Held {
        Held { inodes: inodes.clone(), inode }
    }

    /// The table it is kept in.
    pub(super) fn inodes(&self) -> &Arc<Inodes> {
        &self.inodes
    }

    /// Turns the hold into one that the kernel has (ended by its FORGET).
    pub(super) fn into_kernel(self) -> Arc<Inode> {
        self.inodes.known_to_kernel(self.inode.id);
        self.inode.clone()
    }
}
