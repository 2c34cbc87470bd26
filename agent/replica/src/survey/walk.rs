//! The primary's side of a comparison: tells every replicated object, each under its order lock.

use crate::frame::{CheckStep, Entry};
use crate::front::{Held, Inodes, OrderGuard};
use crate::op::{FileId, FileKind};
use crate::resync::Fault;
use crate::stream::Lost;
use crate::stream::applier::hash_range;
use crate::tree::{Level, Status};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes told under one hold of the order lock: the application's writes to the file wait that long at most.
const CHUNK: u64 = 1 << 20;

/// Longest part of a listing, in bytes.
const PART: usize = 128 << 10;

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
        stack: Vec::new(),
        linked: HashMap::new(),
    };
    walk.stack = (0..).map_while(|index| inodes.root(index)).collect();
    while let Some(directory) = walk.stack.pop() {
        walk.directory(&directory)?;
    }
    Ok(walk.walked)
}

struct Walk<'a> {
    inodes: Arc<Inodes>,
    sink: &'a dyn Sink,
    progress: &'a mut dyn FnMut(&Walked),
    walked: Walked,
    stack: Vec<Held>,
    /// Files with several names: told once, and known by their ids to the end, so that each further name is known to be
    /// the same file.
    linked: HashMap<FileId, Held>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Held) -> Result<(), Fault> {
        self.sink.wait()?;
        let mut children = Vec::new();
        {
            let order = directory.lock_order();
            if directory.is_removed() {
                return Ok(());
            }
            for entry in self.inodes.list(directory).map_err(|errno| local(directory, errno))? {
                match self.inodes.child_ordered(directory, &order, &entry.name) {
                    Ok((held, status)) => children.push((entry.name, held, status)),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(local(directory, errno)),
                }
            }
            self.list(directory, &children)?;
            self.object(directory, &order)?;
            self.sink.send(CheckStep::Done { id: directory.id() })?;
        }
        for (_, child, status) in children {
            match child.kind() {
                FileKind::Directory => self.stack.push(child),
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

    fn list(&self, directory: &Held, children: &[(Vec<u8>, Held, Status)]) -> Result<(), Fault> {
        let (mut entries, mut length, mut first) = (Vec::new(), 0, true);
        for (name, child, status) in children {
            let target = match child.kind() {
                FileKind::Symlink => self.inodes.read_link(child).map_err(|errno| local(child, errno))?,
                _ => Vec::new(),
            };
            length += 32 + name.len() + target.len();
            let linked = status.links > 1 && child.kind() != FileKind::Directory;
            let (id, kind, device) = (child.id(), child.kind(), status.rdev);
            entries.push(Entry { id, name: name.clone(), kind, linked, device, target });
            if length >= PART {
                let part = std::mem::take(&mut entries);
                self.sink.send(CheckStep::List { directory: directory.id(), first, last: false, entries: part })?;
                (first, length) = (false, 0);
            }
        }
        Ok(self.sink.send(CheckStep::List { directory: directory.id(), first, last: true, entries })?)
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
