//! Forgets, while this node serves, what both disks have: after each pairing, then flush by flush.

use super::Tracker;
use crate::crash;
use crate::frame::ResyncStep;
use crate::front::Inodes;
use crate::stream::sender::Sender;
use rustix::io::Errno;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Longest time anything stays named that both disks could have synced; and the number of records that does not wait.
const FLUSH_PERIOD: Duration = Duration::from_secs(30);
const FLUSH_SIZE: usize = 1024;

/// What was done for the session so far.
pub(crate) struct Keeper {
    tracker: Arc<Tracker>,
    inodes: Arc<Inodes>,
    sender: Weak<Sender>,
    /// The session whose pairing is saved.
    settled: u64,
    flushed: Instant,
}

/// Why nothing was forgotten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kept {
    #[error("syncing this node's file systems: {0}")]
    Sync(#[from] Errno),
    #[error("saving what may differ: {0}")]
    Save(#[from] std::io::Error),
    #[error(transparent)]
    Lost(#[from] crate::stream::Lost),
}

impl Keeper {
    pub(crate) fn new(tracker: Arc<Tracker>, inodes: Arc<Inodes>, sender: &Arc<Sender>) -> Self {
        Self { tracker, inodes, sender: Arc::downgrade(sender), settled: 0, flushed: Instant::now() }
    }

    /// Looks after the tracker for as long as the sender lives.
    pub(crate) fn run(mut self) {
        while let Some(sender) = self.sender.upgrade() {
            let due = self.tracker.size() >= FLUSH_SIZE || self.flushed.elapsed() >= FLUSH_PERIOD;
            if let Err(kept) = self.look(&sender, due) {
                // What is named stays so: more will be compared than need be.
                tracing::warn!(%kept, "what both nodes have could not be forgotten");
            }
            drop(sender);
            std::thread::sleep(LOOK);
        }
    }

    /// Saves a pairing that is news; flushes if it is `due`. Whether something was forgotten.
    pub(crate) fn look(&mut self, sender: &Sender, due: bool) -> Result<bool, Kept> {
        let Some((session, epoch)) = sender.up_to_date() else { return Ok(false) };
        if self.settled != session {
            let round = sender.pair_round();
            // The peer has synced all of this before it was up to date; this node does it now.
            self.sync_here()?;
            if sender.up_to_date() != Some((session, epoch)) {
                return Ok(false);
            }
            crash::point("pairing-synced");
            self.tracker.paired(session, round)?;
            crash::point("pairing-saved");
            self.settled = session;
            self.flushed = Instant::now();
            return Ok(true);
        }
        if !due || self.tracker.size() == 0 {
            return Ok(false);
        }
        self.flushed = Instant::now();
        let round = {
            let _paused = self.inodes.pause_changes();
            self.tracker.next_round()
        };
        let flush = self.tracker.ask_flush()?;
        crash::point("flush-asked");
        let request = sender.ask(epoch, |request| ResyncStep::Flush { request, flush })?;
        self.sync_here()?;
        sender.reply(epoch, request)?;
        crash::point("flush-answered");
        self.tracker.flushed(round, flush)?;
        crash::point("flush-saved");
        Ok(true)
    }

    /// A sync that fails tells so once only, and what was lost by it has no name.
    fn sync_here(&self) -> Result<(), Kept> {
        Ok(self.tracker.sync_here().inspect_err(|errno| {
            self.inodes.doubt(&format!("syncing this node's file systems failed: {errno}, see the kernel log"));
        })?)
    }
}
