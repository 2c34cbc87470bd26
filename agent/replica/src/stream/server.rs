//! The serving side's door: accepts the peer's connection, greets it, reads its acknowledgements.

use super::sender::{Attached, Sender};
use super::table::Greeting;
use super::{Events, lock};
use crate::frame::{FrameReader, Hello, Message, encode};
use crate::front::Inodes;
use crate::resync::{Limits, Plan, Union};
use crate::tls::{Channel, Inbox, Protection};
use crate::track::{
    Named, Standing, Tracker,
    told::{PARTS_MAX, TOLD_MAX},
};
use holdfast_core::replica::ReplicaEvent;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most connections that are not yet greeted.
const GREETING_MAX: usize = 8;
/// Accepting fails when file descriptors or memory are short: it waits for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the door serves.
#[derive(Clone)]
pub struct Serve {
    /// Where connections end.
    pub sender: Arc<Sender>,
    /// What a resync walks.
    pub inodes: Arc<Inodes>,
    /// How connections are protected.
    pub protection: Protection,
    /// Longest wait for a socket to take bytes.
    pub send_timeout: Duration,
    /// Where events go.
    pub events: Events,
    /// What a resync may use.
    pub limits: Limits,
}

/// An open door. Dropping it closes it; connections that are through stay.
pub struct Server {
    listener: Arc<TcpListener>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address`.
    pub fn start(address: SocketAddr, serve: Serve) -> io::Result<Self> {
        let listener = Arc::new(TcpListener::bind(address)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (door, stopped) = (listener.clone(), stop.clone());
        let thread = std::thread::spawn(move || accept(&door, &stopped, &serve));
        Ok(Self { listener, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Lets a blocked `accept` return.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &AtomicBool, serve: &Serve) {
    let greeting = Arc::new(AtomicUsize::new(0));
    while !stop.load(Ordering::Acquire) {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(_) if stop.load(Ordering::Acquire) => return,
            Err(error) => {
                tracing::warn!(%error, "accepting a replication connection failed");
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        if greeting.fetch_add(1, Ordering::AcqRel) >= GREETING_MAX {
            greeting.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("a replication connection was dropped: too many are greeting at once");
            continue;
        }
        let (serve, greeting) = (serve.clone(), greeting.clone());
        std::thread::spawn(move || {
            let peer = socket.peer_addr().ok();
            let greeted = greet(socket, &serve);
            greeting.fetch_sub(1, Ordering::AcqRel);
            match greeted {
                Ok(Some((channel, reader, attached))) => read(&channel, reader, attached, &serve),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, ?peer, "a replication connection was refused"),
            }
        });
    }
}

type Greeted = (Arc<Channel>, FrameReader, Attached);

/// How a session begins.
pub(crate) struct Opening {
    /// What is compared.
    pub(crate) plan: Plan,
    /// What both nodes stand on, if that counts.
    pub(crate) base: Option<u64>,
    /// The tracker's round that ended when the session began; `None`: nothing is tracked.
    pub(crate) since: Option<u64>,
}

/// Handshake and greeting; for a new session everything that changes the tree is paused meanwhile.
/// `None`: it only asked what is here, and has heard it.
fn greet(socket: TcpStream, serve: &Serve) -> io::Result<Option<Greeted>> {
    // One session begins at a time.
    static OPENING: Mutex<()> = Mutex::new(());
    let channel = Arc::new(serve.protection.channel(socket, true, serve.send_timeout)?);
    let mut reader = FrameReader::default();
    let hello = match channel.expect_message(&mut reader)? {
        Message::Hello(hello) => hello,
        Message::Survey(hello) => return crate::survey::serve(&channel, &hello, serve).map(|()| None),
        _ => return Err(io::Error::other("the peer did not greet")),
    };
    let refuse = |reason: String| {
        // It may be gone already; it will ask again.
        let _ = channel.send(&encode(&Message::Refused(reason.clone()), &[]), &mut Vec::new());
        io::Error::other(reason)
    };
    let _opening = lock(&OPENING);
    channel.greeted()?;
    let attached = match serve.sender.judge(&hello) {
        Greeting::Refused(reason) => return Err(refuse(reason)),
        Greeting::Resumes(_) => serve.sender.attach(&channel, &hello),
        Greeting::Opens => {
            // What the last one still does, with what it found before its session ended, is not this one's.
            serve.sender.wait_for_resync();
            let known = known(&channel, &mut reader, &hello, serve)?;
            open(&channel, &hello, serve, known).map(|(attached, opening)| begin(serve, attached, opening))
        }
    };
    attached.map(|attached| Some((channel.clone(), reader, attached))).map_err(|lost| refuse(lost.0))
}

/// What both nodes name, looked up here.
struct Known {
    union: Union,
    /// The round from which on this node's names are still to be added.
    round: u64,
    /// What both stand on, if it is the same.
    base: Option<u64>,
}

/// What both nodes name; `None`: everything has to be compared.
fn known(channel: &Channel, reader: &mut FrameReader, hello: &Hello, serve: &Serve) -> io::Result<Option<Known>> {
    let Some(tracker) = serve.inodes.tracker() else { return Ok(None) };
    let (ours, stands) = (tracker.standing(), Standing::from_numbers(hello.standing));
    if !ours.knows_with(&stands) {
        tracing::info!(?ours, theirs = ?stands, "the nodes do not know what differs: everything is compared");
        return Ok(None);
    }
    let Some(named) = ask_names(channel, reader)? else { return Ok(None) };
    // What is touched from now on is looked up when no change is half-way.
    let paused = serve.inodes.pause_changes();
    let round = tracker.next_round() + 1;
    drop(paused);
    let mut union = Union::default();
    let base = (ours.base == stands.base).then_some(ours.base);
    Ok(add_named(&mut union, tracker, serve, 0, named).map(|()| Known { union, round, base }))
}

/// Adds what this node names since `round`, and `more`.
fn add_named(union: &mut Union, tracker: &Tracker, serve: &Serve, round: u64, more: Named) -> Option<()> {
    let mut named = tracker.named(round)?;
    named.merge(more);
    let added = union.add(&serve.inodes, named);
    added.map_err(|errno| tracing::info!(%errno, "what differs cannot be looked up: everything is compared")).ok()
}

fn ask_names(channel: &Channel, reader: &mut FrameReader) -> io::Result<Option<Named>> {
    let mut named = Named::default();
    let mut heard = 0;
    for part in 0..PARTS_MAX {
        channel.send(&encode(&Message::NamesWanted(part), &[]), &mut Vec::new())?;
        let Message::Names { last, told } = channel.expect_message(reader)? else {
            return Err(io::Error::other("the peer did not tell what may differ"));
        };
        let Some(told) = told else { return Ok(None) };
        heard += told.len();
        if heard > TOLD_MAX {
            return Ok(None);
        }
        named.hear(told);
        if last {
            return Ok(Some(named));
        }
    }
    Ok(None)
}

fn open(
    channel: &Arc<Channel>,
    hello: &Hello,
    serve: &Serve,
    known: Option<Known>,
) -> Result<(Attached, Opening), super::Lost> {
    // No change is between looking for the session and its local part while this is held: each is either wholly before
    // the session (the resync compares its objects later) or wholly in it.
    let paused = serve.inodes.pause_changes();
    serve.inodes.watch_touched(true);
    let base = known.as_ref().and_then(|known| known.base);
    let union = known.filter(|_| !serve.inodes.any_lost_name()).and_then(|Known { mut union, round, .. }| {
        let tracker = serve.inodes.tracker()?;
        add_named(&mut union, tracker, serve, round, Named::default()).map(|()| union)
    });
    serve.sender.set_cover(union.as_ref().map(Union::cover));
    let tracker = serve.inodes.tracker();
    let base = base.filter(|_| union.is_some());
    let attached = serve.sender.attach(channel, hello);
    if attached.is_err() {
        serve.inodes.watch_touched(false);
    }
    // What is changed from here on may be told again at a mark; what was before is compared.
    let since = tracker.map(|tracker| tracker.next_round());
    drop(paused);
    let plan = union.map_or(Plan::Full, Plan::Named);
    attached.map(|attached| (attached, Opening { plan, base, since }))
}

/// Has the peer of a session that was just opened resynced.
fn begin(serve: &Serve, attached: Attached, opening: Opening) -> Attached {
    (serve.events)(ReplicaEvent::PeerConnected { session: attached.session });
    let run = serve.clone();
    serve.sender.resync_by(std::thread::spawn(move || crate::resync::run(&run, attached, opening)));
    attached
}

fn read(channel: &Arc<Channel>, mut reader: FrameReader, attached: Attached, serve: &Serve) {
    let mut inbox = Inbox::default();
    let reason = loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                if let Message::Broken(why) = &frame.message {
                    // What is there is not what both nodes know.
                    serve.inodes.doubt(&format!("the secondary cannot go on: {why}"));
                }
                if let Err(lost) = serve.sender.received(frame.message, attached) {
                    serve.sender.lose(attached.epoch, &lost.0);
                    break lost.0;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                serve.sender.lose(attached.epoch, &error.to_string());
                break error.to_string();
            }
        }
        match channel.receive(&mut inbox, &mut reader) {
            Ok(true) => {}
            Ok(false) => break "the secondary closed the stream".into(),
            Err(error) => break format!("receiving from the secondary failed: {error}"),
        }
    };
    serve.sender.detach(channel, &reason);
}
