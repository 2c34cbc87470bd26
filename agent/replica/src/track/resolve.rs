//! Finds what the journal names in the tree as it is now: from handles to paths below the replicated directories.
//!
//! Nothing found is taken on trust: a path counts only if opening it leads to the very object. What is not found is
//! *gone* (nothing to compare), *moved* (a name noted after it covers it, see `track`), or *unknown* (then everything is
//! compared).

use super::record::{Object, Place};
use crate::filter::Filter;
use crate::op::FileKind;
use crate::tree::handle::{FileHandle, proc_path};
use crate::tree::{Status, handle::reopen};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A path below replicated directory `root`; empty for the directory itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Path {
    pub root: u16,
    pub steps: Vec<Vec<u8>>,
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    At(Path),
    /// It has no name any more, or another one that is noted itself.
    Elsewhere,
    Unknown,
}

/// The replicated directories, as taken before anything was mounted over them.
#[derive(Debug)]
pub(super) struct Roots {
    roots: Vec<Arc<OwnedFd>>,
    devices: Vec<u64>,
    /// Paths as the system tells them, for telling where a directory is.
    told: Vec<Vec<u8>>,
}

impl Roots {
    pub(super) fn new(roots: Vec<Arc<OwnedFd>>) -> Result<Self, Errno> {
        let devices = roots.iter().map(|root| Ok(Status::of(&**root)?.device)).collect::<Result<_, Errno>>()?;
        let told = roots.iter().map(|root| told_path(&**root)).collect::<Result<_, Errno>>()?;
        Ok(Self { roots, devices, told })
    }

    /// What is replicated: another file system, another directory, or other exclusions give another number.
    pub(super) fn identity(&self, filter: &Filter) -> Result<[u8; 32], Errno> {
        let mut hasher = blake3::Hasher::new();
        for root in &self.roots {
            let (kind, bytes) = FileHandle::of(&**root).map(|handle| (handle.parts().0, handle.parts().1.to_vec()))?;
            let born = Status::of(&**root)?.born.unwrap_or_default();
            let system = rustix::fs::fstatvfs(&**root)?.f_fsid;
            hasher.update(&kind.to_le_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
            hasher.update(&system.to_le_bytes()).update(&born.seconds.to_le_bytes());
        }
        // What was left out of a comparison is not known to be the same when it is left out no more.
        let filter = filter.text();
        hasher.update(&(filter.len() as u64).to_le_bytes()).update(&filter);
        Ok(*hasher.finalize().as_bytes())
    }

    /// Whether what the journal needs works on these file systems.
    pub(super) fn handles_work(&self) -> bool {
        let opens = |root: &Arc<OwnedFd>| FileHandle::of(&**root)?.open(&**root, OFlags::PATH);
        self.roots.iter().all(|root| opens(root).is_ok())
    }

    /// The object behind `fd`; `None` on a file system that no replicated directory begins on.
    pub(super) fn object(&self, fd: impl AsFd) -> Option<Object> {
        let device = Status::of(fd.as_fd()).ok()?.device;
        let file_system = self.devices.iter().position(|known| *known == device)?;
        Some(Object { file_system: u16::try_from(file_system).ok()?, handle: FileHandle::of(fd).ok()? })
    }

    pub(super) fn all(&self) -> &[Arc<OwnedFd>] {
        &self.roots
    }

    pub(super) fn syncfs(&self) -> Result<(), Errno> {
        for (index, root) in self.roots.iter().enumerate() {
            if self.devices[..index].contains(&self.devices[index]) {
                continue;
            }
            rustix::fs::syncfs(&**root)?;
        }
        Ok(())
    }

    fn open(&self, object: &Object) -> Result<(OwnedFd, Status), Errno> {
        let root = self.roots.get(usize::from(object.file_system)).ok_or(Errno::NODEV)?;
        let fd = object.handle.open(&**root, OFlags::PATH)?;
        let status = Status::of(&fd)?;
        Ok((fd, status))
    }

    /// Where an object is; `place` is where it was when it was noted last.
    pub(super) fn find(&self, object: &Object, place: Option<&Place>) -> Whereabouts {
        let (fd, status) = match self.open(object) {
            Ok(opened) => opened,
            Err(Errno::STALE) => return Whereabouts::Elsewhere,
            Err(_) => return Whereabouts::Unknown,
        };
        if status.kind() == FileKind::Directory {
            return self.find_directory(&fd, &status);
        }
        if status.links == 0 {
            return Whereabouts::Elsewhere;
        }
        // Of several names the other node may have changed the one that would be told.
        let Some(place) = place.filter(|_| status.links == 1) else { return Whereabouts::Unknown };
        if let Whereabouts::At(mut path) = self.find(&place.directory, None) {
            path.steps.push(place.name.clone());
            if self.leads_to(&path, &status) {
                return Whereabouts::At(path);
            }
        }
        // Its only name is another now: that one was noted when it got it, or when it became the only one.
        Whereabouts::Elsewhere
    }

    fn find_directory(&self, fd: &OwnedFd, status: &Status) -> Whereabouts {
        let path = match told_path(fd) {
            Ok(path) => path,
            Err(_) => return Whereabouts::Unknown,
        };
        for (root, told) in self.told.iter().enumerate() {
            let Some(below) = path.strip_prefix(told.as_slice()) else { continue };
            let steps: Vec<Vec<u8>> = match below {
                [] => Vec::new(),
                [b'/', below @ ..] => below.split(|b| *b == b'/').map(<[u8]>::to_vec).collect(),
                _ => continue,
            };
            let path = Path { root: root as u16, steps };
            if self.leads_to(&path, status) {
                return Whereabouts::At(path);
            }
        }
        // Removed directories have no links left on ext4 and xfs, or still "." on others: told by their path.
        if status.links == 0 || path.ends_with(b" (deleted)") { Whereabouts::Elsewhere } else { Whereabouts::Unknown }
    }

    fn leads_to(&self, path: &Path, wanted: &Status) -> bool {
        let found = self.look_up(path).and_then(Status::of);
        found.is_ok_and(|found| (found.device, found.ino) == (wanted.device, wanted.ino))
    }

    /// Opens a path (`O_PATH`), staying below its directory and following no link.
    pub(super) fn look_up(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let root = self.roots.get(usize::from(path.root)).ok_or(Errno::NOENT)?;
        if path.steps.is_empty() {
            return reopen(&**root, OFlags::PATH);
        }
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat2(&**root, path.steps.join(&b'/').as_slice(), flags, Mode::empty(), how)
    }
}

fn told_path(fd: impl AsFd) -> Result<Vec<u8>, Errno> {
    let link = rustix::fs::readlink(proc_path(fd.as_fd()).as_c_str(), Vec::new())?;
    Ok(link.into_bytes())
}
