//! Runs the module's `holdfast-replica` and carries commands and events between it and the core.
//!
//! The control socket is the program's standard input. A program that serves or follows lives on when the agent ends,
//! and is found again by the next one (`found`).

mod found;

pub use found::Found;

use super::Inbox;
use anyhow::{Context, Result};
use holdfast_core::input::Input;
use holdfast_core::replica::{Inventory, Plane, ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{Configure, Decoder, FromReplica, Stats, ToReplica, encode};
use rustix::process::{Pid, Signal, kill_process};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixStream, lookup_host};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

/// Commands waiting for a replica; the core never has more than a few under way.
const QUEUE: usize = 64;

/// One wait for the end of a process that is not a child.
const LOOK: std::time::Duration = std::time::Duration::from_secs(10);

/// What a replica is started with; names are resolved at each start.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The program.
    pub program: PathBuf,
    /// Everything but the two addresses, whose ports count.
    pub configure: Configure,
    /// This node's address or name on the network of the replication.
    pub local: String,
    /// The peer's address or name there.
    pub peer: String,
}

/// The data plane of one module.
#[derive(Debug)]
pub struct Replica {
    /// `None`: the module replicates nothing.
    setting: Option<Setting>,
    inbox: Inbox,
    commands: Option<mpsc::Sender<ReplicaCommand>>,
    stats: watch::Sender<Option<Stats>>,
    /// Session of a module that replicates nothing.
    session: u64,
}

impl Replica {
    /// The data plane of a module; the process is started by the first command that needs it.
    pub fn new(setting: Option<Setting>, inbox: Inbox) -> Self {
        Self { setting, inbox, commands: None, stats: watch::channel(None).0, session: 0 }
    }

    /// Figures of the last second.
    pub fn stats(&self) -> Option<Stats> {
        *self.stats.borrow()
    }

    /// The replicated directories; none in a module that replicates nothing.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.setting.as_ref().map(|setting| setting.configure.directories.clone()).unwrap_or_default()
    }

    /// Finds what an earlier agent has left running; `None`: the module replicates nothing.
    pub async fn find(&self) -> Option<Result<Found, Plane>> {
        let setting = self.setting.as_ref()?;
        let Some(orphan) = &setting.configure.orphan else { return Some(Err(Plane::Nothing)) };
        let found = match resolve(setting).await {
            Ok(configure) => found::find(&orphan.socket, &configure).await,
            Err(error) => {
                tracing::warn!("what an earlier agent has left is not looked for: {error:#}");
                None
            }
        };
        Some(found.ok_or(Plane::Nothing))
    }

    /// Goes on with it.
    pub fn take_over(&mut self, found: Found) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (reader, writer) = found.socket.into_split();
        let (inbox, stats) = (self.inbox.clone(), self.stats.clone());
        tokio::spawn(async move {
            let writing = tokio::spawn(write_commands(writer, Vec::new(), queue));
            read_events(reader, found.decoder, Process::Found(found.process), inbox, stats).await;
            writing.abort();
        });
        self.commands = Some(commands);
    }

    /// Ends what an earlier agent has left running, and waits for that.
    ///
    /// # Errors
    /// It cannot be ended.
    pub async fn end_left(&self) -> Result<()> {
        let orphan = self.setting.as_ref().and_then(|setting| setting.configure.orphan.as_ref());
        match orphan {
            Some(orphan) => found::end(&orphan.socket).await,
            None => Ok(()),
        }
    }

    /// Passes a command on, starting the process if it does not run.
    pub fn command(&mut self, command: ReplicaCommand) {
        let Some(setting) = &self.setting else {
            let answers = answers_without_data(&command, &mut self.session);
            return self.events(answers);
        };
        let alive = self.commands.as_ref().is_some_and(|commands| !commands.is_closed());
        if !alive {
            // Without a process nothing is mounted and nothing is served.
            match command {
                ReplicaCommand::Release { .. } => return self.events(vec![ReplicaEvent::Released]),
                ReplicaCommand::Refuse => return self.events(vec![ReplicaEvent::Refusing]),
                ReplicaCommand::Fence => return self.events(vec![ReplicaEvent::Fenced]),
                _ => {}
            }
            let (commands, queue) = mpsc::channel(QUEUE);
            tokio::spawn(run(setting.clone(), queue, self.inbox.clone(), self.stats.clone()));
            self.commands = Some(commands);
        }
        let sent = self.commands.as_ref().is_some_and(|commands| commands.try_send(command).is_ok());
        if !sent {
            // Closed: `Exited` is on its way. Full: the process does not read, which is as good as gone; dropping the
            // queue closes its socket, and it ends.
            self.commands = None;
        }
    }

    fn events(&self, events: Vec<ReplicaEvent>) {
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            for event in events {
                let _ = inbox.send(Input::Replica(event)).await;
            }
        });
    }
}

/// A module without `<rfs>` has no data plane: what it is asked is true at once.
fn answers_without_data(command: &ReplicaCommand, last: &mut u64) -> Vec<ReplicaEvent> {
    if let ReplicaCommand::AcceptPeer { session } | ReplicaCommand::Follow { session, .. } = command {
        *last = *session;
    }
    match command {
        ReplicaCommand::Inspect => vec![ReplicaEvent::Inspected { inventory: Inventory::default() }],
        ReplicaCommand::Serve { .. } => vec![ReplicaEvent::Serving],
        ReplicaCommand::AcceptPeer { session } => {
            let session = *session;
            vec![ReplicaEvent::PeerConnected { session }, ReplicaEvent::ResyncCopied { session }]
        }
        ReplicaCommand::Follow { session, .. } => {
            let session = *session;
            vec![ReplicaEvent::Following { session }, ReplicaEvent::CaughtUp { session }]
        }
        ReplicaCommand::Fence => vec![ReplicaEvent::Fenced],
        ReplicaCommand::Refuse => vec![ReplicaEvent::Refusing],
        ReplicaCommand::Release { .. } => vec![ReplicaEvent::Released],
        ReplicaCommand::CompleteResync => vec![ReplicaEvent::PeerUpToDate { session: *last }],
        ReplicaCommand::ContinueAlone { .. } | ReplicaCommand::ConfirmUpToDate => vec![],
    }
}

async fn run(
    setting: Setting,
    queue: mpsc::Receiver<ReplicaCommand>,
    inbox: Inbox,
    stats: watch::Sender<Option<Stats>>,
) {
    let started = match resolve(&setting).await {
        Ok(configure) => start(&setting.program, &configure),
        Err(error) => Err(error),
    };
    match started {
        Ok((child, reader, writer, first)) => {
            let writing = tokio::spawn(write_commands(writer, first, queue));
            read_events(reader, Decoder::default(), Process::Child(child), inbox, stats).await;
            writing.abort();
        }
        Err(error) => {
            drop(queue);
            let _ = inbox.send(Input::Replica(ReplicaEvent::Failed { reason: format!("{error:#}") })).await;
        }
    }
}

async fn resolve(setting: &Setting) -> Result<Configure> {
    let mut configure = setting.configure.clone();
    for (name, address) in [(&setting.local, &mut configure.listen), (&setting.peer, &mut configure.peer)] {
        let mut found = lookup_host((name.as_str(), address.port()))
            .await
            .with_context(|| format!("the name {name} cannot be resolved: correct it in the cluster configuration"))?;
        *address = found.next().with_context(|| format!("the name {name} has no address"))?;
    }
    Ok(configure)
}

type Started = (Child, OwnedReadHalf, OwnedWriteHalf, Vec<u8>);

fn start(program: &Path, configure: &Configure) -> Result<Started> {
    let first = encode(&ToReplica::Configure(Box::new(configure.clone())))?;
    crate::files::make_dir(&configure.state_dir)?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("cannot make a socket pair")?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(program);
    command.args(["--control-fd", "0"]).stdin(OwnedFd::from(theirs));
    let child = command.spawn().with_context(|| {
        format!("cannot start {}: install it beside the agent or give --replica-bin", program.display())
    })?;
    // The command holds the other end too; it must go, or the end of the process would not be seen.
    drop(command);
    let (reader, writer) = UnixStream::from_std(ours)?.into_split();
    Ok((child, reader, writer, first))
}

async fn write_commands(mut socket: OwnedWriteHalf, first: Vec<u8>, mut queue: mpsc::Receiver<ReplicaCommand>) {
    if socket.write_all(&first).await.is_err() {
        return;
    }
    while let Some(command) = queue.recv().await {
        let Ok(bytes) = encode(&ToReplica::Command(command)) else {
            return;
        };
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // Nobody will command it any more. An agent that is gone without a word leaves it running.
    if let Ok(bytes) = encode::<ToReplica>(&ToReplica::End) {
        let _ = socket.write_all(&bytes).await;
    }
}

/// The process at the other end.
enum Process {
    Child(Child),
    /// An earlier agent's.
    Found(found::Process),
}

impl Process {
    fn kill(&self) {
        match self {
            Self::Child(child) => {
                if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            Self::Found(process) => process.kill(),
        }
    }

    /// Waits for its end; how it was.
    async fn ended(&mut self) -> String {
        match self {
            Self::Child(child) => match child.wait().await {
                Ok(status) => status.code().map_or_else(
                    || format!("ended by signal {}", status.signal().unwrap_or(0)),
                    |code| format!("exit code {code}"),
                ),
                Err(error) => error.to_string(),
            },
            Self::Found(process) => {
                while !process.ended(LOOK).await {}
                "it ended".to_owned()
            }
        }
    }
}

async fn read_events(
    mut socket: OwnedReadHalf,
    mut decoder: Decoder,
    mut process: Process,
    inbox: Inbox,
    stats: watch::Sender<Option<Stats>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let trouble = loop {
        // What came with the first answer is read already.
        match pass_on(&mut decoder, &inbox, &stats).await {
            Ok(true) => {}
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
        match socket.read(&mut buffer).await {
            Ok(0) => break None,
            Ok(length) => decoder.push(&buffer[..length]),
            Err(error) => break Some(error.to_string()),
        }
    };
    stats.send_replace(None);
    if trouble.is_some() {
        process.kill();
    }
    let how = process.ended().await;
    let reason = trouble.map_or(how.clone(), |trouble| format!("{how}; {trouble}"));
    let _ = inbox.send(Input::Replica(ReplicaEvent::Exited { reason })).await;
}

/// Hands whole messages on; `false` when nobody listens any more.
async fn pass_on(decoder: &mut Decoder, inbox: &Inbox, stats: &watch::Sender<Option<Stats>>) -> Result<bool, String> {
    while let Some(message) = decoder.next_message::<FromReplica>().map_err(|error| error.to_string())? {
        match message {
            FromReplica::Event(event) => {
                if inbox.send(Input::Replica(event)).await.is_err() {
                    return Ok(false);
                }
            }
            FromReplica::Stats(figures) => drop(stats.send_replace(Some(figures))),
            FromReplica::Found(_) | FromReplica::Refused(_) => {}
        }
    }
    Ok(true)
}
