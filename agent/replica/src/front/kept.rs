//! What the next process has to know of the mount, told while it happens; and going on with what an earlier one told.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::inode::Inode;
use super::inodes::Inodes;
use super::mount::{Mount, MountError};
use super::places::{Key, Table};
use super::pool::Pool;
use super::session::{Connection, ConnectionParts};
use super::wire::flag;
use super::{Front, SLOW_THREADS, lock};
use crate::crash;
use crate::keep::{Identity, Keep, Known, Mounted, RESENT, Slot, TakenMount};
use crate::op::{FileId, FileKind};
use crate::replicate::Replicate;
use crate::tree::Level;
use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// How long the kernel may take to greet a new mount.
const GREETING: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

impl Inodes {
    /// From now on all that the kernel is told is kept. Before mounting; not where objects have no file handles.
    pub(crate) fn set_keep(&self, keep: &Arc<Keep>) {
        if self.can_be_kept() {
            // Set once per table: a table lives for one mount.
            let _ = self.keep.set(keep.clone());
        }
    }

    /// Whether objects can be found again by another process: they have file handles.
    pub(crate) fn can_be_kept(&self) -> bool {
        self.handles
    }

    /// The kernel is about to hear of `id` (once more).
    pub(super) fn known_to_kernel(&self, id: FileId) {
        let mut table = lock(&self.table);
        if table.refer(id, 1).is_none() {
            return;
        }
        let Some(entry) = table.entry(id) else { return };
        entry.kernel += 1;
        let Some(keep) = self.keep.get() else { return };
        let mut slot = lock(&entry.inode.slot);
        if let Some(slot) = *slot {
            return keep.store.refs(slot, entry.kernel, entry.inode.is_removed());
        }
        let Key { device, ino, tag } = entry.key;
        let (kind, excluded) = (entry.inode.kind(), entry.inode.is_excluded());
        let handle = self.descriptors.handle(entry.inode.backing());
        let identity = Identity { id, kind, excluded, device, ino, tag, handle };
        let uses = entry.inode.uses();
        *slot = keep.store.add(&identity, entry.place(), uses, (entry.kernel, entry.inode.is_removed()));
    }

    /// The kernel has forgotten `count` of its references.
    pub(super) fn forgotten_by_kernel(&self, id: FileId, count: u64) {
        if let Some(entry) = lock(&self.table).entry(id) {
            entry.kernel = entry.kernel.saturating_sub(count);
            if let Some(keep) = self.keep.get() {
                let mut slot = lock(&entry.inode.slot);
                match (*slot, entry.kernel) {
                    (Some(used), 0) => {
                        *slot = None;
                        keep.store.remove(used);
                    }
                    (Some(slot), left) => keep.store.refs(slot, left, entry.inode.is_removed()),
                    (None, _) => {}
                }
            }
        }
        self.unrefer(id, count);
    }

    /// The names of `id` have changed, or whether it has any.
    pub(super) fn keep_place(&self, table: &mut Table, id: FileId) {
        let (Some(keep), Some(entry)) = (self.keep.get(), table.entry(id)) else { return };
        if let Some(slot) = *lock(&entry.inode.slot) {
            keep.store.name(slot, entry.place());
            keep.store.refs(slot, entry.kernel, entry.inode.is_removed());
        }
    }

    /// Who has it open has changed. Without the lock of that.
    pub(super) fn keep_uses(&self, inode: &Inode) {
        let Some(keep) = self.keep.get() else { return };
        if let Some(slot) = *lock(&inode.slot) {
            let (opens, writers) = inode.uses();
            keep.store.uses(slot, opens, writers);
        }
    }

    /// `inode` is reached by its descriptor only, or is about to be.
    pub(super) fn pin_outside(&self, inode: &Inode) {
        let Some(keep) = self.keep.get() else { return };
        if let Some((fd, level)) = self.descriptors.pinned(inode.backing()) {
            inode.pinned_outside.store(true, Ordering::Release);
            keep.pin(inode.id().0, fd.as_fd(), level == Level::Write);
        }
    }

    /// Nobody uses the object any more.
    pub(super) fn forget_kept(&self, inode: &Inode) {
        if let Some(keep) = self.keep.get()
            && inode.pinned_outside.load(Ordering::Acquire)
        {
            keep.unpin(inode.id().0);
        }
    }

    /// Puts what the kernel knows into the (empty) table. Answers the ids of what is held though the kernel never heard of
    /// it: the process that made it ended before it told.
    ///
    /// # Errors
    /// Something of it cannot be reached from here.
    pub(crate) fn restore(
        &self,
        known: Vec<(Slot, Known)>,
        mut pinned: HashMap<u64, (OwnedFd, bool)>,
    ) -> std::result::Result<Vec<u64>, String> {
        let mut table = lock(&self.table);
        let (mut names, mut own) = (Vec::new(), Vec::new());
        for (slot, object) in known {
            let Identity { id, kind, excluded, device, ino, tag, handle } = object.identity;
            let held = pinned.remove(&id.0);
            let is_held = held.is_some();
            let backing = match (held, handle) {
                (Some((fd, writable)), _) => {
                    let level = if writable { Level::Write } else { Level::Read };
                    self.descriptors.adopt_opened((kind, device), None, fd, level).map_err(|error| error.to_string())?
                }
                (None, Some(handle)) if self.descriptors.has_mount(device) => {
                    self.descriptors.by_handle((kind, device), handle)
                }
                (None, Some(_)) => return Err("an object is on another file system mounted below".into()),
                (None, None) => {
                    tracing::warn!(?id, "a file without a name is lost");
                    continue;
                }
            };
            let inode = Arc::new(Inode::new(id, kind, backing, excluded));
            {
                let mut uses = lock(&inode.use_count);
                (uses.opens, uses.writers, uses.written) = (object.opens, object.writers, object.writers > 0);
            }
            *lock(&inode.slot) = Some(slot);
            inode.pinned_outside.store(is_held, Ordering::Release);
            if object.removed {
                inode.mark_removed();
            }
            table.restore(inode, Key { device, ino, tag }, object.refs);
            names.extend(object.name.map(|(parent, name)| (id, parent, name)));
        }
        for (id, parent, name) in names {
            let Some((parent, inode)) = table.find(parent).zip(table.find(id)) else { continue };
            table.add_place(id, parent.id(), &name, &mut Vec::new());
            own.extend(inode.is_excluded().then_some((inode, parent, name)));
        }
        drop(table);
        // Known to be so when the kernel first heard of it: a replicated name may have been met since.
        for (inode, parent, name) in own {
            if !self.excludes(&parent, &name, inode.kind() == FileKind::Directory) {
                inode.mark_replicated();
            }
        }
        Ok(pinned.into_keys().collect())
    }
}

impl Inodes {
    /// A process that is gone has changed this name, and may not have noted it: what is known by it and is not there
    /// loses it. Takes the order lock of the directory.
    pub(super) fn settle_name(self: &Arc<Self>, directory: &Inode, name: &[u8]) {
        let there = self.child(directory, name).ok().map(|child| child.id());
        let _order = directory.lock_order();
        for inode in self.all() {
            if Some(inode.id()) != there && self.is_at(inode.id(), directory.id(), name) {
                let last = self.status(&inode).map_or(true, |status| status.links == 0);
                self.unplaced(&inode, directory.id(), name, last);
            }
        }
    }
}

impl Connection {
    /// A change that cannot simply be made twice is about to be made for this request; `fact` tells later whether it was.
    /// Answers the fact noted by a process that is gone, if it had begun it.
    pub(super) fn begin(&self, unique: u64, fact: u64) -> Option<u64> {
        let keep = self.inodes.keep.get()?;
        let before = self.begun_before(unique);
        if before.is_none() {
            keep.store.begin(unique, fact);
        }
        crash::point("front-begun");
        before
    }

    /// The fact noted by a process that is gone, if it had begun what this request asks.
    pub(super) fn begun_before(&self, unique: u64) -> Option<u64> {
        let keep = self.inodes.keep.get().filter(|_| is_resent(unique))?;
        keep.store.begun(unique)
    }

    /// Whether the name is gone because a process that is gone had begun to take it away for this request.
    pub(super) fn taken_before(&self, unique: u64, error: Errno) -> bool {
        error == Errno::NOENT && self.begun_before(unique).is_some()
    }
}

/// Whether the kernel hands this request out again.
pub(super) fn is_resent(unique: u64) -> bool {
    unique & RESENT != 0
}

impl Front {
    /// What the kernel agreed to, if it can hand requests out again.
    pub(crate) fn resendable(&self) -> Option<u64> {
        self.agreed().filter(|agreed| agreed & flag::HAS_RESEND != 0)
    }

    /// Has the mounts held for the next process.
    ///
    /// # Errors
    /// The holder cannot be told.
    pub(crate) fn hold(&self, keep: &Keep, limit: Duration) -> std::io::Result<()> {
        let mounts: Vec<Mounted<'_>> = self
            .mounts
            .iter()
            .map(|mounted| Mounted {
                path: mounted.mount.path(),
                device: mounted.mount.device(),
                connection: mounted.connection.channel.fd().as_fd(),
                directory: mounted.connection.directory.as_fd(),
            })
            .collect();
        keep.hold(&mounts, limit)
    }

    /// What the kernel agreed to on every mount.
    fn agreed(&self) -> Option<u64> {
        let end = Instant::now() + GREETING;
        let mut agreed = u64::MAX;
        for mounted in &self.mounts {
            agreed &= loop {
                match mounted.connection.negotiated() {
                    Some(flags) => break flags,
                    None if Instant::now() >= end => return None,
                    None => std::thread::sleep(LOOK),
                }
            };
        }
        Some(agreed)
    }

    /// Goes on with mounts that an earlier process has made; what it had read and not answered comes first.
    ///
    /// # Errors
    /// The kernel refuses, or no thread could be started. The mounts are gone then.
    pub(crate) fn take_over(
        inodes: &Arc<Inodes>,
        mounts: Vec<TakenMount>,
        negotiated: u64,
        replicate: &Arc<dyn Replicate>,
    ) -> std::result::Result<Front, MountError> {
        let threads_failed = |error| MountError::Threads { directory: "the replicated directories".into(), error };
        let pool = Arc::new(Pool::start("front-slow", SLOW_THREADS).map_err(threads_failed)?);
        let mut front = Front { mounts: Vec::new(), refused: Arc::new(AtomicBool::new(false)), pool };
        for (index, taken) in mounts.into_iter().enumerate() {
            let Some(directory) = inodes.directory_fd(index) else { continue };
            let connection = Connection::new(ConnectionParts {
                device: taken.connection,
                root: FileId(index as u64 + 1),
                directory,
                inodes: inodes.clone(),
                replicate: replicate.clone(),
                read_only: false,
                refused: front.refused.clone(),
                pool: front.pool.clone(),
                negotiated: Some(negotiated),
            });
            // Nobody reads yet: all that is unanswered was read by the process that is gone.
            let failed = |error| MountError::System { directory: taken.path.clone(), error };
            connection.channel.resend().map_err(failed)?;
            front.add(Mount::taken_over(taken.path, taken.device), connection)?;
        }
        Ok(front)
    }
}

impl Table {
    fn restore(&mut self, inode: Arc<Inode>, key: Key, kernel: u64) {
        let (id, removed) = (inode.id(), inode.is_removed());
        self.insert(inode, key, kernel);
        if removed {
            self.unkey(key);
        }
        if let Some(entry) = self.entry(id) {
            entry.kernel = kernel;
        }
    }
}
