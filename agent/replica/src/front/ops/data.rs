//! Contents of files: open, read, write, release, fsync, seek.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::front::change::{Change, Prepared, complete};
use crate::front::inode::Inode;
use crate::front::kept::is_resent;
use crate::front::lock;
use crate::front::reply::{FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, Reply};
use crate::front::session::Connection;
use crate::front::wire::{PAYLOAD_MAX, WRITE_KILL_SUIDGID};
use crate::op::{Attributes, FileId, FileKind, Op};
use crate::replicate::Verdict;
use crate::track::Touch;
use crate::tree::{Level, Result, Status, descriptors};

const ACCESS_MODE: u32 = libc::O_ACCMODE as u32;
const READ_ONLY: u32 = libc::O_RDONLY as u32;

thread_local! {
    /// Room for one read, kept per reader thread.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Connection {
    pub(in crate::front) fn open(&self, unique: u64, inode: &Inode, flags: u32) -> Result<()> {
        self.count_open(inode, flags)?;
        self.answer(unique, Reply::done().open(0, self.open_flags()))
    }

    /// Counts an open. Under the order lock, so that an unlink either sees it or comes before it.
    pub(in crate::front) fn count_open(&self, inode: &Inode, flags: u32) -> Result<()> {
        let writes = flags & ACCESS_MODE != READ_ONLY;
        if writes && self.read_only {
            return Err(Errno::ROFS);
        }
        let _order = inode.lock_order();
        if inode.kind() == FileKind::File {
            self.inodes.open_backing(inode, if writes { Level::Write } else { Level::Read })?;
        }
        let mut uses = lock(&inode.use_count);
        uses.opens += 1;
        uses.writers += u32::from(writes);
        drop(uses);
        self.inodes.keep_uses(inode);
        Ok(())
    }

    /// Counts a close; whether this was the last writer and the modification time has to be sent.
    pub(in crate::front) fn count_close(&self, unique: u64, inode: &Inode, flags: u32) -> bool {
        if is_resent(unique) {
            // It may be counted already: too many opens do no harm, too few would lose an open file.
            return lock(&inode.use_count).written;
        }
        let last = self.uncount(inode, flags);
        self.inodes.keep_uses(inode);
        last
    }

    fn uncount(&self, inode: &Inode, flags: u32) -> bool {
        let mut uses = lock(&inode.use_count);
        uses.opens = uses.opens.saturating_sub(1);
        if flags & ACCESS_MODE != READ_ONLY {
            uses.writers = uses.writers.saturating_sub(1);
        }
        uses.written && uses.writers == 0
    }

    pub(in crate::front) fn open_flags(&self) -> u32 {
        if self.read_only { FOPEN_DIRECT_IO } else { FOPEN_KEEP_CACHE }
    }

    pub(in crate::front) fn release(&self, unique: u64, inode: &Inode, flags: u32) -> Result<()> {
        if self.count_close(unique, inode, flags) {
            self.send_time(inode);
        }
        self.answer(unique, Reply::done())
    }

    /// The kernel forgets an object whose modification time was not sent: a mapping was flushed after its last close.
    pub(in crate::front) fn note_unsent_time(&self, id: FileId, _count: u64) {
        if let Some(inode) = self.inodes.find(id)
            && lock(&inode.use_count).written
        {
            self.send_time(&inode);
        }
    }

    /// Sends all modification times that were not sent: nothing changes any more.
    pub(in crate::front) fn send_unsent_times(&self) {
        for inode in self.inodes.all() {
            if lock(&inode.use_count).written {
                self.send_time(&inode);
            }
        }
    }

    /// Sends the modification time a file has now, so that both copies agree. Nobody waits for it.
    fn send_time(&self, inode: &Inode) {
        if inode.is_removed() {
            return;
        }
        let Ok(mut change) = Change::begin(self) else {
            return;
        };
        let prepared = change.prepare(&[inode]);
        self.submit_time(&mut change, inode, &prepared);
        drop(prepared);
        change.finish(|_| {});
    }

    fn submit_time(&self, change: &mut Change<'_>, inode: &Inode, prepared: &Prepared<'_>) {
        if !std::mem::take(&mut lock(&inode.use_count).written) || !prepared.replicable {
            return;
        }
        // Not written down: then the time is not sent, and nothing differs by it that did not before.
        if self.inodes.before(inode, Touch::Attributes).is_err() {
            return;
        }
        if let Ok(status) = self.inodes.status(inode) {
            let attributes = Attributes { modified: Some(status.modified), ..Attributes::default() };
            change.submit_later(&Op::SetAttributes { id: inode.id(), attributes });
        }
    }

    pub(in crate::front) fn read(&self, unique: u64, inode: &Inode, offset: u64, size: u32) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Read)?;
        let size = (size as usize).min(PAYLOAD_MAX);
        ROOM.with_borrow_mut(|room| {
            if room.len() < size {
                room.resize(size, 0);
            }
            let count = descriptors::read_at(&*fd, &mut room[..size], offset)?;
            self.channel.send_data(unique, &room[..count]);
            Ok(())
        })
    }

    /// A write travels while it is applied here; the ack thread answers.
    pub(in crate::front) fn write(
        &self,
        unique: u64,
        inode: &Inode,
        offset: u64,
        flags: u32,
        data: &[u8],
    ) -> Result<()> {
        let fd = self.inodes.open_backing(inode, Level::Write)?;
        let mut change = Change::begin(self)?;
        let clear_suid = flags & WRITE_KILL_SUIDGID != 0;
        let prepared = change.prepare(&[inode]);
        self.inodes.before(inode, Touch::Range { offset, length: data.len() as u64 })?;
        if prepared.replicable {
            change.submit(&Op::Write { id: inode.id(), offset, clear_suid }, data);
        }
        let (written, mut failure) = descriptors::write_at(&*fd, data, offset);
        if clear_suid && written > 0 {
            failure = failure.or(clear_suid_bits(&*fd).err());
        }
        if written < data.len() && prepared.replicable {
            self.compensate(&mut change, inode, offset, data.len());
        }
        lock(&inode.use_count).written = true;
        drop(prepared);
        change.reply(
            unique,
            match failure {
                Some(error) if written == 0 => Err(error),
                _ => Ok(Reply::size(written as u32)),
            },
        );
        Ok(())
    }

    /// The peer has, or will have, data we could not write: make its copy what ours really is.
    fn compensate(&self, change: &mut Change<'_>, inode: &Inode, offset: u64, length: usize) {
        let mut real = vec![0; length];
        match self.inodes.read_at(inode, &mut real, offset) {
            Ok(count) if count > 0 => {
                change.submit(&Op::Write { id: inode.id(), offset, clear_suid: false }, &real[..count]);
            }
            Ok(_) => {}
            Err(error) => self.inodes.doubt(&format!("a failed write cannot be read back: {error}")),
        }
        match self.inodes.status(inode) {
            Ok(status) => {
                let attributes =
                    Attributes { size: Some(status.size), modified: Some(status.modified), ..Attributes::default() };
                change.submit(&Op::SetAttributes { id: inode.id(), attributes }, &[]);
            }
            Err(error) => self.inodes.doubt(&format!("a file cannot be examined after a failed write: {error}")),
        }
    }

    /// Both copies are synced in parallel; the answer waits for both.
    pub(in crate::front) fn sync(self: &Arc<Self>, unique: u64, inode: Arc<Inode>, data_only: bool) -> Result<()> {
        if self.read_only {
            return self.answer(unique, Reply::done());
        }
        let fd = self.inodes.open_backing(&inode, Level::Read)?;
        let mut change = Change::begin(self)?;
        let prepared = change.prepare(&[&inode]);
        if !data_only {
            self.submit_time(&mut change, &inode, &prepared);
        }
        if prepared.replicable {
            change.submit(&Op::Sync { id: inode.id(), data_only }, &[]);
        }
        drop(prepared);
        let ticket = change.into_ticket();
        let connection = self.clone();
        self.pool.run(move || {
            let synced = if data_only { rustix::fs::fdatasync(&*fd) } else { rustix::fs::fsync(&*fd) };
            answer_sync(&connection, unique, ticket, synced);
        });
        Ok(())
    }

    pub(in crate::front) fn sync_all(self: &Arc<Self>, unique: u64) -> Result<()> {
        if self.read_only {
            return self.answer(unique, Reply::done());
        }
        let mut change = Change::begin(self)?;
        change.submit(&Op::SyncAll, &[]);
        let ticket = change.into_ticket();
        let connection = self.clone();
        self.pool.run(move || {
            let synced = rustix::fs::syncfs(&*connection.directory);
            answer_sync(&connection, unique, ticket, synced);
        });
        Ok(())
    }

    pub(in crate::front) fn seek(&self, unique: u64, inode: &Inode, offset: u64, whence: u32) -> Result<()> {
        let position = match whence as i32 {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        // The descriptor's position is shared, but nobody uses it.
        let fd = self.inodes.open_backing(inode, Level::Read)?;
        self.answer(unique, Reply::position(rustix::fs::seek(&*fd, position)?))
    }
}

fn answer_sync(
    connection: &Arc<Connection>,
    unique: u64,
    ticket: Option<crate::replicate::Ticket>,
    synced: Result<()>,
) {
    let channel = connection.channel.clone();
    let answer = Box::new(move |verdict| match verdict {
        Verdict::Acknowledged => channel.send(unique, synced.map(|()| Reply::done())),
        Verdict::Refused => channel.send(unique, Err(Errno::IO)),
    });
    complete(connection, ticket, answer);
}

/// What a write by an ordinary process does to set-uid and set-gid; ours runs as root and would leave them.
pub(in crate::front) fn clear_suid_bits(fd: impl AsFd) -> Result<()> {
    let permissions = Status::of(fd.as_fd())?.permissions();
    let cleared = without_suid(permissions);
    if cleared == permissions {
        return Ok(());
    }
    crate::tree::handle::chmod(fd, cleared)
}

/// Permissions without set-uid, and without set-gid if the group may execute.
pub(in crate::front) fn without_suid(permissions: u32) -> u32 {
    let group_executes = permissions & 0o010 != 0;
    permissions & !(if group_executes { 0o6000 } else { 0o4000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_gid_without_group_execution_is_kept() {
        assert_eq!(without_suid(0o6755), 0o755);
        assert_eq!(without_suid(0o6745), 0o2745);
    }
}
