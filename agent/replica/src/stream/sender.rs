//! The primary's end of the stream: gives changes their order, sends them, answers when they are safe.
//!
//! Locks, always in this order: `writer` (sequence number, encryption, one write) before `state` (never held while a
//! system call blocks). Acknowledgements need only the state, so a writer that waits for the socket delays no answer; who
//! ends a stream takes its channel from the state and shuts it down, which lets that writer go.

mod session;
mod steps;

pub(crate) use session::Attached;

use super::cover::Cover;
use super::table::{Mode, Table, Verdicts, boottime_ms};
use super::{Events, Local, Lost, lock};
use crate::control::Stats;
use crate::crash;
use crate::frame::{Message, ResyncStep, encode};
use crate::keep::{Keep, Right};
use crate::op::{FileId, Op};
use crate::replicate::{Answer, Replicate, Ticket, Verdict};
use crate::tls::Channel;
use holdfast_api::ids::Generation;
use holdfast_core::replica::{Plane, ReplicaEvent};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a broken or slow stream is looked at, and the longest time that what nobody waits for stays here.
const LOOK: Duration = Duration::from_millis(25);

/// Most bytes of frames that wait for the next one.
const LATER_MAX: usize = 64 << 10;

/// The primary's end of the stream.
pub struct Sender {
    local: Local,
    events: Events,
    /// Held over numbering and sending a frame.
    writer: Mutex<Writer>,
    state: Mutex<State>,
    changed: Condvar,
    epoch: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    operations: AtomicU64,
    /// Objects made in this session: they are exact on the peer from their first moment. Kept while it is resynced.
    fresh: Mutex<HashSet<FileId>>,
    /// While only what is named is compared: which names are not exact yet. Without it none is.
    cover: Mutex<Option<Cover>>,
    pair_round: AtomicU64,
    /// The thread of the latest resync.
    resync: Mutex<Option<JoinHandle<()>>>,
    /// Where the right to acknowledge is noted for the next process, and what the kernel agreed to.
    keep: OnceLock<(Arc<Keep>, u64)>,
}

/// Who waits for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// An application.
    Now,
    /// Nobody: it may travel with the next one.
    Later,
    /// A resync.
    Bulk,
}

#[derive(Default)]
struct Writer {
    /// Frames that have their place in the stream and travel with the next one.
    later: Vec<u8>,
    /// Room for encryption.
    scratch: Vec<u8>,
}

struct State {
    table: Table,
    channel: Option<Arc<Channel>>,
    /// Threads waiting for `changed`: without any, nobody pays for waking them.
    waiting: usize,
}

impl State {
    /// Takes the channel away from everybody: a sender or receiver blocked on it returns.
    fn close_channel(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.shutdown();
        }
    }
}

impl Sender {
    /// A sender that acknowledges alone under `generation`.
    pub fn new(local: Local, generation: Generation, events: Events) -> Arc<Self> {
        Self::with(local, Table::new(generation), events)
    }

    /// A sender with the right of one whose mount is taken over.
    pub(crate) fn taken_over(local: Local, right: &Right, events: Events) -> Arc<Self> {
        Self::with(local, Table::taken_over(right, Instant::now(), boottime_ms()), events)
    }

    fn with(local: Local, table: Table, events: Events) -> Arc<Self> {
        let sender = Arc::new(Self {
            local,
            events,
            writer: Mutex::default(),
            state: Mutex::new(State { table, channel: None, waiting: 0 }),
            changed: Condvar::new(),
            epoch: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            fresh: Mutex::default(),
            cover: Mutex::default(),
            pair_round: AtomicU64::new(0),
            resync: Mutex::default(),
            keep: OnceLock::new(),
        });
        let watched = Arc::downgrade(&sender);
        std::thread::spawn(move || {
            while let Some(sender) = watched.upgrade() {
                sender.look();
                sender.look_for_later();
                drop(sender);
                std::thread::sleep(LOOK);
            }
        });
        sender
    }

    /// Expects the peer for `session`; an older session ends. Refused (in words) while changes wait for a peer.
    pub fn accept_peer(&self, session: u64) -> Result<(), String> {
        let mut state = lock(&self.state);
        state.table.expect(session)?;
        state.close_channel();
        self.refresh(&state);
        Ok(())
    }

    /// Acknowledges everything held back and everything to come, under a grant in force; the stream is closed.
    pub fn continue_alone(&self, generation: Generation) -> Result<(), String> {
        let verdicts = {
            let mut state = lock(&self.state);
            state.table.continue_alone(generation)?;
            state.close_channel();
            self.refresh(&state);
            state.table.release(Verdict::Acknowledged)
        };
        answer(verdicts);
        Ok(())
    }

    /// Answers EIO to everything held back and to everything to come; the stream is closed.
    pub fn refuse(&self) {
        let verdicts = {
            let mut state = lock(&self.state);
            state.table.mode = Mode::Refusing;
            state.table.close_session();
            state.close_channel();
            self.refresh(&state);
            state.table.release(Verdict::Refused)
        };
        answer(verdicts);
    }

    /// Tells the peer that it has everything; refused (in words) unless all was copied.
    pub fn complete_resync(&self) -> Result<(), String> {
        let epoch = {
            let mut state = lock(&self.state);
            state.table.complete_resync()?;
            self.keep_right(&state.table);
            state.table.epoch()
        };
        crash::point("resync-completing");
        // If the stream is lost now, its loss is told on its own.
        let _ = self.resync_send(epoch, &Message::Resync(ResyncStep::Complete), &[]);
        Ok(())
    }

    /// What an agent that finds this replica is told.
    pub fn plane(&self) -> Plane {
        lock(&self.state).table.plane()
    }

    /// Figures since the last call.
    pub fn take_stats(&self) -> Stats {
        let mut state = lock(&self.state);
        let (ack_p50_us, ack_p99_us) = state.table.take_latencies();
        Stats {
            bytes_per_s: self.bytes.swap(0, Ordering::Relaxed),
            ops_per_s: self.operations.swap(0, Ordering::Relaxed),
            ack_p50_us,
            ack_p99_us,
            held_back: state.table.held_back(),
            ..Stats::default()
        }
    }

    /// A rule is broken, to see that a test notices.
    #[cfg(test)]
    pub(crate) fn acknowledge_early(&self, early: bool) {
        lock(&self.state).table.acknowledges_early = early;
    }

    /// Whether everything sent is acknowledged.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> bool {
        lock(&self.state).table.is_idle()
    }

    /// Waits until everything sent is acknowledged, at most `time`.
    pub fn drain(&self, time: Duration) {
        let end = Instant::now() + time;
        self.send_later();
        let mut state = lock(&self.state);
        while !state.table.is_idle() && Instant::now() < end {
            state = self.wait(state, LOOK);
        }
    }

    /// The session is over: tells it, and holds back what waited for the peer.
    pub(crate) fn lose(&self, epoch: u64, reason: &str) {
        let state = lock(&self.state);
        if epoch != 0 && state.table.epoch() == epoch {
            self.lose_now(state, reason.into());
        }
    }

    fn lose_now(&self, mut state: MutexGuard<'_, State>, reason: String) {
        let session = state.table.lose();
        state.close_channel();
        self.refresh(&state);
        drop(state);
        if let Some(session) = session {
            (self.events)(ReplicaEvent::StreamLost { session, reason });
        }
    }

    /// Everybody looks at the state again.
    fn refresh(&self, state: &State) {
        self.keep_right(&state.table);
        self.epoch.store(state.table.epoch(), Ordering::Release);
        self.changed.notify_all();
    }

    /// From now on the right to acknowledge is noted for the next process, before anything is done by it.
    pub(crate) fn set_keep(&self, keep: Arc<Keep>, negotiated: u64) {
        let state = lock(&self.state);
        // Set once: a sender lives for one mount.
        let _ = self.keep.set((keep, negotiated));
        self.keep_right(&state.table);
    }

    fn keep_right(&self, table: &Table) {
        if let Some((keep, negotiated)) = self.keep.get() {
            keep.store.set_right(&Right { negotiated: *negotiated, ..table.right() });
        }
    }

    /// One look at the clock: a broken stream that was not resumed, or a peer that does not acknowledge, is lost.
    fn look(&self) {
        let state = lock(&self.state);
        let now = Instant::now();
        let over = state.table.window_over(now, self.local.resume_window);
        if let Some(reason) = over.or_else(|| state.table.stuck(now, self.local.send_timeout)) {
            self.lose_now(state, reason);
        }
    }

    /// Has what waits for a next frame sent without one. By a thread of its own: whoever looks at the clock must not
    /// wait for a socket.
    fn look_for_later(self: &Arc<Self>) {
        // Somebody who is sending takes it along.
        let waits = self.writer.try_lock().is_ok_and(|writer| !writer.later.is_empty());
        if waits {
            let sender = self.clone();
            std::thread::spawn(move || sender.send_later());
        }
    }

    fn send_later(&self) {
        let mut writer = lock(&self.writer);
        let channel = lock(&self.state).channel.clone();
        self.send(&mut writer, channel.as_ref(), &[]);
    }

    /// Sends what has waited, then `frame`.
    fn send(&self, writer: &mut Writer, channel: Option<&Arc<Channel>>, frame: &[u8]) {
        let Writer { later, scratch } = writer;
        let Some(channel) = channel else { return later.clear() };
        let sent = if later.is_empty() {
            channel.send(frame, scratch)
        } else if later.len() + frame.len() <= LATER_MAX {
            later.extend_from_slice(frame);
            channel.send(later, scratch)
        } else {
            channel.send(later, scratch).and_then(|()| channel.send(frame, scratch))
        };
        later.clear();
        if let Err(error) = sent {
            self.detach(channel, &format!("sending to the secondary failed: {error}"));
        }
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let (mut state, _) = self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Waits until a frame may be kept; a peer that takes too long loses the session, so that no writer waits for ever.
    fn wait_room(&self, bulk: bool) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        let epoch = state.table.epoch();
        let began = Instant::now();
        while !state.table.has_room(bulk) && state.table.epoch() == epoch {
            if !bulk && began.elapsed() >= self.local.send_timeout {
                let reason = "the secondary does not keep up: nothing was taken within the send timeout";
                self.lose_now(state, reason.into());
                return lock(&self.state);
            }
            state = self.wait(state, LOOK);
        }
        state
    }

    /// Puts a frame into the stream; a `sync` is answered by its own word. `epoch` (not 0): only into that session's.
    /// Answers the ticket; `None` if it went nowhere.
    fn push(&self, frame: Vec<u8>, (haste, sync): (Haste, bool), epoch: u64) -> Option<u64> {
        let mut writer = lock(&self.writer);
        let ((sequence, frame), channel) = {
            let mut state = lock(&self.state);
            if epoch != 0 && state.table.epoch() != epoch {
                return None;
            }
            let now = Instant::now();
            let placed = state.table.place(frame, haste != Haste::Now, now)?;
            if sync {
                state.table.begin_sync(placed.0, now);
            }
            (placed, state.channel.clone())
        };
        crash::point("stream-placed");
        self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        self.operations.fetch_add(1, Ordering::Relaxed);
        if haste == Haste::Later && channel.is_some() && writer.later.len() + frame.len() <= LATER_MAX {
            writer.later.extend_from_slice(&frame);
        } else {
            self.send(&mut writer, channel.as_ref(), &frame);
            crash::point("stream-sent");
        }
        Some(sequence)
    }

    fn judged(&self, op: &Op) -> Op {
        if !matches!(op, Op::Bind { .. }) {
            return op.clone();
        }
        lock(&self.cover).as_mut().map_or_else(|| op.clone(), |cover| cover.judge(op))
    }

    fn note_fresh(&self, op: &Op) {
        match op {
            Op::Create { id, .. } | Op::Symlink { id, .. } if lock(&self.state).table.mode == Mode::Alone => {
                lock(&self.fresh).insert(*id);
            }
            Op::Forget { id } => {
                lock(&self.fresh).remove(id);
            }
            _ => {}
        }
    }
}

fn over() -> Lost {
    Lost("the session is over".into())
}

fn answer((verdict, answers): Verdicts) {
    for answer in answers {
        answer(verdict);
    }
}

impl Replicate for Sender {
    fn submit(&self, op: &Op, payload: &[u8]) -> Ticket {
        {
            let mut state = self.wait_room(false);
            if !state.table.streaming() {
                return Ticket(state.table.place_nowhere());
            }
        }
        self.note_fresh(op);
        let frame = encode(&Message::Op(self.judged(op)), payload);
        let sync = matches!(op, Op::Sync { .. } | Op::SyncAll);
        let sequence = self.push(frame, (Haste::Now, sync), 0);
        Ticket(sequence.unwrap_or_else(|| lock(&self.state).table.place_nowhere()))
    }

    fn submit_later(&self, op: &Op) {
        if self.wait_room(false).table.streaming() {
            self.note_fresh(op);
            // Without a stream by now there is nobody to tell.
            let _ = self.push(encode(&Message::Op(self.judged(op)), &[]), (Haste::Later, false), 0);
        }
    }

    fn complete(&self, ticket: Ticket, answer: Answer) {
        let now = lock(&self.state).table.complete(ticket.0, answer);
        if let Some((verdict, answer)) = now {
            answer(verdict);
        }
    }

    fn session(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn is_fresh(&self, id: FileId) -> bool {
        lock(&self.fresh).contains(&id)
    }
}
