//! Files without a name (O_TMPFILE), and the first name they may get.

use std::ffi::CStr;

use rustix::fs::{Mode, OFlags};

use super::namespace::ACL_ACCESS;
use super::space::submit_range;
use crate::front::change::Change;
use crate::front::inode::Inode;
use crate::front::lock;
use crate::front::session::Connection;
use crate::op::{Attributes, FileKind, Op};
use crate::tree::identity::{Caller, as_caller};
use crate::tree::{Level, Result, Status, xattr};

impl Connection {
    pub(in crate::front) fn create_unnamed(
        &self,
        unique: u64,
        parent: &Inode,
        (flags, mode): (u32, u32),
        caller: Caller,
    ) -> Result<()> {
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[parent]);
        let directory = self.inodes.open_backing(parent, Level::Path)?;
        let how = OFlags::TMPFILE | OFlags::RDWR | OFlags::NOATIME | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let fd = as_caller(caller, || rustix::fs::openat(&*directory, c".", how, mode))??;
        let status = Status::of(&fd)?;
        let child = self.inodes.register_unnamed(parent, &status, fd)?;
        self.inodes.pin_outside(&child);
        // While it has no name nothing of it outlives a crash, and its first name is written down.
        self.inodes.made(child.id());
        lock(&child.use_count).written = true; // its first modification time is to be sent
        self.count_open(&child, flags)?;
        if prepared.replicable {
            let (mode, uid, gid) = (status.permissions(), status.uid, status.gid);
            change.submit(&Op::CreateUnnamed { id: child.id(), parent: parent.id(), mode, uid, gid }, &[]);
            change.mark(&child);
            let fd = self.inodes.open_backing(&child, Level::Path)?;
            if let Ok(value) = xattr::get(&*fd, ACL_ACCESS) {
                change.submit(&Op::SetXattr { id: child.id(), name: ACL_ACCESS.to_bytes().to_vec() }, &value);
            }
        }
        drop(prepared);
        self.reply_entry(change, unique, child, status, Some(flags));
        Ok(())
    }

    /// A file that was made without a name before this session, so that the peer never heard of it, got its first one:
    /// the peer gets all of it. The caller holds both order locks.
    pub(super) fn submit_first_name(
        &self,
        change: &mut Change<'_>,
        object: &Inode,
        parent: &Inode,
        name: &CStr,
        status: &Status,
    ) -> Result<()> {
        if object.kind() != FileKind::File || change.knows(object) || !change.knows(parent) {
            return Ok(());
        }
        let (id, kind, mode) = (object.id(), FileKind::File, status.permissions());
        let (uid, gid, name) = (status.uid, status.gid, name.to_bytes().to_vec());
        change.submit(&Op::Create { id, parent: parent.id(), name, kind, mode, uid, gid, device: 0 }, &[]);
        change.mark(object);
        let fd = self.inodes.open_backing(object, Level::Read)?;
        for (name, value) in xattr::all(&*fd)? {
            change.submit(&Op::SetXattr { id, name }, &value);
        }
        // What is a hole at the end stays one.
        let attributes =
            Attributes { size: Some(status.size), modified: Some(status.modified), ..Attributes::default() };
        change.submit(&Op::SetAttributes { id, attributes }, &[]);
        let mut at = 0;
        while at < status.size {
            let data = crate::stream::applier::next_data(&*fd, at, status.size)?;
            let end = (data + (1 << 20)).min(status.size);
            submit_range(change, object, &fd, data..end)?;
            at = end;
        }
        let times = Attributes { modified: Some(status.modified), ..Attributes::default() };
        change.submit(&Op::SetAttributes { id, attributes: times }, &[]);
        Ok(())
    }
}
