//! The secondary's objects by id: which object of the backing directories an id means, for one session.

use super::ApplyError;
use crate::op::{FileId, FileKind};
use crate::tree::handle::{FileHandle, proc_path};
use crate::tree::{Backing, Descriptors, Level, Status};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// Device and inode number.
pub(super) type Key = (u64, u64);

pub(super) fn key(status: &Status) -> Key {
    (status.device, status.ino)
}

#[derive(Debug)]
struct Object {
    backing: Arc<Backing>,
    key: Key,
    pinned: bool,
}

/// A name looked up: the object behind it.
#[derive(Debug)]
pub(super) struct Found {
    pub fd: OwnedFd,
    pub status: Status,
    /// What the descriptor is good for.
    pub level: Level,
}

/// All bound objects.
#[derive(Debug)]
pub(super) struct Objects {
    roots: Vec<(PathBuf, Arc<OwnedFd>)>,
    descriptors: Descriptors,
    by_id: HashMap<FileId, Object>,
    /// The latest id of each bound object, so that an object that loses its last name is kept while its id lives.
    by_key: HashMap<Key, FileId>,
}

impl Objects {
    /// The roots are bound from the beginning: directory *i* is object *i + 1*.
    pub(super) fn new(roots: Vec<(PathBuf, Arc<OwnedFd>)>) -> Result<Self, ApplyError> {
        let descriptors = Descriptors::new(4096, 16384);
        let mut objects = Self { roots, descriptors, by_id: HashMap::new(), by_key: HashMap::new() };
        for (index, (path, fd)) in objects.roots.clone().into_iter().enumerate() {
            let told = |errno| ApplyError::new("taking the directory", errno, path.display().to_string());
            let status = Status::of(&*fd).map_err(told)?;
            objects.descriptors.add_mount(status.device, fd.clone());
            let copy = crate::tree::handle::reopen(&*fd, OFlags::PATH).map_err(told)?;
            objects.bind(FileId(index as u64 + 1), Found { fd: copy, status, level: Level::Path }).map_err(told)?;
        }
        Ok(objects)
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = &Arc<OwnedFd>> {
        self.roots.iter().map(|(_, fd)| fd)
    }

    /// Path of directory number `root`, as configured.
    pub(super) fn root_path(&self, root: usize) -> String {
        self.roots.get(root).map_or_else(String::new, |(path, _)| path.display().to_string())
    }

    /// From now on `id` means this object.
    pub(super) fn bind(&mut self, id: FileId, found: Found) -> Result<(), Errno> {
        self.forget(id);
        let Found { fd, status, level } = found;
        // Without handles (some file systems have none) the descriptor stays open as long as the id lives.
        let handle = if self.descriptors.has_mount(status.device) { FileHandle::of(&fd).ok() } else { None };
        let pinned = handle.is_none();
        let backing = self.descriptors.adopt_opened((status.kind(), status.device), handle, fd, level)?;
        self.by_key.insert(key(&status), id);
        self.by_id.insert(id, Object { backing, key: key(&status), pinned });
        Ok(())
    }

    /// From now on `id` means the file behind `fd` (good for writing), which has no name (yet).
    pub(super) fn bind_unnamed(&mut self, id: FileId, fd: OwnedFd) -> Result<(), Errno> {
        self.forget(id);
        let status = Status::of(&fd)?;
        let backing = self.descriptors.adopt_opened((status.kind(), status.device), None, fd, Level::Write)?;
        self.by_key.insert(key(&status), id);
        self.by_id.insert(id, Object { backing, key: key(&status), pinned: true });
        Ok(())
    }

    /// The primary does not use `id` any more.
    pub(super) fn forget(&mut self, id: FileId) {
        let Some(object) = self.by_id.remove(&id) else { return };
        self.descriptors.forget(&object.backing);
        if self.by_key.get(&object.key) == Some(&id) {
            self.by_key.remove(&object.key);
        }
    }

    pub(super) fn is_bound(&self, id: FileId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn key_of(&self, id: FileId) -> Option<Key> {
        self.by_id.get(&id).map(|object| object.key)
    }

    pub(super) fn kind_of(&self, id: FileId) -> Option<FileKind> {
        self.by_id.get(&id).map(|object| object.backing.kind())
    }

    /// The living id that means what has this status.
    pub(super) fn owner(&self, status: &Status) -> Option<FileId> {
        self.by_key.get(&key(status)).copied()
    }

    /// A descriptor of the object good for `level`.
    pub(super) fn open(&self, id: FileId, level: Level) -> Result<Arc<OwnedFd>, Errno> {
        // An unknown id is an error of the primary's; ENOENT would read as if a file were missing.
        let object = self.by_id.get(&id).ok_or(Errno::BADF)?;
        self.descriptors.get(&object.backing, level)
    }

    /// Status of the object, if it still has a name.
    pub(super) fn alive(&self, id: FileId) -> Option<Status> {
        let fd = self.open(id, Level::Path).ok()?;
        Status::of(&*fd).ok().filter(|status| status.links > 0)
    }

    /// An object is about to lose a name: if it is the last one and its id lives, keep it open.
    pub(super) fn keep(&mut self, status: &Status) -> Result<(), Errno> {
        let last = status.links <= 1 || status.kind() == FileKind::Directory;
        let Some(id) = self.by_key.get(&key(status)).filter(|_| last) else { return Ok(()) };
        let Some(object) = self.by_id.get_mut(id) else { return Ok(()) };
        if !object.pinned {
            self.descriptors.pin(&object.backing)?;
            object.pinned = true;
        }
        Ok(())
    }

    /// Number of the replicated directory that a directory is in, and its path below that.
    pub(super) fn path_below(&self, id: FileId) -> Option<(usize, Vec<u8>)> {
        let path = |fd: &OwnedFd| rustix::fs::readlink(proc_path(fd.as_fd()).as_c_str(), Vec::new()).ok();
        let below = path(&*self.open(id, Level::Path).ok()?)?.into_bytes();
        self.roots.iter().enumerate().find_map(|(index, (_, fd))| {
            let root = path(fd)?.into_bytes();
            let rest = below.strip_prefix(root.as_slice())?;
            if rest.is_empty() { Some((index, Vec::new())) } else { Some((index, rest.strip_prefix(b"/")?.to_vec())) }
        })
    }

    /// Where the object is now, for messages.
    pub(super) fn describe(&self, id: FileId, name: &[u8]) -> String {
        let place = match self.open(id, Level::Path) {
            Ok(fd) => path_of(&fd),
            Err(_) => format!("object {}", id.0),
        };
        if name.is_empty() { place } else { format!("{place}/{}", String::from_utf8_lossy(name)) }
    }
}

/// Where what `fd` refers to is now, for messages.
pub(super) fn path_of(fd: &OwnedFd) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd)));
    link.map_or_else(|_| "a file".into(), |path| path.display().to_string())
}

/// Looks a name up without following a link.
pub(super) fn look_up(directory: impl AsFd, name: &[u8]) -> Result<Option<Found>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(fd) => {
            let status = Status::of(&fd)?;
            Ok(Some(Found { fd, status, level: Level::Path }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
