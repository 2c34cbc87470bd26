//! Where `front` and `stream` meet: a change is submitted, applied locally, and answered when it is safe.

use crate::op::{FileId, Op};

/// What becomes of a submitted change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer has applied it, or this node holds the grant to go on alone: the application may hear of success.
    Acknowledged,
    /// This node lost the right to serve: the application gets EIO.
    Refused,
}

/// A submitted change that has not been answered; hand it back to [`Replicate::complete`] exactly once.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket(pub u64);

/// Runs once, on whatever thread learns the verdict: must not block (it writes the reply to the kernel).
pub type Answer = Box<dyn FnOnce(Verdict) + Send>;

/// The way to the peer, as the front sees it.
///
/// A writer holds the order lock of every object it changes over {`submit`, local change}, so that the order of the
/// stream is the order of the local changes for each object. Overwrites are submitted first and applied locally while
/// they travel; namespace changes are applied locally first and submitted with their result.
pub trait Replicate: Send + Sync + 'static {
    /// Puts the change into the stream (alone: nowhere; stream lost: held back). Blocks only for back-pressure of the
    /// socket, bounded by the send timeout.
    fn submit(&self, op: &Op, payload: &[u8]) -> Ticket;

    /// Puts a change into the stream that nobody waits for: it may travel with the next one, a moment later.
    fn submit_later(&self, op: &Op) {
        let ticket = self.submit(op, &[]);
        self.complete(ticket, Box::new(|_| {}));
    }

    /// The local change is done: answer as soon as the peer has acknowledged or the grant to go on alone is held.
    fn complete(&self, ticket: Ticket, answer: Answer);

    /// Whether `id` was bound (or created) in the present session; if not, the front submits [`Op::Bind`] first. The
    /// number changes with each session and is 0 while nobody follows (nothing needs binding).
    fn session(&self) -> u64;

    /// Whether the object was made in the present session: the peer has had it, by all its names, from its first moment.
    fn is_fresh(&self, id: FileId) -> bool {
        let _ = id;
        false
    }
}
