//! The secondary's end of the stream: connects to the primary, applies what comes, acknowledges after each batch.

use super::applier::{Applier, Effect, SyncJob};
use super::{Events, Local, lock};
use crate::control::Stats;
use crate::frame::{FrameReader, Message, encode};
use crate::front::pool::Pool;
use crate::tls::{Channel, Protection};
use holdfast_api::ids::Generation;
use holdfast_core::replica::{ReplicaEvent, ResyncProgress};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
    /// The socket of the connection or attempt now: shut down by a fence.
    socket: Mutex<Option<TcpStream>>,
    /// The greeted connection, and scratch room; held over each send.
    writer: Mutex<(Option<Arc<Channel>>, Vec<u8>)>,
    pause: (Mutex<()>, Condvar),
    syncing: Syncing,
    bytes: AtomicU64,
    operations: AtomicU64,
}

/// Syncs under way beside the stream.
#[derive(Default)]
struct Syncing {
    state: Mutex<SyncState>,
    ended: Condvar,
}

#[derive(Default)]
struct SyncState {
    count: usize,
    /// Why one failed: the stream cannot go on.
    failure: Option<String>,
}

impl Syncing {
    /// Waits until none is under way; why one failed, if one did.
    fn wait(&self) -> Result<(), String> {
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
            socket: Mutex::new(None),
            writer: Mutex::default(),
            pause: (Mutex::new(()), Condvar::new()),
            syncing: Syncing::default(),
            bytes: AtomicU64::new(0),
            operations: AtomicU64::new(0),
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
    }

    /// Cuts the connection, as a network would.
    #[cfg(test)]
    pub(crate) fn cut(&self) {
        if let Some(socket) = lock(&self.shared.socket).as_ref() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Figures since the last call.
    pub fn take_stats(&self) -> Stats {
        Stats {
            bytes_per_s: self.shared.bytes.swap(0, Ordering::Relaxed),
            ops_per_s: self.shared.operations.swap(0, Ordering::Relaxed),
            ..Stats::default()
        }
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
        let mut raw = Vec::new();
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
            match channel.receive(&mut raw, &mut reader) {
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
        let hello = follow.local.hello(follow.session, follow.generation, place.applied);
        channel.send(&encode(&Message::Hello(hello), &[]), &mut Vec::new()).map_err(broken("greeting"))?;
        let mut reader = FrameReader::default();
        match channel.expect_message(&mut reader).map_err(broken("greeting"))? {
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
                    self.bytes.fetch_add(frame.length as u64, Ordering::Relaxed);
                    self.operations.fetch_add(1, Ordering::Relaxed);
                    match applier.apply(message, frame.payload).map_err(|error| error.to_string())? {
                        Effect::None => {}
                        Effect::Reply(reply) => replies.push(reply),
                        Effect::Sync(job) => self.sync_beside(job, frame.sequence, pool),
                        Effect::Flush(request) => self.sync(applier, Some(request)),
                        Effect::Complete => self.sync(applier, None),
                    }
                    *applied += 1;
                }
                // Applied before the stream broke.
                _ if frame.sequence != 0 && frame.sequence <= *applied => {}
                _ => return Err(format!("frame {} came after frame {applied}", frame.sequence)),
            }
        }
        if *applied > before {
            applier.settle().map_err(|error| error.to_string())?;
            replies.push(Message::Ack(*applied));
        }
        self.send(&replies);
        Ok(())
    }

    /// Has a sync done by another thread, which then tells the primary.
    fn sync_beside(self: &Arc<Self>, job: SyncJob, sequence: u64, pool: &Pool) {
        lock(&self.syncing.state).count += 1;
        let shared = self.clone();
        pool.run(move || {
            let failure = job.run().err().map(|error| error.to_string());
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

    /// Syncs the replicated file systems beside the stream (the primary's writes go on), then answers the primary or
    /// tells the agent. Everything applied before this call is covered.
    fn sync(self: &Arc<Self>, applier: &Applier, request: Option<u64>) {
        let roots = applier.roots();
        let shared = self.clone();
        std::thread::spawn(move || {
            let failed = roots.iter().find_map(|root| rustix::fs::syncfs(&**root).err());
            match (failed, request) {
                (Some(errno), _) => {
                    shared.send(&[Message::Broken(format!(
                        "syncing the replicated file systems: {errno}; the secondary's disk has failed, see its kernel log"
                    ))]);
                }
                (None, Some(request)) => shared.send(&[Message::Flushed(request)]),
                (None, None) => shared.tell(ReplicaEvent::CaughtUp { session: shared.follow.session }),
            }
        });
    }

    fn progress(&self, figures: [u64; 6]) {
        let [entries_done, entries_total, bytes_done, bytes_total, bytes_sent, elapsed_ms] = figures;
        let progress = ResyncProgress { entries_done, entries_total, bytes_done, bytes_total, bytes_sent, elapsed_ms };
        self.tell(ReplicaEvent::ResyncProgress { progress });
    }
}
