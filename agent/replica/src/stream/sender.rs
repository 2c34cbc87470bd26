//! The primary's end of the stream: gives changes their order, sends them, answers when they are safe.
//!
//! Locks, always in this order: `writer` (sequence number, encryption, one write) before `state` (never held while a
//! system call blocks). Acknowledgements need only the state, so a writer that waits for the socket delays no answer; who
//! ends a stream takes its channel from the state and shuts it down, which lets that writer go.

use super::cover::Cover;
use super::table::{Greeting, Mode, Reply, Table, Verdicts};
use super::{Events, Local, Lost, lock};
use crate::control::Stats;
use crate::frame::{Hello, Message, ResyncStep, encode};
use crate::op::{FileId, Op};
use crate::replicate::{Answer, Replicate, Ticket, Verdict};
use crate::tls::Channel;
use holdfast_api::ids::Generation;
use holdfast_core::replica::{Plane, ReplicaEvent};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a broken or slow stream is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// The primary's end of the stream.
pub struct Sender {
    local: Local,
    events: Events,
    /// Held over numbering and sending a frame; the scratch room is for encryption.
    writer: Mutex<Vec<u8>>,
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

/// How a connection was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The session's epoch.
    pub epoch: u64,
    /// The session.
    pub session: u64,
    /// Whether the session began with it.
    pub first: bool,
}

impl Sender {
    /// A sender that acknowledges alone under `generation`.
    pub fn new(local: Local, generation: Generation, events: Events) -> Arc<Self> {
        let sender = Arc::new(Self {
            local,
            events,
            writer: Mutex::default(),
            state: Mutex::new(State { table: Table::new(generation), channel: None, waiting: 0 }),
            changed: Condvar::new(),
            epoch: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            fresh: Mutex::default(),
            cover: Mutex::default(),
            pair_round: AtomicU64::new(0),
        });
        let watched = Arc::downgrade(&sender);
        std::thread::spawn(move || {
            while let Some(sender) = watched.upgrade() {
                sender.look();
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
            state.table.epoch()
        };
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
        }
    }

    /// Whether everything sent is acknowledged.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> bool {
        lock(&self.state).table.is_idle()
    }

    /// Waits until everything sent is acknowledged, at most `time`.
    pub fn drain(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = lock(&self.state);
        while !state.table.is_idle() && Instant::now() < end {
            state = self.wait(state, LOOK);
        }
    }

    /// Whether `hello` would be taken now; the judgement holds until the session changes.
    pub(crate) fn judge(&self, hello: &Hello) -> Greeting {
        if hello.module != self.local.module || hello.node != self.local.peer_node {
            return Greeting::Refused(format!(
                "module {} of node {} greets, module {} of node {} is expected: compare the configurations of both nodes",
                hello.module, hello.node, self.local.module, self.local.peer_node
            ));
        }
        lock(&self.state).table.greet(hello)
    }

    /// Takes a connection whose peer greeted with `hello`: answers the greeting and sends what is missing there. For a
    /// new session the caller has paused all changes, so that none is between looking for the session and submitting.
    pub(crate) fn attach(&self, channel: &Arc<Channel>, hello: &Hello) -> Result<Attached, Lost> {
        // A half-open connection before this one may hold a writer: let it go.
        lock(&self.state).close_channel();
        let mut scratch = lock(&self.writer);
        let (attached, ours, again, verdicts) = {
            let mut state = lock(&self.state);
            let table = &mut state.table;
            let (first, applied) = match table.greet(hello) {
                Greeting::Opens => (true, table.sequence),
                Greeting::Resumes(applied) => (false, applied),
                Greeting::Refused(reason) => {
                    // Its old connection is closed by now: let the window run.
                    if let Some(session) = &mut table.session {
                        session.broken.get_or_insert((Instant::now(), reason.clone()));
                    }
                    return Err(Lost(reason));
                }
            };
            let epoch = if first { table.open(hello) } else { table.epoch() };
            if first {
                lock(&self.fresh).clear();
            }
            if let Some(session) = &mut table.session {
                session.broken = None;
            }
            let ours = self.local.hello(hello.session, table.generation, applied);
            // Its greeting acknowledges what it has applied: those acknowledgements may have been lost with the connection.
            table.synced_before(applied);
            table.answers_lost();
            let verdicts = table.acknowledge(applied, Instant::now()).map_err(Lost)?;
            let again = table.kept_after(applied);
            state.channel = Some(channel.clone());
            self.refresh(&state);
            (Attached { epoch, session: hello.session, first }, ours, again, verdicts)
        };
        answer(verdicts);
        let mut sent = channel.send(&encode(&Message::Hello(ours), &[]), &mut scratch);
        for frame in again {
            sent = sent.and_then(|()| channel.send(&frame, &mut scratch));
        }
        if let Err(error) = sent {
            self.detach(channel, &format!("sending to the secondary failed: {error}"));
        }
        Ok(attached)
    }

    /// A message from the peer.
    pub(crate) fn received(&self, message: Message, attached: Attached) -> Result<(), Lost> {
        match message {
            Message::Ack(sequence) => {
                let (verdicts, waiting) = {
                    let mut state = lock(&self.state);
                    if state.table.epoch() != attached.epoch {
                        return Ok(());
                    }
                    (state.table.acknowledge(sequence, Instant::now()).map_err(Lost)?, state.waiting > 0)
                };
                if waiting {
                    self.changed.notify_all();
                }
                answer(verdicts);
            }
            Message::Synced(sequence) => {
                let (verdicts, waiting) = {
                    let mut state = lock(&self.state);
                    if state.table.epoch() != attached.epoch {
                        return Ok(());
                    }
                    (state.table.synced(sequence), state.waiting > 0)
                };
                if waiting {
                    self.changed.notify_all();
                }
                answer(verdicts);
            }
            Message::Hashes { request, blocks } => self.replied(request, Reply::Hashes(blocks)),
            Message::Flushed(request) => self.replied(request, Reply::Flushed),
            Message::Checked { request, checked } => self.replied(request, Reply::Checked(checked)),
            Message::UpToDate => {
                let first = lock(&self.state).table.told_up_to_date(attached.epoch);
                if first {
                    (self.events)(ReplicaEvent::PeerUpToDate { session: attached.session });
                }
            }
            Message::Broken(reason) => self.lose(attached.epoch, &format!("the secondary cannot go on: {reason}")),
            Message::Refused(reason) => self.lose(attached.epoch, &format!("the secondary ended the stream: {reason}")),
            _ => return Err(Lost("the secondary sent what only a primary sends".into())),
        }
        Ok(())
    }

    fn replied(&self, request: u64, reply: Reply) {
        if let Some(slot) = lock(&self.state).table.replies.get_mut(&request) {
            *slot = Some(reply);
        }
        self.changed.notify_all();
    }

    /// `channel` is of no more use; its session may resume on another for a while.
    pub(crate) fn detach(&self, channel: &Arc<Channel>, reason: &str) {
        channel.shutdown();
        let mut state = lock(&self.state);
        if !state.channel.as_ref().is_some_and(|current| Arc::ptr_eq(current, channel)) {
            return;
        }
        state.channel = None;
        if let Some(session) = &mut state.table.session {
            session.broken.get_or_insert((Instant::now(), reason.into()));
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
        self.epoch.store(state.table.epoch(), Ordering::Release);
        self.changed.notify_all();
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

    /// Puts a frame into the stream; a `sync` is answered by its own word. `epoch` (not 0): only into that session's. Answers the ticket; `None` if it went
    /// nowhere.
    fn push(&self, frame: Vec<u8>, (bulk, sync): (bool, bool), epoch: u64) -> Option<u64> {
        let mut scratch = lock(&self.writer);
        let ((sequence, frame), channel) = {
            let mut state = lock(&self.state);
            if epoch != 0 && state.table.epoch() != epoch {
                return None;
            }
            let now = Instant::now();
            let placed = state.table.place(frame, bulk, now)?;
            if sync {
                state.table.begin_sync(placed.0, now);
            }
            (placed, state.channel.clone())
        };
        self.bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
        self.operations.fetch_add(1, Ordering::Relaxed);
        if let Some(channel) = channel
            && let Err(error) = channel.send(&frame, &mut scratch)
        {
            self.detach(&channel, &format!("sending to the secondary failed: {error}"));
        }
        Some(sequence)
    }

    /// From here on these names only may mean something else on the secondary; `None`: any may.
    pub(crate) fn set_cover(&self, cover: Option<Cover>) {
        *lock(&self.cover) = cover;
    }

    /// Looks at or changes the cover; the answer's default where there is none.
    pub(crate) fn cover<T: Default>(&self, with: impl FnOnce(&mut Cover) -> T) -> T {
        lock(&self.cover).as_mut().map(with).unwrap_or_default()
    }

    /// Whether a resync by names runs.
    pub(crate) fn is_covered(&self) -> bool {
        lock(&self.cover).is_some()
    }

    fn judged(&self, op: &Op) -> Op {
        if !matches!(op, Op::Bind { .. }) {
            return op.clone();
        }
        lock(&self.cover).as_mut().map_or_else(|| op.clone(), |cover| cover.judge(op))
    }

    /// (Resync) sends a binding.
    pub(crate) fn resync_bind(&self, epoch: u64, op: &Op) -> Result<(), Lost> {
        self.resync_send(epoch, &Message::Op(self.judged(op)), &[])
    }

    /// The round of the tracker that ended when every change began to wait for the peer.
    pub(crate) fn set_pair_round(&self, round: u64) {
        self.pair_round.store(round, Ordering::Release);
    }

    /// See [`Sender::set_pair_round`].
    pub(crate) fn pair_round(&self) -> u64 {
        self.pair_round.load(Ordering::Acquire)
    }

    /// The session and its epoch if its peer is up to date.
    pub(crate) fn up_to_date(&self) -> Option<(u64, u64)> {
        let state = lock(&self.state);
        let session = state.table.session.as_ref().filter(|session| session.told_up_to_date)?;
        Some((session.number, session.epoch))
    }

    /// (Resync) waits until some of the resync's bytes have been acknowledged. Call it without any order lock.
    pub(crate) fn wait_window(&self, epoch: u64) -> Result<(), Lost> {
        let state = self.wait_room(true);
        if state.table.epoch() == epoch { Ok(()) } else { Err(over()) }
    }

    /// (Resync) whether the session stands.
    pub(crate) fn still(&self, epoch: u64) -> Result<(), Lost> {
        if lock(&self.state).table.epoch() == epoch { Ok(()) } else { Err(over()) }
    }

    /// (Resync) how long to rest before the next step, so that the application's changes do not wait.
    pub(crate) fn rest(&self) -> Duration {
        lock(&self.state).table.pace.rest(Instant::now())
    }

    /// (Resync) sends a step.
    pub(crate) fn resync_send(&self, epoch: u64, message: &Message, payload: &[u8]) -> Result<(), Lost> {
        self.push(encode(message, payload), (true, false), epoch).map(|_| ()).ok_or_else(over)
    }

    /// (Resync) sends a message outside the order, if the stream stands.
    pub(crate) fn tell(&self, message: &Message) {
        let mut scratch = lock(&self.writer);
        let channel = lock(&self.state).channel.clone();
        if let Some(channel) = channel
            && let Err(error) = channel.send(&encode(message, &[]), &mut scratch)
        {
            self.detach(&channel, &format!("sending to the secondary failed: {error}"));
        }
    }

    /// (Resync) asks the secondary; [`Sender::reply`] waits for the answer.
    pub(crate) fn ask(&self, epoch: u64, step: impl FnOnce(u64) -> ResyncStep) -> Result<u64, Lost> {
        self.ask_with(epoch, |request| Message::Resync(step(request)))
    }

    /// As [`Sender::ask`], with any message.
    pub(crate) fn ask_with(&self, epoch: u64, message: impl FnOnce(u64) -> Message) -> Result<u64, Lost> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.state).table.replies.insert(request, None);
        self.resync_send(epoch, &message(request), &[])?;
        Ok(request)
    }

    /// (Resync) waits for an answer.
    pub(crate) fn reply(&self, epoch: u64, request: u64) -> Result<Reply, Lost> {
        let mut state = lock(&self.state);
        loop {
            if state.table.epoch() != epoch {
                return Err(over());
            }
            match state.table.replies.get(&request) {
                None => return Err(Lost("the connection broke before the answer came".into())),
                Some(None) => {}
                Some(Some(_)) => return state.table.replies.remove(&request).flatten().ok_or_else(over),
            }
            state = self.wait(state, LOOK);
        }
    }

    /// (Resync) all is copied: from now every new write waits for the peer.
    pub(crate) fn pair(&self, epoch: u64) -> Result<(), Lost> {
        if !lock(&self.state).table.pair(epoch) {
            return Err(over());
        }
        *lock(&self.fresh) = HashSet::new();
        self.set_cover(None);
        Ok(())
    }

    /// The epoch of the session whose peer is in sync, if there is one.
    pub(crate) fn paired(&self) -> Option<u64> {
        let state = lock(&self.state);
        (state.table.mode == Mode::Paired).then(|| state.table.epoch())
    }

    /// Why a peer that asks what is here is not the one expected.
    pub(crate) fn judge_survey(&self, hello: &Hello) -> Option<String> {
        let right = hello.module == self.local.module && hello.node == self.local.peer_node;
        (!right).then(|| format!("module {} of node {} asks what is here", hello.module, hello.node))
    }

    /// This end's greeting of a survey.
    pub(crate) fn survey_hello(&self) -> Hello {
        let generation = lock(&self.state).table.generation;
        self.local.hello(0, generation, 0)
    }

    /// (Resync) whether the object was made in this session.
    pub(crate) fn is_fresh(&self, id: FileId) -> bool {
        lock(&self.fresh).contains(&id)
    }

    /// (Resync) what was made in this session is compared, too.
    pub(crate) fn forget_fresh(&self) {
        lock(&self.fresh).clear();
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
        let sequence = self.push(frame, (false, sync), 0);
        Ticket(sequence.unwrap_or_else(|| lock(&self.state).table.place_nowhere()))
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
}
