//! Syncs beside the stream: later changes do not wait for them, the primary hears of each when it is done.

use super::Shared;
use crate::crash;
use crate::frame::Message;
use crate::front::pool::Pool;
use crate::stream::applier::{Applier, BeginJob, SyncJob};
use crate::stream::lock;
use holdfast_core::replica::ReplicaEvent;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Syncs under way beside the stream.
#[derive(Default)]
pub(super) struct Syncing {
    state: Mutex<SyncState>,
    ended: Condvar,
    /// A disk is being set to work early.
    begins: AtomicBool,
}

#[derive(Default)]
struct SyncState {
    count: usize,
    /// Why one failed: the stream cannot go on.
    failure: Option<String>,
}

impl Syncing {
    /// Waits until none is under way; why one failed, if one did.
    pub(super) fn wait(&self) -> Result<(), String> {
        let mut state = lock(&self.state);
        while state.count > 0 {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&self, failure: Option<String>) {
        let mut state = lock(&self.state);
        state.count -= 1;
        state.failure = state.failure.take().or(failure);
        drop(state);
        self.ended.notify_all();
    }
}

/// What follows a sync of the file systems.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// The answer to this request, with this flush saved (0: none).
    Flush(u64, u64),
    /// The answer to this request, with this mark saved.
    Mark(u64, (u64, u64)),
    /// Both copies are the same.
    Complete,
}

impl Shared {
    /// Has a sync done by another thread, which then tells the primary.
    pub(super) fn sync_beside(self: &Arc<Self>, job: SyncJob, sequence: u64, pool: &Pool) {
        lock(&self.syncing.state).count += 1;
        let shared = self.clone();
        pool.run(move || {
            let failure = job.run().err().map(|error| shared.doubt(error.to_string()));
            match &failure {
                None => shared.send(&[Message::Synced(sequence)]),
                Some(reason) => {
                    shared.send(&[Message::Broken(reason.clone())]);
                    if let Some(socket) = lock(&shared.socket).as_ref() {
                        // Lets the thread that applies notice.
                        let _ = socket.shutdown(Shutdown::Both);
                    }
                }
            }
            shared.syncing.end(failure);
        });
    }

    /// Has a disk set to work early, unless that is being done already.
    pub(super) fn begin_beside(self: &Arc<Self>, job: BeginJob, pool: &Pool) {
        if self.syncing.begins.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = self.clone();
        pool.run(move || {
            job.run();
            shared.syncing.begins.store(false, Ordering::Release);
        });
    }

    /// Syncs the replicated file systems beside the stream (the primary's writes go on), saves what follows from it, then
    /// answers the primary or tells the agent. Everything applied before this call is covered.
    pub(super) fn sync(self: &Arc<Self>, applier: &Applier, wanted: Wanted) {
        let roots = applier.roots();
        let shared = self.clone();
        std::thread::spawn(move || {
            let failed = roots.iter().find_map(|root| rustix::fs::syncfs(&**root).err()).map(|errno| {
                shared.doubt(format!(
                    "syncing the replicated file systems: {errno}; the secondary's disk has failed, see its kernel log"
                ))
            });
            crash::point("peer-synced");
            let session = shared.follow.session;
            let done = failed.map_or(Ok(()), Err).and_then(|()| match wanted {
                Wanted::Flush(_, 0) => Ok(()),
                Wanted::Flush(_, flush) => shared.know(|tracker| tracker.stands_at(flush)),
                Wanted::Mark(_, mark) => shared.know(|tracker| tracker.marked_by_peer(mark)),
                Wanted::Complete => shared.know(|tracker| tracker.paired(session, u64::MAX)),
            });
            crash::point("peer-saved");
            match (done, wanted) {
                (Err(reason), _) => shared.send(&[Message::Broken(reason)]),
                (Ok(()), Wanted::Flush(request, _) | Wanted::Mark(request, _)) => {
                    shared.send(&[Message::Flushed(request)]);
                }
                (Ok(()), Wanted::Complete) => shared.tell(ReplicaEvent::CaughtUp { session }),
            }
        });
    }
}
