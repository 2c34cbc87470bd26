//! What may differ between the two nodes is always known: intent log and dirty map in one, kept by whoever serves.
//!
//! ```text
//! front ─before each change─▶ Tracker ─▶ Table (in memory) ─cold only─▶ Journal (durable before the change is made)
//! stream ─flush, pairing─▶ Tracker ─▶ Standing, forgetting        resync ◀─ paths of everything named ─ Roots
//! ```
//!
//! **What is named.** Each node tells in its own terms (file handles, which survive renaming and reboots) and only at a
//! resync in paths: *names* (a directory and a name in it: whatever is there, on either node, with everything below it),
//! *all files* of a directory (a flood of small files costs one record), and the *inside* of an object that keeps its
//! name (attributes; whole; or blocks of 64 KiB, noted as extents of 4 MiB in the journal and exactly in memory). What
//! was made in the present round needs no further word: its name covers it.
//!
//! **Why the union of both nodes' names is enough.** Let both trees have been the same at the base. Since then each got
//! some of the changes that were made by whoever served (all of them, or after a crash any part of them), and every
//! change was named, durably, by its maker before it was made. Take a path that is covered by no name and where the
//! trees differ. If some step of the path means another object in one tree than at the base, the topmost such step was
//! changed by a change that named (directory, name). That directory is at its old path in the maker's tree, so the
//! path is covered; or it is not, then a step further up was changed in the maker's tree, with the same consequence.
//! If no step means another object, then its inside was changed, and named: in the maker's tree the object is at this
//! very path (covered), or a step of the path was changed there (covered, as before). So there is no such path. An object
//! whose only name is not the one it was noted under needs nothing: it was renamed, or lost its other name, and then
//! (directory, only name) was noted no earlier. One with several names, or found nowhere, makes everything compared.
//!
//! **When names are forgotten.** Flush *f*: no change is half-way, a new round begins, the asking is saved, the peer and
//! this node sync their file systems, the peer saves *f*, then everything not touched since the round began is forgotten.
//! While the peer is away nothing is forgotten; above [`table::RECORDS_MAX`] records the table is made coarser, at last
//! to "everything", so that memory is bounded (about 4 MB) whatever the tree.
//!
//! **When it counts.** Two nodes compare by names only if they stand on the same base and neither is behind a flush the
//! other has done (a restored image is). What was changed while nothing was mounted is found by [`unwatched`]. A damaged journal, another file system, an unknown object: everything.

mod journal;
pub(crate) mod keeper;
mod named;
mod record;
mod resolve;
mod standing;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod told;
mod unwatched;

pub(crate) use named::{Inside, Named};
pub(crate) use record::{EXTENTS_MAX, Object, Place, Record, Standing, What};
pub(crate) use resolve::Path as TreePath;
pub use table::{BrokenTrack, Touch};

use crate::crash;
use crate::filter::Filter;
use crate::op::FileId;
use crate::stream::lock;
use journal::{Journal, Loaded};
use resolve::Roots;
use rustix::io::Errno;
use standing::drop_to_everything;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};
use table::{RECORDS_MAX, Table};
use unwatched::Unwatched;
pub(crate) use unwatched::{Moment, Watch};

/// Most ids whose handles are remembered within a round.
const IDS_MAX: usize = 65536;

/// How the tracker learns about an object it meets.
pub(crate) trait Locate {
    /// Its name for good; `None` if it has none (another file system).
    fn object(&self) -> Option<Object>;
    /// A name it has now.
    fn place(&self) -> Option<Place>;
}

/// The knowledge of one node about one module.
#[derive(Debug)]
pub struct Tracker {
    roots: Roots,
    identity: [u8; 32],
    state: Mutex<State>,
    queue: Mutex<Queue>,
    journal: Mutex<Written>,
    unwatched: Unwatched,
}

#[derive(Debug)]
struct State {
    table: Table,
    standing: Standing,
    ids: HashMap<FileId, Object>,
    /// Made in this round: covered by their names.
    made: HashSet<FileId>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Record>,
    numbered: u64,
}

#[derive(Debug)]
struct Written {
    journal: Journal,
    up_to: u64,
    failed: bool,
}

impl Tracker {
    /// Takes up what this node knew when it ended. `None`: these file systems have no file handles; everything is always
    /// compared.
    ///
    /// # Errors
    /// The state folder cannot be written, or the directories not be examined.
    pub fn open(
        folder: &Path,
        (roots, filter): (Vec<Arc<OwnedFd>>, &Filter),
        boot: &str,
    ) -> std::io::Result<Option<Arc<Tracker>>> {
        let roots = Roots::new(roots)?;
        if !roots.handles_work() {
            return Ok(None);
        }
        let identity = roots.identity(filter)?;
        let (journal, loaded) = Journal::open(folder)?;
        let mut table = Table::default();
        let mut standing = Standing::default();
        match loaded {
            Loaded::Records(records, owner) if owner == identity => {
                for record in records {
                    if let Record::Standing(said) = record {
                        standing = said;
                    }
                    table.learn(record);
                }
            }
            Loaded::New => table.mark_everything(),
            Loaded::Records(..) => {
                tracing::warn!("what is replicated is something else than before: the next resync compares everything");
                table.mark_everything();
            }
            Loaded::Damaged(why) => {
                tracing::warn!(why, "the record of what may differ is damaged: the next resync compares everything");
                table.mark_everything();
            }
        }
        if table.is_everything() {
            standing = Standing::default();
        }
        let state = State { table, standing, ids: HashMap::new(), made: HashSet::new() };
        let tracker = Tracker {
            roots,
            identity,
            state: Mutex::new(state),
            queue: Mutex::default(),
            journal: Mutex::new(Written { journal, up_to: 0, failed: false }),
            unwatched: Unwatched::new(folder, boot),
        };
        tracker.change(|_| {})?;
        Ok(Some(Arc::new(tracker)))
    }

    /// A rule is broken, to see that a test notices.
    #[cfg(test)]
    pub(crate) fn break_rules(&self, broken: BrokenTrack) {
        lock(&self.state).table.broken = broken;
    }

    /// Writes nothing more: another tracker may take the folder over. Later changes are refused.
    pub(crate) fn close(&self) {
        lock(&self.journal).failed = true;
    }

    pub(crate) fn object(&self, fd: impl AsFd) -> Option<Object> {
        self.roots.object(fd)
    }

    /// Syncs the replicated file systems of this node.
    pub(crate) fn sync_here(&self) -> Result<(), Errno> {
        self.roots.syncfs()
    }

    /// `id` is about to be changed: returns once that is written down. The caller holds its order lock.
    ///
    /// # Errors
    /// The state folder's disk failed: the change must not be made.
    pub(crate) fn before(&self, id: FileId, touch: Touch<'_>, locate: &dyn Locate) -> std::io::Result<()> {
        let record = {
            let mut guard = lock(&self.state);
            let state = &mut *guard;
            if state.made.contains(&id) {
                return Ok(());
            }
            if !state.ids.contains_key(&id) {
                let Some(object) = locate.object() else {
                    drop(guard);
                    return self.unknown_object();
                };
                if state.ids.len() >= IDS_MAX {
                    state.ids.clear();
                }
                state.ids.insert(id, object);
            }
            let Some(object) = state.ids.get(&id) else { return Ok(()) };
            state.table.touch(object, touch, || locate.place())
        };
        let Some(record) = record else { return Ok(()) };
        self.commit(record.clone())?;
        lock(&self.state).table.made_durable(&record);
        Ok(())
    }

    /// Whether something inside the object is noted. The caller holds its order lock.
    pub(crate) fn has_inside(&self, id: FileId, locate: &dyn Locate) -> bool {
        let state = lock(&self.state);
        match state.ids.get(&id) {
            Some(object) => state.table.has_inside(object),
            None => locate.object().is_some_and(|object| state.table.has_inside(&object)),
        }
    }

    /// Something on a file system of its own: only "everything" covers it.
    fn unknown_object(&self) -> std::io::Result<()> {
        // As told in this round: an older word is forgotten with its round.
        if lock(&self.state).table.is_everything_now() { Ok(()) } else { self.nothing_known() }
    }

    /// `id` was made under a name noted just before.
    pub(crate) fn made(&self, id: FileId) {
        let mut state = lock(&self.state);
        // Only noted names cover it, and those of the present round only.
        if state.made.len() < IDS_MAX {
            state.made.insert(id);
        }
    }

    /// Writes a record down, together with those of other threads that wait at the same time.
    fn commit(&self, record: Record) -> std::io::Result<()> {
        let mine = {
            let mut queue = lock(&self.queue);
            queue.waiting.push(record);
            queue.numbered += 1;
            queue.numbered
        };
        let mut written = lock(&self.journal);
        if written.up_to < mine && !written.failed {
            let (batch, up_to) = {
                let mut queue = lock(&self.queue);
                (std::mem::take(&mut queue.waiting), queue.numbered)
            };
            crash::point("track-before-append");
            let encoded: Option<Vec<Vec<u8>>> = batch.iter().map(Record::encode).collect();
            let appended = match encoded {
                Some(encoded) if written.journal.has_room(encoded.len()) => written.journal.append(&encoded),
                // The table has all of the batch already.
                _ => self.rewrite(&mut written, |_| {}),
            };
            written.failed |= appended.or_else(|_| self.rewrite(&mut written, |_| {})).is_err();
            written.up_to = up_to;
            crash::point("track-appended");
        }
        if written.failed {
            return Err(std::io::Error::other(
                "what may differ cannot be written down: the disk of the module's state folder has failed, see the kernel log",
            ));
        }
        Ok(())
    }

    /// Writes the journal anew, from what is known after `change`. Nobody sees the change before it is durable.
    fn rewrite(&self, written: &mut Written, change: impl FnOnce(&mut State)) -> std::io::Result<()> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        change(state);
        if state.table.size() > RECORDS_MAX {
            state.table.coarsen(RECORDS_MAX);
        }
        let mut records = encoded(state);
        let room = written.journal.make_room(records.len());
        if records.len() > room {
            tracing::warn!(
                "the disk of the module's state folder is full: what may differ is written down less exactly, and the \
                 next resync compares more; free space there"
            );
            // One of them tells how far all this reaches.
            state.table.coarsen(room.saturating_sub(1));
            records = encoded(state);
        }
        written.journal.rewrite(&self.identity, &records)?;
        state.table.all_durable();
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> std::io::Result<()> {
        let mut written = lock(&self.journal);
        if written.failed {
            return Err(std::io::Error::other("the record of what may differ is closed"));
        }
        let done = self.rewrite(&mut written, change);
        written.failed |= done.is_err();
        done
    }

    /// About the records in use.
    pub(crate) fn size(&self) -> usize {
        lock(&self.state).table.size()
    }
}

/// The records of all that is known.
fn encoded(state: &mut State) -> Vec<Vec<u8>> {
    let encode = |state: &State| -> Option<Vec<Vec<u8>>> {
        let mut records = state.table.records(true, 0);
        records.push(Record::Standing(state.standing));
        records.iter().map(Record::encode).collect()
    };
    match encode(state) {
        Some(records) => records,
        None => {
            // A handle too long to be written down.
            drop_to_everything(state);
            encode(state).unwrap_or_default()
        }
    }
}
