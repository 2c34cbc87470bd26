//! Full compare under load: brings the secondary's directories to the primary's state over the same ordered stream that
//! carries the live changes.
//!
//! Why this is free of races: everything sent here about an object is read and sent while its order lock is held, and a
//! live change of the object holds the same lock over {submission, local change}. So in the stream each step of the
//! resync stands exactly where the state it describes was true, and what changes later comes later. Directories, then
//! contents:
//!
//! - A directory's listing is sent in pieces, in the order of the names, each under its lock; the secondary makes its
//!   names between the piece's ends match. From there on live changes of these names apply exactly. Whatever is renamed or
//!   linked meanwhile from where the resync has not been to where it has been is looked at again (`Inodes::take_touched`).
//! - A file gets its length, then per block: the secondary's hash as of some earlier point of the stream is compared with
//!   the primary's content now. Equal: live writes since then are contained in both, so the secondary's block is what it
//!   was, overlaid with bytes that are the primary's now: the same. Different: the block is sent as it is now.
//! - Attributes and times last.
//!
//! Memory is bounded whatever a directory holds: names of one look (65,536 of the outermost directory, half as many of each
//! one inside it, 4,096 at the least), one piece of at most 512 objects for each directory on the way down, some extents
//! for each thread. What grows with the tree are a few dozen bytes for each directory, and what is known of each file with
//! several names.
//!
//! At the end, with all changes paused, nothing is left to look at: from there every write waits for the secondary.

mod budget;
mod compare;
mod hands;
mod ids;
mod listing;
mod marks;
mod rate;
mod union;
mod walk;
mod workers;

pub(crate) use union::{Plan, Union};

use crate::crash;
use crate::frame::Message;
use crate::inspect::Count;
use crate::stream::sender::{Attached, Sender};
use crate::stream::server::{Opening, Serve};
use crate::stream::{Events, Lost};
use holdfast_core::replica::{ReplicaEvent, ResyncProgress};
use rate::Rate;
use rustix::io::Errno;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shortest time between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);

/// What a resync may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads that compare contents.
    pub threads: usize,
    /// Bytes per second that may be sent; 0: any number.
    pub bytes_per_s: u64,
    /// Time between two marks, from the last of which an interrupted resync goes on.
    pub mark_period: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { threads: 6, bytes_per_s: 0, mark_period: marks::PERIOD }
    }
}

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
pub(crate) fn run(serve: &Serve, attached: Attached, opening: Opening) {
    let Serve { sender, inodes, events, limits, .. } = serve;
    let Opening { plan, base, since } = opening;
    workers::yield_to_others();
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
    let report = Report {
        sender: sender.clone(),
        events: events.clone(),
        began: Instant::now(),
        last: None,
        count: count.clone(),
        named: 0,
        rate: Rate::default(),
    };
    let hands = hands::Hands::new(sender.clone(), inodes.clone(), attached.epoch, limits);
    let workers = match workers::Workers::start(&hands, limits.threads) {
        Ok(workers) => workers,
        Err(error) => {
            count.stop();
            inodes.watch_touched(false);
            let text =
                format!("cannot start the threads of the resync: {error}; too many processes run on the primary");
            return sender.lose(attached.epoch, &text);
        }
    };
    let marks = marks::Marks::new(limits.mark_period, (attached.session, base), since);
    let mut walk = walk::Walk::new(hands, (workers, limits.threads), report, marks);
    let result = walk.all(attached.session, plan);
    // Also if it was interrupted: what was moved is nobody's concern then.
    inodes.watch_touched(false);
    walk.report().count.stop();
    // Only counts: nothing depends on how it ended.
    let _ = counting.join();
    match result {
        Ok(()) => {
            walk.report().tell();
            let progress = *walk.report().progress();
            tracing::info!(session = attached.session, %progress, "resync copied");
            crash::point("resync-copied");
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
    rate: Rate,
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
        let mut progress = *p;
        self.rate.tell(&mut progress);
        self.last = Some((Instant::now(), progress));
        (self.events)(ReplicaEvent::ResyncProgress { progress });
        let p = progress;
        self.sender.tell(&Message::Progress([
            p.entries_done,
            p.entries_total,
            p.bytes_done,
            p.bytes_total,
            p.bytes_sent,
            p.elapsed_ms,
            p.bytes_per_s,
            p.left_ms.unwrap_or(u64::MAX),
        ]));
    }
}
