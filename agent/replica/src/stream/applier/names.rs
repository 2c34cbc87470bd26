//! Names on the secondary: making, linking, moving and removing, each as exact as its moment allows.
//!
//! While a resync runs the secondary may hold something else under a name than the primary. Every change of a name tells
//! what is true on the primary from this point of the stream on, so it is *made true* here, whatever was there before:
//! what stands in the way is removed, what is missing is made empty. What is made or taken over like this is not yet
//! exact inside; the resync passes by later (it compares each object under its order lock, after all that came before).
//! After the resync the two trees are the same, and whatever does not fit is an error that ends the stream.

use super::objects::{Found, key, look_up};
use super::{Applier, ApplyError};
use crate::op::{FileId, FileKind, Op};
use crate::tree::list::Parts;
use crate::tree::{Level, Status, list, xattr};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What a new object is made as; the final owner and mode are set right after.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Names read at once of a directory that is removed.
const REMOVED_AT_ONCE: usize = 4096;

impl Applier {
    fn directory(&self, id: FileId) -> Result<Arc<OwnedFd>, Errno> {
        self.objects.open(id, Level::Path)
    }

    /// `id` means what is at `name` in `parent`.
    ///
    /// An `exact` name means the same on both nodes: then it is taken as it is, as in a directory that was listed.
    pub(super) fn bind(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &[u8],
        (kind, exact): (FileKind, bool),
    ) -> Result<(), Errno> {
        if self.objects.alive(id).is_some() {
            return Ok(());
        }
        let directory = self.directory(parent)?;
        let found = look_up(&*directory, name)?;
        if !self.resyncing || exact {
            let found = found.filter(|found| found.status.kind() == kind).ok_or(Errno::NOENT)?;
            return self.objects.bind(id, found);
        }
        // Under a name not yet listed, a file with several names may share its content with one that is already exact:
        // take a fresh one instead. Names that are listed are true.
        let listed = self.objects.key_of(parent).is_some_and(|key| self.listed.knows(key, name));
        let fits =
            |status: &Status| status.kind() == kind && (listed || kind == FileKind::Directory || status.links == 1);
        match found {
            Some(found) if fits(&found.status) => self.objects.bind(id, found),
            found => {
                if let Some(found) = found {
                    self.remove_tree(&directory, name, &found.status)?;
                }
                let fresh = make(&directory, name, kind, 0, b"unknown until its directory is compared")?;
                self.objects.bind(id, fresh)
            }
        }
    }

    /// Makes an object as `Create` or `Symlink` says.
    pub(super) fn create(&mut self, op: &Op, payload: &[u8]) -> Result<(), Errno> {
        let (id, parent, name, kind, mode, owner, device) = match op {
            Op::Create { id, parent, name, kind, mode, uid, gid, device } => {
                (*id, *parent, name, *kind, *mode, (*uid, *gid), *device)
            }
            Op::Symlink { id, parent, name, uid, gid } => (*id, *parent, name, FileKind::Symlink, 0, (*uid, *gid), 0),
            _ => return Err(Errno::INVAL),
        };
        let directory = self.directory(parent)?;
        if self.resyncing
            && let Some(found) = look_up(&*directory, name)?
        {
            self.remove_tree(&directory, name, &found.status)?;
        }
        let mut made = make(&directory, name, kind, device, payload)?;
        if self.resyncing && kind != FileKind::Symlink && disinherit(&made.fd)? {
            made.status = Status::of(&made.fd)?;
        }
        let given = (made.status.uid, made.status.gid);
        if given != owner {
            super::attributes::set_owner(&made.fd, Some(owner.0), Some(owner.1))?;
        }
        if kind != FileKind::Symlink && (given != owner || made.status.permissions() != mode) {
            super::attributes::set_mode(&made.fd, mode)?;
        }
        if kind == FileKind::Directory {
            self.listed.whole(key(&made.status));
        }
        self.objects.bind(id, made)
    }

    /// Makes a file without a name, which a link may give it later.
    pub(super) fn create_unnamed(&mut self, op: &Op) -> Result<(), Errno> {
        let Op::CreateUnnamed { id, parent, mode, uid, gid } = op else { return Err(Errno::INVAL) };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.directory(*parent)?, c".", flags, PRIVATE)?;
        super::attributes::set_owner(&fd, Some(*uid), Some(*gid))?;
        super::attributes::set_mode(&fd, *mode)?;
        self.objects.bind_unnamed(*id, fd)
    }

    /// Two objects change places.
    pub(super) fn exchange(&mut self, op: &Op) -> Result<(), Errno> {
        let Op::Exchange { id, parent, name, other, other_parent, other_name } = op else { return Err(Errno::INVAL) };
        let (here, there) = (self.directory(*parent)?, self.directory(*other_parent)?);
        let both = |flags| rustix::fs::renameat_with(&*here, name.as_slice(), &*there, other_name.as_slice(), flags);
        let means = |applier: &Self, directory: &OwnedFd, name: &[u8], id: FileId| -> Result<bool, Errno> {
            let found = look_up(directory, name)?;
            Ok(found.is_some_and(|found| applier.objects.key_of(id) == Some(key(&found.status))))
        };
        let other_there = means(self, &there, other_name, *other)?;
        if !self.resyncing || (means(self, &here, name, *id)? && other_there) {
            return both(RenameFlags::EXCHANGE);
        }
        // Something else stands here or there. At no moment anything has a name but these two: after a crash nobody
        // would look for it.
        if !other_there {
            self.rename(*id, (*parent, name), (*other_parent, other_name))?;
            return self.place(*other, &here, name);
        }
        match look_up(&*here, name)? {
            None => rustix::fs::renameat(&*there, other_name.as_slice(), &*here, name.as_slice())?,
            Some(_) => both(RenameFlags::EXCHANGE)?,
        }
        if let Some(stranger) = look_up(&*there, other_name)? {
            self.remove_tree(&*there, other_name, &stranger.status)?;
        }
        self.place(*id, &there, other_name)
    }

    pub(super) fn link(&mut self, id: FileId, parent: FileId, name: &[u8]) -> Result<(), Errno> {
        let directory = self.directory(parent)?;
        if self.resyncing
            && let Some(found) = look_up(&*directory, name)?
        {
            if self.objects.key_of(id) == Some(key(&found.status)) {
                return Ok(());
            }
            self.remove_tree(&directory, name, &found.status)?;
        }
        self.link_object(id, &directory, name)
    }

    fn link_object(&mut self, id: FileId, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let object = self.objects.open(id, Level::Path);
        match object.and_then(|fd| rustix::fs::linkat(&*fd, c"", directory, name, AtFlags::EMPTY_PATH)) {
            // It lost its last name here, while it has others there that are not compared yet: it is compared anew.
            Err(Errno::NOENT | Errno::STALE) if self.resyncing => {
                let kind = self.objects.kind_of(id).ok_or(Errno::BADF)?;
                let fresh = make(directory, name, kind, 0, b"unknown until its directory is compared")?;
                self.objects.bind(id, fresh)
            }
            linked => linked,
        }
    }

    pub(super) fn unlink(&mut self, parent: FileId, name: &[u8], directory_wanted: bool) -> Result<(), Errno> {
        let directory = self.directory(parent)?;
        let found = match look_up(&*directory, name)? {
            Some(found) => found,
            None if self.resyncing => return Ok(()),
            None => return Err(Errno::NOENT),
        };
        if self.resyncing {
            return self.remove_tree(&directory, name, &found.status);
        }
        self.objects.keep(&found.status)?;
        let flags = if directory_wanted { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match rustix::fs::unlinkat(&*directory, name, flags) {
            // What this node has in it of its own goes with it.
            Err(Errno::NOTEMPTY | Errno::EXIST) if directory_wanted && !self.filter.is_empty() => {
                self.remove_tree(&directory, name, &found.status)?;
            }
            done => done?,
        }
        self.listed.forget(key(&found.status));
        Ok(())
    }

    pub(super) fn rename(&mut self, id: FileId, from: (FileId, &[u8]), to: (FileId, &[u8])) -> Result<(), Errno> {
        let (old, new) = (self.directory(from.0)?, self.directory(to.0)?);
        let target = look_up(&*new, to.1)?;
        if !self.resyncing {
            if let Some(target) = target {
                self.objects.keep(&target.status)?;
                if target.status.kind() == FileKind::Directory && !self.filter.is_empty() {
                    // It is empty on the primary: what this node has in it of its own goes with it.
                    self.remove_tree(&new, to.1, &target.status)?;
                }
            }
            return rustix::fs::renameat(&*old, from.1, &*new, to.1);
        }
        let source = look_up(&*old, from.1)?;
        let wanted = self.objects.key_of(id);
        if let Some(target) = target {
            if wanted == Some(key(&target.status)) {
                // It has the new name already (a stale link): only the old one goes.
                return match source {
                    Some(source) => self.remove_tree(&old, from.1, &source.status),
                    None => Ok(()),
                };
            }
            self.remove_tree(&new, to.1, &target.status)?;
        }
        match source {
            Some(source) if wanted.is_none_or(|wanted| wanted == key(&source.status)) => {
                rustix::fs::renameat(&*old, from.1, &*new, to.1)
            }
            source => {
                // Another object has the old name here: ours gets the new one, and the old one is free, as it is there.
                self.place(id, &new, to.1)?;
                match source {
                    Some(source) => self.remove_tree(&old, from.1, &source.status),
                    None => Ok(()),
                }
            }
        }
    }

    /// Gives the bound object `id` a name: a further one, or for a directory its only one.
    pub(super) fn place(&mut self, id: FileId, directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if self.objects.kind_of(id) != Some(FileKind::Directory) {
            return self.link_object(id, directory, name);
        }
        let (parent, now) = self.find_directory(id)?;
        rustix::fs::renameat(&parent, &now, directory, name)
    }

    /// The parent of a bound directory and its name there. Nobody else changes this tree, so `..` is true.
    fn find_directory(&self, id: FileId) -> Result<(OwnedFd, Vec<u8>), Errno> {
        let wanted = self.objects.key_of(id).ok_or(Errno::BADF)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(&*self.directory(id)?, c"..", flags, Mode::empty())?;
        let mut entries = Parts::of(&parent)?;
        while let Some(entry) = entries.next_entry()? {
            if entry.ino == wanted.1
                && let Some(found) = look_up(&parent, &entry.name)?
                && key(&found.status) == wanted
            {
                return Ok((parent, entry.name));
            }
        }
        Err(Errno::STALE)
    }

    /// Removes what is at `name`, with everything below it, but never anything of another mount: a mount point in the
    /// way is an error (`EXDEV`, `EBUSY`). Links are removed, not followed.
    pub(super) fn remove_tree(&mut self, directory: impl AsFd, name: &[u8], status: &Status) -> Result<(), Errno> {
        if status.kind() != FileKind::Directory {
            self.objects.keep(status)?;
            return rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
        // Each level: the directory, some of what is still in it, and its own name in the level above.
        let mut levels: Vec<(OwnedFd, VecDeque<Vec<u8>>, Vec<u8>)> = Vec::new();
        levels.push((open_below(directory.as_fd(), name)?, VecDeque::new(), name.to_vec()));
        while let Some((level, names, _)) = levels.last_mut() {
            if names.is_empty() {
                *names = list::some_names(&*level, REMOVED_AT_ONCE)?;
            }
            if let Some(name) = names.pop_front() {
                // Nobody else changes this tree: it cannot have gone.
                let found = look_up(&*level, &name)?.ok_or(Errno::STALE)?;
                if found.status.kind() == FileKind::Directory {
                    let below = open_below(level.as_fd(), &name)?;
                    levels.push((below, VecDeque::new(), name));
                } else {
                    self.objects.keep(&found.status)?;
                    rustix::fs::unlinkat(&*level, &name, AtFlags::empty())?;
                }
                continue;
            }
            let Some((level, _, name)) = levels.pop() else { break };
            let status = Status::of(&level)?;
            self.objects.keep(&status)?;
            self.listed.forget(key(&status));
            match levels.last() {
                Some((above, _, _)) => rustix::fs::unlinkat(above, &name, AtFlags::REMOVEDIR)?,
                None => rustix::fs::unlinkat(directory.as_fd(), &name, AtFlags::REMOVEDIR)?,
            }
        }
        Ok(())
    }

    /// The error of a change of names, with the path it was about.
    pub(super) fn error(&self, what: &'static str, parent: FileId, name: &[u8], errno: Errno) -> ApplyError {
        ApplyError::new(what, errno, self.objects.describe(parent, name))
    }
}

/// Takes away the rights that a new object got from its directory, which may have others on the primary until it is
/// compared; what it got there is told next. Whether there were any.
fn disinherit(fd: &OwnedFd) -> Result<bool, Errno> {
    let mut any = false;
    for inherited in [c"system.posix_acl_access", c"system.posix_acl_default"] {
        match xattr::get_size(fd, inherited) {
            Ok(_) => {
                xattr::remove(fd, inherited)?;
                any = true;
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(any)
}

/// Opens a directory for listing, on the same mount, without following links.
fn open_below(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(directory, name, flags, Mode::empty(), how)
}

/// Makes an object of this kind at a name that is free.
pub(super) fn make(
    directory: &OwnedFd,
    name: &[u8],
    kind: FileKind,
    device: u64,
    target: &[u8],
) -> Result<Found, Errno> {
    match kind {
        FileKind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
            let how = OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(directory, name, flags | how, PRIVATE)?;
            let status = Status::of(&fd)?;
            return Ok(Found { fd, status, level: Level::Write });
        }
        FileKind::Directory => rustix::fs::mkdirat(directory, name, Mode::RWXU)?,
        FileKind::Symlink => rustix::fs::symlinkat(target, directory, name)?,
        other => rustix::fs::mknodat(directory, name, crate::tree::status::type_of(other), PRIVATE, device)?,
    }
    look_up(directory, name)?.ok_or(Errno::NOENT)
}
