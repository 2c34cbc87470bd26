//! One change under way: the gate, the order locks, the bindings, and the answer when it is safe.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLockReadGuard};

use rustix::io::Errno;

use super::inode::{Inode, OrderGuard, lock_orders};
use super::reply::Reply;
use super::session::Connection;
use crate::crash;
use crate::op::Op;
use crate::replicate::{Answer, Ticket, Verdict};
use crate::tree::Result;

/// A change between its first submission and its answer.
pub(super) struct Change<'c> {
    connection: &'c Connection,
    _gate: RwLockReadGuard<'c, ()>,
    session: u64,
    last: Option<Ticket>,
    /// Something was changed here that was not submitted yet.
    half_way: bool,
}

/// The order locks of the objects of a change.
pub(super) struct Prepared<'a> {
    pub(super) orders: Vec<OrderGuard<'a>>,
    /// Whether the peer knows all the objects and none is this node's own. If not (an object without a name that was opened before this session
    /// began), the change stays local: nobody can find the object there, and resync has still to pass by any name it has.
    pub(super) replicable: bool,
}

impl<'c> Change<'c> {
    /// Begins a change.
    ///
    /// # Errors
    /// `EROFS` on a secondary, `EIO` once this node must not serve any more.
    pub(super) fn begin(connection: &'c Connection) -> Result<Change<'c>> {
        if connection.read_only {
            return Err(Errno::ROFS);
        }
        if connection.refused.load(Ordering::Acquire) {
            return Err(Errno::IO);
        }
        let gate = connection.inodes.begin_change();
        Ok(Change { connection, _gate: gate, session: connection.replicate.session(), last: None, half_way: false })
    }

    /// Takes the order locks of `objects` and makes them known to the peer.
    pub(super) fn prepare<'a>(&mut self, objects: &[&'a Inode]) -> Prepared<'a> {
        if objects.iter().any(|object| object.is_excluded()) {
            return Prepared { orders: lock_orders(objects), replicable: false };
        }
        loop {
            let mut known = true;
            for object in objects {
                known &= self.bind_with_ancestors(object);
            }
            let orders = lock_orders(objects);
            let still = objects.iter().all(|object| object.is_bound(self.session));
            if still || !known {
                return Prepared { orders, replicable: still };
            }
            // A rename or a new session came between: once more.
        }
    }

    /// Binds `object` and whatever above it the peer does not know, topmost first; `false` if it has no name.
    fn bind_with_ancestors(&mut self, object: &Inode) -> bool {
        let mut path = vec![object.id()];
        while let Some(&id) = path.last() {
            let Some(inode) = self.connection.inodes.find(id) else {
                return false;
            };
            if inode.is_bound(self.session) {
                path.pop();
                continue;
            }
            let _order = inode.lock_order();
            let Some((parent, name)) = self.connection.inodes.place(id) else {
                return false;
            };
            match self.connection.inodes.find(parent) {
                None => return false,
                Some(parent) if !parent.is_bound(self.session) => path.push(parent.id()),
                Some(parent) => {
                    let op = Op::Bind { id, parent: parent.id(), name, kind: inode.kind(), exact: false };
                    self.submit(&op, &[]);
                    self.mark(&inode);
                    path.pop();
                }
            }
        }
        true
    }

    /// Whether the peer knows the object.
    pub(super) fn knows(&self, inode: &Inode) -> bool {
        inode.is_bound(self.session)
    }

    /// The local part is made, or may be: whatever fails before the answer leaves the peer without it.
    pub(super) fn made_here(&mut self) {
        self.half_way = true;
    }

    /// Submits one operation of this change.
    pub(super) fn submit(&mut self, op: &Op, payload: &[u8]) {
        let ticket = self.connection.replicate.submit(op, payload);
        if let Some(earlier) = self.last.replace(ticket) {
            // Answered together with the last one: the peer applies them in order.
            self.connection.replicate.complete(earlier, Box::new(|_| {}));
        }
    }

    /// Submits one operation that nobody waits for.
    pub(super) fn submit_later(&mut self, op: &Op) {
        self.connection.replicate.submit_later(op);
    }

    /// The peer knows the object from now on, unless the session ended meanwhile.
    pub(super) fn mark(&mut self, inode: &Inode) {
        let current = self.connection.replicate.session();
        inode.mark_bound(if current == self.session { current } else { 0 });
        self.session = current;
    }

    /// Hands the answer over to whoever learns the verdict: all local parts are done. Without anything submitted it is
    /// answered at once. The order locks must have been given up.
    pub(super) fn finish(mut self, answer: impl FnOnce(Verdict) + Send + 'static) {
        crash::point("front-made");
        let last = self.last.take();
        let connection = self.connection;
        self.half_way = false;
        drop(self);
        match last {
            Some(ticket) => connection.replicate.complete(ticket, Box::new(answer)),
            None => answer(Verdict::Acknowledged),
        }
    }

    /// [`Change::finish`] with a plain reply.
    pub(super) fn reply(self, unique: u64, reply: Result<Reply>) {
        let channel = self.connection.channel.clone();
        self.finish(move |verdict| match verdict {
            Verdict::Acknowledged => {
                crash::point("front-acknowledged");
                channel.send(unique, reply);
            }
            Verdict::Refused => channel.send(unique, Err(Errno::IO)),
        });
    }

    /// Gives the last ticket away, for an answer that has to wait for something else as well.
    pub(super) fn into_ticket(mut self) -> Option<Ticket> {
        self.last.take()
    }
}

impl Drop for Change<'_> {
    /// A change that failed before it was answered may have bound something.
    fn drop(&mut self) {
        // Without a session it is written down, and compared when one begins.
        if self.half_way && self.session != 0 {
            self.connection.inodes.doubt("a change failed after its local part");
        }
        if let Some(ticket) = self.last.take() {
            self.connection.replicate.complete(ticket, Box::new(|_| {}));
        }
    }
}

/// Completes a ticket that may not exist (nothing was submitted).
pub(super) fn complete(connection: &Arc<Connection>, ticket: Option<Ticket>, answer: Answer) {
    match ticket {
        Some(ticket) => connection.replicate.complete(ticket, answer),
        None => answer(Verdict::Acknowledged),
    }
}
