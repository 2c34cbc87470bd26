//! Extended attributes, access control lists included.

use std::ffi::CStr;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::attr::clear_sgid;
use crate::front::change::Change;
use crate::front::inode::Inode;
use crate::front::reply::Reply;
use crate::front::session::Connection;
use crate::op::{Attributes, Op};
use crate::track::Touch;
use crate::tree::{Level, Result, xattr};

impl Connection {
    pub(in crate::front) fn get_xattr(&self, unique: u64, inode: &Inode, name: &CStr, size: u32) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Path)?;
        if size == 0 {
            return self.answer(unique, Reply::size(xattr::get_size(&*fd, name)? as u32));
        }
        self.answer_sized(unique, &xattr::get(&*fd, name)?, size)
    }

    pub(in crate::front) fn list_xattrs(&self, unique: u64, inode: &Inode, size: u32) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Path)?;
        let names = xattr::list_raw(&*fd)?;
        if size == 0 {
            return self.answer(unique, Reply::size(names.len() as u32));
        }
        self.answer_sized(unique, &names, size)
    }

    fn answer_sized(&self, unique: u64, data: &[u8], room: u32) -> Result<()> {
        if data.len() > room as usize {
            return Err(Errno::RANGE);
        }
        self.channel.send_data(unique, data);
        Ok(())
    }

    pub(in crate::front) fn set_xattr(
        &self,
        unique: u64,
        inode: &Inode,
        (name, value): (&CStr, &[u8]),
        flags: u32,
        kill_sgid: bool,
    ) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Path)?;
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[inode]);
        self.inodes.before(inode, Touch::Attributes)?;
        let mut flags = XattrFlags::from_bits_retain(flags);
        if flags.contains(XattrFlags::CREATE)
            && self.begin(unique, xattr::get_size(&*fd, name).is_ok().into()) == Some(0)
        {
            // It was not there before the first attempt: what is there now, that one has set.
            flags -= XattrFlags::CREATE;
        }
        xattr::set(&*fd, name, value, flags)?;
        change.made_here();
        let mode = if kill_sgid { clear_sgid(&fd)? } else { None };
        if prepared.replicable {
            change.submit(&Op::SetXattr { id: inode.id(), name: name.to_bytes().to_vec() }, value);
            if mode.is_some() {
                let attributes = Attributes { mode, ..Attributes::default() };
                change.submit(&Op::SetAttributes { id: inode.id(), attributes }, &[]);
            }
        }
        drop(prepared);
        change.reply(unique, Ok(Reply::done()));
        Ok(())
    }

    pub(in crate::front) fn remove_xattr(&self, unique: u64, inode: &Inode, name: &CStr) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Path)?;
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[inode]);
        self.inodes.before(inode, Touch::Attributes)?;
        let was_there = self.begin(unique, xattr::get_size(&*fd, name).is_ok().into());
        match xattr::remove(&*fd, name) {
            Err(Errno::NODATA) if was_there == Some(1) => {}
            removed => removed?,
        }
        if prepared.replicable {
            change.submit(&Op::RemoveXattr { id: inode.id(), name: name.to_bytes().to_vec() }, &[]);
        }
        drop(prepared);
        change.reply(unique, Ok(Reply::done()));
        Ok(())
    }
}
