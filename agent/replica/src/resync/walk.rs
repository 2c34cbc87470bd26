//! The walk of a resync: directory by directory, then again whatever was moved past it.

use super::compare::{FileJob, Pending};
use super::{Fault, Plan, Report};
use crate::frame::{Entry, Message, ResyncStep};
use crate::front::{Held, Inodes};
use crate::op::{Attributes, FileId, FileKind, Op};
use crate::stream::applier::EXTENT;
use crate::stream::sender::Sender;
use crate::track::Tracker;
use crate::tree::Status;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet, VecDeque};
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
    /// What was moved while only named things are compared.
    again: Vec<Held>,
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
            again: Vec::new(),
        }
    }

    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Everything, or everything named, until nothing is left to look at; then the session is paired.
    pub(super) fn all(&mut self, session: u64, plan: Plan) -> Result<(), Fault> {
        match plan {
            Plan::Full => self.restart()?,
            Plan::Named(union) => self.named(union)?,
        }
        loop {
            for moved in std::mem::take(&mut self.again) {
                if self.bind(&moved)? {
                    self.object(moved)?;
                }
            }
            while let Some(directory) = self.stack.pop() {
                self.directory(&directory)?;
                self.inodes.submit_forgotten(&*self.sender);
            }
            self.finish_pending(0)?;
            if self.look_again()? {
                continue;
            }
            // What was copied reaches the secondary's disk now, while nobody waits for it.
            let request = self.sender.ask(self.epoch, |request| ResyncStep::Flush { request, flush: 0 })?;
            self.sender.reply(self.epoch, request)?;
            self.know(|tracker| tracker.pairing(session))?;
            let inodes = self.inodes.clone();
            let paused = inodes.pause_changes();
            if self.look_again()? {
                drop(paused);
                continue;
            }
            self.sender.pair(self.epoch)?;
            if let Some(tracker) = self.inodes.tracker() {
                self.sender.set_pair_round(tracker.next_round());
            }
            drop(paused);
            self.inodes.watch_touched(false);
            return Ok(());
        }
    }

    /// Begins to compare everything, whatever is known.
    pub(super) fn restart(&mut self) -> Result<(), Fault> {
        self.sender.set_cover(None);
        self.sender.forget_fresh();
        self.send(ResyncStep::Begin { full: true })?;
        self.begin();
        Ok(())
    }

    fn know(&self, save: impl FnOnce(&Tracker) -> std::io::Result<()>) -> Result<(), Fault> {
        let saved = self.inodes.tracker().map_or(Ok(()), |tracker| save(tracker));
        saved.map_err(|error| {
            Fault::Local("the record of what may differ".into(), Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    pub(super) fn set_named(&mut self, count: u64) {
        self.report.named = count;
    }

    /// One entry more is compared.
    pub(super) fn one_more(&mut self) -> Result<(), Fault> {
        self.report.progress().entries_done += 1;
        self.report.tell_sometimes();
        Ok(())
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
            self.restart()?;
            return Ok(true);
        }
        let by_names = self.sender.is_covered();
        for (directory, object) in touched.entries {
            // What is exact already stays so: its names travel exactly.
            if self.done.contains(&object) || self.listed.contains(&object) || self.sender.is_fresh(object) {
                continue;
            }
            if by_names && let Some(moved) = self.inodes.get(object) {
                // It may have come from a name that was still to be compared: it is looked at where it is now.
                self.again.push(moved);
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
                    self.restart()?;
                    return Ok(true);
                }
            }
        }
        Ok(!self.stack.is_empty() || !self.again.is_empty())
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
            if self.sender.is_covered() {
                let several =
                    |(_, child, status): &(_, Held, Status)| child.kind() != FileKind::Directory && status.links > 1;
                if children.iter().any(several) {
                    // Which names are one file cannot be told from some names.
                    drop(order);
                    return self.restart();
                }
                let directories = children.iter().filter(|(_, child, _)| child.kind() == FileKind::Directory);
                directories.for_each(|(_, child, _)| self.sender.cover(|cover| cover.add_tree(child.id())));
            }
            self.send_listing(directory, &children, &|_, _| false)?;
            for (_, child, _) in &children {
                child.mark_bound(self.epoch);
            }
            self.sender.cover(|cover| cover.compared(directory.id()));
            self.settle(directory)?;
            children
        };
        for (_, child, status) in children {
            self.child(child, &status)?;
        }
        Ok(())
    }

    pub(super) fn send_listing(
        &self,
        directory: &Held,
        children: &[(Vec<u8>, Held, Status)],
        exact: &dyn Fn(&Vec<u8>, &Held) -> bool,
    ) -> Result<(), Fault> {
        let mut first = true;
        let mut entries = Vec::new();
        let mut length = 0;
        for (name, child, status) in children {
            let entry = self.entry(name, child, status, exact(name, child))?;
            length += 32 + name.len() + entry.target.len();
            entries.push(entry);
            if length >= PART {
                let part = std::mem::take(&mut entries);
                self.send(ResyncStep::List { directory: directory.id(), first, last: false, entries: part })?;
                (first, length) = (false, 0);
            }
        }
        self.send(ResyncStep::List { directory: directory.id(), first, last: true, entries })
    }

    pub(super) fn entry(&self, name: &[u8], child: &Held, status: &Status, exact: bool) -> Result<Entry, Fault> {
        let target = match child.kind() {
            FileKind::Symlink => self.inodes.read_link(child).map_err(|errno| self.local(child, errno))?,
            _ => Vec::new(),
        };
        Ok(Entry {
            id: child.id(),
            name: name.to_vec(),
            kind: child.kind(),
            linked: status.links > 1 && child.kind() != FileKind::Directory,
            exact,
            device: status.rdev,
            target,
        })
    }

    pub(super) fn child(&mut self, child: Held, status: &Status) -> Result<(), Fault> {
        if child.kind() != FileKind::Directory && status.links > 1 {
            self.linked.push(child.clone());
        }
        // What was made in this session was exact from its first moment.
        let exact = child.kind() != FileKind::Directory && self.sender.is_fresh(child.id());
        if exact || self.done.contains(&child.id()) {
            return Ok(());
        }
        self.object(child)
    }

    /// What is behind a name, with everything below.
    fn object(&mut self, child: Held) -> Result<(), Fault> {
        match child.kind() {
            FileKind::Directory => {
                if !self.listed.contains(&child.id()) {
                    self.stack.push(child);
                }
            }
            FileKind::File => self.file_blocks(child, None)?,
            _ => {
                let order = child.lock_order();
                self.settle(&child)?;
                drop(order);
                self.done.insert(child.id());
            }
        }
        self.one_more()
    }

    /// Begins the compare of a file: the same length, then its extents, or these blocks of some of them, are asked for.
    pub(super) fn file_blocks(&mut self, file: Held, blocks: Option<BTreeMap<u32, u64>>) -> Result<(), Fault> {
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
        let extents = size.div_ceil(EXTENT);
        let whole = blocks.is_none();
        let asked: Vec<(u64, u64)> = match blocks {
            None => (0..extents).map(|index| (index, u64::MAX)).collect(),
            Some(blocks) => {
                let within = blocks.into_iter().map(|(index, mask)| (u64::from(index), mask));
                within.filter(|(index, _)| *index < extents).collect()
            }
        };
        let job = Rc::new(FileJob::new(file, asked.len(), whole));
        for (index, blocks) in asked {
            self.finish_pending(AHEAD - 1)?;
            self.sender.wait_window(self.epoch)?;
            let id = job.held.id();
            let request = self.sender.ask(self.epoch, |request| ResyncStep::Hash { request, id, index, blocks })?;
            self.pending.push_back(Pending { job: job.clone(), index, blocks, request });
        }
        if job.is_done() { self.finish_file(&job) } else { Ok(()) }
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
        if job.whole {
            self.done.insert(job.held.id());
        } else {
            self.one_more()?;
        }
        Ok(())
    }

    /// The last step of an object, under its order lock: owner, extended attributes, mode, times.
    pub(super) fn settle(&self, object: &Held) -> Result<(), Fault> {
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
