//! The walk of a resync: directory by directory, then again whatever was moved past it.

use super::compare::{FileJob, Pending};
use super::{Fault, Report};
use crate::frame::{Entry, Message, ResyncStep};
use crate::front::{Held, Inodes};
use crate::op::{Attributes, FileId, FileKind, Op};
use crate::stream::sender::Sender;
use crate::tree::Status;
use rustix::io::Errno;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Longest part of a listing, in bytes.
const PART: usize = 128 << 10;

/// Extents whose hashes are asked for ahead.
const AHEAD: usize = 16;

pub(super) struct Walk {
    pub(super) sender: Arc<Sender>,
    pub(super) inodes: Arc<Inodes>,
    pub(super) epoch: u64,
    report: Report,
    stack: Vec<Held>,
    listed: HashSet<FileId>,
    done: HashSet<FileId>,
    /// Objects with several names keep their ids to the end, so that each further name is known to be the same object.
    linked: Vec<Held>,
    pending: VecDeque<Pending>,
}

impl Walk {
    pub(super) fn new(sender: Arc<Sender>, inodes: Arc<Inodes>, epoch: u64, report: Report) -> Self {
        Self {
            sender,
            inodes,
            epoch,
            report,
            stack: Vec::new(),
            listed: HashSet::new(),
            done: HashSet::new(),
            linked: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Everything, until nothing is left to look at; then the session is paired.
    pub(super) fn all(&mut self) -> Result<(), Fault> {
        self.begin();
        loop {
            while let Some(directory) = self.stack.pop() {
                self.directory(&directory)?;
                self.inodes.submit_forgotten(&*self.sender);
            }
            self.finish_pending(0)?;
            if self.look_again()? {
                continue;
            }
            // What was copied reaches the secondary's disk now, while nobody waits for it.
            let request = self.sender.ask(self.epoch, |request| ResyncStep::Flush { request })?;
            self.sender.reply(self.epoch, request)?;
            let inodes = self.inodes.clone();
            let paused = inodes.pause_changes();
            if self.look_again()? {
                drop(paused);
                continue;
            }
            self.sender.pair(self.epoch)?;
            drop(paused);
            self.inodes.watch_touched(false);
            return Ok(());
        }
    }

    fn begin(&mut self) {
        self.listed.clear();
        self.done.clear();
        self.stack = (0..).map_while(|index| self.inodes.root(index)).collect();
        for root in &self.stack {
            // The secondary has bound the roots from the beginning.
            root.mark_bound(self.epoch);
        }
    }

    /// What was moved or linked past the walk: whether anything is to be done.
    fn look_again(&mut self) -> Result<bool, Fault> {
        let touched = self.inodes.take_touched();
        if touched.overflowed {
            tracing::info!("too much was renamed during the resync: the tree is walked again");
            self.begin();
            return Ok(true);
        }
        for (directory, object) in touched.entries {
            // What is exact already stays so: its names travel exactly.
            if self.done.contains(&object) || self.listed.contains(&object) || self.sender.is_fresh(object) {
                continue;
            }
            match self.inodes.get(directory) {
                Some(held) => {
                    self.listed.remove(&directory);
                    self.stack.push(held);
                }
                None if self.inodes.get(object).is_none() => {}
                None => {
                    // Its directory is not known any more under this id (it was removed, or forgotten and met again).
                    self.begin();
                    return Ok(true);
                }
            }
        }
        Ok(!self.stack.is_empty())
    }

    pub(super) fn send(&self, step: ResyncStep) -> Result<(), Fault> {
        Ok(self.sender.resync_send(self.epoch, &Message::Resync(step), &[])?)
    }

    pub(super) fn send_op(&self, op: Op, payload: &[u8]) -> Result<(), Fault> {
        Ok(self.sender.resync_send(self.epoch, &Message::Op(op), payload)?)
    }

    /// One directory: its names under its order lock, its attributes with them, then what is behind the names.
    fn directory(&mut self, directory: &Held) -> Result<(), Fault> {
        // A directory the peer does not know has not been reached by name yet: the walk still comes to it.
        if !directory.is_bound(self.epoch) || !self.listed.insert(directory.id()) {
            return Ok(());
        }
        self.sender.wait_window(self.epoch)?;
        let children = {
            let order = directory.lock_order();
            if directory.is_removed() {
                return Ok(());
            }
            let mut children = Vec::new();
            for entry in self.inodes.list(directory).map_err(|errno| self.local(directory, errno))? {
                match self.inodes.child_ordered(directory, &order, &entry.name) {
                    Ok((held, status)) => children.push((entry.name, held, status)),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(self.local(directory, errno)),
                }
            }
            self.send_listing(directory, &children)?;
            for (_, child, _) in &children {
                child.mark_bound(self.epoch);
            }
            self.settle(directory)?;
            children
        };
        for (_, child, status) in children {
            self.child(child, &status)?;
        }
        Ok(())
    }

    fn send_listing(&self, directory: &Held, children: &[(Vec<u8>, Held, Status)]) -> Result<(), Fault> {
        let mut first = true;
        let mut entries = Vec::new();
        let mut length = 0;
        for (name, child, status) in children {
            let target = match child.kind() {
                FileKind::Symlink => self.inodes.read_link(child).map_err(|errno| self.local(child, errno))?,
                _ => Vec::new(),
            };
            length += 32 + name.len() + target.len();
            entries.push(Entry {
                id: child.id(),
                name: name.clone(),
                kind: child.kind(),
                linked: status.links > 1 && child.kind() != FileKind::Directory,
                device: status.rdev,
                target,
            });
            if length >= PART {
                let part = std::mem::take(&mut entries);
                self.send(ResyncStep::List { directory: directory.id(), first, last: false, entries: part })?;
                (first, length) = (false, 0);
            }
        }
        self.send(ResyncStep::List { directory: directory.id(), first, last: true, entries })
    }

    fn child(&mut self, child: Held, status: &Status) -> Result<(), Fault> {
        if child.kind() != FileKind::Directory && status.links > 1 {
            self.linked.push(child.clone());
        }
        // What was made in this session was exact from its first moment.
        let exact = child.kind() != FileKind::Directory && self.sender.is_fresh(child.id());
        if exact || self.done.contains(&child.id()) {
            return Ok(());
        }
        match child.kind() {
            FileKind::Directory => {
                if !self.listed.contains(&child.id()) {
                    self.stack.push(child);
                }
            }
            FileKind::File => self.file(child)?,
            _ => {
                let order = child.lock_order();
                self.settle(&child)?;
                drop(order);
                self.done.insert(child.id());
            }
        }
        self.report.progress().entries_done += 1;
        self.report.tell_sometimes();
        Ok(())
    }

    /// Begins the compare of a file: the same length, then its extents are asked for.
    fn file(&mut self, file: Held) -> Result<(), Fault> {
        let size = {
            let _order = file.lock_order();
            let status = match self.inodes.status(&file) {
                Ok(status) => status,
                Err(errno) => return self.gone(&file, errno),
            };
            let attributes = Attributes { size: Some(status.size), ..Attributes::default() };
            self.send_op(Op::SetAttributes { id: file.id(), attributes }, &[])?;
            status.size
        };
        let job = Rc::new(FileJob::new(file, size));
        for index in 0..job.extents {
            self.finish_pending(AHEAD - 1)?;
            self.sender.wait_window(self.epoch)?;
            let id = job.held.id();
            let request = self.sender.ask(self.epoch, |request| ResyncStep::Hash { request, id, index })?;
            self.pending.push_back(Pending { job: job.clone(), index, request });
        }
        if job.extents == 0 { self.finish_file(&job) } else { Ok(()) }
    }

    /// Works off the extents asked for until at most `left` are.
    fn finish_pending(&mut self, left: usize) -> Result<(), Fault> {
        while self.pending.len() > left {
            let Some(pending) = self.pending.pop_front() else { break };
            let (compared, sent) = self.compare(&pending)?;
            let progress = self.report.progress();
            progress.bytes_done += compared;
            progress.bytes_sent += sent;
            self.report.tell_sometimes();
            if pending.job.extent_done() {
                self.finish_file(&pending.job)?;
            }
        }
        Ok(())
    }

    fn finish_file(&mut self, job: &FileJob) -> Result<(), Fault> {
        let order = job.held.lock_order();
        self.settle(&job.held)?;
        drop(order);
        self.done.insert(job.held.id());
        Ok(())
    }

    /// The last step of an object, under its order lock: owner, extended attributes, mode, times.
    fn settle(&self, object: &Held) -> Result<(), Fault> {
        let read = self.inodes.status(object).and_then(|status| Ok((status, self.inodes.xattrs(object)?)));
        let (status, xattrs) = match read {
            Ok(both) => both,
            Err(errno) => return self.gone(object, errno),
        };
        let id = object.id();
        let attributes = Attributes { uid: Some(status.uid), gid: Some(status.gid), ..Attributes::default() };
        self.send_op(Op::SetAttributes { id, attributes }, &[])?;
        let mut names = Vec::new();
        for (name, value) in xattrs {
            self.send_op(Op::SetXattr { id, name: name.clone() }, &value)?;
            names.push(name);
        }
        self.send(ResyncStep::Settle {
            id,
            mode: status.permissions(),
            accessed: status.accessed,
            modified: status.modified,
            xattrs: names,
        })
    }

    /// An object that lost its last name while the resync was busy with it needs nothing more; else its error is told.
    pub(super) fn gone(&self, object: &Held, errno: Errno) -> Result<(), Fault> {
        if object.is_removed() || errno == Errno::STALE { Ok(()) } else { Err(self.local(object, errno)) }
    }

    pub(super) fn local(&self, object: &Held, errno: Errno) -> Fault {
        let mut path = Vec::new();
        let mut id = object.id();
        while let Some((parent, name)) = self.inodes.place(id) {
            path.push(String::from_utf8_lossy(&name).into_owned());
            id = parent;
        }
        let root = usize::try_from(id.0).ok().and_then(|n| n.checked_sub(1));
        let directories = self.inodes.directories();
        let root = root.and_then(|index| directories.get(index)).map(|path| path.display().to_string());
        path.push(root.unwrap_or_else(|| format!("object {}", id.0)));
        path.reverse();
        Fault::Local(path.join("/"), errno)
    }
}
