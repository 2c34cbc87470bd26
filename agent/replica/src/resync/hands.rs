//! What the threads of a resync share: the stream, the tree, the bandwidth; and the steps that any of them takes.

use super::budget::Budget;
use super::{Fault, Limits};
use crate::frame::{Entry, Message, ResyncStep};
use crate::front::{Held, Inodes};
use crate::op::{Attributes, FileKind, Op};
use crate::stream::lock;
use crate::stream::sender::Sender;
use crate::tree::Status;
use rustix::io::Errno;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes counted for each frame beside its payload.
const FRAME: u64 = 64;
/// Longest sleep before the session is looked at again.
const NAP: Duration = Duration::from_millis(100);

pub(super) struct Hands {
    pub(super) sender: Arc<Sender>,
    pub(super) inodes: Arc<Inodes>,
    pub(super) epoch: u64,
    budget: Mutex<Budget>,
}

impl Hands {
    pub(super) fn new(sender: Arc<Sender>, inodes: Arc<Inodes>, epoch: u64, limits: &Limits) -> Arc<Self> {
        let budget = Mutex::new(Budget::new(limits.bytes_per_s, Instant::now()));
        Arc::new(Self { sender, inodes, epoch, budget })
    }

    /// Waits until more may be sent: the bandwidth allows it, the application is not in need, and some of what was sent is
    /// acknowledged. Call it without any order lock.
    pub(super) fn wait_window(&self) -> Result<(), Fault> {
        loop {
            let rest = lock(&self.budget).rest(Instant::now());
            if rest.is_zero() {
                break;
            }
            self.sender.still(self.epoch)?;
            std::thread::sleep(rest.min(NAP));
        }
        std::thread::sleep(self.sender.rest());
        Ok(self.sender.wait_window(self.epoch)?)
    }

    fn spend(&self, bytes: u64) {
        lock(&self.budget).spend(FRAME + bytes, Instant::now());
    }

    pub(super) fn send(&self, step: ResyncStep) -> Result<(), Fault> {
        self.spend(match &step {
            ResyncStep::List { entries, .. } | ResyncStep::Match { entries, .. } => {
                entries.iter().map(|entry| 32 + entry.name.len() as u64).sum()
            }
            _ => 0,
        });
        Ok(self.sender.resync_send(self.epoch, &Message::Resync(step), &[])?)
    }

    pub(super) fn send_op(&self, op: Op, payload: &[u8]) -> Result<(), Fault> {
        self.spend(payload.len() as u64);
        Ok(self.sender.resync_send(self.epoch, &Message::Op(op), payload)?)
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
