//! The front's word to the tracker: before each change, what it touches.

use super::inode::Inode;
use super::inodes::Inodes;
use crate::op::FileId;
use crate::track::{Locate, Object, Place, Touch, Tracker};
use crate::tree::{Level, Result};
use rustix::io::Errno;
use std::ffi::CStr;
use std::sync::Arc;

impl Inodes {
    /// From now on every change is told to `tracker` before it is made. Before mounting.
    pub fn set_tracker(&self, tracker: Option<Arc<Tracker>>) {
        if let Some(tracker) = tracker {
            // Set once per table: a table lives for one mount.
            let _ = self.tracker.set(tracker);
        }
    }

    /// Something was changed here that the peer may not have, without a way to tell it: the next resync compares
    /// everything, and one under way begins anew.
    pub(crate) fn doubt(&self, why: &str) {
        tracing::error!(why, "both copies may differ: the next resync compares everything");
        self.forget_known();
    }

    /// What is known of what may differ counts no more: the next resync compares everything, and one under way begins
    /// anew.
    pub(crate) fn forget_known(&self) {
        self.touched.overflow();
        if let Some(tracker) = self.tracker.get()
            && let Err(error) = tracker.nothing_known()
        {
            tracing::error!(%error, "what may differ cannot be saved");
        }
    }

    /// The tracker of what may differ.
    pub fn tracker(&self) -> Option<&Arc<Tracker>> {
        self.tracker.get()
    }

    /// Returns once it is written down that this may differ. The caller holds the order lock of `inode`.
    pub(super) fn before(&self, inode: &Inode, touch: Touch<'_>) -> Result<()> {
        let Some(tracker) = self.tracker.get() else { return Ok(()) };
        let told = tracker.before(inode.id(), touch, &Here { inodes: self, tracker, inode });
        told.map_err(|error| {
            tracing::error!(%error, "a change is refused");
            Errno::IO
        })
    }

    /// As [`Inodes::before`], for a name in a directory; who lists that piece by piece hears of it, too.
    pub(super) fn before_name(&self, parent: &Inode, name: &CStr, directory: bool) -> Result<()> {
        self.watches.note(parent.id(), name.to_bytes());
        self.before(parent, Touch::Name { name: name.to_bytes(), directory })
    }

    /// `inode` is about to lose this name and to have one other: what was noted of it by this name is by that one then. The
    /// caller holds its order lock.
    pub(super) fn before_only_name(&self, inode: &Inode, (parent, name): (&Inode, &CStr)) -> Result<()> {
        let Some(tracker) = self.tracker.get() else { return Ok(()) };
        if !tracker.has_inside(inode.id(), &Here { inodes: self, tracker, inode }) {
            return Ok(());
        }
        let other = self.other_place(inode.id(), (parent.id(), name.to_bytes()));
        let other = other.and_then(|(directory, name)| Some((self.find(directory)?, name)));
        match other {
            Some((directory, name)) => self.before(&directory, Touch::Name { name: &name, directory: false }),
            // Nobody has met it.
            None => tracker.nothing_known().map_err(|error| {
                tracing::error!(%error, "a change is refused");
                Errno::IO
            }),
        }
    }

    /// `id` was made, under a name that was told just before or without one.
    pub(super) fn made(&self, id: FileId) {
        if let Some(tracker) = self.tracker.get() {
            tracker.made(id);
        }
    }
}

struct Here<'a> {
    inodes: &'a Inodes,
    tracker: &'a Tracker,
    inode: &'a Inode,
}

impl Locate for Here<'_> {
    fn object(&self) -> Option<Object> {
        self.tracker.object(&*self.inodes.open_backing(self.inode, Level::Path).ok()?)
    }

    fn place(&self) -> Option<Place> {
        let (parent, name) = self.inodes.place(self.inode.id())?;
        let parent = self.inodes.find(parent)?;
        let fd = self.inodes.open_backing(&parent, Level::Path).ok()?;
        Some(Place { directory: self.tracker.object(&*fd)?, name })
    }
}
