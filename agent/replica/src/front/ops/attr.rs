//! Attributes: getattr, and setattr (truncate, chmod, chown, utimens).

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::data::{clear_suid_bits, without_suid};
use crate::front::change::Change;
use crate::front::inode::Inode;
use crate::front::lock;
use crate::front::reply::Reply;
use crate::front::session::Connection;
use crate::front::wire::{SetAttr, valid};
use crate::op::{Attributes, FileKind, Op};
use crate::track::Touch;
use crate::tree::{Level, Result, Status, handle, xattr};

/// The kernel marks a request like this when it hands it out again, the process that had read it being gone.
const RESENT: u64 = 1 << 63;
/// What a program may do without being root.
const CAPABILITIES: &CStr = c"security.capability";
/// Shrinking by more than this takes the file system a while: not on a reader thread.
const LONG_TRUNCATE: u64 = 16 << 20;

impl Connection {
    pub(in crate::front) fn get_attributes(&self, unique: u64, inode: &Inode) -> Result<()> {
        let status = self.inodes.status(inode)?;
        self.answer(unique, Reply::attr(&status, self.ttl))
    }

    pub(in crate::front) fn set_attributes(
        self: &Arc<Self>,
        unique: u64,
        inode: Arc<Inode>,
        wanted: SetAttr,
    ) -> Result<()> {
        let shrinks_by = if wanted.valid & valid::SIZE != 0 {
            self.inodes.status(&inode)?.size.saturating_sub(wanted.size)
        } else {
            0
        };
        if shrinks_by < LONG_TRUNCATE {
            return self.set_attributes_now(unique, &inode, wanted);
        }
        self.beside(unique, move |connection| connection.set_attributes_now(unique, &inode, wanted));
        Ok(())
    }

    fn set_attributes_now(&self, unique: u64, inode: &Inode, wanted: SetAttr) -> Result<()> {
        let truncates = wanted.valid & valid::SIZE != 0 && inode.kind() == FileKind::File;
        let fd = self.inodes.open_backing(inode, if truncates { Level::Write } else { Level::Path })?;
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[inode]);
        self.inodes.before(inode, if truncates { Touch::Whole } else { Touch::Attributes })?;
        let before = Status::of(&*fd)?;
        let chowns = wanted.valid & (valid::UID | valid::GID) != 0;
        let had_capabilities = chowns && xattr::get_size(&*fd, CAPABILITIES).is_ok();
        change.made_here();
        let applied = apply(&fd, wanted, inode.kind());
        // Also after a failure: some of it may have been done.
        let now = Status::of(&*fd)?;
        let attributes = result_of(wanted, (&before, unique & RESENT != 0), &now);
        if prepared.replicable && attributes != Attributes::default() {
            change.submit(&Op::SetAttributes { id: inode.id(), attributes }, &[]);
        }
        // An owner set anew takes them away, even if it is the same; the peer, which sets another one only, is told.
        if prepared.replicable
            && had_capabilities
            && (attributes.uid, attributes.gid) == (None, None)
            && xattr::get_size(&*fd, CAPABILITIES) == Err(Errno::NODATA)
        {
            change.submit(&Op::RemoveXattr { id: inode.id(), name: CAPABILITIES.to_bytes().to_vec() }, &[]);
        }
        if attributes.modified.is_some() {
            lock(&inode.use_count).written = false;
        }
        drop(prepared);
        change.reply(unique, applied.map(|()| Reply::attr(&now, self.ttl)));
        Ok(())
    }

    pub(in crate::front) fn read_link(&self, unique: u64, inode: &Inode) -> Result<()> {
        self.channel.send_data(unique, &self.inodes.read_link(inode)?);
        Ok(())
    }
}

fn apply(fd: &OwnedFd, wanted: SetAttr, kind: FileKind) -> Result<()> {
    let has = |bit| wanted.valid & bit != 0;
    if has(valid::SIZE) {
        rustix::fs::ftruncate(fd, wanted.size)?;
    }
    if has(valid::KILL_SUIDGID) && kind == FileKind::File {
        clear_suid_bits(fd)?;
    }
    if has(valid::UID) || has(valid::GID) {
        let uid = has(valid::UID).then(|| Uid::from_raw(wanted.uid));
        let gid = has(valid::GID).then(|| Gid::from_raw(wanted.gid));
        rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    if has(valid::MODE) {
        handle::chmod(fd, wanted.mode & 0o7777)?;
    }
    if has(valid::ATIME) || has(valid::MTIME) {
        let times = Timestamps {
            last_access: timespec(has(valid::ATIME), has(valid::ATIME_NOW), wanted.atime),
            last_modification: timespec(has(valid::MTIME), has(valid::MTIME_NOW), wanted.mtime),
        };
        rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

fn timespec(set: bool, now: bool, time: (i64, u32)) -> Timespec {
    match (set, now) {
        (false, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        (true, true) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        (true, false) => Timespec { tv_sec: time.0, tv_nsec: i64::from(time.1) },
    }
}

/// What the peer has to set: what changed, asked for or by the way (an owner's change clears set-uid). It has the rest
/// already: the kernel lets nobody change attributes of this object before the answer to whoever did so last. A request
/// that an earlier process may have carried out (`again`) tells all that was asked for.
fn result_of(wanted: SetAttr, (before, again): (&Status, bool), now: &Status) -> Attributes {
    let has = |bit| wanted.valid & bit != 0;
    let size = has(valid::SIZE).then_some(now.size);
    let uid = (before.uid != now.uid || again && has(valid::UID)).then_some(now.uid);
    let gid = (before.gid != now.gid || again && has(valid::GID)).then_some(now.gid);
    // An owner set on the peer clears set-uid there: mode goes with every change of owner.
    let owner = (uid.is_some() || gid.is_some()) && now.kind() != FileKind::Symlink;
    let mode = owner || before.permissions() != now.permissions() || again && has(valid::MODE);
    Attributes {
        size,
        mode: mode.then_some(now.permissions()),
        uid,
        gid,
        accessed: has(valid::ATIME).then_some(now.accessed),
        modified: (has(valid::MTIME) || size.is_some()).then_some(now.modified),
    }
}

/// Clears set-gid as setting an access ACL asks for.
pub(in crate::front) fn clear_sgid(fd: &OwnedFd) -> Result<Option<u32>> {
    let permissions = Status::of(fd)?.permissions();
    let cleared = without_suid(permissions) | (permissions & 0o4000);
    let cleared = cleared & !0o2000;
    if cleared == permissions {
        return Ok(None);
    }
    handle::chmod(fd, cleared)?;
    Ok(Some(cleared))
}
