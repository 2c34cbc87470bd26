//! The walk of a resync: directory by directory, then again whatever was moved past it.

use super::compare::{FileJob, Pending};
use super::hands::Hands;
use super::ids::Ids;
use super::listing::Listing;
use super::marks::Marks;
use super::union::Directory;
use super::workers::{News, Workers};
use super::{Fault, Plan, Report};
use crate::frame::ResyncStep;
use crate::front::Held;
use crate::op::{Attributes, FileId, FileKind, Op};
use crate::replicate::Replicate;
use crate::stream::applier::EXTENT;
use crate::track::{Inside, Tracker};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Extents whose hashes are asked for ahead: so many, and so many more for each thread.
const AHEAD: usize = 4;
const AHEAD_EACH: usize = 2;

pub(super) struct Walk {
    pub(super) hands: Arc<Hands>,
    workers: Workers,
    ahead: usize,
    report: Report,
    pub(super) marks: Marks,
    /// Roots not yet listed: before anything else.
    pub(super) roots: Vec<Held>,
    /// Directories to be looked at, or looked at again.
    pub(super) stack: Vec<Held>,
    /// Directories under way, each inside the one before.
    pub(super) open: Vec<Listing>,
    /// What is named and not compared yet: directories with names, objects.
    pub(super) directories: Vec<Directory>,
    pub(super) insides: Vec<(Held, Inside)>,
    /// Directories that were begun as a whole.
    pub(super) listed: Ids,
    /// What is no directory and was asked for, or settled.
    pub(super) done: Ids,
    /// What was moved while only named things are compared.
    again: Vec<Held>,
}

/// The steps are taken by whichever thread comes to them.
impl std::ops::Deref for Walk {
    type Target = Hands;

    fn deref(&self) -> &Hands {
        &self.hands
    }
}

impl Walk {
    pub(super) fn new(hands: Arc<Hands>, workers: (Workers, usize), report: Report, marks: Marks) -> Self {
        Self {
            hands,
            ahead: AHEAD + AHEAD_EACH * workers.1,
            workers: workers.0,
            report,
            marks,
            roots: Vec::new(),
            stack: Vec::new(),
            open: Vec::new(),
            directories: Vec::new(),
            insides: Vec::new(),
            listed: Ids::default(),
            done: Ids::default(),
            again: Vec::new(),
        }
    }

    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Everything, or everything named, until nothing is left to look at; then the session is paired.
    pub(super) fn all(&mut self, session: u64, plan: Plan) -> Result<(), Fault> {
        match plan {
            Plan::Full => self.everything()?,
            Plan::Named(union) => self.named(union)?,
        }
        loop {
            for moved in std::mem::take(&mut self.again) {
                if self.bind(&moved)? {
                    self.name_again(&moved)?;
                    self.object(moved)?;
                }
            }
            while let Some(directory) = self.roots.pop().or_else(|| self.stack.pop()) {
                self.directory(&directory);
                self.listings()?;
                self.mark_sometimes(None)?;
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
            // Before another session can begin, which watches on its own.
            self.inodes.watch_touched(false);
            drop(paused);
            return Ok(());
        }
    }

    /// Begins to compare everything after all: what was compared does not count.
    pub(super) fn restart(&mut self) -> Result<(), Fault> {
        if self.marks.give_up() {
            self.know(Tracker::nothing_known)?;
        }
        self.everything()
    }

    /// Begins to compare everything, whatever is known.
    fn everything(&mut self) -> Result<(), Fault> {
        self.directories.clear();
        self.insides.clear();
        self.open.clear();
        self.sender.set_cover(None);
        self.sender.forget_fresh();
        self.send(ResyncStep::Begin { full: true })?;
        self.begin();
        Ok(())
    }

    fn know(&self, save: impl FnOnce(&Tracker) -> std::io::Result<()>) -> Result<(), Fault> {
        self.saved(self.inodes.tracker().map_or(Ok(()), |tracker| save(tracker)))
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
        self.stack.clear();
        self.again.clear();
        self.roots = (0..).map_while(|index| self.hands.inodes.root(index)).collect();
        for root in &self.roots {
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
        if by_names && !touched.bereft.is_empty() {
            // It may have been known by the name it lost: that its other names mean the same was not looked at.
            self.restart()?;
            return Ok(true);
        }
        for (directory, object) in touched.entries {
            // What is exact already stays so: its names travel exactly.
            if self.listed.contains(object.id()) || self.is_exact(object.id()) || object.is_removed() {
                continue;
            }
            if by_names {
                if object.is_excluded() {
                    continue;
                }
                if self.sender.cover(|cover| cover.is_apart(object.id())) && self.has_several_names(&object) {
                    // Which of them are one file on the secondary cannot be told from this one.
                    self.restart()?;
                    return Ok(true);
                }
                // It may have come from a name that was still to be compared: it is looked at where it is now.
                self.again.push(object);
                continue;
            }
            match self.inodes.get(directory) {
                Some(held) => {
                    self.listed.remove(directory);
                    self.stack.push(held);
                }
                None => {
                    // Its directory is not known any more under this id (it was removed, or forgotten and met again).
                    self.restart()?;
                    return Ok(true);
                }
            }
        }
        Ok(!self.stack.is_empty() || !self.again.is_empty())
    }

    /// What is no file and no directory is what it is by its name alone (a link's target, a device's number): made known by
    /// a name that was not compared, it may be something else on the secondary, wherever it was moved since.
    fn name_again(&self, object: &Held) -> Result<(), Fault> {
        if matches!(object.kind(), FileKind::File | FileKind::Directory) {
            return Ok(());
        }
        self.wait_window()?;
        while let Some((parent, name)) = self.inodes.place(object.id()) {
            let Some(parent) = self.inodes.get(parent) else { break };
            let order = parent.lock_order();
            if self.inodes.place(object.id()).is_none_or(|now| now != (parent.id(), name.clone())) {
                // It was moved meanwhile.
                continue;
            }
            match self.inodes.child_ordered(&parent, &order, &name) {
                Ok((child, status)) if child.id() == object.id() => {
                    let entries = vec![self.entry(&name, &child, &status, false)?];
                    self.send(ResyncStep::Match { directory: parent.id(), entries, absent: Vec::new() })?;
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.local(object, errno)),
            }
            break;
        }
        Ok(())
    }

    fn has_several_names(&self, object: &Held) -> bool {
        object.kind() != FileKind::Directory && self.inodes.status(object).is_ok_and(|status| status.links > 1)
    }

    /// Whether the secondary has all of an object, or gets it with what is under way. What was made in this session was
    /// exact from its first moment, by all its names. What lost a name since it was compared may have been known by that
    /// one only: then it is empty by the next one.
    pub(super) fn is_exact(&self, id: FileId) -> bool {
        self.sender.is_fresh(id) || (self.done.contains(id) && !self.inodes.is_bereft(id))
    }

    /// What is behind a name, with everything below.
    pub(super) fn object(&mut self, child: Held) -> Result<(), Fault> {
        match child.kind() {
            FileKind::Directory => {
                if !self.listed.contains(child.id()) {
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
        if whole {
            self.done.insert(file.id());
        }
        let asked: Vec<(u64, u64)> = match blocks {
            None => (0..extents).map(|index| (index, u64::MAX)).collect(),
            Some(blocks) => {
                let within = blocks.into_iter().map(|(index, mask)| (u64::from(index), mask));
                within.filter(|(index, _)| *index < extents).collect()
            }
        };
        let job = Arc::new(FileJob::new(file, asked.len(), whole));
        if job.is_done() {
            self.finish(&job)?;
            return if whole { Ok(()) } else { self.one_more() };
        }
        for (at, (index, blocks)) in asked.iter().copied().enumerate() {
            self.mark_sometimes(Some((&job.held, &asked[at..])))?;
            self.finish_pending(self.ahead - 1)?;
            self.wait_window()?;
            let id = job.held.id();
            let request = self.sender.ask(self.epoch, |request| ResyncStep::Hash { request, id, index, blocks })?;
            self.workers.push(Pending { job: job.clone(), index, blocks, request });
        }
        Ok(())
    }

    /// Waits until at most `left` of the extents asked for are not compared yet.
    pub(super) fn finish_pending(&mut self, left: usize) -> Result<(), Fault> {
        loop {
            let (News { compared, sent, parts }, over) = self.workers.wait(left)?;
            let progress = self.report.progress();
            progress.bytes_done += compared;
            progress.bytes_sent += sent;
            progress.entries_done += parts;
            self.report.tell_sometimes();
            if over {
                return Ok(());
            }
        }
    }
}
