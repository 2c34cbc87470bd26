//! The primary's side of a comparison: tells every replicated object, each under its order lock.

use crate::frame::{CheckStep, Entry};
use crate::front::{Child, Held, Inodes, OrderGuard, Piece, Pieces};
use crate::op::{FileId, FileKind};
use crate::resync::Fault;
use crate::stream::Lost;
use crate::stream::applier::hash_range;
use crate::tree::{Level, Status};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes told under one hold of the order lock: the application's writes to the file wait that long at most.
const CHUNK: u64 = 1 << 20;

/// Where the steps go.
pub(crate) trait Sink {
    /// Sends one step.
    fn send(&self, step: CheckStep) -> Result<(), Lost>;

    /// Waits until there is room for more; called without any order lock.
    fn wait(&self) -> Result<(), Lost>;
}

/// How far a walk is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// Tells everything there is.
pub(crate) fn walk(inodes: &Arc<Inodes>, sink: &dyn Sink, progress: &mut dyn FnMut(&Walked)) -> Result<Walked, Fault> {
    let mut walk = Walk {
        inodes: inodes.clone(),
        sink,
        progress,
        walked: Walked::default(),
        open: Vec::new(),
        linked: HashMap::new(),
    };
    for root in (0..).map_while(|index| inodes.root(index)) {
        walk.open.push(Told { pieces: Pieces::begin(&root, 0), below: VecDeque::new() });
        while !walk.open.is_empty() {
            walk.step()?;
        }
    }
    Ok(walk.walked)
}

struct Walk<'a> {
    inodes: Arc<Inodes>,
    sink: &'a dyn Sink,
    progress: &'a mut dyn FnMut(&Walked),
    walked: Walked,
    /// Directories under way, each inside the one before.
    open: Vec<Told>,
    /// Files with several names: told once, and known by their ids to the end, so that each further name is known to be
    /// the same file.
    linked: HashMap<FileId, Held>,
}

/// A directory that is being told.
struct Told {
    pieces: Pieces,
    /// Directories of the latest piece whose turn is still to come.
    below: VecDeque<Held>,
}

impl Walk<'_> {
    /// Goes on with the innermost directory: what is below its latest piece, or the next piece.
    fn step(&mut self) -> Result<(), Fault> {
        let beside = self.open.len();
        let Some(told) = self.open.last_mut() else { return Ok(()) };
        if let Some(below) = told.below.pop_front() {
            self.open.push(Told { pieces: Pieces::begin(&below, beside), below: VecDeque::new() });
        } else if told.pieces.is_over() {
            self.open.pop();
        } else {
            self.piece()?;
        }
        Ok(())
    }

    fn piece(&mut self) -> Result<(), Fault> {
        self.sink.wait()?;
        let Some(told) = self.open.last_mut() else { return Ok(()) };
        let directory = told.pieces.directory().clone();
        let looked = told.pieces.look();
        let children = {
            let order = directory.lock_order();
            if directory.is_removed() {
                drop(order);
                self.open.pop();
                return Ok(());
            }
            let taken = looked.and_then(|()| told.pieces.next(&order)).map_err(|errno| local(&directory, errno))?;
            let Some(Piece { after, upto, children }) = taken else { return Ok(()) };
            let last = upto.is_empty();
            let entries = children.iter().map(|child| self.entry(child)).collect::<Result<_, Fault>>()?;
            self.sink.send(CheckStep::List { directory: directory.id(), after, upto, entries })?;
            if last {
                self.object(&directory, &order)?;
                self.sink.send(CheckStep::Done { id: directory.id() })?;
            }
            children
        };
        for (_, child, status) in children {
            match child.kind() {
                FileKind::Directory => self.below(child),
                _ if status.links > 1 => {
                    if self.linked.insert(child.id(), child.clone()).is_none() {
                        self.other(&child, false)?;
                    }
                }
                _ => self.other(&child, true)?,
            }
            (self.progress)(&self.walked);
        }
        Ok(())
    }

    fn below(&mut self, child: Held) {
        if let Some(told) = self.open.last_mut() {
            told.below.push_back(child);
        }
    }

    fn entry(&self, (name, child, status): &Child) -> Result<Entry, Fault> {
        let target = match child.kind() {
            FileKind::Symlink => self.inodes.read_link(child).map_err(|errno| local(child, errno))?,
            _ => Vec::new(),
        };
        let linked = status.links > 1 && child.kind() != FileKind::Directory;
        let (id, kind, device) = (child.id(), child.kind(), status.rdev);
        Ok(Entry { id, name: name.clone(), kind, linked, exact: false, device, target })
    }

    /// Contents chunk by chunk, then the attributes.
    fn other(&mut self, child: &Held, last: bool) -> Result<(), Fault> {
        let mut offset = 0;
        loop {
            self.sink.wait()?;
            let order = child.lock_order();
            let more = child.kind() == FileKind::File && self.blocks(child, offset)?;
            if more {
                offset += CHUNK;
                continue;
            }
            self.object(child, &order)?;
            if last {
                self.sink.send(CheckStep::Done { id: child.id() })?;
            }
            return Ok(());
        }
    }

    /// One chunk; whether there was anything.
    fn blocks(&mut self, file: &Held, offset: u64) -> Result<bool, Fault> {
        let hashed = self.inodes.open_backing(file, Level::Read).and_then(|fd| hash_range(&*fd, offset, CHUNK));
        let blocks = match hashed {
            Ok(blocks) => blocks,
            Err(errno) => return gone(file, errno).map(|()| false),
        };
        if blocks.is_empty() {
            return Ok(false);
        }
        self.walked.bytes += blocks.len() as u64 * crate::stream::applier::BLOCK as u64;
        self.sink.send(CheckStep::Blocks { id: file.id(), offset, blocks })?;
        Ok(true)
    }

    fn object(&mut self, object: &Held, _order: &OrderGuard<'_>) -> Result<(), Fault> {
        if object.is_removed() {
            return Ok(());
        }
        let read = self.inodes.open_backing(object, Level::Path);
        let read = read.and_then(|fd| Ok((Status::of(&*fd)?, super::xattr_hash(&*fd)?)));
        let (status, xattrs) = match read {
            Ok(both) => both,
            Err(errno) => return gone(object, errno),
        };
        self.walked.entries += 1;
        let file = object.kind() == FileKind::File;
        let step = CheckStep::Object {
            id: object.id(),
            mode: status.permissions(),
            uid: status.uid,
            gid: status.gid,
            size: if file { status.size } else { 0 },
            modified: (file && !object.has_unsent_time()).then_some(status.modified),
            xattrs,
        };
        Ok(self.sink.send(step)?)
    }
}

fn gone(object: &Held, errno: Errno) -> Result<(), Fault> {
    if object.is_removed() || errno == Errno::STALE { Ok(()) } else { Err(local(object, errno)) }
}

fn local(object: &Held, errno: Errno) -> Fault {
    Fault::Local(format!("object {}", object.id().0), errno)
}
