//! A directory listed piece by piece, in the order of its names: bounded memory and short holds of the order lock,
//! however many names it has.
//!
//! Why no name is missed and none is told that is not there. A *look* reads the directory without its order lock and keeps
//! the next names in order. A *piece* is taken under the order lock: all names up to its end, each looked up there and
//! then. Take a name that is in the directory when its piece is taken. If it was there all the time since the look began,
//! the look has it: reading a directory gives each entry that is there from beginning to end. If it came (or came again)
//! since, the change that made it so said the name to the watch under the order lock, before it was made, and that lock
//! is held now: the watch has it. So a piece is exactly what is true between its two ends at one moment. What comes later
//! into a part that was told already is the live stream's to tell, and it is told there after the piece.

use std::collections::VecDeque;
use std::sync::Arc;

use rustix::io::Errno;

use super::arrivals::Arrivals;
use super::inode::{Held, OrderGuard};
use crate::op::FileKind;
use crate::tree::{Level, Result, Status, list};

/// Names of one look. (Tests have several of everything in small directories.)
const LOOK_MAX: usize = if cfg!(test) { 512 } else { 65536 };
/// Names of a look at the least, however many directories are being listed.
const LOOK_MIN: usize = if cfg!(test) { 16 } else { 4096 };
/// Most names of one piece: the application's changes of names in the directory wait for so many to be looked up.
const PIECE_MAX: usize = if cfg!(test) { 16 } else { 512 };
/// Most bytes of one piece, as it travels.
const BYTES_MAX: usize = 128 << 10;
/// Bytes counted for an entry beside its name.
const ENTRY: usize = 32;
/// Bytes counted for a link whose target's length its file system does not tell.
const TARGET: usize = 4096;

/// A name of a directory with what is behind it.
pub type Child = (Vec<u8>, Held, Status);

/// All names of a directory after one and up to another, as they are at one moment.
#[derive(Debug)]
pub struct Piece {
    /// The last name of the piece before; empty: this is the first.
    pub after: Vec<u8>,
    /// The last name that belongs to this piece, whether it is there or not; empty: there is none after it.
    pub upto: Vec<u8>,
    /// What is there, in order.
    pub children: Vec<Child>,
}

/// A listing under way.
pub struct Pieces {
    directory: Held,
    arrivals: Arc<Arrivals>,
    most: usize,
    /// What a look found and no piece has told.
    names: VecDeque<Vec<u8>>,
    /// A look is over: its last name, or none if it came to the end. `None`: the next piece needs a look.
    bound: Option<Vec<u8>>,
    told: Vec<u8>,
    over: bool,
}

impl Pieces {
    /// Begins to list a directory; `beside`: how many are being listed already by the same walk.
    pub fn begin(directory: &Held, beside: usize) -> Self {
        let order = directory.lock_order();
        let arrivals = directory.inodes().watches.watch(directory.id());
        drop(order);
        let most = LOOK_MAX.checked_shr(u32::try_from(beside).unwrap_or(u32::MAX)).unwrap_or(0).max(LOOK_MIN);
        let (names, bound, told) = (VecDeque::new(), None, Vec::new());
        Self { directory: directory.clone(), arrivals, most, names, bound, told, over: false }
    }

    /// The directory.
    pub fn directory(&self) -> &Held {
        &self.directory
    }

    /// Whether the last piece was taken.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The last name that was told; empty: none.
    pub fn told(&self) -> &[u8] {
        &self.told
    }

    /// Reads the directory if the next piece needs it. Call it without the order lock.
    ///
    /// # Errors
    /// What the backing directory's file system says.
    pub fn look(&mut self) -> Result<()> {
        if self.bound.is_some() || self.over {
            return Ok(());
        }
        let inodes = self.directory.inodes();
        let fd = inodes.open_backing(&self.directory, Level::Read)?;
        let found = list::names_after(&*fd, &self.told, self.most, |_| true)?;
        self.bound = Some(if found.more { found.names.back().cloned().unwrap_or_default() } else { Vec::new() });
        self.names = found.names;
        Ok(())
    }

    /// The next piece; `None`: look (again) first. The caller holds the directory's order lock, and tells it before it
    /// gives that up.
    ///
    /// # Errors
    /// What the backing directory's file system says; `ESTALE` if nobody knows where the directory is.
    pub fn next(&mut self, order: &OrderGuard<'_>) -> Result<Option<Piece>> {
        let Some(bound) = self.bound.clone().filter(|_| !self.over) else { return Ok(None) };
        let Some(mut arrived) = self.take_arrived(&bound) else { return Ok(None) };
        let (mut children, mut bytes, mut count) = (Vec::new(), 0, 0);
        let mut last = None;
        while count < PIECE_MAX && bytes < BYTES_MAX {
            let Some(name) = next_of(&mut self.names, &mut arrived) else { break };
            count += 1;
            if let Some((held, status)) = self.child(order, &name)? {
                let target = match (held.kind(), usize::try_from(status.size)) {
                    (FileKind::Symlink, Ok(length)) if length > 0 => length,
                    (FileKind::Symlink, _) => TARGET,
                    _ => 0,
                };
                bytes += ENTRY + name.len() + target;
                children.push((name.clone(), held, status));
            }
            last = Some(name);
        }
        let all = self.names.is_empty() && arrived.is_empty();
        // What was not told yet stays remembered.
        self.arrivals.with(|kept| kept.names.extend(arrived));
        let upto = if all { bound.clone() } else { last.unwrap_or_default() };
        if all {
            // The end, or as far as the look went.
            self.over = bound.is_empty();
            self.bound = None;
        }
        let after = std::mem::replace(&mut self.told, upto.clone());
        Ok(Some(Piece { after, upto, children }))
    }

    /// The names that came after what was told, up to `bound` (a later look begins later than what came beyond it);
    /// `None`: there were too many to remember, and the look is of no use.
    fn take_arrived(&mut self, bound: &[u8]) -> Option<VecDeque<Vec<u8>>> {
        let arrived = self.arrivals.with(std::mem::take);
        if arrived.overflowed {
            self.names.clear();
            self.bound = None;
            return None;
        }
        let within = |name: &Vec<u8>| *name > self.told && (bound.is_empty() || name.as_slice() <= bound);
        Some(arrived.names.into_iter().filter(within).collect())
    }

    /// What is behind a name, if it is there and replicated.
    fn child(&self, order: &OrderGuard<'_>, name: &[u8]) -> Result<Option<(Held, Status)>> {
        let inodes = self.directory.inodes();
        if !inodes.filter().is_empty() {
            if self.directory.is_excluded() {
                return Ok(None);
            }
            let fd = inodes.open_backing(&self.directory, Level::Path)?;
            let Some(kind) = list::kind_at(&*fd, name) else { return Ok(None) };
            if inodes.excludes_or_stale(&self.directory, name, kind == FileKind::Directory)? {
                return Ok(None);
            }
        }
        match inodes.child_ordered(&self.directory, order, name) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.directory.inodes().watches.end(&self.arrivals);
    }
}

/// The first of two ordered lists' names; once if it is in both.
fn next_of(names: &mut VecDeque<Vec<u8>>, arrived: &mut VecDeque<Vec<u8>>) -> Option<Vec<u8>> {
    match (names.front(), arrived.front()) {
        (Some(name), Some(other)) if name == other => {
            arrived.pop_front();
            names.pop_front()
        }
        (Some(name), Some(other)) if other < name => arrived.pop_front(),
        (Some(_), _) => names.pop_front(),
        (None, _) => arrived.pop_front(),
    }
}
