//! One `holdfast-replica` process, commanded as its agent would: the only place of the bench that knows how.

use crate::lab::program_path;
use anyhow::{Context, Result, bail};
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{self, Configure, FromReplica, ToReplica};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long a replica may take to end once its control socket is closed.
const END: Duration = Duration::from_secs(12);

/// A running process; dropped, it takes its mount away and ends.
pub struct Replica {
    child: Child,
    socket: UnixStream,
    told: Receiver<ReplicaEvent>,
}

impl Replica {
    /// Starts the process; what it logs goes to `log`.
    ///
    /// # Errors
    /// It was not built or does not start.
    pub fn start(configure: Configure, log: &Path) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let number = theirs.as_raw_fd();
        let mut command = Command::new(program_path("holdfast-replica")?);
        command.args(["--control-fd", &number.to_string()]).env("RUST_LOG", "warn");
        command.stderr(std::fs::File::create(log)?);
        // SAFETY: between fork and exec only one system call is made, on a descriptor that is open.
        unsafe {
            command.pre_exec(move || {
                let fd = BorrowedFd::borrow_raw(number);
                Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
            });
        }
        let child = command.spawn().context("cannot run holdfast-replica")?;
        drop(theirs);
        control::send(&ours, &ToReplica::Configure(Box::new(configure)))?;
        let (tell, told) = mpsc::channel();
        let socket = ours.try_clone()?;
        std::thread::spawn(move || {
            while let Ok(Some(message)) = control::receive::<FromReplica>(&socket) {
                let FromReplica::Event(event) = message else { continue };
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, socket: ours, told })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order.
    ///
    /// # Errors
    /// The process is gone.
    pub fn order(&self, command: ReplicaCommand) -> Result<()> {
        Ok(control::send(&self.socket, &ToReplica::Command(command))?)
    }

    /// Waits for an event that `pick` takes; those before it are passed over.
    ///
    /// # Errors
    /// It does not come, or the replica tells of a failure.
    pub fn expect<T>(&self, what: &str, pick: impl Fn(&ReplicaEvent) -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.told.recv_timeout(left).with_context(|| format!("the replica never told {what}"))?;
            if let Some(value) = pick(&event) {
                return Ok(value);
            }
            if matches!(event, ReplicaEvent::Failed { .. } | ReplicaEvent::StreamLost { .. }) {
                bail!("waiting for {what}, the replica told {event:?}");
            }
        }
    }

    /// Waits for exactly this event.
    ///
    /// # Errors
    /// As [`Replica::expect`].
    pub fn expect_event(&self, wanted: &ReplicaEvent) -> Result<()> {
        self.expect(&format!("{wanted:?}"), |event| (event == wanted).then_some(()))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let end = Instant::now() + END;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
