//! The objects of the replicated directories by id: one entry per object in use, with its order lock and its places.
//!
//! An object is known while the kernel, a [`Held`] or a known child refers to it; then it is forgotten and its id never
//! comes back. Resync walks the tree with [`Inodes::root`], [`super::Pieces`], [`Inodes::child`] and the order locks:
//!
//! ```text
//! let directory = inodes.root(0)?;
//! let child = inodes.child(&directory, &name)?;          // takes the directory's order lock for a moment
//! let _order = child.lock_order();                       // no change of `child` while this is held
//! inodes.read_at(&child, &mut buffer, offset)?;
//! ```

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::arrivals::Watches;
use super::inode::{Held, Inode, OrderGuard};
use super::places::{FIRST_ID, Table, handles_work, identify};
use super::roots::{DIRECTORIES_MAX, OpenError, RootDirectory, open_root, raise_file_limit, refuse_nested};
use super::touched::{Touched, TouchedList};
use super::{lock, wait_read, wait_write};
use crate::filter::{Filter, join};
use crate::keep::Keep;
use crate::op::{FileId, FileKind};
use crate::tree::{Descriptors, Level, Result, Status, descriptors, xattr};

/// The table of all objects in use, over all replicated directories of the process.
pub struct Inodes {
    directories: Vec<RootDirectory>,
    filter: Arc<Filter>,
    limits: (usize, usize),
    pub(super) ids: Arc<AtomicU64>,
    pub(super) descriptors: Descriptors,
    pub(super) handles: bool,
    pub(super) table: Mutex<Table>,
    pub(super) touched: TouchedList,
    pub(super) watches: Watches,
    changes: RwLock<()>,
    pub(super) tracker: std::sync::OnceLock<Arc<crate::track::Tracker>>,
    pub(super) keep: std::sync::OnceLock<Arc<Keep>>,
    pub(super) forgotten: Mutex<Vec<(FileId, u64)>>,
    pub(super) forgotten_count: AtomicUsize,
}

/// While this is held no change is between its submission and its local part: a session can begin or end here.
pub struct ChangesPaused<'a>(#[allow(dead_code, reason = "held, not read")] RwLockWriteGuard<'a, ()>);

impl Inodes {
    /// Takes the directories' handles, before anything is mounted over them (dead mounts of an earlier process are
    /// cleared), and raises this process's limit of open files as far as it goes.
    ///
    /// # Errors
    /// Names the directory and the cure.
    pub fn open(directories: &[PathBuf]) -> std::result::Result<Arc<Inodes>, OpenError> {
        Inodes::open_filtered(directories, Arc::default())
    }

    /// As [`Inodes::open`], without the names that `filter` excludes from replication.
    ///
    /// # Errors
    /// Names the directory and the cure.
    pub fn open_filtered(directories: &[PathBuf], filter: Arc<Filter>) -> std::result::Result<Arc<Inodes>, OpenError> {
        Inodes::open_with(directories, limits_of(raise_file_limit()), filter)
    }

    /// As [`Inodes::open`], with at most `budget` closable and `pinned_max` other descriptors.
    ///
    /// # Errors
    /// Names the directory and the cure.
    pub fn open_limited(
        directories: &[PathBuf],
        budget: usize,
        pinned_max: usize,
    ) -> std::result::Result<Arc<Inodes>, OpenError> {
        Inodes::open_with(directories, (budget, pinned_max), Arc::default())
    }

    pub(super) fn open_with(
        directories: &[PathBuf],
        limits: (usize, usize),
        filter: Arc<Filter>,
    ) -> std::result::Result<Arc<Inodes>, OpenError> {
        if directories.len() > DIRECTORIES_MAX {
            return Err(OpenError::TooMany(directories.len()));
        }
        let mut roots = Vec::new();
        for path in directories {
            roots.push(open_root(path)?);
        }
        refuse_nested(directories)?;
        let ids = Arc::new(AtomicU64::new(FIRST_ID));
        Inodes::over(roots, filter, limits, ids)
    }

    /// Over directories that an earlier process has opened; ids begin with `first_id`.
    pub(crate) fn taken_over(
        directories: Vec<(PathBuf, OwnedFd)>,
        filter: Arc<Filter>,
        first_id: u64,
    ) -> std::result::Result<Arc<Inodes>, OpenError> {
        let limit = raise_file_limit();
        let roots = directories.into_iter().map(|(path, fd)| RootDirectory { path, fd: Arc::new(fd) }).collect();
        let ids = Arc::new(AtomicU64::new(first_id.max(FIRST_ID)));
        Inodes::over(roots, filter, limits_of(limit), ids)
    }

    /// A new, empty table over the same directories, for the next mount: what the kernel knew through the last one is
    /// gone with it. Ids go on counting.
    ///
    /// # Errors
    /// Names the directory.
    pub fn renew(&self) -> std::result::Result<Arc<Inodes>, OpenError> {
        let again = |root: &RootDirectory| RootDirectory { path: root.path.clone(), fd: root.fd.clone() };
        let roots = self.directories.iter().map(again).collect();
        Inodes::over(roots, self.filter.clone(), self.limits, self.ids.clone())
    }

    fn over(
        roots: Vec<RootDirectory>,
        filter: Arc<Filter>,
        limits: (usize, usize),
        ids: Arc<AtomicU64>,
    ) -> std::result::Result<Arc<Inodes>, OpenError> {
        let descriptors = Descriptors::new(limits.0, limits.1);
        let handles = roots.iter().all(|root| handles_work(&root.fd));
        if !handles {
            tracing::warn!(
                "the file system of a replicated directory has no file handles: every object in use keeps a descriptor \
                 open, at most {}; a directory on ext4, xfs or btrfs has no such limit",
                limits.1
            );
        }
        let mut table = Table::default();
        for (index, root) in roots.iter().enumerate() {
            let failed = |error| OpenError::Directory { path: root.path.clone(), error };
            let status = Status::of(&root.fd).map_err(failed)?;
            descriptors.add_mount(status.device, root.fd.clone());
            let fd = root.fd.try_clone().map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::NFILE)))?;
            let (key, backing) = identify(&descriptors, handles, &status, fd).map_err(failed)?;
            let inode = Arc::new(Inode::new(FileId(index as u64 + 1), FileKind::Directory, backing, false));
            table.insert(inode, key, 1);
        }
        Ok(Arc::new(Inodes {
            directories: roots,
            filter,
            limits,
            ids,
            descriptors,
            handles,
            table: Mutex::new(table),
            touched: TouchedList::default(),
            watches: Watches::default(),
            changes: RwLock::new(()),
            tracker: std::sync::OnceLock::new(),
            keep: std::sync::OnceLock::new(),
            forgotten: Mutex::new(Vec::new()),
            forgotten_count: AtomicUsize::new(0),
        }))
    }

    /// What is excluded from replication.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Whether a name in `parent` is excluded from replication.
    pub fn excludes(&self, parent: &Inode, name: &[u8], directory: bool) -> bool {
        self.excludes_or_stale(parent, name, directory).unwrap_or(false)
    }

    /// As [`Inodes::excludes`].
    ///
    /// # Errors
    /// `ESTALE` if nobody knows where `parent` is.
    pub(super) fn excludes_or_stale(&self, parent: &Inode, name: &[u8], directory: bool) -> Result<bool> {
        if self.filter.is_empty() || parent.is_excluded() {
            return Ok(!self.filter.is_empty());
        }
        let (root, path) = self.path_below(parent.id()).ok_or(Errno::STALE)?;
        Ok(self.filter.excludes(root, &join(&path, name), directory))
    }

    /// Whether renaming this replicated directory could change what is excluded below it.
    pub(super) fn is_tied(&self, directory: &Inode, (parent, name): (&Inode, &[u8])) -> bool {
        if self.filter.is_empty() || directory.kind() != FileKind::Directory {
            return false;
        }
        match (self.path_below(directory.id()), self.path_below(parent.id())) {
            (Some((root, from)), Some((_, to))) => self.filter.ties(root, &from, &join(&to, name)),
            _ => true,
        }
    }

    /// Number of the replicated directory that an object is in, and its path below that.
    fn path_below(&self, id: FileId) -> Option<(usize, Vec<u8>)> {
        let table = lock(&self.table);
        let (mut id, mut path) = (id, Vec::new());
        while id.0 >= FIRST_ID {
            let (parent, name) = table.place(id)?;
            path = if path.is_empty() { name.to_vec() } else { join(name, &path) };
            id = parent;
        }
        Some((usize::try_from(id.0).ok()?.checked_sub(1)?, path))
    }

    /// The paths, in order: number *i* is object *i + 1*.
    pub fn directories(&self) -> Vec<&Path> {
        self.directories.iter().map(|root| root.path.as_path()).collect()
    }

    /// The descriptor taken of directory `index` before mounting.
    pub fn directory_fd(&self, index: usize) -> Option<Arc<OwnedFd>> {
        self.directories.get(index).map(|root| root.fd.clone())
    }

    /// The root of replicated directory `index`.
    pub fn root(self: &Arc<Self>, index: usize) -> Option<Held> {
        self.get(FileId(u64::try_from(index).ok()? + 1))
    }

    /// The object `id`, if it is in use.
    pub fn get(self: &Arc<Self>, id: FileId) -> Option<Held> {
        let inode = lock(&self.table).refer(id, 1)?;
        Some(Held::adopt(self, inode))
    }

    /// The object called `name` in `parent`, without the kernel asking for it. Takes the order lock of `parent` for a
    /// moment: a caller that already holds it uses [`Inodes::child_ordered`].
    ///
    /// # Errors
    /// `ENOENT`, `ENAMETOOLONG`, …
    pub fn child(self: &Arc<Self>, parent: &Inode, name: &[u8]) -> Result<Held> {
        let order = parent.lock_order();
        self.child_ordered(parent, &order, name).map(|(child, _)| child)
    }

    /// As [`Inodes::child`] for a caller that holds the order lock of `parent`; also answers its status.
    ///
    /// # Errors
    /// `ENOENT`, `ENAMETOOLONG`, …
    pub fn child_ordered(
        self: &Arc<Self>,
        parent: &Inode,
        _order: &OrderGuard<'_>,
        name: &[u8],
    ) -> Result<(Held, Status)> {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(Errno::INVAL);
        }
        let directory = self.descriptors.get(parent.backing(), Level::Path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*directory, name, flags, Mode::empty())?;
        let status = Status::of(&fd)?;
        let held = self.register((parent.id(), name), &status, fd, Level::Path)?;
        Ok((held, status))
    }

    /// Status of an object.
    ///
    /// # Errors
    /// `ESTALE` if it is gone.
    pub fn status(&self, inode: &Inode) -> Result<Status> {
        Status::of(&*self.descriptors.get(inode.backing(), Level::Path)?)
    }

    /// A descriptor of the object in the backing directory, good for `level`.
    ///
    /// # Errors
    /// `ESTALE` if it is gone; what `open` says.
    pub fn open_backing(&self, inode: &Inode, level: Level) -> Result<Arc<OwnedFd>> {
        self.descriptors.get(inode.backing(), level)
    }

    /// Reads a file at `offset` until `buffer` is full or the file ends; answers the bytes read.
    ///
    /// # Errors
    /// What the backing directory's file system says.
    pub fn read_at(&self, inode: &Inode, buffer: &mut [u8], offset: u64) -> Result<usize> {
        descriptors::read_at(&*self.open_backing(inode, Level::Read)?, buffer, offset)
    }

    /// Extended attributes: names and values.
    ///
    /// # Errors
    /// What the backing directory's file system says.
    pub fn xattrs(&self, inode: &Inode) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        xattr::all(&*self.open_backing(inode, Level::Path)?)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` if it is none.
    pub fn read_link(&self, inode: &Inode) -> Result<Vec<u8>> {
        let fd = self.open_backing(inode, Level::Path)?;
        Ok(rustix::fs::readlinkat(&*fd, c"", Vec::new())?.into_bytes())
    }

    /// A directory and a name under which the object is known now; `None` for roots and for objects without a name.
    pub fn place(&self, id: FileId) -> Option<(FileId, Vec<u8>)> {
        lock(&self.table).place(id).map(|(parent, name)| (parent, name.to_vec()))
    }

    /// Whether a file is open for writing (or mapped so: a mapping keeps it open).
    pub(super) fn any_writer(&self) -> bool {
        lock(&self.table).any(|inode| lock(&inode.use_count).writers > 0)
    }

    /// Objects in the table now.
    pub fn len(&self) -> usize {
        lock(&self.table).len()
    }

    /// Never: the roots are always there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until no change is between its submission and its local part, and lets none begin while the guard lives:
    /// the place to begin or end a session. Not to be called with an order lock held (changes wait for those).
    pub fn pause_changes(&self) -> ChangesPaused<'_> {
        ChangesPaused(wait_write(&self.changes))
    }

    pub(super) fn begin_change(&self) -> RwLockReadGuard<'_, ()> {
        wait_read(&self.changes)
    }

    /// Starts (or stops and clears) the list of what is moved or linked into directories.
    pub fn watch_touched(&self, on: bool) {
        self.touched.watch(on);
    }

    /// What was moved or linked into a directory since the last call, for a resync that may have passed there already.
    pub fn take_touched(&self) -> Touched {
        self.touched.take()
    }

    /// A resync has met the object by one of several names: its id lives as long as it has one, or until the resync ends.
    pub(crate) fn keep_met(&self, object: Held) {
        self.touched.keep_met(object);
    }

    /// Whether the object lost a name, not the last, since the peer was last told of one: that may have been the only one
    /// that the peer had, so that it is empty there when it comes back by another.
    pub(crate) fn is_bereft(&self, id: FileId) -> bool {
        self.touched.is_bereft(id)
    }

    /// The peer was just told of a name of the object; whether it was bereft. The caller holds the order lock of the
    /// directory, so that it cannot lose this name meanwhile.
    pub(crate) fn found_again(&self, id: FileId) -> bool {
        self.touched.found_again(id)
    }
}

/// Closable and pinned descriptors a process with this limit may have for objects.
fn limits_of(limit: usize) -> (usize, usize) {
    ((limit / 2).min(16384), (limit / 4).min(65536))
}
