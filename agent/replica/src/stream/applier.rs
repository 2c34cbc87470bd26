//! The secondary's side of the stream: applies one message after the other to the backing directories.
//!
//! Everything goes through descriptors taken of the directories before anything was mounted over them; names are single
//! steps and never followed when they are links, so that nothing outside the replicated directories can be reached.

mod attributes;
mod check;
mod listed;
mod listing;
mod names;
mod objects;
mod own;
mod streaks;

pub use attributes::{BLOCK, EXTENT, ZERO, hash_block, hash_extent, hash_range, next_data};
pub use check::Different;

use crate::control::AsyncMode;
use crate::filter::Filter;
use crate::frame::{Message, ResyncStep};
use crate::op::{FileId, FileKind, Op};
use crate::tree::{Level, descriptors, xattr};
use listed::Listed;
use objects::Objects;
use own::OwnNames;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::CString;
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A change that could not be applied: what, where, and the system's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    what: &'static str,
    errno: Errno,
    path: String,
}

impl ApplyError {
    fn new(what: &'static str, errno: Errno, path: String) -> Self {
        Self { what, errno, path }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, errno, path } = self;
        write!(f, "{what} {path}: {errno} (errno {})", errno.raw_os_error())?;
        match *errno {
            Errno::NOSPC | Errno::DQUOT => f.write_str("; free space on the secondary"),
            Errno::XDEV | Errno::BUSY => f.write_str("; unmount what is mounted there on the secondary"),
            Errno::ROFS | Errno::IO => {
                f.write_str("; the secondary's file system or disk has failed: see its kernel log")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ApplyError {}

/// A range of a file that its disk is to begin with.
#[derive(Clone, Debug)]
pub struct BeginJob {
    fd: Arc<OwnedFd>,
    range: Range<u64>,
}

impl BeginJob {
    /// Sets the disk to work. That it fails shows in the next sync.
    pub fn run(&self) {
        if let Err(error) = streaks::begin(&self.fd, &self.range) {
            tracing::debug!(%error, "the disk does not begin early");
        }
    }
}

/// A sync that covers everything applied before it.
#[derive(Clone, Debug)]
pub struct SyncJob {
    how: fn(&OwnedFd) -> Result<(), Errno>,
    on: Vec<Arc<OwnedFd>>,
}

impl SyncJob {
    /// Waits for the disk.
    ///
    /// # Errors
    /// The disk's, with the path.
    pub fn run(&self) -> Result<(), ApplyError> {
        for fd in &self.on {
            (self.how)(fd).map_err(|errno| ApplyError::new("syncing", errno, objects::path_of(fd)))?;
        }
        Ok(())
    }
}

/// What is to be done beside applying.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// Send this to the primary.
    Reply(Message),
    /// Run this beside the stream, then tell the primary that its sync is done.
    Sync(SyncJob),
    /// Run this beside the stream, if nothing of the kind runs.
    Begin(BeginJob),
    /// Sync the file systems, save the flush (if it has a number), then answer this request.
    Flush {
        /// As asked.
        request: u64,
        /// Number to be saved, or 0.
        flush: u64,
    },
    /// Sync the file systems, save the mark (base and number), then answer this request.
    Mark {
        /// As asked.
        request: u64,
        /// What the marks are counted from.
        base: u64,
        /// Number of this one.
        flush: u64,
    },
    /// What may differ is not known from here on: saved before anything more is applied.
    Unknown,
    /// Everything is here: sync the file systems, then tell the agent.
    Complete,
}

/// Applies the stream of one session.
#[derive(Debug)]
pub struct Applier {
    objects: Objects,
    filter: Arc<Filter>,
    resyncing: bool,
    listed: Listed,
    own: OwnNames,
    mode: AsyncMode,
    written: HashSet<FileId>,
    names_changed: bool,
    streaks: streaks::Streaks,
    check: check::Check,
    /// A rule is broken, to see that a test notices: every other write is applied after what follows it.
    #[cfg(test)]
    pub(crate) out_of_order: Option<Option<(Op, Vec<u8>)>>,
}

impl Applier {
    /// An applier for these directories: path (for messages) and a descriptor (not `O_PATH`) taken before mounting.
    pub fn new(roots: Vec<(PathBuf, Arc<OwnedFd>)>, mode: AsyncMode) -> Result<Self, ApplyError> {
        Ok(Self {
            objects: Objects::new(roots)?,
            filter: Arc::default(),
            resyncing: true,
            listed: Listed::default(),
            own: OwnNames::default(),
            mode,
            written: HashSet::new(),
            names_changed: false,
            streaks: streaks::Streaks::default(),
            check: check::Check::default(),
            #[cfg(test)]
            out_of_order: None,
        })
    }

    /// Leaves alone what `filter` excludes from replication.
    #[must_use]
    pub fn with_filter(self, filter: Arc<Filter>) -> Self {
        Self { filter, ..self }
    }

    /// Descriptors on which syncing reaches everything replicated.
    pub fn roots(&self) -> Vec<Arc<OwnedFd>> {
        self.objects.roots().cloned().collect()
    }

    /// Applies one message.
    pub fn apply(&mut self, message: Message, payload: &[u8]) -> Result<Effect, ApplyError> {
        match message {
            Message::Op(Op::Sync { id, data_only }) => self.sync(id, data_only).map(Effect::Sync),
            Message::Op(Op::SyncAll) => Ok(Effect::Sync(self.sync_all())),
            #[cfg(test)]
            Message::Op(op) if self.out_of_order.is_some() => self.change_out_of_order(op, payload),
            Message::Op(op) => {
                self.change(&op, payload)?;
                Ok(self.begin_early(&op, payload.len()).map_or(Effect::None, Effect::Begin))
            }
            Message::Resync(step) => self.step(step),
            Message::Check(step) => Ok(self.check(step)),
            _ => Err(ApplyError::new("understanding the primary", Errno::PROTO, "stream".into())),
        }
    }

    #[cfg(test)]
    fn change_out_of_order(&mut self, op: Op, payload: &[u8]) -> Result<Effect, ApplyError> {
        match self.out_of_order.take().flatten() {
            None if matches!(op, Op::Write { .. }) => {
                self.out_of_order = Some(Some((op, payload.to_vec())));
                return Ok(Effect::None);
            }
            None => self.change(&op, payload)?,
            Some((earlier, data)) => {
                self.change(&op, payload)?;
                self.change(&earlier, &data)?;
            }
        }
        self.out_of_order = Some(None);
        Ok(Effect::None)
    }

    /// What was applied since the last call counts as applied now: with `async="none"` only once it is on disk.
    pub fn settle(&mut self) -> Result<(), ApplyError> {
        let (written, names) = (std::mem::take(&mut self.written), std::mem::take(&mut self.names_changed));
        if self.mode == AsyncMode::Second || self.resyncing {
            return Ok(());
        }
        if names {
            return self.sync_all().run();
        }
        for id in written {
            if self.objects.is_bound(id) {
                self.sync(id, true)?.run()?;
            }
        }
        Ok(())
    }

    fn sync_all(&self) -> SyncJob {
        SyncJob { how: |fd| rustix::fs::syncfs(fd), on: self.roots() }
    }

    fn sync(&self, id: FileId, data_only: bool) -> Result<SyncJob, ApplyError> {
        let failed = |errno| ApplyError::new("syncing", errno, self.objects.describe(id, b""));
        let on = match self.objects.kind_of(id) {
            Some(FileKind::File | FileKind::Directory) => vec![self.objects.open(id, Level::Read).map_err(failed)?],
            Some(_) => Vec::new(),
            None => return Err(failed(Errno::BADF)),
        };
        Ok(if data_only {
            SyncJob { how: |fd| rustix::fs::fdatasync(fd), on }
        } else {
            SyncJob { how: |fd| rustix::fs::fsync(fd), on }
        })
    }

    /// What the disk is to begin with after this change.
    fn begin_early(&mut self, op: &Op, length: usize) -> Option<BeginJob> {
        let Op::Write { id, offset, .. } = op else { return None };
        let range = self.streaks.wrote(*id, *offset, length as u64)?;
        Some(BeginJob { fd: self.objects.open(*id, Level::Write).ok()?, range })
    }

    fn change(&mut self, op: &Op, payload: &[u8]) -> Result<(), ApplyError> {
        self.note(op);
        self.check.meet(op);
        match op {
            Op::Bind { id, parent, name, kind, exact } => self
                .bind(*id, *parent, name, (*kind, *exact))
                .map_err(|errno| self.error("finding", *parent, name, errno)),
            Op::Forget { id } => {
                self.objects.forget(*id);
                Ok(())
            }
            Op::Create { parent, name, .. } | Op::Symlink { parent, name, .. } => {
                self.create(op, payload).map_err(|errno| self.error("creating", *parent, name, errno))
            }
            Op::Link { id, parent, name } => {
                self.link(*id, *parent, name).map_err(|errno| self.error("linking", *parent, name, errno))
            }
            Op::Unlink { parent, name, .. } => {
                self.unlink(*parent, name, false).map_err(|errno| self.error("removing", *parent, name, errno))
            }
            Op::RemoveDirectory { parent, name, .. } => {
                self.unlink(*parent, name, true).map_err(|errno| self.error("removing directory", *parent, name, errno))
            }
            Op::Rename { id, parent, name, new_parent, new_name } => self
                .rename(*id, (*parent, name), (*new_parent, new_name))
                .map_err(|errno| self.error("renaming", *parent, name, errno)),
            // Never here: they are effects.
            Op::Sync { .. } | Op::SyncAll => Ok(()),
            Op::Exchange { parent, name, .. } => {
                self.exchange(op).map_err(|errno| self.error("exchanging", *parent, name, errno))
            }
            Op::CreateUnnamed { parent, .. } => {
                self.create_unnamed(op).map_err(|errno| self.error("creating", *parent, b"a file without name", errno))
            }
            Op::Write { id, .. }
            | Op::Allocate { id, .. }
            | Op::SetAttributes { id, .. }
            | Op::SetXattr { id, .. }
            | Op::RemoveXattr { id, .. } => self
                .change_object(op, payload)
                .map_err(|errno| ApplyError::new("changing", errno, self.objects.describe(*id, b""))),
        }
    }

    /// Remembers what `async="none"` has to sync.
    fn note(&mut self, op: &Op) {
        match op {
            Op::Bind { .. } | Op::Sync { .. } | Op::SyncAll => {}
            // Found by no id any more: everything is synced instead.
            Op::Forget { id } => self.names_changed |= self.written.remove(id),
            Op::Write { id, .. }
            | Op::Allocate { id, .. }
            | Op::SetAttributes { id, .. }
            | Op::SetXattr { id, .. }
            | Op::RemoveXattr { id, .. } => {
                self.written.insert(*id);
            }
            _ => self.names_changed = true,
        }
    }

    fn change_object(&mut self, op: &Op, payload: &[u8]) -> Result<(), Errno> {
        match op {
            Op::Write { id, offset, clear_suid } => {
                let fd = self.objects.open(*id, Level::Write)?;
                if let (_, Some(error)) = descriptors::write_at(&*fd, payload, *offset) {
                    return Err(error);
                }
                if *clear_suid { attributes::clear_suid(&*fd) } else { Ok(()) }
            }
            Op::SetAttributes { id, attributes } => {
                let kind = self.objects.kind_of(*id).ok_or(Errno::BADF)?;
                if let Some(size) = attributes.size {
                    rustix::fs::ftruncate(&*self.objects.open(*id, Level::Write)?, size)?;
                }
                attributes::set_all(&*self.objects.open(*id, Level::Path)?, kind, attributes)
            }
            Op::Allocate { id, offset, length, how } => {
                attributes::allocate(&*self.objects.open(*id, Level::Write)?, *offset, *length, *how)
            }
            Op::SetXattr { id, name } => {
                let name = CString::new(name.as_slice()).map_err(|_| Errno::INVAL)?;
                xattr::set(&*self.objects.open(*id, Level::Path)?, &name, payload, XattrFlags::empty())
            }
            Op::RemoveXattr { id, name } => {
                let name = CString::new(name.as_slice()).map_err(|_| Errno::INVAL)?;
                match xattr::remove(&*self.objects.open(*id, Level::Path)?, &name) {
                    // Not compared yet: it was never here.
                    Err(Errno::NODATA) if self.resyncing => Ok(()),
                    done => done,
                }
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn step(&mut self, step: ResyncStep) -> Result<Effect, ApplyError> {
        match step {
            ResyncStep::List { directory, after, upto, entries } => {
                self.list_piece(directory, (&after, &upto), &entries).map(|()| Effect::None)
            }
            ResyncStep::Hash { request, id, index, blocks } => {
                let hashed = self.objects.open(id, Level::Read).and_then(|fd| hash_extent(&*fd, index, blocks));
                let blocks =
                    hashed.map_err(|errno| ApplyError::new("reading", errno, self.objects.describe(id, b"")))?;
                Ok(Effect::Reply(Message::Hashes { request, blocks }))
            }
            ResyncStep::Zero { id, offset, length } => {
                let zeroed = self.objects.open(id, Level::Write).and_then(|fd| attributes::zero(&*fd, offset, length));
                zeroed.map_err(|errno| ApplyError::new("changing", errno, self.objects.describe(id, b"")))?;
                Ok(Effect::None)
            }
            ResyncStep::Settle { id, mode, accessed, modified, xattrs } => {
                let settled = self.settle_object(id, mode, (accessed, modified), &xattrs);
                settled
                    .map_err(|errno| ApplyError::new("setting attributes of", errno, self.objects.describe(id, b"")))?;
                Ok(Effect::None)
            }
            ResyncStep::Flush { request, flush } => Ok(Effect::Flush { request, flush }),
            ResyncStep::Mark { request, base, flush } => Ok(Effect::Mark { request, base, flush }),
            ResyncStep::Begin { full } => Ok(if full { Effect::Unknown } else { Effect::None }),
            ResyncStep::Match { directory, entries, absent } => {
                self.match_names(directory, &entries, &absent).map(|()| Effect::None)
            }
            ResyncStep::Complete => {
                self.resyncing = false;
                (self.listed, self.own) = (Listed::default(), OwnNames::default());
                Ok(Effect::Complete)
            }
        }
    }

    fn settle_object(
        &mut self,
        id: FileId,
        mode: u32,
        (accessed, modified): (crate::op::Time, crate::op::Time),
        keep: &[Vec<u8>],
    ) -> Result<(), Errno> {
        let fd = self.objects.open(id, Level::Path)?;
        for (name, _) in xattr::all(&*fd)? {
            if !keep.contains(&name) {
                let name = CString::new(name).map_err(|_| Errno::INVAL)?;
                xattr::remove(&*fd, &name)?;
            }
        }
        let kind = self.objects.kind_of(id).ok_or(Errno::BADF)?;
        if kind != FileKind::Symlink {
            attributes::set_mode(&*fd, mode)?;
        }
        attributes::set_times(&*fd, Some(accessed), Some(modified))
    }
}

#[cfg(test)]
mod tests;
