//! Runs the module's `holdfast-replica` and carries commands and events between it and the core.
//!
//! The control socket is the program's standard input. A program that serves or follows lives on when the agent ends,
//! and is found again by the next one (`found`). One that serves and ends is followed by another, which takes its mounts
//! over (`again`): the core hears of a lost stream, not of the process.

mod again;
mod found;
mod reading;

pub use found::Found;

use super::Inbox;
use anyhow::{Context, Result};
use holdfast_core::input::Input;
use holdfast_core::replica::{Inventory, Plane, ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{Configure, Decoder, Orphan, Stats, ToReplica, VerifyReport, encode};
use holdfast_replica::crash;
use holdfast_replica::filter::Filter;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt;
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
    commands: Option<mpsc::Sender<ToReplica>>,
    stats: watch::Sender<Option<Stats>>,
    /// The last comparison of both copies.
    verify: watch::Sender<Option<VerifyReport>>,
    /// Session of a module that replicates nothing.
    session: u64,
}

impl Replica {
    /// The data plane of a module; the process is started by the first command that needs it.
    pub fn new(setting: Option<Setting>, inbox: Inbox) -> Self {
        Self {
            setting,
            inbox,
            commands: None,
            stats: watch::channel(None).0,
            verify: watch::channel(None).0,
            session: 0,
        }
    }

    /// Figures of the last second.
    pub fn stats(&self) -> Option<Stats> {
        *self.stats.borrow()
    }

    /// The same, to follow.
    pub fn figures(&self) -> watch::Receiver<Option<Stats>> {
        self.stats.subscribe()
    }

    /// Begins to compare the copy here with the serving peer's, unless that goes on; answers how far it is. The process is
    /// started if it does not run.
    pub fn diff(&mut self, start: bool) -> VerifyReport {
        if start && let Some(setting) = &self.setting {
            self.started(setting.clone());
        }
        self.verify(start)
    }

    /// Begins a comparison of both copies, unless one goes on; answers how far it is.
    pub fn verify(&self, start: bool) -> VerifyReport {
        let now = self.verify.borrow().clone();
        if !start || now.as_ref().is_some_and(|report| report.running) {
            return now.unwrap_or_else(|| not_compared("no comparison was begun here"));
        }
        let sent = self.commands.as_ref().is_some_and(|commands| commands.try_send(ToReplica::Verify).is_ok());
        if !sent {
            return not_compared("this module replicates nothing here at present");
        }
        let begun = VerifyReport { running: true, ..VerifyReport::default() };
        self.verify.send_replace(Some(begun.clone()));
        begun
    }

    /// The replicated directories; none in a module that replicates nothing.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.setting.as_ref().map(|setting| setting.configure.directories.clone()).unwrap_or_default()
    }

    /// What of them is not replicated; nothing that cannot be read (the data plane says so when it starts).
    pub fn filter(&self) -> Arc<Filter> {
        let configure = self.setting.as_ref().map(|setting| &setting.configure);
        let filter = configure.map(|configure| Filter::new(&configure.directories, &configure.exclusions));
        Arc::new(filter.and_then(Result::ok).unwrap_or_default())
    }

    /// Finds what an earlier agent has left running; `None`: the module replicates nothing.
    pub async fn find(&self) -> Option<Result<Found, Plane>> {
        let setting = self.setting.as_ref()?;
        let Some(orphan) = &setting.configure.orphan else { return Some(Err(Plane::Nothing)) };
        let found = match resolve(setting).await {
            Ok(configure) => look(&setting.program, orphan, &configure).await,
            Err(error) => {
                tracing::warn!("what an earlier agent has left is not looked for: {error:#}");
                None
            }
        };
        Some(found.ok_or(Plane::Nothing))
    }

    /// Goes on with it.
    pub fn take_over(&mut self, found: Found) {
        let Some(setting) = self.setting.clone() else { return };
        let (commands, queue) = mpsc::channel(QUEUE);
        tokio::spawn(again::attend(found.into(), setting, Orders::new(queue), self.told()));
        self.commands = Some(commands);
    }

    fn told(&self) -> Told {
        Told { inbox: self.inbox.clone(), stats: self.stats.clone(), verify: self.verify.clone() }
    }

    /// Ends what an earlier agent has left running, and waits for that.
    ///
    /// # Errors
    /// It cannot be ended.
    pub async fn end_left(&self) -> Result<()> {
        let orphan = self.setting.as_ref().and_then(|setting| setting.configure.orphan.as_ref());
        match orphan {
            Some(orphan) => {
                found::end(&orphan.socket).await?;
                again::abandon(orphan).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Passes a command on, starting the process if it does not run.
    pub fn command(&mut self, command: ReplicaCommand) {
        let Some(setting) = &self.setting else {
            let answers = answers_without_data(&command, &mut self.session);
            return self.events(answers);
        };
        if !self.runs() {
            // Without a process nothing is mounted and nothing is served.
            match command {
                ReplicaCommand::Release { .. } => return self.events(vec![ReplicaEvent::Released]),
                ReplicaCommand::Refuse => return self.events(vec![ReplicaEvent::Refusing]),
                ReplicaCommand::Fence => return self.events(vec![ReplicaEvent::Fenced]),
                _ => {}
            }
            self.started(setting.clone());
        }
        let sent =
            self.commands.as_ref().is_some_and(|commands| commands.try_send(ToReplica::Command(command)).is_ok());
        if !sent {
            // Closed: `Exited` is on its way. Full: the process does not read, which is as good as gone; dropping the
            // queue closes its socket, and it ends.
            self.commands = None;
        }
    }

    fn runs(&self) -> bool {
        self.commands.as_ref().is_some_and(|commands| !commands.is_closed())
    }

    /// Starts the process if it does not run.
    fn started(&mut self, setting: Setting) {
        if !self.runs() {
            let (commands, queue) = mpsc::channel(QUEUE);
            tokio::spawn(run(setting, queue, self.told()));
            self.commands = Some(commands);
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

/// The data plane that goes on: the one that an earlier agent has left, or one that takes its mounts over.
///
/// One whose program was replaced meanwhile (an upgrade) gives way. If it serves, another takes its mounts over; where the
/// kernel does not allow that, it serves on until the module stops. If it follows, it ends, and the module starts again.
async fn look(program: &Path, orphan: &Orphan, configure: &Configure) -> Option<Found> {
    let old = found::of_another_program(&orphan.socket, program).await;
    if let Some(process) = &old
        && again::is_held(orphan).await
    {
        tracing::info!("the program of the data plane was replaced: another one takes its mounts over");
        process.kill();
        process.ended(found::KILLED).await;
    }
    match found::find(&orphan.socket, configure).await {
        Some(found) if old.is_some() && !matches!(found.plane, Plane::Serving { .. }) => {
            tracing::info!("the program of the data plane was replaced: the one that runs ends");
            drop(found);
            if let Err(error) = found::end(&orphan.socket).await {
                tracing::error!("{error:#}");
            }
            None
        }
        None if again::is_held(orphan).await => again::take_over(program, configure).await,
        found => found,
    }
}

/// A module without `<rfs>` has no data plane: what it is asked is true at once.
fn answers_without_data(command: &ReplicaCommand, last: &mut u64) -> Vec<ReplicaEvent> {
    if let ReplicaCommand::AcceptPeer { session } | ReplicaCommand::Follow { session, .. } = command {
        *last = *session;
    }
    match command {
        ReplicaCommand::Inspect => {
            vec![ReplicaEvent::Inspected { inventory: Inventory::default(), uncovered: Inventory::default() }]
        }
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
        ReplicaCommand::SetAside { run, .. } => {
            vec![ReplicaEvent::SetAside { run: *run, entries: 0, bytes: 0, folder: String::new() }]
        }
        ReplicaCommand::ContinueAlone { .. } | ReplicaCommand::ConfirmUpToDate | ReplicaCommand::CompareAll => vec![],
    }
}

fn not_compared(why: &str) -> VerifyReport {
    VerifyReport { failed: Some(why.to_owned()), ..VerifyReport::default() }
}

/// Where what the data plane tells goes.
struct Told {
    inbox: Inbox,
    stats: watch::Sender<Option<Stats>>,
    verify: watch::Sender<Option<VerifyReport>>,
}

async fn run(setting: Setting, queue: mpsc::Receiver<ToReplica>, told: Told) {
    match begin_anew(&setting).await {
        Ok(running) => again::attend(running, setting, Orders::new(queue), told).await,
        Err(error) => {
            drop(queue);
            let _ = told.inbox.send(Input::Replica(ReplicaEvent::Failed { reason: format!("{error:#}") })).await;
        }
    }
}

/// Starts one with nothing mounted.
async fn begin_anew(setting: &Setting) -> Result<Running> {
    let configure = resolve(setting).await?;
    start(&setting.program, &configure, ToReplica::Configure(Box::new(configure.clone())))
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

/// A replica that runs, and the ends of its control socket.
struct Running {
    process: Process,
    reader: OwnedReadHalf,
    decoder: Decoder,
    writer: OwnedWriteHalf,
    /// What it is told before any command.
    first: Vec<u8>,
    /// It serves already.
    serves: bool,
    /// It has answered already.
    speaks: bool,
}

impl From<Found> for Running {
    /// It was told all it needs before any command.
    fn from(found: Found) -> Self {
        let Found { plane, socket, decoder, process } = found;
        let (reader, writer) = socket.into_split();
        let serves = matches!(plane, Plane::Serving { .. });
        Self { process, reader, decoder, writer, first: Vec::new(), serves, speaks: true }
    }
}

fn start(program: &Path, configure: &Configure, first: ToReplica) -> Result<Running> {
    let first = encode(&first)?;
    crate::files::make_dir(&configure.state_dir)?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("cannot make a socket pair")?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(program);
    command.args(["--control-fd", "0"]).stdin(OwnedFd::from(theirs));
    crate::cgroup::place_replica(&configure.module, &mut command);
    crash::point("replica-starting");
    let child = command.spawn().with_context(|| {
        format!("cannot start {}: install it beside the agent or give --replica-bin", program.display())
    })?;
    crash::point("replica-started");
    // The command holds the other end too; it must go, or the end of the process would not be seen.
    drop(command);
    let (reader, writer) = UnixStream::from_std(ours)?.into_split();
    let (process, decoder) = (Process::Child(child), Decoder::default());
    Ok(Running { process, reader, decoder, writer, first, serves: false, speaks: false })
}

/// Commands on their way, and those that were sent and are not carried out for all that is known.
#[derive(Clone)]
struct Orders {
    queue: Arc<tokio::sync::Mutex<mpsc::Receiver<ToReplica>>>,
    sent: Arc<Mutex<VecDeque<ReplicaCommand>>>,
}

impl Orders {
    fn new(queue: mpsc::Receiver<ToReplica>) -> Self {
        Self { queue: Arc::new(tokio::sync::Mutex::new(queue)), sent: Arc::default() }
    }

    fn sent(&self) -> MutexGuard<'_, VecDeque<ReplicaCommand>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_commands(mut socket: OwnedWriteHalf, first: Vec<u8>, orders: Orders) {
    if socket.write_all(&first).await.is_err() {
        return;
    }
    let again: Vec<ReplicaCommand> = orders.sent().iter().cloned().collect();
    for command in again {
        let Ok(bytes) = encode(&ToReplica::Command(command)) else { return };
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let mut queue = orders.queue.lock().await;
    while let Some(message) = queue.recv().await {
        if let ToReplica::Command(command) = &message {
            orders.sent().push_back(command.clone());
            crash::point("replica-ordering");
        }
        let Ok(bytes) = encode(&message) else {
            return;
        };
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
        crash::point("replica-ordered");
    }
    // Nobody will command it any more. An agent that is gone without a word leaves it running.
    if let Ok(bytes) = encode::<ToReplica>(&ToReplica::End) {
        let _ = socket.write_all(&bytes).await;
    }
}

/// The process at the other end.
#[derive(Debug)]
enum Process {
    Child(Child),
    /// An earlier agent's.
    Found(found::Process),
}

impl Process {
    /// Whether an earlier agent started it from another file than `program` is now.
    fn is_of_another(&self, program: &Path) -> bool {
        match self {
            Self::Child(_) => false,
            Self::Found(process) => process.is_of_another(program),
        }
    }

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
