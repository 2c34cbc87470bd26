//! Carries out the agent's commands: one thread executes them in order, others read, write and measure.

use super::{Role, Step, plan};
use crate::control::{self, Configure, ControlError, FromReplica, PROTOCOL, ToReplica, VerifyReport};
use crate::filter::Filter;
use crate::front::{Alone, Front, Inodes, Mode};
use crate::inspect::Count;
use crate::replicate::Replicate;
use crate::setaside::{self, Aside};
use crate::stream::applier::Applier;
use crate::stream::follower::{Follow, Follower};
use crate::stream::sender::Sender;
use crate::stream::server::{Serve, Server};
use crate::stream::{Events, Local, lock};
use crate::tls::Protection;
use holdfast_api::ids::Generation;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long an orderly release waits for the peer's last acknowledgements.
const DRAIN: Duration = Duration::from_secs(1);

/// How long the end of the process may take once the agent is gone; then it ends anyway, its mounts with it.
const END: Duration = Duration::from_secs(10);

/// Time between two looks for a path that must be there.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two reports of figures.
const STATS_PERIOD: Duration = Duration::from_secs(1);

/// Serves one agent until its end of `socket` closes.
pub fn run(socket: UnixStream) -> anyhow::Result<()> {
    let Some(first) = control::receive::<ToReplica>(&socket)? else { return Ok(()) };
    let (outbox, outgoing) = mpsc::channel::<FromReplica>();
    let writer = socket.try_clone()?;
    let writing = std::thread::spawn(move || write_all(&writer, &outgoing));
    let sink = outbox.clone();
    // After the socket's end nobody listens any more.
    let events: Events = Arc::new(move |event| drop(sink.send(FromReplica::Event(event))));
    match configured(first).and_then(|configure| Replica::new(configure, events.clone())) {
        Ok(mut replica) => {
            let measured = replica.measured.clone();
            let figures = outbox.clone();
            std::thread::spawn(move || measure(&measured, &figures));
            replica.serve(read_all(socket)?, &outbox);
        }
        Err(reason) => {
            events(ReplicaEvent::Failed { reason: reason.clone() });
            drop((events, outbox));
            // The agent is to see the reason before the socket closes.
            let _ = writing.join();
            anyhow::bail!(reason);
        }
    }
    Ok(())
}

fn configured(first: ToReplica) -> Result<Configure, String> {
    match first {
        ToReplica::Configure(configure) if configure.protocol == PROTOCOL => Ok(*configure),
        ToReplica::Configure(configure) => Err(format!(
            "the agent speaks version {} of the control protocol, this replica version {PROTOCOL}: install both from \
             one release",
            configure.protocol
        )),
        ToReplica::Command(_) | ToReplica::Verify => Err("the first message must be Configure".into()),
    }
}

/// What is asked of the executing thread.
enum Order {
    Command(ReplicaCommand),
    Verify,
}

/// Reads commands on a thread of its own, so that the agent's end is noticed whatever is being done.
fn read_all(socket: UnixStream) -> std::io::Result<Receiver<Option<Order>>> {
    let (inbox, incoming) = mpsc::channel();
    std::thread::Builder::new().name("control".into()).spawn(move || {
        loop {
            match control::receive::<ToReplica>(&socket) {
                Ok(Some(ToReplica::Command(command))) => {
                    if inbox.send(Some(Order::Command(command))).is_err() {
                        return;
                    }
                }
                Ok(Some(ToReplica::Verify)) => {
                    if inbox.send(Some(Order::Verify)).is_err() {
                        return;
                    }
                }
                Ok(Some(ToReplica::Configure(_))) => {
                    tracing::error!("a second Configure: the agent and this replica are not of one version");
                    break;
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "the agent's control socket failed");
                    break;
                }
            }
        }
        // The executing thread may have ended already.
        let _ = inbox.send(None);
        std::thread::sleep(END);
        tracing::error!("the mounts could not be taken away in time: ending with them");
        std::process::exit(1);
    })?;
    Ok(incoming)
}

fn write_all(socket: &UnixStream, outgoing: &Receiver<FromReplica>) {
    while let Ok(message) = outgoing.recv() {
        match control::send(socket, &message) {
            Ok(()) => {}
            Err(ControlError::Io(_)) => return,
            Err(error) => tracing::error!(%error, "an event could not be told"),
        }
    }
}

/// What `Stats` are taken from.
#[derive(Default)]
enum Measured {
    #[default]
    Nothing,
    Sender(Arc<Sender>),
    Follower(Arc<Mutex<Follower>>),
}

fn measure(measured: &Mutex<Measured>, outbox: &mpsc::Sender<FromReplica>) {
    loop {
        std::thread::sleep(STATS_PERIOD);
        let stats = match &*lock(measured) {
            Measured::Nothing => continue,
            Measured::Sender(sender) => sender.take_stats(),
            // Being fenced: no figures now.
            Measured::Follower(follower) => match follower.try_lock() {
                Ok(follower) => follower.take_stats(),
                Err(_) => continue,
            },
        };
        if outbox.send(FromReplica::Stats(stats)).is_err() {
            return;
        }
    }
}

type Roots = Vec<(PathBuf, Arc<OwnedFd>)>;

struct Replica {
    configure: Configure,
    protection: Protection,
    local: Local,
    filter: Arc<Filter>,
    events: Events,
    role: Role,
    /// While `true`, the inspection under way looks for paths that are missing.
    looking: Arc<AtomicBool>,
    /// The directories' handles, taken before anything is mounted.
    handles: Option<Arc<Inodes>>,
    front: Option<Front>,
    sender: Option<Arc<Sender>>,
    /// What is mounted read-write.
    served: Option<Arc<Inodes>>,
    /// Set to end the setting aside under way.
    aside: Arc<AtomicBool>,
    server: Option<Server>,
    follower: Option<Arc<Mutex<Follower>>>,
    measured: Arc<Mutex<Measured>>,
}

impl Replica {
    fn new(configure: Configure, events: Events) -> Result<Self, String> {
        let protection = if configure.encryption {
            Protection::tls(&configure.key_file, &configure.certificate_file, &configure.peer_fingerprint)
        } else {
            Protection::plain(&configure.secret, configure.module_id.0)
        };
        let mut incarnation = [0; 8];
        getrandom::fill(&mut incarnation).map_err(|error| format!("no random numbers: {error}"))?;
        let local = Local {
            module: configure.module_id.0,
            node: configure.node.0,
            peer_node: configure.peer_node.0,
            boot_id: configure.boot_id.clone(),
            incarnation: u64::from_le_bytes(incarnation),
            send_timeout: Duration::from_millis(configure.send_timeout_ms.max(100)),
            resume_window: Duration::from_millis(configure.resume_window_ms),
        };
        Ok(Self {
            protection: protection.map_err(|error| error.to_string())?,
            filter: Arc::new(Filter::new(&configure.directories, &configure.exclusions)?),
            looking: Arc::default(),
            configure,
            local,
            events,
            role: Role::Idle,
            handles: None,
            front: None,
            sender: None,
            served: None,
            aside: Arc::default(),
            server: None,
            follower: None,
            measured: Arc::default(),
        })
    }

    fn serve(&mut self, orders: Receiver<Option<Order>>, outbox: &mpsc::Sender<FromReplica>) {
        while let Ok(Some(order)) = orders.recv() {
            match order {
                Order::Command(command) => {
                    tracing::info!(module = %self.configure.module, ?command, role = ?self.role, "command");
                    self.command(&command);
                }
                Order::Verify => self.verify(outbox.clone()),
            }
        }
        tracing::info!("the agent has closed the control socket: ending");
        if let Some(sender) = &self.sender {
            sender.refuse();
        }
        if let Some(front) = &self.front {
            front.refuse();
        }
        self.end_follower();
        if let Err(reason) = self.unmount(true) {
            tracing::error!(reason, "a mount stays, dead");
        }
    }

    /// Compares both copies on a thread of its own.
    fn verify(&self, outbox: mpsc::Sender<FromReplica>) {
        // Nobody listens any more after the socket's end.
        let report = move |report| drop(outbox.send(FromReplica::Verify(report)));
        let Some((sender, inodes)) = self.sender.clone().zip(self.served.clone()) else {
            let failed = Some("this node does not serve: order it on the primary".to_owned());
            return report(VerifyReport { failed, ..VerifyReport::default() });
        };
        std::thread::spawn(move || crate::survey::verify(&sender, &inodes, &report));
    }

    fn set_aside(&mut self, run: u64, generation: Generation) -> Result<(), String> {
        let (roots, applier) = self.applier()?;
        self.aside.store(true, Ordering::Release);
        self.aside = Arc::default();
        let job = setaside::Job {
            module: self.configure.module.clone(),
            local: self.local.clone(),
            peer: self.configure.peer,
            protection: self.protection.clone(),
            roots,
            state_dir: self.configure.state_dir.clone(),
            generation,
            stop: self.aside.clone(),
        };
        let events = self.events.clone();
        std::thread::spawn(move || {
            events(match setaside::run(&job, applier) {
                Ok(Aside { entries, bytes, folder }) => ReplicaEvent::SetAside { run, entries, bytes, folder },
                Err(reason) => ReplicaEvent::NotSetAside { run, reason },
            });
        });
        Ok(())
    }

    fn command(&mut self, command: &ReplicaCommand) {
        let (role, steps) = match plan(self.role, command) {
            Ok(planned) => planned,
            Err(reason) => return self.tell(ReplicaEvent::Failed { reason }),
        };
        for step in steps {
            if let Err(reason) = self.step(step) {
                // What was running before a failed step may have ended; what is mounted tells what is left.
                self.role = match (self.role, &self.front) {
                    (role @ (Role::Serving | Role::Refusing), Some(_)) => role,
                    (Role::Idle, _) | (_, None) => Role::Idle,
                    _ => Role::Fenced,
                };
                return self.tell(ReplicaEvent::Failed { reason });
            }
        }
        self.role = role;
    }

    fn tell(&self, event: ReplicaEvent) {
        (self.events)(event);
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Inspect => self.inspect(),
            Step::SetAside(run, generation) => self.set_aside(run, generation),
            Step::EndFollower => {
                self.end_follower();
                Ok(())
            }
            Step::Unmount { abort } => self.unmount(abort),
            Step::StartServing(generation) => self.start_serving(generation),
            Step::MountReadOnly => self.mount_read_only(),
            Step::StartFollower(session, generation) => self.start_follower(session, generation),
            Step::AcceptPeer(session) => self.sender()?.accept_peer(session),
            Step::Complete => self.sender()?.complete_resync(),
            Step::ContinueAlone(generation) => self.sender()?.continue_alone(generation),
            Step::Confirm => {
                if let Some(follower) = &self.follower {
                    lock(follower).confirm();
                }
                Ok(())
            }
            Step::Refuse => {
                self.sender()?.refuse();
                if let Some(front) = &self.front {
                    front.refuse();
                }
                Ok(())
            }
            Step::Tell(event) => {
                self.tell(event);
                Ok(())
            }
        }
    }

    fn sender(&self) -> Result<&Arc<Sender>, String> {
        self.sender.as_ref().ok_or_else(|| "nothing is served".into())
    }

    fn handles(&mut self) -> Result<Arc<Inodes>, String> {
        if let Some(handles) = &self.handles {
            return Ok(handles.clone());
        }
        if let Some(path) = missing(&self.configure.required) {
            return Err(format!("{} is not there, and must be (<tocheck>): mount the disk it is on", path.display()));
        }
        let handles = Inodes::open_filtered(&self.configure.directories, self.filter.clone());
        let handles = handles.map_err(|error| error.to_string())?;
        self.handles = Some(handles.clone());
        Ok(handles)
    }

    /// Counts what is there, once every path that must be there is. While nothing is mounted the paths may come to lead
    /// elsewhere (another disk, a new directory): the handles are taken when the directories are first used.
    fn inspect(&mut self) -> Result<(), String> {
        let handles = if self.role == Role::Idle { None } else { Some(self.handles()?) };
        self.handles.clone_from(&handles);
        self.looking.store(false, Ordering::Release);
        self.looking = Arc::new(AtomicBool::new(true));
        let (looking, events, filter) = (self.looking.clone(), self.events.clone(), self.filter.clone());
        let (directories, required) = (self.configure.directories.clone(), self.configure.required.clone());
        std::thread::spawn(move || {
            let handles = match handles {
                Some(handles) => Ok(handles),
                None if !await_paths(&required, &looking, &events) => return,
                None => Inodes::open_filtered(&directories, filter),
            };
            match handles {
                Ok(handles) => {
                    let roots: Vec<_> = (0..).map_while(|index| handles.directory_fd(index)).collect();
                    events(ReplicaEvent::Inspected { inventory: Count::default().run(&roots, handles.filter()) });
                }
                Err(error) => events(ReplicaEvent::Failed { reason: error.to_string() }),
            }
        });
        Ok(())
    }

    fn start_serving(&mut self, generation: Generation) -> Result<(), String> {
        let inodes = self.handles()?.renew().map_err(|error| error.to_string())?;
        let sender = Sender::new(self.local.clone(), generation, self.events.clone());
        let serve = Serve {
            sender: sender.clone(),
            inodes: inodes.clone(),
            protection: self.protection.clone(),
            send_timeout: self.local.send_timeout,
            events: self.events.clone(),
        };
        let listen = self.configure.listen;
        let server = Server::start(listen, serve).map_err(|error| {
            format!("cannot listen on {listen} for the peer: {error}; see which program uses it (ss -tlnp), or correct the address")
        })?;
        let replicate: Arc<dyn Replicate> = sender.clone();
        let front = Front::mount(&inodes, Mode::ReadWrite, &replicate).map_err(|error| error.to_string())?;
        if let Ok(address) = server.address() {
            tracing::info!(%address, %generation, "serving");
        }
        self.front = Some(front);
        self.server = Some(server);
        *lock(&self.measured) = Measured::Sender(sender.clone());
        self.sender = Some(sender);
        self.served = Some(inodes);
        Ok(())
    }

    fn mount_read_only(&mut self) -> Result<(), String> {
        if self.front.is_some() {
            return Ok(());
        }
        let inodes = self.handles()?.renew().map_err(|error| error.to_string())?;
        let nobody: Arc<dyn Replicate> = Arc::new(Alone);
        self.front = Some(Front::mount(&inodes, Mode::ReadOnly, &nobody).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn start_follower(&mut self, session: u64, generation: Generation) -> Result<(), String> {
        self.aside.store(true, Ordering::Release);
        let (_, applier) = self.applier()?;
        let follow = Follow {
            local: self.local.clone(),
            peer: self.configure.peer,
            protection: self.protection.clone(),
            session,
            generation,
            events: self.events.clone(),
        };
        let follower = Arc::new(Mutex::new(Follower::start(follow, applier)));
        *lock(&self.measured) = Measured::Follower(follower.clone());
        self.follower = Some(follower);
        Ok(())
    }

    /// The replicated directories as they are below any mount, and what applies to them.
    fn applier(&mut self) -> Result<(Roots, Applier), String> {
        let handles = self.handles()?;
        let roots = self.configure.directories.iter().enumerate();
        let roots: Roots =
            roots.filter_map(|(index, path)| Some((path.clone(), handles.directory_fd(index)?))).collect();
        let applier = Applier::new(roots.clone(), self.configure.async_mode).map_err(|error| error.to_string())?;
        Ok((roots, applier.with_filter(self.filter.clone())))
    }

    fn end_follower(&mut self) {
        let Some(follower) = self.follower.take() else { return };
        lock(&follower).fence();
        *lock(&self.measured) = Measured::Nothing;
    }

    fn unmount(&mut self, abort: bool) -> Result<(), String> {
        self.looking.store(false, Ordering::Release);
        self.aside.store(true, Ordering::Release);
        if let Some(front) = &self.front {
            front.unmount(abort).map_err(|error| error.to_string())?;
        }
        self.front = None;
        if let Some(sender) = self.sender.take() {
            if !abort {
                // The last changes (times of files closed by the unmount) reach the peer before its stream ends.
                sender.drain(DRAIN);
            }
            sender.refuse();
            *lock(&self.measured) = Measured::Nothing;
        }
        self.server = None;
        self.served = None;
        Ok(())
    }
}

/// The first of these paths that is not there. One that cannot be looked at (a dead mount covers it) is not missing.
fn missing(required: &[PathBuf]) -> Option<&Path> {
    let gone = |path: &&PathBuf| {
        let found = std::fs::symlink_metadata(path);
        found.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    };
    required.iter().find(gone).map(PathBuf::as_path)
}

/// Waits until all are there, telling each that is missed; `false` when nobody waits for that any more.
fn await_paths(required: &[PathBuf], looking: &AtomicBool, events: &Events) -> bool {
    let mut told = None;
    while let Some(path) = missing(required) {
        if told.as_deref() != Some(path) {
            told = Some(path.to_owned());
            events(ReplicaEvent::Missing { path: path.display().to_string() });
        }
        std::thread::sleep(LOOK);
        if !looking.load(Ordering::Acquire) {
            return false;
        }
    }
    true
}
