//! Full compare under load: brings the secondary's directories to the primary's state over the same ordered stream that
//! carries the live changes.
//!
//! Why this is free of races: everything sent here about an object is read and sent while its order lock is held, and a
//! live change of the object holds the same lock over {submission, local change}. So in the stream each step of the
//! resync stands exactly where the state it describes was true, and what changes later comes later. Directories, then
//! contents:
//!
//! - A directory's listing is sent under its lock; the secondary makes its names match. From there on live changes of
//!   these names apply exactly. Whatever is renamed or linked meanwhile from where the resync has not been to where it
//!   has been is looked at again (`Inodes::take_touched`).
//! - A file gets its length, then per block: the secondary's hash as of some earlier point of the stream is compared with
//!   the primary's content now. Equal: live writes since then are contained in both, so the secondary's block is what it
//!   was, overlaid with bytes that are the primary's now: the same. Different: the block is sent as it is now.
//! - Attributes and times last.
//!
//! At the end, with all changes paused, nothing is left to look at: from there every write waits for the secondary.

mod compare;
mod union;
mod walk;

pub(crate) use union::{Plan, Union};

use crate::frame::Message;
use crate::front::Inodes;
use crate::inspect::Count;
use crate::stream::sender::{Attached, Sender};
use crate::stream::{Events, Lost};
use holdfast_core::replica::{ReplicaEvent, ResyncProgress};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shortest time between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);

/// Why a resync ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The stream's end has been told already.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// This node's own directory cannot be read.
    #[error("reading {0} on the primary: {1}; see the kernel log of the primary")]
    Local(String, Errno),
}

/// Resyncs the peer of a session that has just begun; ends in `ResyncCopied` or in the session's loss.
pub(crate) fn run(sender: &Arc<Sender>, inodes: &Arc<Inodes>, attached: Attached, (plan, events): (Plan, &Events)) {
    let count = Arc::new(Count::default());
    let counting = {
        let count = count.clone();
        let whole = matches!(plan, Plan::Full);
        let roots: Vec<_> = (0..).map_while(|index| inodes.directory_fd(index)).filter(|_| whole).collect();
        let filter = inodes.filter().clone();
        std::thread::spawn(move || count.run(&roots, &filter))
    };
    let what = match &plan {
        Plan::Full => "everything".into(),
        Plan::Named(union) => format!("what is named only: {}", union.len()),
    };
    tracing::info!(session = attached.session, what, "resync compares");
    let report =
        Report { sender: sender.clone(), events: events.clone(), began: Instant::now(), last: None, count, named: 0 };
    let mut walk = walk::Walk::new(sender.clone(), inodes.clone(), attached.epoch, report);
    let result = walk.all(attached.session, plan);
    walk.report().count.stop();
    // Only counts: nothing depends on how it ended.
    let _ = counting.join();
    match result {
        Ok(()) => {
            walk.report().tell();
            let progress = *walk.report().progress();
            tracing::info!(session = attached.session, %progress, "resync copied");
            events(ReplicaEvent::ResyncCopied { session: attached.session });
        }
        Err(Fault::Lost(lost)) => tracing::info!(%lost, "resync ended"),
        Err(fault) => sender.lose(attached.epoch, &fault.to_string()),
    }
}

/// Progress of one resync, told at most four times a second.
struct Report {
    sender: Arc<Sender>,
    events: Events,
    began: Instant,
    last: Option<(Instant, ResyncProgress)>,
    count: Arc<Count>,
    /// Entries that are known to be compared, if not everything is counted.
    named: u64,
}

impl Report {
    fn progress(&mut self) -> &mut ResyncProgress {
        &mut self.last.get_or_insert_with(|| (Instant::now(), ResyncProgress::default())).1
    }

    fn tell_sometimes(&mut self) {
        if self.last.as_ref().is_none_or(|(when, _)| when.elapsed() >= REPORT) {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let total = self.count.so_far();
        let elapsed_ms = self.began.elapsed().as_millis() as u64;
        let named = self.named;
        let p = self.progress();
        p.entries_total = total.entries.max(named).max(p.entries_done);
        p.bytes_total = total.bytes.max(p.bytes_done);
        p.elapsed_ms = elapsed_ms;
        let progress = *p;
        self.last = Some((Instant::now(), progress));
        (self.events)(ReplicaEvent::ResyncProgress { progress });
        let p = progress;
        let figures = [p.entries_done, p.entries_total, p.bytes_done, p.bytes_total, p.bytes_sent, p.elapsed_ms];
        self.sender.tell(&Message::Progress(figures));
    }
}
