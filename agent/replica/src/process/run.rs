//! Carries out the agent's commands: one thread executes them in order, others read, write and measure.

use super::agents::{Agents, Next, Order, Outbox};
use super::{Role, Step, plan};
use crate::control::{self, Configure, FromReplica, PROTOCOL, ToReplica};
use crate::front::{Alone, Front, Inodes, Mode};
use crate::inspect::Count;
use crate::replicate::Replicate;
use crate::stream::applier::Applier;
use crate::stream::follower::{Follow, Follower};
use crate::stream::sender::Sender;
use crate::stream::server::{Serve, Server};
use crate::stream::{Events, Local, lock};
use crate::tls::Protection;
use holdfast_api::ids::Generation;
use holdfast_core::replica::{Plane, ReplicaCommand, ReplicaEvent};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long an orderly release waits for the peer's last acknowledgements.
const DRAIN: Duration = Duration::from_secs(1);

/// Time between two reports of figures.
const STATS_PERIOD: Duration = Duration::from_secs(1);

/// Serves agents, one at a time; the first is at the other end of `socket`.
pub fn run(socket: UnixStream) -> anyhow::Result<()> {
    let Some(first) = control::receive::<ToReplica>(&socket)? else { return Ok(()) };
    let outbox = Outbox::default();
    let writing = outbox.connect(socket.try_clone()?);
    let sink = outbox.clone();
    let events: Events = Arc::new(move |event| sink.send(FromReplica::Event(event)));
    match configured(first).and_then(|configure| Replica::new(configure, events.clone())) {
        Ok(mut replica) => {
            let (measured, figures) = (replica.measured.clone(), outbox.clone());
            std::thread::spawn(move || measure(&measured, &figures));
            let orphan = replica.configure.orphan.clone();
            let (mut agents, orders) = Agents::new(socket, outbox, orphan)?;
            replica.serve(&mut agents, &orders);
        }
        Err(reason) => {
            events(ReplicaEvent::Failed { reason: reason.clone() });
            outbox.disconnect();
            // The agent is to see the reason before the socket closes.
            let _ = writing.join();
            anyhow::bail!(reason);
        }
    }
    Ok(())
}

fn configured(first: ToReplica) -> Result<Configure, String> {
    match first {
        ToReplica::Configure(configure) => of_this_version(&configure).map(|()| *configure),
        ToReplica::Command(_) | ToReplica::Hello(_) | ToReplica::End => {
            Err("the first message must be Configure".into())
        }
    }
}

fn of_this_version(configure: &Configure) -> Result<(), String> {
    if configure.protocol == PROTOCOL {
        return Ok(());
    }
    Err(format!(
        "the agent speaks version {} of the control protocol, this replica version {PROTOCOL}: install both from one \
         release",
        configure.protocol
    ))
}

/// What `Stats` are taken from.
#[derive(Default)]
enum Measured {
    #[default]
    Nothing,
    Sender(Arc<Sender>),
    Follower(Arc<Mutex<Follower>>),
}

fn measure(measured: &Mutex<Measured>, outbox: &Outbox) {
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
        outbox.send(FromReplica::Stats(stats));
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
            front: None,
            sender: None,
            server: None,
            follower: None,
            measured: Arc::default(),
        })
    }

    fn serve(&mut self, agents: &mut Agents, orders: &Receiver<Order>) {
        loop {
            match agents.next(orders, &self.plane()) {
                Next::Command(command) => {
                    tracing::info!(module = %self.configure.module, ?command, role = ?self.role, "command");
                    self.command(&command);
                }
                Next::Hello(socket, theirs) => {
                    let judged = of_this_version(&theirs).and_then(|()| self.same_as_configured(&theirs));
                    agents.answer(socket, judged, || self.plane());
                }
                Next::Nothing => {}
                Next::End(why) => {
                    tracing::info!(why, "ending");
                    break;
                }
            }
        }
        agents.end_in_time();
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

    /// What an agent that finds this replica is told.
    fn plane(&self) -> Plane {
        match (self.role, &self.sender, &self.follower) {
            (Role::Serving, Some(sender), _) => sender.plane(),
            (Role::Following, _, Some(follower)) => lock(follower).plane(),
            _ => Plane::Nothing,
        }
    }

    fn same_as_configured(&self, theirs: &Configure) -> Result<(), String> {
        let same = *theirs == self.configure;
        if same { Ok(()) } else { Err("it was started with another configuration".into()) }
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
        let handles = Inodes::open(&self.configure.directories).map_err(|error| error.to_string())?;
        self.handles = Some(handles.clone());
        Ok(handles)
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
