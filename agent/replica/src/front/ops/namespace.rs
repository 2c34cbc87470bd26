//! Names: lookup, create, mknod, mkdir, symlink, link, unlink, rmdir, rename. Done here first, sent as results.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::crash;
use crate::front::change::Change;
use crate::front::inode::{Held, Inode};
use crate::front::lock;
use crate::front::reply::Reply;
use crate::front::session::Connection;
use crate::op::{Attributes, FileKind, Op};
use crate::replicate::Verdict;
use crate::tree::handle::proc_path;
use crate::tree::identity::{Caller, as_caller};
use crate::tree::status::kind_of;
use crate::tree::{Level, Result, Status, xattr};

pub(super) const ACL_ACCESS: &CStr = c"system.posix_acl_access";
const ACL_DEFAULT: &CStr = c"system.posix_acl_default";
/// Tries to take the locks of what a name means before giving up; each further one means that somebody renamed it.
pub(super) const TRIES_MAX: usize = 100;

impl Connection {
    pub(in crate::front) fn lookup(&self, unique: u64, parent: &Inode, name: &CStr) -> Result<()> {
        let found = {
            let order = parent.lock_order();
            self.inodes.child_ordered(parent, &order, name.to_bytes())
        };
        match found {
            Ok((child, status)) => {
                if self.read_only && lock(&child.use_count).opens == 0 {
                    self.inodes.descriptors.close(child.backing());
                }
                self.answer(unique, Reply::entry(child.into_kernel().id().0, Some(&status), self.ttl))
            }
            // That there is nothing may be remembered as well.
            Err(Errno::NOENT) if !self.read_only => self.answer(unique, Reply::entry(0, None, self.ttl)),
            Err(error) => Err(error),
        }
    }

    pub(in crate::front) fn create(
        &self,
        unique: u64,
        parent: &Inode,
        name: &CStr,
        (flags, mode): (u32, u32),
        caller: Caller,
    ) -> Result<()> {
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[parent]);
        let directory = self.inodes.open_backing(parent, Level::Path)?;
        let how = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        self.inodes.before_name(parent, name, false)?;
        let begun = self.begin(unique, 0).is_some();
        let made = match as_caller(caller, || rustix::fs::openat(&*directory, name, how, mode))? {
            Err(Errno::EXIST) if begun => {
                let again = how - OFlags::CREATE - OFlags::EXCL;
                rustix::fs::openat(&*directory, name, again, Mode::empty())
            }
            made => made,
        };
        match made {
            Ok(fd) => {
                change.made_here();
                let status = Status::of(&fd)?;
                let child = self.inodes.register((parent.id(), name.to_bytes()), &status, fd, Level::Write)?;
                self.inodes.made(child.id());
                lock(&child.use_count).written = true; // its first modification time is to be sent
                self.count_open(&child, flags)?;
                if prepared.replicable && !child.is_excluded() {
                    self.submit_made(&mut change, parent, name, &child, &status, &[])?;
                }
                drop(prepared);
                self.reply_entry(change, unique, child, status, Some(flags));
                Ok(())
            }
            Err(Errno::EXIST) if flags & libc::O_EXCL as u32 == 0 => {
                let order = &prepared.orders[0];
                let (child, status) = self.inodes.child_ordered(parent, order, name.to_bytes())?;
                drop(prepared);
                self.count_open(&child, flags)?;
                self.reply_entry(change, unique, child, status, Some(flags));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(in crate::front) fn mknod(
        &self,
        unique: u64,
        parent: &Inode,
        name: &CStr,
        (mode, device): (u32, u32),
        caller: Caller,
    ) -> Result<()> {
        let file_type = match FileType::from_raw_mode(mode) {
            FileType::Unknown => FileType::RegularFile,
            known if matches!(kind_of(known), Some(FileKind::Directory | FileKind::Symlink)) => {
                return Err(Errno::INVAL);
            }
            known => known,
        };
        self.make(unique, parent, (name, false), caller, &[], |directory| {
            let mode = Mode::from_raw_mode(mode & 0o7777);
            rustix::fs::mknodat(directory, name, file_type, mode, u64::from(device))
        })
    }

    pub(in crate::front) fn mkdir(
        &self,
        unique: u64,
        parent: &Inode,
        name: &CStr,
        mode: u32,
        caller: Caller,
    ) -> Result<()> {
        self.make(unique, parent, (name, true), caller, &[], |directory| {
            rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(mode & 0o7777))
        })
    }

    pub(in crate::front) fn symlink(
        &self,
        unique: u64,
        parent: &Inode,
        name: &CStr,
        target: &CStr,
        caller: Caller,
    ) -> Result<()> {
        self.make(unique, parent, (name, false), caller, target.to_bytes(), |directory| {
            rustix::fs::symlinkat(target, directory, name)
        })
    }

    /// Makes an object that is not opened.
    fn make(
        &self,
        unique: u64,
        parent: &Inode,
        (name, makes_directory): (&CStr, bool),
        caller: Caller,
        payload: &[u8],
        make: impl FnOnce(&OwnedFd) -> Result<()>,
    ) -> Result<()> {
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[parent]);
        let directory = self.inodes.open_backing(parent, Level::Path)?;
        self.inodes.before_name(parent, name, makes_directory)?;
        let begun = self.begin(unique, 0).is_some();
        match as_caller(caller, || make(&directory))? {
            Err(Errno::EXIST) if begun => {}
            made => made?,
        }
        change.made_here();
        let (child, status) = self.inodes.child_ordered(parent, &prepared.orders[0], name.to_bytes())?;
        self.inodes.made(child.id());
        if prepared.replicable && !child.is_excluded() {
            self.submit_made(&mut change, parent, name, &child, &status, payload)?;
        }
        drop(prepared);
        self.reply_entry(change, unique, child, status, None);
        Ok(())
    }

    /// Sends what was made, with the access control list it inherited.
    fn submit_made(
        &self,
        change: &mut Change<'_>,
        parent: &Inode,
        name: &CStr,
        child: &Held,
        status: &Status,
        payload: &[u8],
    ) -> Result<()> {
        let (id, kind, name) = (child.id(), child.kind(), name.to_bytes().to_vec());
        let (parent, uid, gid) = (parent.id(), status.uid, status.gid);
        if kind == FileKind::Symlink {
            change.submit(&Op::Symlink { id, parent, name, uid, gid }, payload);
            change.mark(child);
            return Ok(());
        }
        let (mode, device) = (status.permissions(), status.rdev);
        change.submit(&Op::Create { id, parent, name, kind, mode, uid, gid, device }, &[]);
        change.mark(child);
        let fd = self.inodes.open_backing(child, Level::Path)?;
        let inheritable: &[&CStr] =
            if kind == FileKind::Directory { &[ACL_ACCESS, ACL_DEFAULT] } else { &[ACL_ACCESS] };
        for acl in inheritable {
            if let Ok(value) = xattr::get(&*fd, acl) {
                change.submit(&Op::SetXattr { id, name: acl.to_bytes().to_vec() }, &value);
            }
        }
        Ok(())
    }

    /// Answers with an object the kernel knows from then on; `opened` (with these flags) for CREATE.
    pub(super) fn reply_entry(
        &self,
        change: Change<'_>,
        unique: u64,
        child: Held,
        status: Status,
        opened: Option<u32>,
    ) {
        let channel = self.channel.clone();
        let (ttl, open_flags) = (self.ttl, self.open_flags());
        change.finish(move |verdict| match verdict {
            Verdict::Acknowledged => {
                crash::point("front-acknowledged");
                let entry = Reply::entry(child.into_kernel().id().0, Some(&status), ttl);
                channel.send(unique, Ok(if opened.is_some() { entry.open(0, open_flags) } else { entry }));
            }
            Verdict::Refused => {
                if opened.is_some() {
                    let mut uses = lock(&child.use_count);
                    uses.opens = uses.opens.saturating_sub(1);
                    uses.written = false; // the kernel does not know it: nothing of it is kept
                }
                channel.send(unique, Err(Errno::IO));
            }
        });
    }

    pub(in crate::front) fn link(&self, unique: u64, object: &Inode, parent: &Inode, name: &CStr) -> Result<()> {
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[object, parent]);
        if object.is_excluded() != self.inodes.excludes(parent, name.to_bytes(), false) {
            return Err(Errno::XDEV);
        }
        let source = self.inodes.open_backing(object, Level::Path)?;
        let directory = self.inodes.open_backing(parent, Level::Path)?;
        self.inodes.before_name(parent, name, false)?;
        let begun = self.begin(unique, 0).is_some();
        let by_fd = rustix::fs::linkat(&*source, c"", &*directory, name, AtFlags::EMPTY_PATH);
        if by_fd == Err(Errno::NOENT) {
            // Without CAP_DAC_READ_SEARCH: through the link in /proc.
            let path = proc_path(source.as_fd());
            rustix::fs::linkat(rustix::fs::CWD, path.as_c_str(), &*directory, name, AtFlags::SYMLINK_FOLLOW)?;
        } else if !(begun && by_fd == Err(Errno::EXIST)) {
            by_fd?;
        }
        change.made_here();
        self.inodes.placed(object, parent.id(), name.to_bytes());
        self.came_into(parent, object);
        let status = Status::of(&*source)?;
        if prepared.replicable {
            let (id, name) = (object.id(), name.to_bytes().to_vec());
            change.submit(&Op::Link { id, parent: parent.id(), name }, &[]);
        } else {
            self.submit_first_name(&mut change, object, parent, name, &status)?;
            if status.links > 1 && !object.is_excluded() {
                // It has names that nobody has met: what was told is not all of it.
                self.inodes.touched.overflow();
            }
        }
        drop(prepared);
        let held = self.inodes.get(object.id()).ok_or(Errno::STALE)?;
        self.reply_entry(change, unique, held, status, None);
        Ok(())
    }

    /// Unlink and rmdir.
    pub(in crate::front) fn remove(&self, unique: u64, parent: &Inode, name: &CStr, directory: bool) -> Result<()> {
        let mut change = Change::begin(self)?;
        for _ in 0..TRIES_MAX {
            let child = match self.inodes.child(parent, name.to_bytes()) {
                Err(error) if self.taken_before(unique, error) => {
                    return self.reply_done_before(change, unique, &[(parent, name)]);
                }
                child => child?,
            };
            if (child.kind() == FileKind::Directory) != directory {
                return Err(if directory { Errno::NOTDIR } else { Errno::ISDIR });
            }
            let prepared = change.prepare(&[parent, &child]);
            if !self.still_at(&child, parent, name) {
                continue;
            }
            let fd = self.inodes.open_backing(parent, Level::Path)?;
            self.inodes.before_name(parent, name, directory)?;
            let last = self.keep_if_used(&child, (parent, name))?;
            self.begin(unique, 0);
            let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(&*fd, name, flags)?;
            self.unlinked(&child, (parent, name), last);
            if prepared.replicable && !self.inodes.excludes(parent, name.to_bytes(), directory) {
                let (id, parent, name) = (child.id(), parent.id(), name.to_bytes().to_vec());
                let op =
                    if directory { Op::RemoveDirectory { id, parent, name } } else { Op::Unlink { id, parent, name } };
                change.submit(&op, &[]);
            }
            // Its room comes free here while the peer removes it.
            self.let_go(&child, last);
            drop(prepared);
            change.reply(unique, Ok(Reply::done()));
            return Ok(());
        }
        Err(Errno::BUSY)
    }

    pub(in crate::front) fn rename(
        &self,
        unique: u64,
        (parent, name): (&Inode, &CStr),
        (new_parent, new_name): (&Inode, &CStr),
        flags: u32,
    ) -> Result<()> {
        let flags = RenameFlags::from_bits_retain(flags);
        if flags == RenameFlags::EXCHANGE {
            return self.exchange(unique, (parent, name), (new_parent, new_name));
        }
        if !(flags - RenameFlags::NOREPLACE).is_empty() {
            return Err(Errno::INVAL);
        }
        let mut change = Change::begin(self)?;
        for _ in 0..TRIES_MAX {
            let child = match self.inodes.child(parent, name.to_bytes()) {
                Err(error) if self.taken_before(unique, error) => {
                    return self.reply_done_before(change, unique, &[(new_parent, new_name), (parent, name)]);
                }
                child => child?,
            };
            let replaced = match self.inodes.child(new_parent, new_name.to_bytes()) {
                Ok(replaced) => Some(replaced),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(error),
            };
            let mut objects: Vec<&Inode> = vec![parent, new_parent, &child];
            objects.extend(replaced.as_deref());
            let prepared = change.prepare(&objects);
            let settled = self.still_at(&child, parent, name)
                && replaced.as_ref().is_none_or(|replaced| self.still_at(replaced, new_parent, new_name));
            if !settled {
                continue;
            }
            if replaced.as_ref().is_some_and(|replaced| replaced.id() == child.id()) {
                // Two names of one file: nothing happens.
                drop(prepared);
                change.reply(unique, Ok(Reply::done()));
                return Ok(());
            }
            self.demand_same_side(&child, (parent, name), (new_parent, new_name))?;
            let is_directory = |inode: &Inode| inode.kind() == FileKind::Directory;
            let either = is_directory(&child) || replaced.as_deref().is_some_and(is_directory);
            self.inodes.before_name(parent, name, either)?;
            self.inodes.before_name(new_parent, new_name, either)?;
            self.begin(unique, 0);
            // Without a replaced object the target may still have come into being: NOREPLACE sees it, then once more.
            let how = if replaced.is_none() { flags | RenameFlags::NOREPLACE } else { flags };
            match self.rename_here((parent, name), (new_parent, new_name), &child, replaced.as_deref(), how) {
                Err(Errno::EXIST) if replaced.is_none() && flags.is_empty() => continue,
                done => done?,
            }
            if prepared.replicable && !child.is_excluded() {
                let op = Op::Rename {
                    id: child.id(),
                    parent: parent.id(),
                    name: name.to_bytes().to_vec(),
                    new_parent: new_parent.id(),
                    new_name: new_name.to_bytes().to_vec(),
                };
                change.submit(&op, &[]);
            }
            drop(prepared);
            change.reply(unique, Ok(Reply::done()));
            return Ok(());
        }
        Err(Errno::BUSY)
    }

    /// Answers a change of names that a process which is gone has made: as late as any, for the peer may not have it.
    pub(super) fn reply_done_before(
        &self,
        mut change: Change<'_>,
        unique: u64,
        names: &[(&Inode, &CStr)],
    ) -> Result<()> {
        for (directory, name) in names {
            self.inodes.settle_name(directory, name.to_bytes());
            let prepared = change.prepare(&[directory]);
            if prepared.replicable {
                let modified = Some(self.inodes.status(directory)?.modified);
                let attributes = Attributes { modified, ..Attributes::default() };
                change.submit(&Op::SetAttributes { id: directory.id(), attributes }, &[]);
            }
        }
        change.reply(unique, Ok(Reply::done()));
        Ok(())
    }

    fn rename_here(
        &self,
        (parent, name): (&Inode, &CStr),
        (new_parent, new_name): (&Inode, &CStr),
        child: &Inode,
        replaced: Option<&Inode>,
        flags: RenameFlags,
    ) -> Result<()> {
        let from = self.inodes.open_backing(parent, Level::Path)?;
        let to = self.inodes.open_backing(new_parent, Level::Path)?;
        let last = match replaced {
            Some(replaced) => self.keep_if_used(replaced, (new_parent, new_name))?,
            None => false,
        };
        match rustix::fs::renameat_with(&*from, name, &*to, new_name, flags) {
            // A file system without NOREPLACE: the order lock of the directory keeps the name free.
            Err(Errno::INVAL) if flags == RenameFlags::NOREPLACE && replaced.is_none() => {
                rustix::fs::renameat(&*from, name, &*to, new_name)?;
            }
            done => done?,
        }
        if let Some(replaced) = replaced {
            self.unlinked(replaced, (new_parent, new_name), last);
            self.let_go(replaced, last);
        }
        self.inodes.moved(child, (parent.id(), name.to_bytes()), (new_parent.id(), new_name.to_bytes()));
        self.came_into(new_parent, child);
        Ok(())
    }

    /// Between what is replicated and what is not, programs have to copy.
    pub(super) fn demand_same_side(
        &self,
        child: &Inode,
        (parent, name): (&Inode, &CStr),
        (new_parent, new_name): (&Inode, &CStr),
    ) -> Result<()> {
        let directory = child.kind() == FileKind::Directory;
        let excluded = self.inodes.excludes(parent, name.to_bytes(), directory);
        let apart = excluded != self.inodes.excludes(new_parent, new_name.to_bytes(), directory)
            || !excluded && self.inodes.is_tied(child, (new_parent, new_name.to_bytes()));
        if apart { Err(Errno::XDEV) } else { Ok(()) }
    }

    /// Whether the name still means `child`. The caller holds the order lock of `parent`.
    pub(super) fn still_at(&self, child: &Inode, parent: &Inode, name: &CStr) -> bool {
        self.inodes.is_at(child.id(), parent.id(), name.to_bytes())
    }

    /// An object in use that is about to lose its last name stays reachable for those who use it; one that is about to
    /// lose its last but one is noted by the other. Answers whether it is the last name.
    fn keep_if_used(&self, child: &Inode, name: (&Inode, &CStr)) -> Result<bool> {
        let links = if child.kind() == FileKind::Directory { 1 } else { self.inodes.status(child)?.links };
        let last = links <= 1;
        if links == 2 {
            self.inodes.before_only_name(child, name)?;
        }
        if last && lock(&child.use_count).opens > 0 {
            self.inodes.descriptors.pin(child.backing())?;
            self.inodes.pin_outside(child);
        }
        Ok(last)
    }

    /// An object came into a directory. The peer is not told yet. What was made in this session needs no second look: it is
    /// exact wherever it goes.
    pub(super) fn came_into(&self, directory: &Inode, object: &Inode) {
        if !self.replicate.is_fresh(object.id()) {
            self.inodes.came_into(directory.id(), object);
        }
    }

    /// An object lost a name for good; `last`: it has no other. The peer is not told yet.
    fn unlinked(&self, child: &Inode, (parent, name): (&Inode, &CStr), last: bool) {
        if !last && !self.replicate.is_fresh(child.id()) {
            self.inodes.bereft(child);
        }
        self.inodes.unplaced(child, parent.id(), name.to_bytes(), last);
    }

    /// What is removed and not in use gives its room back at once.
    fn let_go(&self, child: &Inode, last: bool) {
        if last && lock(&child.use_count).opens == 0 {
            self.inodes.descriptors.close(child.backing());
        }
    }
}
