//! A data plane that an earlier agent has left running: what it says, going on with it, ending it.

use anyhow::{Context, Result, bail, ensure};
use holdfast_core::replica::Plane;
use holdfast_replica::control::{Configure, Decoder, FromReplica, ToReplica, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Longest time it may take to answer.
const HELLO: Duration = Duration::from_secs(2);

/// It may not have noticed yet that the last agent is gone.
const AGAIN: Duration = Duration::from_millis(50);

/// Longest time of an orderly end: its own limit, and a little more.
const END: Duration = Duration::from_secs(12);

/// Longest time until a killed process is gone.
pub(super) const KILLED: Duration = Duration::from_secs(5);

/// A data plane that obeys this agent now.
#[derive(Debug)]
pub struct Found {
    /// What it does.
    pub plane: Plane,
    pub(super) socket: UnixStream,
    /// What was read and not decoded yet.
    pub(super) decoder: Decoder,
    pub(super) process: super::Process,
}

/// A process that is not this agent's child.
#[derive(Clone, Debug)]
pub(super) struct Process {
    descriptor: Arc<OwnedFd>,
    number: Pid,
}

impl Process {
    fn behind(socket: &UnixStream) -> Result<Self> {
        let number = socket.peer_cred().context("who listens there?")?.pid();
        let pid = number.and_then(Pid::from_raw).context("it has no process number")?;
        let descriptor = Arc::new(pidfd_open(pid, PidfdFlags::empty()).context("its process is gone")?);
        Ok(Self { descriptor, number: pid })
    }

    /// Whether it runs another file than `program` is now; no if that is not known.
    pub(super) fn is_of_another(&self, program: &Path) -> bool {
        // Through the link: the file it was started from may have been removed.
        let runs = std::fs::metadata(format!("/proc/{}/exe", self.number.as_raw_pid()));
        let files = runs.and_then(|runs| Ok((runs, std::fs::metadata(program)?)));
        files.map(|(runs, installed)| (runs.dev(), runs.ino()) != (installed.dev(), installed.ino())).unwrap_or_else(
            |error| {
                tracing::warn!(%error, "it is not known whether the program of the data plane was replaced");
                false
            },
        )
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        // A failure: it is gone already.
        let _ = pidfd_send_signal(&*self.descriptor, Signal::KILL);
    }

    /// Waits for its end, at most `limit`; whether it has ended.
    pub(super) async fn ended(&self, limit: Duration) -> bool {
        let process = Arc::clone(&self.descriptor);
        let wait = move || {
            let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
            poll(&mut [PollFd::new(&*process, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
        };
        tokio::task::spawn_blocking(wait).await.unwrap_or(false)
    }
}

/// Finds the data plane that listens on `socket`; `None`: nobody does, or it does not obey.
pub(super) async fn find(socket: &Path, configure: &Configure) -> Option<Found> {
    let end = tokio::time::Instant::now() + HELLO;
    loop {
        match tokio::time::timeout_at(end, greet(socket, configure)).await {
            Ok(Ok(Answer::Obeys(found))) => return Some(*found),
            Ok(Ok(Answer::Nobody)) => return None,
            Ok(Ok(Answer::Refuses(reason))) if tokio::time::Instant::now() + AGAIN < end => {
                tracing::debug!("{}: {reason}", socket.display());
                tokio::time::sleep(AGAIN).await;
            }
            Ok(Ok(Answer::Refuses(reason))) => {
                tracing::warn!("the data plane at {} does not obey: {reason}", socket.display());
                return None;
            }
            Ok(Err(error)) => {
                tracing::warn!("the data plane at {} is not understood: {error:#}", socket.display());
                return None;
            }
            Err(_) => {
                tracing::warn!("the data plane at {} does not answer", socket.display());
                return None;
            }
        }
    }
}

/// The data plane that listens on `socket`, if the file `program` was replaced since that was started.
pub(super) async fn of_another_program(socket: &Path, program: &Path) -> Option<Process> {
    let connection = UnixStream::connect(socket).await.ok()?;
    let process = Process::behind(&connection).ok()?;
    process.is_of_another(program).then_some(process)
}

enum Answer {
    Nobody,
    Refuses(String),
    Obeys(Box<Found>),
}

async fn greet(path: &Path, configure: &Configure) -> Result<Answer> {
    let Ok(mut socket) = UnixStream::connect(path).await else { return Ok(Answer::Nobody) };
    let process = Process::behind(&socket)?;
    socket.write_all(&encode(&ToReplica::Hello(Box::new(configure.clone())))?).await?;
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        // What it told before that is part of it.
        while let Some(message) = decoder.next_message::<FromReplica>()? {
            match message {
                FromReplica::Found(plane) => {
                    let process = super::Process::Found(process);
                    let found = Found { plane, socket, decoder, process };
                    return Ok(Answer::Obeys(Box::new(found)));
                }
                FromReplica::Refused(reason) => return Ok(Answer::Refuses(reason)),
                FromReplica::Event(_)
                | FromReplica::Done
                | FromReplica::Stats(_)
                | FromReplica::Alive
                | FromReplica::Verify(_) => {}
            }
        }
        match socket.read(&mut buffer).await? {
            0 => bail!("it closed the connection"),
            length => decoder.push(&buffer[..length]),
        }
    }
}

/// Ends the data plane that listens on `socket`, in order if it can, and waits until it is gone.
///
/// # Errors
/// It is still there.
pub(super) async fn end(socket: &Path) -> Result<()> {
    let mut connection = match UnixStream::connect(socket).await {
        Ok(connection) => connection,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot reach the data plane at {}", socket.display()));
        }
    };
    let process = Process::behind(&connection)?;
    let ordered = connection.write_all(&encode(&ToReplica::End)?).await.is_ok();
    if ordered && process.ended(END).await {
        return Ok(());
    }
    process.kill();
    let shown = socket.display();
    ensure!(process.ended(KILLED).await, "the data plane at {shown} cannot be ended: reboot this machine");
    Ok(())
}
