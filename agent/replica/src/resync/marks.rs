//! Where an interrupted resync goes on: from time to time both nodes save how far it has come.
//!
//! A *mark* is a flush in the middle of a resync: the secondary syncs its file systems and saves the mark, then this node
//! saves it, and that what differs now is only what the resync has not come to, or was changed since it began. That is
//! told in the words of every other change (names, files of a directory, extents), so the next session compares by names
//! and needs no rule of its own; in particular it begins anew if one of the nodes is not where the mark left it. What is
//! half copied is not up to date: that is the agents' knowledge, which a mark does not touch.

use super::Fault;
use super::listing::Scope;
use super::walk::Walk;
use crate::crash;
use crate::frame::ResyncStep;
use crate::front::Held;
use crate::op::FileKind;
use crate::track::{Object, Place, Record, Tracker, What};
use crate::tree::{DirEntry, Level, list};
use rustix::io::Errno;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time between two marks.
pub(super) const PERIOD: Duration = Duration::from_secs(15);
/// Most records a mark may need; with more left to do it is put off.
const RECORDS_MAX: usize = 20_000;
/// Extents told in one record.
const EXTENTS: usize = crate::track::EXTENTS_MAX;
/// Sets the sessions' numbers and the marks' apart.
const MARK: u64 = 0x6d61_726b_6d61_726b;

/// What is to be saved, and when.
pub(super) struct Marks {
    every: Duration,
    last: Instant,
    /// The round that ended when the session began; `None`: no mark is made.
    since: Option<u64>,
    /// What the marks are counted from: `None` until the first one of a full compare.
    base: Option<u64>,
    fresh: u64,
    saved: bool,
}

impl Marks {
    /// `base`: what both nodes stand on already.
    pub(super) fn new(every: Duration, (session, base): (u64, Option<u64>), since: Option<u64>) -> Self {
        Self { every, last: Instant::now(), since, base, fresh: session ^ MARK, saved: false }
    }

    /// What was compared does not count any more. Whether that has to be saved.
    pub(super) fn give_up(&mut self) -> bool {
        self.since = None;
        std::mem::take(&mut self.saved)
    }

    fn put_off(&mut self) {
        self.last = Instant::now();
    }
}

/// Part of the extents of a file: number and blocks.
type Extents<'a> = (&'a Held, &'a [(u64, u64)]);

impl Walk {
    /// Makes a mark if it is time. `current`: the file that is worked on, and its extents not asked for yet.
    pub(super) fn mark_sometimes(&mut self, current: Option<Extents<'_>>) -> Result<(), Fault> {
        let Some(since) = self.marks.since.filter(|_| self.marks.last.elapsed() >= self.marks.every) else {
            return Ok(());
        };
        let Some(tracker) = self.inodes.tracker().cloned() else { return Ok(()) };
        self.finish_pending(0)?;
        let Some(left) = self.left(&tracker, current) else {
            self.marks.put_off();
            return Ok(());
        };
        let (base, flush) = match self.marks.base {
            // Saved before it is asked for: the secondary may be one mark ahead, and then names nothing any more.
            Some(base) => (base, self.saved(tracker.ask_mark(since, &left))?),
            None => (self.marks.fresh, 1),
        };
        let request = self.sender.ask(self.epoch, |request| ResyncStep::Mark { request, base, flush })?;
        // What was written here before the session is forgotten with the mark.
        tracker.sync_here().map_err(|errno| Fault::Local("the replicated file systems".into(), errno))?;
        self.sender.reply(self.epoch, request)?;
        crash::point("mark-answered");
        self.saved(tracker.marked((base, flush), since, left))?;
        crash::point("mark-saved");
        self.marks.base = Some(base);
        self.marks.saved = true;
        self.marks.put_off();
        tracing::debug!(flush, "how far the resync has come is saved");
        Ok(())
    }

    pub(super) fn saved<T>(&self, done: std::io::Result<T>) -> Result<T, Fault> {
        done.map_err(|error| {
            Fault::Local("the record of what may differ".into(), Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    /// What is not compared yet; `None`: it cannot be told, or is too much to be.
    fn left(&self, tracker: &Tracker, current: Option<Extents<'_>>) -> Option<Vec<Record>> {
        let mut left = Left { walk: self, tracker, records: Vec::new(), objects: HashMap::new() };
        if let Some((file, extents)) = current {
            left.extents(file, extents)?;
        }
        for root in &self.roots {
            left.after(root, b"", &Scope::All)?;
        }
        for listing in &self.open {
            let names = listing.rest.iter().map(|(name, child, _)| (name.as_slice(), child.kind()));
            left.names(&listing.directory, names.collect())?;
            if let Some(told) = listing.told() {
                left.after(&listing.directory, told, &listing.scope)?;
            }
        }
        for directory in self.open.iter().flat_map(|listing| &listing.below).chain(&self.stack) {
            // Without a name it needs nothing.
            if let Some((parent, name)) = self.inodes.place(directory.id()) {
                left.name(&self.inodes.get(parent)?, &name)?;
            }
        }
        for directory in &self.directories {
            left.names(
                &directory.held,
                directory.names.iter().map(|name| (name.as_slice(), FileKind::Directory)).collect(),
            )?;
            if directory.all_files {
                left.all_files(&directory.held)?;
            }
        }
        for (object, inside) in &self.insides {
            if inside.whole {
                left.inside(object, What::Whole)?;
            } else if inside.extents.is_empty() {
                left.inside(object, What::Attributes)?;
            } else {
                let extents: Vec<_> = inside.extents.iter().map(|(index, mask)| (u64::from(*index), *mask)).collect();
                left.extents(object, &extents)?;
            }
        }
        Some(left.records)
    }
}

/// What is left, in the tracker's words.
struct Left<'a> {
    walk: &'a Walk,
    tracker: &'a Tracker,
    records: Vec<Record>,
    objects: HashMap<u64, Object>,
}

impl Left<'_> {
    fn push(&mut self, record: Record) -> Option<()> {
        self.records.push(record);
        (self.records.len() <= RECORDS_MAX).then_some(())
    }

    fn object(&mut self, held: &Held) -> Option<Object> {
        if let Some(object) = self.objects.get(&held.id().0) {
            return Some(object.clone());
        }
        let object = self.tracker.object(&*self.walk.inodes.open_backing(held, Level::Path).ok()?)?;
        self.objects.insert(held.id().0, object.clone());
        Some(object)
    }

    fn name(&mut self, directory: &Held, name: &[u8]) -> Option<()> {
        let directory = self.object(directory)?;
        self.push(Record::Name { directory, name: name.to_vec() })
    }

    /// Names of a directory: many files are told as all its files.
    fn names(&mut self, directory: &Held, names: Vec<(&[u8], FileKind)>) -> Option<()> {
        let many = names.len() > RECORDS_MAX / 2;
        for (name, kind) in names {
            if !many || kind == FileKind::Directory {
                self.name(directory, name)?;
            }
        }
        if many { self.all_files(directory) } else { Some(()) }
    }

    /// The names of a directory after `told`, and as it is compared by all its files, those before that are files, too.
    /// What comes in while it is read is told with what was changed since the session began.
    fn after(&mut self, directory: &Held, told: &[u8], scope: &Scope) -> Option<()> {
        let names = match scope {
            Scope::Files(named) => named.iter().filter(|name| name.as_slice() > told).cloned().collect(),
            Scope::All => {
                let fd = self.walk.inodes.open_backing(directory, Level::Read).ok()?;
                let wanted = |entry: &DirEntry| entry.kind.is_none_or(|kind| kind == FileKind::Directory);
                let found = list::names_after(&*fd, told, RECORDS_MAX, wanted).ok()?;
                (!found.more).then_some(found.names)?
            }
        };
        for name in &names {
            self.name(directory, name)?;
        }
        self.all_files(directory)
    }

    fn all_files(&mut self, directory: &Held) -> Option<()> {
        let directory = self.object(directory)?;
        self.push(Record::AllFiles { directory })
    }

    fn extents(&mut self, file: &Held, extents: &[(u64, u64)]) -> Option<()> {
        for part in extents.chunks(EXTENTS) {
            let numbered: Option<Vec<_>> =
                part.iter().map(|(index, mask)| Some((u32::try_from(*index).ok()?, *mask))).collect();
            self.inside(file, What::Extents(numbered?))?;
        }
        Some(())
    }

    fn inside(&mut self, object: &Held, what: What) -> Option<()> {
        let Some((parent, name)) = self.walk.inodes.place(object.id()) else {
            // It has no name any more: nothing of it is left to compare.
            return Some(());
        };
        let place = Place { directory: self.object(&self.walk.inodes.get(parent)?)?, name };
        let object = self.object(object)?;
        self.push(Record::Object { object, place: Some(place), what })
    }
}
