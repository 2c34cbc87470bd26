//! The secondary's end of the stream: connects to the primary, applies what comes, acknowledges after each batch.

mod syncing;
#[cfg(test)]
mod tests;

use super::applier::{Applier, Effect};
use super::{Events, Local, lock};
use crate::control::Stats;
use crate::crash;
use crate::frame::{FrameReader, Message, encode};
use crate::front::pool::Pool;
use crate::tls::{Channel, Inbox, Protection};
use crate::track::{Named, Tracker};
use holdfast_api::ids::Generation;
use holdfast_core::replica::{Plane, ReplicaEvent, ResyncProgress};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use syncing::{Syncing, Wanted};

/// Longest wait for one connection attempt, and the pause between two.
const CONNECT: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(100);

/// Threads for the syncs of files: later changes do not wait for them.
const SYNC_THREADS: usize = 4;

/// What a follower needs.
#[derive(Clone)]
pub struct Follow {
    /// Who this replica is.
    pub local: Local,
    /// Where the primary listens.
    pub peer: SocketAddr,
    /// How the connection is protected.
    pub protection: Protection,
    /// Session both sides have saved.
    pub session: u64,
    /// Generation that is followed.
    pub generation: Generation,
    /// Where events go.
    pub events: Events,
    /// What this node knows of what may differ.
    pub tracker: Option<Arc<Tracker>>,
}

/// A running follower. Dropping it fences it.
pub struct Follower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    follow: Follow,
    stop: AtomicBool,
    confirmed: AtomicBool,
    /// The stream has ended and cannot be resumed.
    lost: AtomicBool,
    /// The socket of the connection or attempt now: shut down by a fence.
    socket: Mutex<Option<TcpStream>>,
    /// The greeted connection, and scratch room; held over each send.
    writer: Mutex<(Option<Arc<Channel>>, Vec<u8>)>,
    pause: (Mutex<()>, Condvar),
    /// What is known was saved for the last time: this node is fenced, or what is here is not what it should be.
    known_for_good: Mutex<bool>,
    syncing: Syncing,
    figures: Arc<Figures>,
}

/// What was applied since somebody asked last.
#[derive(Debug, Default)]
pub struct Figures {
    bytes: AtomicU64,
    operations: AtomicU64,
}

impl Figures {
    /// Figures since the last call; it waits for nothing.
    pub fn take(&self) -> Stats {
        Stats {
            bytes_per_s: self.bytes.swap(0, Ordering::Relaxed),
            ops_per_s: self.operations.swap(0, Ordering::Relaxed),
            ..Stats::default()
        }
    }
}

/// Where this side of the stream is.
#[derive(Default)]
struct Place {
    /// A greeting was answered once.
    connected: bool,
    /// Sequence number of the last frame applied.
    applied: u64,
    /// Since when, and why, there is no connection.
    broken: Option<(Instant, String)>,
}

/// How a connection ended.
enum End {
    /// It broke; the stream may resume.
    Broken(String),
    /// The stream cannot go on.
    Lost(String),
}

impl Follower {
    /// Connects (for as long as it takes) and applies.
    pub fn start(follow: Follow, applier: Applier) -> Self {
        let shared = Arc::new(Shared {
            follow,
            stop: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            socket: Mutex::new(None),
            writer: Mutex::default(),
            pause: (Mutex::new(()), Condvar::new()),
            known_for_good: Mutex::new(false),
            syncing: Syncing::default(),
            figures: Arc::default(),
        });
        let run = shared.clone();
        Self { shared, thread: Some(std::thread::spawn(move || run.run(applier))) }
    }

    /// The agent has saved UpToDate: the primary hears it, now or when the stream resumes.
    pub fn confirm(&self) {
        self.shared.confirmed.store(true, Ordering::Release);
        self.shared.send(&[Message::UpToDate]);
    }

    /// Accepts nothing more, applies everything that was received; returns when that is done.
    pub fn fence(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.pause.1.notify_all();
        if let Some(socket) = lock(&self.shared.socket).as_ref() {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has ended the process already.
            let _ = thread.join();
        }
        // A sync of the file systems under way may end when this node serves already: it saves nothing any more.
        *lock(&self.shared.known_for_good) = true;
    }

    /// Cuts the connection, as a network would.
    #[cfg(test)]
    pub(crate) fn cut(&self) {
        if let Some(socket) = lock(&self.shared.socket).as_ref() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// What an agent that finds this replica is told.
    pub fn plane(&self) -> Plane {
        Plane::Following { session: self.shared.follow.session, lost: self.shared.lost.load(Ordering::Acquire) }
    }

    /// What it applies.
    pub fn figures(&self) -> Arc<Figures> {
        self.shared.figures.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.fence();
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn tell(&self, event: ReplicaEvent) {
        if matches!(event, ReplicaEvent::StreamLost { .. }) {
            // First: whoever does not hear the event sees it.
            self.lost.store(true, Ordering::Release);
        }
        if !self.stopped() {
            (self.follow.events)(event);
        }
    }

    fn run(self: &Arc<Self>, mut applier: Applier) {
        let mut place = Place::default();
        let mut complained = String::new();
        let session = self.follow.session;
        let pool = match Pool::start("sync", SYNC_THREADS) {
            Ok(pool) => pool,
            Err(error) => {
                let reason = format!("cannot start the threads that sync: {error}; too many processes run here");
                return self.tell(ReplicaEvent::StreamLost { session, reason });
            }
        };
        while !self.stopped() {
            let end = self.connection(&mut applier, &mut place, &pool);
            // What the next greeting tells as applied must be synced where that was asked.
            let end = self.syncing.wait().map_or_else(End::Lost, |()| end);
            lock(&self.writer).0 = None;
            *lock(&self.socket) = None;
            match end {
                End::Lost(reason) => return self.tell(ReplicaEvent::StreamLost { session, reason }),
                End::Broken(reason) if place.connected => {
                    let (since, first) = place.broken.get_or_insert((Instant::now(), reason));
                    if since.elapsed() >= self.follow.local.resume_window {
                        let reason = first.clone();
                        return self.tell(ReplicaEvent::StreamLost { session, reason });
                    }
                }
                // Never connected: the primary may not be ready yet. Each new reason is told once.
                End::Broken(reason) if reason != complained => {
                    tracing::info!(%reason, peer = %self.follow.peer, "not connected to the primary yet");
                    complained = reason;
                }
                End::Broken(_) => {}
            }
            self.rest();
        }
    }

    fn rest(&self) {
        let guard = lock(&self.pause.0);
        if !self.stopped() {
            drop(self.pause.1.wait_timeout(guard, PAUSE).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// One connection, from dialling to its end.
    fn connection(self: &Arc<Self>, applier: &mut Applier, place: &mut Place, pool: &Pool) -> End {
        let (channel, mut reader) = match self.greet(place) {
            Ok(greeted) => greeted,
            Err(end) => return end,
        };
        let mut inbox = Inbox::default();
        loop {
            match self.batch(&mut reader, applier, &mut place.applied, pool) {
                Ok(()) => {}
                Err(reason) => {
                    // The primary learns why, and does not wait for a connection that cannot come.
                    self.send(&[Message::Broken(reason.clone())]);
                    channel.shutdown();
                    return End::Lost(reason);
                }
            }
            match channel.receive(&mut inbox, &mut reader) {
                Ok(true) => {}
                Ok(false) => return End::Broken("the primary closed the stream".into()),
                Err(error) => return End::Broken(format!("receiving from the primary failed: {error}")),
            }
        }
    }

    /// Dials and greets.
    fn greet(&self, place: &mut Place) -> Result<(Arc<Channel>, FrameReader), End> {
        let follow = &self.follow;
        let broken = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| End::Broken(format!("{what} {} failed: {error}", follow.peer))
        };
        let socket = TcpStream::connect_timeout(&follow.peer, CONNECT).map_err(broken("connecting to"))?;
        *lock(&self.socket) = Some(socket.try_clone().map_err(broken("connecting to"))?);
        if self.stopped() {
            return Err(End::Broken("fenced".into()));
        }
        let channel = follow.protection.channel(socket, false, follow.local.send_timeout);
        let channel = Arc::new(channel.map_err(broken("greeting"))?);
        let mut hello = follow.local.hello(follow.session, follow.generation, place.applied);
        hello.standing = follow.tracker.as_ref().map_or([0; 4], |tracker| tracker.standing().numbers());
        channel.send(&encode(&Message::Hello(hello), &[]), &mut Vec::new()).map_err(broken("greeting"))?;
        let mut reader = FrameReader::default();
        match self.answer_until_greeted(&channel, &mut reader).map_err(broken("greeting"))? {
            Message::Hello(theirs) if theirs.node == follow.local.peer_node && theirs.session == follow.session => {
                if !place.connected {
                    place.connected = true;
                    place.applied = theirs.applied;
                    self.tell(ReplicaEvent::Following { session: follow.session });
                }
                place.broken = None;
            }
            Message::Hello(theirs) => {
                return Err(End::Broken(format!("node {} answered for session {}", theirs.node, theirs.session)));
            }
            Message::Refused(reason) if !place.connected => return Err(End::Broken(reason)),
            Message::Refused(reason) => return Err(End::Lost(reason)),
            _ => return Err(End::Broken("the primary did not answer the greeting".into())),
        }
        channel.greeted().map_err(broken("greeting"))?;
        lock(&self.writer).0 = Some(channel.clone());
        if self.confirmed.load(Ordering::Acquire) {
            self.send(&[Message::UpToDate]);
        }
        Ok((channel, reader))
    }

    /// Answers what the primary asks before it greets; answers its greeting, or what came instead.
    fn answer_until_greeted(&self, channel: &Channel, reader: &mut FrameReader) -> std::io::Result<Message> {
        let mut parts = None;
        loop {
            let part = match channel.expect_message(reader)? {
                Message::NamesWanted(part) => part,
                other => return Ok(other),
            };
            let named = || self.follow.tracker.as_ref()?.named(0).as_ref().map(Named::parts);
            let parts = parts.get_or_insert_with(named);
            let told = parts.as_mut().and_then(|parts| parts.get_mut(part as usize)).map(std::mem::take);
            let last = parts.as_ref().is_none_or(|parts| part as usize + 1 >= parts.len());
            channel.send(&encode(&Message::Names { last, told }, &[]), &mut Vec::new())?;
        }
    }

    /// Applies every whole frame received, then acknowledges them at once.
    fn batch(
        self: &Arc<Self>,
        reader: &mut FrameReader,
        applier: &mut Applier,
        applied: &mut u64,
        pool: &Pool,
    ) -> Result<(), String> {
        let before = *applied;
        let mut replies = Vec::new();
        while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
            match frame.message {
                Message::Refused(reason) => return Err(reason),
                Message::Progress(figures) => self.progress(figures),
                message if frame.sequence == *applied + 1 => {
                    self.figures.bytes.fetch_add(frame.length as u64, Ordering::Relaxed);
                    self.figures.operations.fetch_add(1, Ordering::Relaxed);
                    match applier.apply(message, frame.payload).map_err(|error| self.doubt(error.to_string()))? {
                        Effect::None => {}
                        Effect::Reply(reply) => replies.push(reply),
                        Effect::Sync(job) => self.sync_beside(job, frame.sequence, pool),
                        Effect::Begin(job) => self.begin_beside(job, pool),
                        Effect::Flush { request, flush } => self.sync(applier, Wanted::Flush(request, flush)),
                        Effect::Mark { request, base, flush } => {
                            self.sync(applier, Wanted::Mark(request, (base, flush)))
                        }
                        Effect::Complete => self.sync(applier, Wanted::Complete),
                        Effect::Unknown => self.know(Tracker::nothing_known)?,
                    }
                    *applied += 1;
                    crash::point("peer-applied");
                }
                // Applied before the stream broke.
                _ if frame.sequence != 0 && frame.sequence <= *applied => {}
                _ => return Err(format!("frame {} came after frame {applied}", frame.sequence)),
            }
        }
        if *applied > before {
            applier.settle().map_err(|error| self.doubt(error.to_string()))?;
            replies.push(Message::Ack(*applied));
            crash::point("peer-settled");
        }
        self.send(&replies);
        if *applied > before {
            crash::point("peer-acknowledged");
        }
        Ok(())
    }

    /// Sends messages to the primary in one write. A failure shows when receiving.
    fn send(&self, messages: &[Message]) {
        if messages.is_empty() {
            return;
        }
        let bytes: Vec<u8> = messages.iter().flat_map(|message| encode(message, &[])).collect();
        let mut writer = lock(&self.writer);
        let (channel, scratch) = &mut *writer;
        if let Some(channel) = channel
            && let Err(error) = channel.send(&bytes, scratch)
        {
            tracing::debug!(%error, "sending to the primary failed");
            channel.shutdown();
        }
    }

    /// What is here is not what both nodes know: the next resync compares everything. Answers the reason.
    fn doubt(&self, reason: String) -> String {
        let mut known_for_good = lock(&self.known_for_good);
        if !std::mem::replace(&mut *known_for_good, true)
            && let Some(tracker) = &self.follow.tracker
            && let Err(error) = tracker.nothing_known()
        {
            tracing::error!(%error, "what may differ cannot be saved");
        }
        reason
    }

    /// Saves what is known now, unless that was done for the last time.
    fn know(&self, save: impl FnOnce(&Tracker) -> std::io::Result<()>) -> Result<(), String> {
        let known_for_good = lock(&self.known_for_good);
        if *known_for_good {
            return Err("what may differ is not this stream's any more".into());
        }
        let saved = self.follow.tracker.as_deref().map_or(Ok(()), save);
        saved.map_err(|error| {
            format!("saving what may differ: {error}; the disk of the secondary's state folder has failed, see its kernel log")
        })
    }

    fn progress(&self, figures: [u64; 8]) {
        let [entries_done, entries_total, bytes_done, bytes_total, bytes_sent, elapsed_ms, bytes_per_s, left] = figures;
        let left_ms = (left != u64::MAX).then_some(left);
        let progress = ResyncProgress {
            entries_done,
            entries_total,
            bytes_done,
            bytes_total,
            bytes_sent,
            elapsed_ms,
            bytes_per_s,
            left_ms,
        };
        self.tell(ReplicaEvent::ResyncProgress { progress });
    }
}
