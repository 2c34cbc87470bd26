//! Space of files: fallocate, and copying a range without the application's hands.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::front::change::Change;
use crate::front::inode::Inode;
use crate::front::lock;
use crate::front::reply::Reply;
use crate::front::session::Connection;
use crate::front::wire::PAYLOAD_MAX;
use crate::op::{Allocation, Attributes, Op};
use crate::track::Touch;
use crate::tree::{Level, Result, Status, descriptors};

/// Most bytes copied under one hold of the order lock: the application asks again for the rest.
const COPY_MAX: u64 = 4 << 20;

/// A longer range is written down as the whole file.
const NAMED_MAX: u64 = 256 << 20;

impl Connection {
    /// fallocate. What takes ranges out or puts ranges in (COLLAPSE, INSERT) is refused.
    pub(in crate::front) fn allocate(
        self: &Arc<Self>,
        unique: u64,
        inode: Arc<Inode>,
        range: (u64, u64),
        mode: u32,
    ) -> Result<()> {
        let how = allocation(FallocateFlags::from_bits_retain(mode)).ok_or(Errno::OPNOTSUPP)?;
        self.beside(unique, move |connection| connection.allocate_now(unique, &inode, range, how));
        Ok(())
    }

    fn allocate_now(&self, unique: u64, inode: &Inode, (offset, length): (u64, u64), how: Allocation) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Write)?;
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[inode]);
        let touch = if length > NAMED_MAX { Touch::Whole } else { Touch::Range { offset, length } };
        self.inodes.before(inode, touch)?;
        let before = Status::of(&*fd)?;
        change.made_here();
        let done = rustix::io::retry_on_intr(|| rustix::fs::fallocate(&*fd, how.flags(), offset, length));
        let id = inode.id();
        if prepared.replicable {
            match done {
                Ok(()) => change.submit(&Op::Allocate { id, offset, length, how }, &[]),
                // A part may have been done.
                Err(_) => {
                    let zeroed = !matches!(how, Allocation::Reserve | Allocation::ReserveOnly);
                    let range = if zeroed { (offset, length) } else { (offset, 0) };
                    self.submit_content(&mut change, inode, &fd, range, before.size)?;
                }
            }
        }
        lock(&inode.use_count).written = true;
        drop(prepared);
        change.reply(unique, done.map(|()| Reply::done()));
        Ok(())
    }

    /// After a failure: length and content of a range as they are, unless nothing can have changed.
    fn submit_content(
        &self,
        change: &mut Change<'_>,
        inode: &Inode,
        fd: &OwnedFd,
        (offset, length): (u64, u64),
        size_before: u64,
    ) -> Result<()> {
        let now = Status::of(fd)?;
        if now.size != size_before {
            let (size, modified) = (Some(now.size), Some(now.modified));
            let attributes = Attributes { size, modified, ..Attributes::default() };
            change.submit(&Op::SetAttributes { id: inode.id(), attributes }, &[]);
        }
        let end = offset.saturating_add(length).min(now.size).min(size_before);
        submit_range(change, inode, fd, offset..end)
    }

    /// copy_file_range: copied here by the kernel, sent as what the target holds then. Answers less than asked for a
    /// long range.
    pub(in crate::front) fn copy_range(
        self: &Arc<Self>,
        unique: u64,
        (source, from): (Arc<Inode>, u64),
        (target, to): (Arc<Inode>, u64),
        length: u64,
    ) -> Result<()> {
        self.beside(unique, move |connection| {
            let source = connection.inodes.open_backing(&source, Level::Read)?;
            let fd = connection.inodes.open_backing(&target, Level::Write)?;
            let mut change = Change::begin(connection)?;
            let prepared = change.prepare(&[&target]);
            let (mut from, mut at) = (from, to);
            let length = length.min(COPY_MAX);
            connection.inodes.before(&target, Touch::Range { offset: to, length })?;
            let copied = rustix::fs::copy_file_range(&*source, Some(&mut from), &*fd, Some(&mut at), length as usize)?;
            change.made_here();
            if prepared.replicable {
                submit_range(&mut change, &target, &fd, to..to + copied as u64)?;
            }
            lock(&target.use_count).written = true;
            drop(prepared);
            change.reply(unique, Ok(Reply::size(copied as u32)));
            Ok(())
        });
        Ok(())
    }

    /// Has a change made by a thread that may take long.
    pub(in crate::front) fn beside(
        self: &Arc<Self>,
        unique: u64,
        change: impl FnOnce(&Connection) -> Result<()> + Send + 'static,
    ) {
        let connection = self.clone();
        self.pool.run(move || {
            if let Err(error) = change(&connection) {
                connection.channel.send(unique, Err(error));
            }
        });
    }
}

/// Sends what a range of a file holds now. The caller holds its order lock.
pub(in crate::front) fn submit_range(
    change: &mut Change<'_>,
    inode: &Inode,
    fd: &OwnedFd,
    range: std::ops::Range<u64>,
) -> Result<()> {
    let mut room = Vec::new();
    let mut offset = range.start;
    while offset < range.end {
        room.resize((range.end - offset).min(PAYLOAD_MAX as u64) as usize, 0);
        let count = descriptors::read_at(fd, &mut room, offset)?;
        if count == 0 {
            break;
        }
        change.submit(&Op::Write { id: inode.id(), offset, clear_suid: false }, &room[..count]);
        offset += count as u64;
    }
    Ok(())
}

fn allocation(wanted: FallocateFlags) -> Option<Allocation> {
    let all = [Allocation::Reserve, Allocation::ReserveOnly, Allocation::PunchHole, Allocation::Zero];
    all.into_iter().chain([Allocation::ZeroOnly]).find(|how| how.flags() == wanted)
}
