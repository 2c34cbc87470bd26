//! The process that holds a mount's descriptors while replicas come and go: it knows nothing of files.

use super::messages::{Message, Mounts, receive, send};
use crate::front::end_mount;
use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest time a process at the door may take to say what it wants.
const GREETING: Duration = Duration::from_secs(1);

/// Everything that is held.
struct Held {
    mounts: Mounts,
    /// Memory, then connection and directory of each mount.
    descriptors: Vec<OwnedFd>,
    pinned: BTreeMap<u64, (OwnedFd, bool)>,
}

/// Holds what comes over `replica` for the processes that come to `door`, until nothing is left to hold.
///
/// # Errors
/// The system refuses to wait for anybody.
pub fn hold(replica: OwnedFd, door: OwnedFd) -> Result<()> {
    // Nothing that is meant for the data plane, by name or by session, is meant for this process.
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"holdfast-holder").context("cannot take a name of its own")?;
    std::env::set_current_dir("/")?;
    // It needs next to nothing, and everybody on the mount needs it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let limit = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit });
    Holder::new(replica, door).run()
}

pub(super) struct Holder {
    replica: Option<OwnedFd>,
    door: OwnedFd,
    held: Option<Held>,
    alone_since: Option<Instant>,
}

impl Holder {
    pub(super) fn new(replica: OwnedFd, door: OwnedFd) -> Self {
        Self { replica: Some(replica), door, held: None, alone_since: None }
    }

    /// Holds until nothing is left to hold.
    pub(super) fn run(mut self) -> Result<()> {
        loop {
            if self.replica.is_none() && self.held.is_none() {
                return Ok(());
            }
            let left = self.time_left();
            if left.is_some_and(|left| left.is_zero()) {
                tracing::error!("no data plane has taken the mount over in time: it is taken away");
                self.abandon();
                return Ok(());
            }
            let (of_replica, at_door) = self.wait(left)?;
            // All that a replica said before it ended counts, before anybody else is heard.
            if of_replica {
                self.hear();
            } else if at_door {
                self.serve_door();
            }
        }
    }

    fn time_left(&self) -> Option<Duration> {
        let limit = Duration::from_millis(self.held.as_ref()?.mounts.limit_ms);
        Some(limit.saturating_sub(self.alone_since?.elapsed()))
    }

    fn wait(&self, left: Option<Duration>) -> Result<(bool, bool)> {
        let mut polled = vec![PollFd::new(&self.door, PollFlags::IN)];
        polled.extend(self.replica.as_ref().map(|replica| PollFd::new(replica, PollFlags::IN)));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => bail!("cannot wait: {error}"),
        }
        let ready = |index: usize| polled.get(index).is_some_and(|polled| !polled.revents().is_empty());
        Ok((ready(1), ready(0)))
    }

    /// One message of the replica.
    fn hear(&mut self) {
        let Some(replica) = &self.replica else { return };
        match receive(replica) {
            Ok(Some((Message::Keep(mounts), descriptors))) => {
                let pinned = self.held.take().map(|held| held.pinned).unwrap_or_default();
                self.held = Some(Held { mounts, descriptors, pinned });
            }
            Ok(Some((Message::Pin { id, writable }, mut descriptors))) => {
                if let (Some(held), Some(descriptor)) = (&mut self.held, descriptors.pop()) {
                    held.pinned.insert(id, (descriptor, writable));
                }
            }
            Ok(Some((Message::Unpin(id), _))) => {
                if let Some(held) = &mut self.held {
                    held.pinned.remove(&id);
                }
            }
            Ok(Some((Message::Done, _))) => (self.held, self.replica) = (None, None),
            Ok(Some((Message::Abandon, _))) => self.abandon(),
            Ok(Some((Message::Take | Message::End, _))) => {}
            Ok(None) => self.alone(),
            Err(error) => {
                tracing::error!(%error, "a data plane is not understood");
                self.alone();
            }
        }
    }

    fn alone(&mut self) {
        self.replica = None;
        if let Some(held) = &self.held {
            self.alone_since = Some(Instant::now());
            tracing::warn!(
                limit_ms = held.mounts.limit_ms,
                "the data plane has ended: its mount waits for the next one"
            );
        }
    }

    fn serve_door(&mut self) {
        match self.greet() {
            Ok(Some(replica)) => {
                tracing::info!("another data plane takes the mount over");
                self.replica = Some(replica);
                self.alone_since = None;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("refused at the door: {error:#}"),
        }
    }

    /// `Some`: it has taken over. `None`: it has only looked, or has ended all.
    fn greet(&mut self) -> Result<Option<OwnedFd>> {
        let socket = accept_with(&self.door, SocketFlags::CLOEXEC)?;
        let peer = sockopt::socket_peercred(&socket)?;
        if !(peer.uid.is_root() || peer.uid == rustix::process::geteuid()) {
            bail!("user {} is not this machine's agent", peer.uid.as_raw());
        }
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(GREETING))?;
        match receive(&socket)? {
            Some((Message::Take, _)) => {
                if self.replica.is_some() {
                    bail!("a data plane serves the mount");
                }
                let Some(held) = &self.held else { return Ok(None) };
                // One that hangs is not to keep the mounts beyond their time.
                sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(GREETING))?;
                give(&socket, held)?;
                sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, None)?;
                Ok(Some(socket))
            }
            Some((Message::Abandon, _)) => {
                self.abandon();
                Ok(None)
            }
            Some(_) => bail!("it says what only the data plane may say"),
            None => Ok(None),
        }
    }

    /// Whoever waits on the mounts gets an error, and they are taken away.
    fn abandon(&mut self) {
        self.replica = None;
        let Some(held) = self.held.take() else { return };
        for (path, device) in held.mounts.at.iter().rev() {
            if let Err(error) = end_mount(path, *device) {
                tracing::error!(%error, "a mount stays, dead");
            }
        }
    }
}

fn give(socket: &OwnedFd, held: &Held) -> io::Result<()> {
    let all: Vec<BorrowedFd<'_>> = held.descriptors.iter().map(AsFd::as_fd).collect();
    send(socket, &Message::Keep(held.mounts.clone()), &all)?;
    for (id, (descriptor, writable)) in &held.pinned {
        send(socket, &Message::Pin { id: *id, writable: *writable }, &[descriptor.as_fd()])?;
    }
    send(socket, &Message::End, &[])
}
