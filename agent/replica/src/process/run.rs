//! Carries out the agent's commands: one thread executes them in order, others read, write and measure.

mod compare;
mod inspect;

use super::agents::{Agents, Next, Order, Outbox};
use super::{Role, Step, plan};
use crate::control::{self, Configure, FromReplica, PROTOCOL, Stats, ToReplica};
use crate::filter::Filter;
use crate::front::{Alone, Front, Inodes, Mode, MountError};
use crate::keep::{self, Keep};
use crate::replicate::Replicate;
use crate::stream::applier::Applier;
use crate::stream::follower::{Figures, Follow, Follower};
use crate::stream::sender::Sender;
use crate::stream::server::{Serve, Server};
use crate::stream::{Events, Local, lock};
use crate::tls::{Protection, take_traffic};
use crate::track::{Moment, Tracker, Watch, keeper::Keeper};
use holdfast_api::ids::Generation;
use holdfast_core::replica::{Plane, ReplicaCommand, ReplicaEvent};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long an orderly release waits for the peer's last acknowledgements.
const DRAIN: Duration = Duration::from_secs(1);

/// Time between two words to the agent.
const WORD_PERIOD: Duration = Duration::from_secs(1);

/// Serves agents, one at a time; the first is at the other end of `socket`.
pub fn run(socket: UnixStream) -> anyhow::Result<()> {
    let Some(first) = control::receive::<ToReplica>(&socket)? else { return Ok(()) };
    let outbox = Outbox::default();
    let writing = outbox.connect(socket.try_clone()?);
    let sink = outbox.clone();
    let events: Events = Arc::new(move |event| sink.send(FromReplica::Event(event)));
    let resumes = matches!(first, ToReplica::Resume(_));
    let begun = configured(first).and_then(|configure| {
        if resumes { Replica::take_over(configure, events.clone()) } else { Replica::new(configure, events.clone()) }
    });
    match begun {
        Ok(mut replica) => {
            let orphan = replica.configure.orphan.clone();
            // An agent that is told of this replica may want to end it by its door.
            let (mut agents, orders) = Agents::new(socket, outbox.clone(), orphan)?;
            if resumes {
                outbox.send(FromReplica::Found(replica.plane()));
                replica.tell_what_was_lost();
            }
            let (measured, figures) = (replica.measured.clone(), outbox);
            std::thread::spawn(move || measure(&measured, &figures));
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
        ToReplica::Configure(configure) | ToReplica::Resume(configure) => {
            of_this_version(&configure).map(|()| *configure)
        }
        ToReplica::Command(_) | ToReplica::Verify | ToReplica::Hello(_) | ToReplica::End => {
            Err("the first message must be Configure or Resume".into())
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
    Follower(Arc<Figures>),
}

/// Says something every second, whatever the other threads do or wait for (no lock that it takes is held while a system
/// call blocks): an agent that hears nothing takes this process for one that stands still.
fn measure(measured: &Mutex<Measured>, outbox: &Outbox) {
    loop {
        std::thread::sleep(WORD_PERIOD);
        let (sent_per_s, received_per_s) = take_traffic();
        let stats = match &*lock(measured) {
            Measured::Nothing => None,
            Measured::Sender(sender) => Some(sender.take_stats()),
            Measured::Follower(figures) => Some(figures.take()),
        };
        let stats = stats.map(|stats| Stats { sent_per_s, received_per_s, ..stats });
        outbox.send(stats.map_or(FromReplica::Alive, FromReplica::Stats));
    }
}

type Roots = Vec<(PathBuf, Arc<OwnedFd>)>;

pub(super) struct Replica {
    pub(super) configure: Configure,
    protection: Protection,
    pub(super) local: Local,
    pub(super) filter: Arc<Filter>,
    pub(super) events: Events,
    pub(super) role: Role,
    /// While `true`, the inspection under way looks for paths that are missing.
    looking: Arc<AtomicBool>,
    /// The directories' handles, taken before anything is mounted.
    handles: Option<Arc<Inodes>>,
    /// What may differ; with the handles.
    tracker: Option<Arc<Tracker>>,
    /// While something is mounted.
    watch: Option<Watch>,
    pub(super) front: Option<Front>,
    pub(super) sender: Option<Arc<Sender>>,
    /// What is mounted read-write.
    served: Option<Arc<Inodes>>,
    /// A comparison of both copies is running.
    verifying: Arc<AtomicBool>,
    /// Set to end the comparison with a peer that is not followed.
    diffing: Arc<AtomicBool>,
    /// Set to end the setting aside under way.
    aside: Arc<AtomicBool>,
    server: Option<Server>,
    follower: Option<Follower>,
    measured: Arc<Mutex<Measured>>,
    /// What is mounted read-write outlives this process by it.
    pub(super) keep: Option<Arc<Keep>>,
}

impl Replica {
    /// A replica with nothing mounted. What an earlier one has left with its holder ends first.
    fn new(configure: Configure, events: Events) -> Result<Self, String> {
        if let Some(orphan) = &configure.orphan {
            keep::abandon(&keep::door_of(&orphan.socket));
        }
        Self::made(configure, events)
    }

    pub(super) fn made(configure: Configure, events: Events) -> Result<Self, String> {
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
            tracker: None,
            watch: None,
            front: None,
            sender: None,
            served: None,
            verifying: Arc::default(),
            diffing: Arc::default(),
            aside: Arc::default(),
            server: None,
            follower: None,
            measured: Arc::default(),
            keep: None,
        })
    }

    fn serve(&mut self, agents: &mut Agents, orders: &Receiver<Order>) {
        loop {
            match agents.next(orders, &self.plane()) {
                Next::Command(command) => {
                    tracing::info!(module = %self.configure.module, ?command, role = ?self.role, "command");
                    self.command(&command);
                    agents.outbox().send(FromReplica::Done);
                }
                Next::Verify if matches!(self.role, Role::Idle | Role::Fenced) => self.diff(agents.outbox()),
                Next::Verify => self.verify(agents.outbox()),
                Next::Hello(socket, theirs) => {
                    let judged = of_this_version(&theirs).and_then(|()| self.same_as_configured(&theirs));
                    if judged.is_ok() {
                        self.configure.covered = theirs.covered;
                    }
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
    pub(super) fn plane(&self) -> Plane {
        match (self.role, &self.sender, &self.follower) {
            (Role::Serving, Some(sender), _) => sender.plane(),
            (Role::Following, _, Some(follower)) => follower.plane(),
            _ => Plane::Nothing,
        }
    }

    /// But for what the ledger knows: that changes while the configuration stays.
    fn same_as_configured(&self, theirs: &Configure) -> Result<(), String> {
        let same = Configure { covered: self.configure.covered.clone(), ..theirs.clone() } == self.configure;
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
            Step::SetAside(run, generation) => self.set_aside(run, generation),
            Step::EndFollower => {
                self.end_follower();
                Ok(())
            }
            Step::Unmount { abort } => self.unmount(abort),
            Step::LetGo => {
                self.let_go();
                Ok(())
            }
            Step::StartServing(generation) => self.start_serving(generation),
            Step::MountReadOnly => self.mount_read_only(),
            Step::StartFollower(session, generation) => self.start_follower(session, generation),
            Step::CompareAll => self.compare_all(),
            Step::AcceptPeer(session) => self.sender()?.accept_peer(session),
            Step::Complete => self.sender()?.complete_resync(),
            Step::ContinueAlone(generation) => self.sender()?.continue_alone(generation),
            Step::Confirm => {
                if let Some(follower) = &self.follower {
                    follower.confirm();
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
        if let Some(path) = inspect::missing(&self.configure.required) {
            return Err(format!("{} is not there, and must be (<tocheck>): mount the disk it is on", path.display()));
        }
        // Before the look at the mounts: what is done once a dead one is taken away comes after this moment.
        let moment = Moment::now(&self.configure.boot_id);
        let left_dead = self
            .configure
            .directories
            .iter()
            .all(|path| std::fs::metadata(path).is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN)));
        let handles = Inodes::open_filtered(&self.configure.directories, self.filter.clone());
        let handles = handles.map_err(|error| error.to_string())?;
        self.track(&handles, left_dead.then_some(&moment))?;
        Ok(handles)
    }

    /// Uses these handles, and the record of what may differ below them. `covered`: a moment at which mounts of a process
    /// that is gone covered them all.
    pub(super) fn track(&mut self, handles: &Arc<Inodes>, covered: Option<&Moment>) -> Result<(), String> {
        if let Some(tracker) = self.tracker.take() {
            tracker.close();
        }
        let roots = (0..).map_while(|index| handles.directory_fd(index)).collect();
        let folder = &self.configure.state_dir;
        self.tracker = Tracker::open(folder, (roots, &self.filter), &self.configure.boot_id).map_err(|error| {
            format!("cannot keep the record of what may differ in {}: {error}; make it writable", folder.display())
        })?;
        if let Some((tracker, moment)) = self.tracker.as_ref().zip(covered) {
            tracker.nobody_was_there(moment);
        }
        self.handles = Some(handles.clone());
        Ok(())
    }

    /// A table for one mount.
    pub(super) fn table(&mut self) -> Result<Arc<Inodes>, String> {
        let table = self.handles()?.renew().map_err(|error| error.to_string())?;
        table.set_tracker(self.tracker.clone());
        Ok(table)
    }

    fn start_serving(&mut self, generation: Generation) -> Result<(), String> {
        self.end_diff();
        let inodes = self.table()?;
        let sender = Sender::new(self.local.clone(), generation, self.events.clone());
        let keep = self.start_keep(&inodes);
        self.serve_over(&inodes, &sender, |inodes, replicate| Front::mount(inodes, Mode::ReadWrite, replicate))?;
        self.hold(keep);
        Ok(())
    }

    /// Opens the door for the peer and serves what `mount` makes, or takes over.
    pub(super) fn serve_over(
        &mut self,
        inodes: &Arc<Inodes>,
        sender: &Arc<Sender>,
        mount: impl FnOnce(&Arc<Inodes>, &Arc<dyn Replicate>) -> Result<Front, MountError>,
    ) -> Result<(), String> {
        let serve = Serve {
            sender: sender.clone(),
            inodes: inodes.clone(),
            protection: self.protection.clone(),
            send_timeout: self.local.send_timeout,
            events: self.events.clone(),
            limits: self.configure.resync_limits(),
        };
        let listen = self.configure.listen;
        let server = Server::start(listen, serve).map_err(|error| {
            format!("cannot listen on {listen} for the peer: {error}; see which program uses it (ss -tlnp), or correct the address")
        })?;
        let replicate: Arc<dyn Replicate> = sender.clone();
        let front = mount(inodes, &replicate).map_err(|error| error.to_string())?;
        if let Ok(address) = server.address() {
            tracing::info!(%address, "serving");
        }
        if let Some(tracker) = &self.tracker {
            self.watch = Some(tracker.watch());
            let keeper = Keeper::new(tracker.clone(), inodes.clone(), sender);
            std::thread::spawn(move || keeper.run());
        }
        self.front = Some(front);
        self.server = Some(server);
        *lock(&self.measured) = Measured::Sender(sender.clone());
        self.sender = Some(sender.clone());
        self.served = Some(inodes.clone());
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
        self.aside.store(true, Ordering::Release);
        self.end_diff();
        let (_, applier) = self.applier()?;
        let follow = Follow {
            local: self.local.clone(),
            peer: self.configure.peer,
            protection: self.protection.clone(),
            session,
            generation,
            events: self.events.clone(),
            tracker: self.tracker.clone(),
        };
        let follower = Follower::start(follow, applier);
        *lock(&self.measured) = Measured::Follower(follower.figures());
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
        let Some(mut follower) = self.follower.take() else { return };
        follower.fence();
        *lock(&self.measured) = Measured::Nothing;
    }

    /// Keeps nothing of the directories open: their disks can be unmounted, checked, replaced.
    fn let_go(&mut self) {
        if let Some(tracker) = self.tracker.take() {
            tracker.close();
        }
        self.handles = None;
    }

    fn unmount(&mut self, abort: bool) -> Result<(), String> {
        self.looking.store(false, Ordering::Release);
        self.aside.store(true, Ordering::Release);
        if let Some(front) = &self.front {
            if let Some(watch) = self.watch.take() {
                watch.end();
            }
            front.unmount(abort).map_err(|error| error.to_string())?;
        }
        if let Some(keep) = self.keep.take() {
            keep.done();
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
