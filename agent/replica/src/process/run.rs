//! Carries out the agent's commands: one thread executes them in order, others read, write and measure.

use super::{Role, Step, plan};
use crate::control::{self, Configure, ControlError, FromReplica, PROTOCOL, ToReplica};
use crate::front::{Alone, Front, Inodes, Mode};
use crate::inspect::Count;
use crate::replicate::Replicate;
use crate::stream::applier::Applier;
use crate::stream::follower::{Follow, Follower};
use crate::stream::sender::Sender;
use crate::stream::server::{Serve, Server};
use crate::stream::{Events, Local, lock};
use crate::tls::Protection;
use crate::track::{Tracker, Watch, keeper::Keeper};
use holdfast_api::ids::Generation;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long an orderly release waits for the peer's last acknowledgements.
const DRAIN: Duration = Duration::from_secs(1);

/// How long the end of the process may take once the agent is gone; then it ends anyway, its mounts with it.
const END: Duration = Duration::from_secs(10);

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
            std::thread::spawn(move || measure(&measured, &outbox));
            replica.serve(read_all(socket)?);
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
        ToReplica::Command(_) => Err("the first message must be Configure".into()),
    }
}

/// Reads commands on a thread of its own, so that the agent's end is noticed whatever is being done.
fn read_all(socket: UnixStream) -> std::io::Result<Receiver<Option<ReplicaCommand>>> {
    let (inbox, incoming) = mpsc::channel();
    std::thread::Builder::new().name("control".into()).spawn(move || {
        loop {
            match control::receive::<ToReplica>(&socket) {
                Ok(Some(ToReplica::Command(command))) => {
                    if inbox.send(Some(command)).is_err() {
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

struct Replica {
    configure: Configure,
    protection: Protection,
    local: Local,
    events: Events,
    role: Role,
    /// The directories' handles, taken before anything is mounted.
    handles: Option<Arc<Inodes>>,
    /// What may differ; with the handles.
    tracker: Option<Arc<Tracker>>,
    /// While something is mounted.
    watch: Option<Watch>,
    front: Option<Front>,
    sender: Option<Arc<Sender>>,
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
            configure,
            local,
            events,
            role: Role::Idle,
            handles: None,
            tracker: None,
            watch: None,
            front: None,
            sender: None,
            server: None,
            follower: None,
            measured: Arc::default(),
        })
    }

    fn serve(&mut self, commands: Receiver<Option<ReplicaCommand>>) {
        while let Ok(Some(command)) = commands.recv() {
            tracing::info!(module = %self.configure.module, ?command, role = ?self.role, "command");
            self.command(&command);
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
        let left_dead = self
            .configure
            .directories
            .iter()
            .all(|path| std::fs::metadata(path).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN)));
        let handles = Inodes::open(&self.configure.directories).map_err(|error| error.to_string())?;
        if let Some(tracker) = self.tracker.take() {
            tracker.close();
        }
        let roots = (0..).map_while(|index| handles.directory_fd(index)).collect();
        let folder = &self.configure.state_dir;
        self.tracker = Tracker::open(folder, roots, &self.configure.boot_id).map_err(|error| {
            format!("cannot keep the record of what may differ in {}: {error}; make it writable", folder.display())
        })?;
        if let Some(tracker) = self.tracker.as_ref().filter(|_| left_dead) {
            tracker.nobody_was_there();
        }
        self.handles = Some(handles.clone());
        Ok(handles)
    }

    /// A table for one mount.
    fn table(&mut self) -> Result<Arc<Inodes>, String> {
        let table = self.handles()?.renew().map_err(|error| error.to_string())?;
        table.set_tracker(self.tracker.clone());
        Ok(table)
    }

    fn inspect(&mut self) -> Result<(), String> {
        if self.role == Role::Idle {
            // While nothing was mounted the paths may have come to lead elsewhere: another disk, a new directory.
            self.handles = None;
        }
        let handles = self.handles()?;
        let events = self.events.clone();
        std::thread::spawn(move || {
            let roots: Vec<_> = (0..).map_while(|index| handles.directory_fd(index)).collect();
            events(ReplicaEvent::Inspected { inventory: Count::default().run(&roots) });
        });
        Ok(())
    }

    fn start_serving(&mut self, generation: Generation) -> Result<(), String> {
        let inodes = self.table()?;
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
        if let Some(tracker) = &self.tracker {
            self.watch = Some(tracker.watch());
            let keeper = Keeper::new(tracker.clone(), inodes, &sender);
            std::thread::spawn(move || keeper.run());
        }
        self.front = Some(front);
        self.server = Some(server);
        *lock(&self.measured) = Measured::Sender(sender.clone());
        self.sender = Some(sender);
        Ok(())
    }

    fn mount_read_only(&mut self) -> Result<(), String> {
        if self.front.is_some() {
            return Ok(());
        }
        let inodes = self.table()?;
        let nobody: Arc<dyn Replicate> = Arc::new(Alone);
        self.front = Some(Front::mount(&inodes, Mode::ReadOnly, &nobody).map_err(|error| error.to_string())?);
        self.watch = self.tracker.as_ref().map(Tracker::watch);
        Ok(())
    }

    fn start_follower(&mut self, session: u64, generation: Generation) -> Result<(), String> {
        let handles = self.handles()?;
        let roots = self.configure.directories.iter().enumerate();
        let roots = roots.filter_map(|(index, path)| Some((path.clone(), handles.directory_fd(index)?))).collect();
        let applier = Applier::new(roots, self.configure.async_mode).map_err(|error| error.to_string())?;
        let follow = Follow {
            local: self.local.clone(),
            peer: self.configure.peer,
            protection: self.protection.clone(),
            session,
            generation,
            events: self.events.clone(),
            tracker: self.tracker.clone(),
        };
        let follower = Arc::new(Mutex::new(Follower::start(follow, applier)));
        *lock(&self.measured) = Measured::Follower(follower.clone());
        self.follower = Some(follower);
        Ok(())
    }

    fn end_follower(&mut self) {
        let Some(follower) = self.follower.take() else { return };
        lock(&follower).fence();
        *lock(&self.measured) = Measured::Nothing;
    }

    fn unmount(&mut self, abort: bool) -> Result<(), String> {
        if let Some(front) = &self.front {
            if let Some(watch) = self.watch.take() {
                watch.end();
            }
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
        Ok(())
    }
}
