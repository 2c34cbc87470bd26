//! Two names change places in one step (renameat2 with RENAME_EXCHANGE).

use std::ffi::CStr;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::namespace::TRIES_MAX;
use crate::front::change::Change;
use crate::front::inode::Inode;
use crate::front::reply::Reply;
use crate::front::session::Connection;
use crate::op::{FileKind, Op};
use crate::tree::{Level, Result};

impl Connection {
    pub(super) fn exchange(
        &self,
        unique: u64,
        (parent, name): (&Inode, &CStr),
        (other_parent, other_name): (&Inode, &CStr),
    ) -> Result<()> {
        let mut change = Change::begin(self)?;
        for _ in 0..TRIES_MAX {
            let one = self.inodes.child(parent, name.to_bytes())?;
            if self.begun_before(unique).is_some_and(|ino| self.inodes.status(&one).is_ok_and(|now| now.ino != ino)) {
                // Another object has the name than before the first attempt.
                return self.reply_done_before(change, unique, &[(parent, name), (other_parent, other_name)]);
            }
            let other = self.inodes.child(other_parent, other_name.to_bytes())?;
            let prepared = change.prepare(&[parent, other_parent, &one, &other]);
            if !self.still_at(&one, parent, name) || !self.still_at(&other, other_parent, other_name) {
                continue;
            }
            // Two names of one file: nothing happens.
            if one.id() != other.id() {
                self.demand_same_side(&one, (parent, name), (other_parent, other_name))?;
                self.demand_same_side(&other, (other_parent, other_name), (parent, name))?;
                let either = [&one, &other].iter().any(|inode| inode.kind() == FileKind::Directory);
                self.inodes.before_name(parent, name, either)?;
                self.inodes.before_name(other_parent, other_name, either)?;
                let from = self.inodes.open_backing(parent, Level::Path)?;
                let to = self.inodes.open_backing(other_parent, Level::Path)?;
                self.begin(unique, self.inodes.status(&one)?.ino);
                rustix::fs::renameat_with(&*from, name, &*to, other_name, RenameFlags::EXCHANGE)?;
                let (here, there) = ((parent.id(), name.to_bytes()), (other_parent.id(), other_name.to_bytes()));
                self.inodes.moved(&one, here, there);
                self.inodes.moved(&other, there, here);
                self.came_into(other_parent, &one);
                self.came_into(parent, &other);
                if prepared.replicable {
                    let (name, other_name) = (here.1.to_vec(), there.1.to_vec());
                    let (id, parent, other, other_parent) = (one.id(), here.0, other.id(), there.0);
                    change.submit(&Op::Exchange { id, parent, name, other, other_parent, other_name }, &[]);
                }
            }
            drop(prepared);
            change.reply(unique, Ok(Reply::done()));
            return Ok(());
        }
        Err(Errno::BUSY)
    }
}
