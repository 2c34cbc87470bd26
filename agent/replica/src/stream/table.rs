//! What the sender knows, as a value: mode, session, frames not yet acknowledged, answers held back.
//!
//! Every decision about who may hear of success is made here; threads and sockets are the sender's.

use super::pace::Pace;
use crate::frame::{Checked, Hello, number};
use crate::keep::{Right, Word};
use crate::replicate::{Answer, Verdict};
use holdfast_api::ids::Generation;
use holdfast_core::replica::{Acknowledges, Plane};
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most bytes of frames kept until they are acknowledged; above it writers wait.
pub(super) const KEPT_MAX: usize = 32 << 20;

/// Most samples of one second's latencies.
const SAMPLES_MAX: usize = 65536;

/// On whose word a change is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// On the grant for the generation: at once.
    Alone,
    /// On the peer's.
    Paired,
    /// On nobody's: the stream is lost, the core has not decided.
    Frozen,
    /// Never again.
    Refusing,
}

/// The peer of a session, as it first greeted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub boot_id: String,
    pub incarnation: u64,
}

/// One session: expected from `AcceptPeer`, open from the peer's first greeting.
#[derive(Debug)]
pub(super) struct Session {
    pub number: u64,
    /// Never reused in this process; what the front binds ids to.
    pub epoch: u64,
    pub peer: Option<Peer>,
    /// Sequence number before the first of this session.
    pub base: u64,
    pub broken: Option<(Instant, String)>,
    pub told_up_to_date: bool,
}

struct Kept {
    sequence: u64,
    frame: Arc<Vec<u8>>,
    bulk: bool,
    since: Instant,
}

/// An answer to something asked in a resync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Hashes(Vec<[u8; 32]>),
    Flushed,
    Checked(Checked),
}

/// What becomes of a greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// A new session begins.
    Opens,
    /// The session goes on after this sequence number.
    Resumes(u64),
    /// No, for this reason.
    Refused(String),
}

/// Answers to give once the lock is dropped.
pub(super) type Verdicts = (Verdict, Vec<Answer>);

pub(super) struct Table {
    pub mode: Mode,
    pub generation: Generation,
    /// The peer was told that it has everything: the grant for `generation` no longer allows to acknowledge alone.
    grant_given_up: bool,
    pub session: Option<Session>,
    pub sequence: u64,
    acked: u64,
    epochs: u64,
    /// Since when nobody's word counts.
    frozen_since: Option<Instant>,
    /// The same on the boot-time clock, in milliseconds.
    held_since_ms: u64,
    /// The session of the replica whose mount was taken over, until the core has decided.
    lost_session: u64,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    bulk_bytes: usize,
    pending: BTreeMap<(u64, u64), Answer>,
    /// Syncs the peer has not told the end of, and since when: an acknowledgement does not answer them.
    syncing: BTreeMap<u64, Instant>,
    unique: u64,
    pub replies: HashMap<u64, Option<Reply>>,
    samples: Vec<u32>,
    /// How much of them a resync may use.
    pub pace: Pace,
    /// A rule is broken, to see that a test notices.
    #[cfg(test)]
    pub acknowledges_early: bool,
}

impl Table {
    pub(super) fn new(generation: Generation) -> Self {
        Self {
            mode: Mode::Alone,
            generation,
            grant_given_up: false,
            #[cfg(test)]
            acknowledges_early: false,
            session: None,
            sequence: 0,
            acked: 0,
            epochs: 0,
            frozen_since: None,
            lost_session: 0,
            held_since_ms: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            bulk_bytes: 0,
            pending: BTreeMap::new(),
            syncing: BTreeMap::new(),
            unique: 0,
            replies: HashMap::new(),
            samples: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// Whether there is a session whose peer has greeted: changes go into its stream.
    pub(super) fn streaming(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.peer.is_some())
    }

    /// The open session's epoch; 0 without one.
    pub(super) fn epoch(&self) -> u64 {
        self.session.as_ref().filter(|session| session.peer.is_some()).map_or(0, |session| session.epoch)
    }

    pub(super) fn has_room(&self, bulk: bool) -> bool {
        !self.streaming()
            || (self.kept_bytes < KEPT_MAX && (!bulk || self.bulk_bytes < self.pace.window(Instant::now())))
    }

    /// Gives a frame its place in the stream and keeps it until it is acknowledged. `None`: there is no stream.
    pub(super) fn place(&mut self, mut frame: Vec<u8>, bulk: bool, now: Instant) -> Option<(u64, Arc<Vec<u8>>)> {
        if !self.streaming() {
            return None;
        }
        self.sequence += 1;
        number(&mut frame, self.sequence);
        let frame = Arc::new(frame);
        self.kept_bytes += frame.len();
        self.bulk_bytes += if bulk { frame.len() } else { 0 };
        self.kept.push_back(Kept { sequence: self.sequence, frame: frame.clone(), bulk, since: now });
        Some((self.sequence, frame))
    }

    /// The frame just placed is a sync: its answer waits for [`Table::synced`].
    pub(super) fn begin_sync(&mut self, sequence: u64, now: Instant) {
        self.syncing.insert(sequence, now);
    }

    /// The ticket of a change that goes nowhere: alone it waits for nothing, frozen for the decision.
    pub(super) fn place_nowhere(&mut self) -> u64 {
        if self.mode == Mode::Frozen {
            self.sequence += 1;
            return self.sequence;
        }
        0
    }

    /// The frames after `applied`, to be sent again.
    pub(super) fn kept_after(&self, applied: u64) -> Vec<Arc<Vec<u8>>> {
        self.kept.iter().filter(|kept| kept.sequence > applied).map(|kept| kept.frame.clone()).collect()
    }

    /// Answers now, or keeps the answer for later.
    pub(super) fn complete(&mut self, ticket: u64, answer: Answer) -> Option<(Verdict, Answer)> {
        #[cfg(test)]
        if self.acknowledges_early && self.mode == Mode::Paired {
            return Some((Verdict::Acknowledged, answer));
        }
        match self.mode {
            Mode::Refusing => Some((Verdict::Refused, answer)),
            Mode::Alone => Some((Verdict::Acknowledged, answer)),
            // Ticket 0 went nowhere before this session began: the resync has carried it (it compares each object
            // under its order lock, after the change), so it is acknowledged as everything before the session.
            Mode::Paired if ticket <= self.acked && !self.syncing.contains_key(&ticket) => {
                Some((Verdict::Acknowledged, answer))
            }
            Mode::Paired | Mode::Frozen => {
                self.unique += 1;
                self.pending.insert((ticket, self.unique), answer);
                None
            }
        }
    }

    /// The peer has applied everything up to `sequence`.
    pub(super) fn acknowledge(&mut self, sequence: u64, now: Instant) -> Result<Verdicts, String> {
        if sequence > self.sequence {
            return Err(format!("the peer acknowledged {sequence}, which was never sent"));
        }
        self.acked = self.acked.max(sequence);
        while self.kept.front().is_some_and(|kept| kept.sequence <= sequence) {
            let Some(kept) = self.kept.pop_front() else { break };
            self.kept_bytes -= kept.frame.len();
            self.bulk_bytes -= if kept.bulk { kept.frame.len() } else { 0 };
            if !kept.bulk {
                let waited = now.duration_since(kept.since).as_micros();
                let waited = u32::try_from(waited).unwrap_or(u32::MAX);
                self.pace.acknowledged(waited, now);
                if self.samples.len() < SAMPLES_MAX {
                    self.samples.push(waited);
                }
            }
        }
        if self.mode != Mode::Paired {
            return Ok((Verdict::Acknowledged, Vec::new()));
        }
        let later = self.pending.split_off(&(sequence + 1, 0));
        let mut answered = std::mem::replace(&mut self.pending, later);
        if self.syncing.first_key_value().is_some_and(|(first, _)| *first <= sequence) {
            let syncing = |(ticket, _): &(u64, u64)| self.syncing.contains_key(ticket);
            self.pending.extend(answered.extract_if(.., |key, _| syncing(key)));
        }
        Ok((Verdict::Acknowledged, answered.into_values().collect()))
    }

    /// The peer has done the sync `sequence`.
    pub(super) fn synced(&mut self, sequence: u64) -> Verdicts {
        self.syncing.remove(&sequence);
        if self.mode != Mode::Paired || sequence > self.acked {
            return (Verdict::Acknowledged, Vec::new());
        }
        let mut answered = self.pending.split_off(&(sequence, 0));
        self.pending.append(&mut answered.split_off(&(sequence + 1, 0)));
        (Verdict::Acknowledged, answered.into_values().collect())
    }

    /// The peer greets after a break: what it has applied is synced, too, where that was asked.
    pub(super) fn synced_before(&mut self, applied: u64) {
        self.syncing = self.syncing.split_off(&(applied + 1));
    }

    /// The peer greets after a break: what it answered before may have been lost, and it answers nothing twice.
    pub(super) fn answers_lost(&mut self) {
        self.replies.retain(|_, reply| reply.is_some());
    }

    /// Expects the peer for session `number`; refused while writes depend on another.
    pub(super) fn expect(&mut self, number: u64) -> Result<(), String> {
        if self.mode != Mode::Alone {
            return Err(format!(
                "session {number} cannot begin while changes wait for the peer of an older one: decide first whether \
                 to continue alone or to refuse"
            ));
        }
        self.close_session();
        self.epochs += 1;
        self.session = Some(Session {
            number,
            epoch: self.epochs,
            peer: None,
            base: self.sequence,
            broken: None,
            told_up_to_date: false,
        });
        Ok(())
    }

    /// Judges a peer's greeting.
    pub(super) fn greet(&self, hello: &Hello) -> Greeting {
        let Some(session) = &self.session else {
            return Greeting::Refused("no peer is expected now".into());
        };
        if session.number != hello.session {
            return Greeting::Refused(format!("session {} is expected, not {}", session.number, hello.session));
        }
        let ours = self.generation;
        if hello.generation.number > ours.number || (hello.generation.number == ours.number && hello.generation != ours)
        {
            return Greeting::Refused(format!(
                "generation {ours} is served here, the peer follows {}: nothing is overwritten",
                hello.generation
            ));
        }
        let Some(peer) = &session.peer else {
            return if hello.applied == 0 {
                Greeting::Opens
            } else {
                Greeting::Refused("the peer has applied changes of a session that never began here".into())
            };
        };
        if *peer != (Peer { boot_id: hello.boot_id.clone(), incarnation: hello.incarnation }) {
            return Greeting::Refused("the peer was started anew within a session: it needs a new one".into());
        }
        if self.mode != Mode::Paired {
            return Greeting::Refused("an interrupted resync begins anew in a new session".into());
        }
        let applied = if hello.applied == 0 { session.base } else { hello.applied };
        if applied < self.acked || applied > self.sequence {
            return Greeting::Refused(format!(
                "the peer has applied up to {applied}, acknowledged are {}, sent {}",
                self.acked, self.sequence
            ));
        }
        Greeting::Resumes(applied)
    }

    /// The session's peer greeted for the first time: from now on changes go into its stream.
    pub(super) fn open(&mut self, hello: &Hello) -> u64 {
        self.acked = self.sequence;
        let Some(session) = &mut self.session else { return 0 };
        session.peer = Some(Peer { boot_id: hello.boot_id.clone(), incarnation: hello.incarnation });
        session.base = self.sequence;
        session.epoch
    }

    /// Forgets the session and its frames; what is held back stays so.
    pub(super) fn close_session(&mut self) -> Option<u64> {
        self.kept.clear();
        self.kept_bytes = 0;
        self.bulk_bytes = 0;
        self.syncing.clear();
        self.replies.clear();
        self.session.take().map(|session| session.number)
    }

    /// All is copied: every change waits for the peer from now on. Whether there still is a stream to wait for.
    pub(super) fn pair(&mut self, epoch: u64) -> bool {
        let broken = self.session.as_ref().is_none_or(|session| session.broken.is_some());
        if self.epoch() != epoch || self.mode != Mode::Alone || broken {
            return false;
        }
        self.mode = Mode::Paired;
        true
    }

    /// The peer is to be told that it has everything. The stream may be lost already; then only the grant is given up,
    /// as the core has saved.
    pub(super) fn complete_resync(&mut self) -> Result<(), String> {
        if !matches!(self.mode, Mode::Paired | Mode::Frozen) {
            return Err("no resync has been copied: nothing to complete".into());
        }
        self.grant_given_up = true;
        Ok(())
    }

    /// The grant for a higher generation, or the one that was never given up: nothing waits for a peer any more.
    pub(super) fn continue_alone(&mut self, generation: Generation) -> Result<(), String> {
        if self.mode == Mode::Refusing {
            return Err("this node has refused its writers already: it can only be released".into());
        }
        let kept = generation == self.generation && !self.grant_given_up;
        if generation.number <= self.generation.number && !kept {
            let served = self.generation;
            return Err(format!("generation {generation} is not higher than {served}, which is served: no grant"));
        }
        self.generation = generation;
        self.grant_given_up = false;
        self.lost_session = 0;
        self.mode = Mode::Alone;
        self.frozen_since = None;
        self.close_session();
        Ok(())
    }

    /// The peer has saved UpToDate; whether this is news.
    pub(super) fn told_up_to_date(&mut self, epoch: u64) -> bool {
        let current = self.mode == Mode::Paired && self.epoch() == epoch;
        self.session.as_mut().is_some_and(|s| current && !std::mem::replace(&mut s.told_up_to_date, true))
    }

    /// Why the session must end because its oldest frame waits too long. Before the end of a resync nobody waits for
    /// the peer and single steps may take long there (removing a big tree), so patience is longer.
    pub(super) fn stuck(&self, now: Instant, timeout: Duration) -> Option<String> {
        let patience = if self.mode == Mode::Paired { timeout } else { timeout * 12 };
        let oldest = self.kept.front().map(|kept| kept.since).into_iter().chain(self.syncing.values().next().copied());
        let waited = now.duration_since(oldest.min()?);
        let text = "the secondary has not acknowledged a change for";
        (waited > patience).then(|| format!("{text} {} ms: its disk or the network stands still", patience.as_millis()))
    }

    /// The stream is gone for good: writes that waited for the peer now wait for a decision.
    pub(super) fn lose(&mut self) -> Option<u64> {
        if self.mode == Mode::Paired {
            self.mode = Mode::Frozen;
            self.frozen_since = Some(Instant::now());
            self.held_since_ms = boottime_ms();
        }
        self.close_session()
    }

    /// Everything held back, to be answered with one verdict.
    pub(super) fn release(&mut self, verdict: Verdict) -> Verdicts {
        (verdict, std::mem::take(&mut self.pending).into_values().collect())
    }

    /// What an agent that finds this replica is told.
    pub(super) fn plane(&self) -> Plane {
        let acknowledges = match self.mode {
            Mode::Alone => Acknowledges::Alone,
            Mode::Paired => Acknowledges::Paired,
            Mode::Frozen => {
                let held = self.frozen_since.map_or(Duration::ZERO, |since| since.elapsed());
                Acknowledges::Frozen { held_ms: u64::try_from(held.as_millis()).unwrap_or(u64::MAX) }
            }
            Mode::Refusing => return Plane::Nothing,
        };
        let session = self.session.as_ref().map(|session| session.number);
        Plane::Serving { generation: self.generation, acknowledges, session, connected: self.streaming() }
    }

    /// What a replica that takes this one's mount over may acknowledge; the protocol's flags are the caller's.
    pub(super) fn right(&self) -> Right {
        let word = match self.mode {
            Mode::Alone => Word::Grant,
            Mode::Paired => Word::Peer,
            Mode::Frozen => Word::Nobody(self.held_since_ms),
            Mode::Refusing => Word::Never,
        };
        let session = self.session.as_ref().map_or(self.lost_session, |session| session.number);
        Right { word, generation: self.generation, given_up: self.grant_given_up, session, negotiated: 0 }
    }

    /// The table of a replica that takes a mount over, with the right of the one before: without its stream, whatever
    /// waited for the peer waits for a decision. `now_ms`: the boot-time clock.
    pub(super) fn taken_over(right: &Right, now: Instant, now_ms: u64) -> Self {
        let mut table = Self::new(right.generation);
        table.grant_given_up = right.given_up;
        table.held_since_ms = now_ms;
        table.lost_session = right.session;
        table.mode = match right.word {
            Word::Grant => Mode::Alone,
            Word::Peer => Mode::Frozen,
            Word::Nobody(since) => {
                table.held_since_ms = since.min(now_ms);
                Mode::Frozen
            }
            Word::Never => Mode::Refusing,
        };
        if table.mode == Mode::Frozen {
            let held = Duration::from_millis(now_ms - table.held_since_ms);
            table.frozen_since = Some(now.checked_sub(held).unwrap_or(now));
        }
        table
    }

    /// Whether everything sent is acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.kept.is_empty() && self.syncing.is_empty()
    }

    pub(super) fn held_back(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Median and 99th percentile of the acknowledgements since the last call, in microseconds.
    pub(super) fn take_latencies(&mut self) -> (u64, u64) {
        self.samples.sort_unstable();
        let at = |part: usize| self.samples.get(self.samples.len() * part / 100).copied().unwrap_or(0).into();
        let both = (at(50), at(99));
        self.samples.clear();
        both
    }

    /// Whether a broken stream's time to resume is over, and why it broke.
    pub(super) fn window_over(&self, now: Instant, window: Duration) -> Option<String> {
        let (since, reason) = self.session.as_ref()?.broken.as_ref()?;
        let resumable = self.mode == Mode::Paired && now.duration_since(*since) < window;
        (!resumable).then(|| reason.clone())
    }
}

/// The clock that goes on while the machine sleeps, in milliseconds.
pub(crate) fn boottime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests;
