//! The agents of a replica, one at a time: the one that started it, and those that find it running later.
//!
//! Between two of them it goes on as it is, by the right it has: nobody is there to grant it more. Not for long: by the
//! limit it was given the peer may serve. Then it refuses its writers and ends.

use crate::control::{self, Configure, ControlError, FromReplica, Orphan, ToReplica};
use crate::stream::lock;
use crate::stream::table::boottime_ms;
use anyhow::Context;
use holdfast_core::replica::{Acknowledges, Plane, ReplicaCommand};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the end of the process may take; then it ends anyway, its mounts with it.
const END: Duration = Duration::from_secs(10);

/// Time between two looks at the clock while no agent is there.
const LOOK: Duration = Duration::from_millis(50);

/// Longest time an agent may take to say who it is.
const HELLO: Duration = Duration::from_secs(1);

/// What comes from agents, in the order in which it came.
pub(super) enum Order {
    Command(ReplicaCommand),
    Verify,
    /// This agent's end of the socket has closed.
    Gone(u64),
    Hello(UnixStream, Box<Configure>),
    End,
}

/// What is to be done next.
pub(super) enum Next {
    Command(ReplicaCommand),
    Verify,
    Hello(UnixStream, Box<Configure>),
    /// Only time has passed.
    Nothing,
    End(&'static str),
}

/// Where messages to the agent go; without an agent nowhere.
#[derive(Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<Option<Sender<FromReplica>>>>);

impl Outbox {
    pub(super) fn send(&self, message: FromReplica) {
        if let Some(sender) = &*lock(&self.0) {
            // A failure: the agent is gone, and that is told elsewhere.
            let _ = sender.send(message);
        }
    }

    /// From now on messages go to this agent.
    pub(super) fn connect(&self, socket: UnixStream) -> JoinHandle<()> {
        let (sender, outgoing) = mpsc::channel();
        *lock(&self.0) = Some(sender);
        std::thread::spawn(move || write_all(&socket, &outgoing))
    }

    pub(super) fn disconnect(&self) {
        *lock(&self.0) = None;
    }
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

/// Who commands this replica, and since when nobody does.
pub(super) struct Agents {
    outbox: Outbox,
    orders: Sender<Order>,
    orphan: Option<Orphan>,
    /// Number of the agent that commands, or was the last to.
    present: Arc<AtomicU64>,
    /// Since when there is none, in milliseconds of the boot-time clock: a machine that slept knows it.
    alone_since: Option<u64>,
    /// The run of `Orphan::release`.
    releasing: Option<Child>,
    released: bool,
}

impl Agents {
    /// The agent behind `socket`, and a door for the next ones.
    pub(super) fn new(
        socket: UnixStream,
        outbox: Outbox,
        orphan: Option<Orphan>,
    ) -> anyhow::Result<(Self, Receiver<Order>)> {
        let (orders, received) = mpsc::channel();
        let mut agents = Self {
            outbox,
            orders,
            orphan,
            present: Arc::default(),
            alone_since: None,
            releasing: None,
            released: false,
        };
        if let Some(orphan) = &agents.orphan {
            match listen(orphan) {
                Ok(listener) => {
                    let orders = agents.orders.clone();
                    std::thread::Builder::new().name("agents".into()).spawn(move || accept(&listener, &orders))?;
                }
                Err(error) => {
                    tracing::error!("{error:#}: this replica ends with its agent");
                    agents.orphan = None;
                }
            }
        }
        agents.read(socket)?;
        Ok((agents, received))
    }

    /// Where answers to the present agent go.
    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Reads this agent's commands on a thread of its own, so that its end is noticed whatever is being done.
    fn read(&mut self, socket: UnixStream) -> std::io::Result<()> {
        let agent = self.present.fetch_add(1, Ordering::AcqRel) + 1;
        let (orders, present) = (self.orders.clone(), Arc::clone(&self.present));
        let patience = self.orphan.as_ref().map_or(END, |orphan| END + Duration::from_millis(orphan.limit_ms));
        std::thread::Builder::new().name("control".into()).spawn(move || {
            // The executing thread may have ended already.
            let _ = orders.send(read_commands(&socket, &orders, agent));
            std::thread::sleep(patience);
            if present.load(Ordering::Acquire) == agent {
                give_up();
            }
        })?;
        Ok(())
    }

    /// The next thing to do; while no agent is there it comes back at once in a while. `plane`: what runs.
    pub(super) fn next(&mut self, orders: &Receiver<Order>, plane: &Plane) -> Next {
        let order = match self.alone_since {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => orders.recv_timeout(LOOK),
        };
        match order {
            Ok(Order::Command(command)) => Next::Command(command),
            Ok(Order::Verify) => Next::Verify,
            Ok(Order::Hello(socket, configure)) => Next::Hello(socket, configure),
            Ok(Order::End) => Next::End("an agent has ordered it"),
            Ok(Order::Gone(agent)) if agent == self.present.load(Ordering::Acquire) => self.gone(plane),
            Ok(Order::Gone(_)) => Next::Nothing,
            Err(RecvTimeoutError::Timeout) => self.look(plane),
            Err(RecvTimeoutError::Disconnected) => Next::End("nobody commands any more"),
        }
    }

    /// The agent is gone: what serves or follows goes on for a while, anything else ends with it.
    fn gone(&mut self, plane: &Plane) -> Next {
        self.outbox.disconnect();
        let Some(orphan) = self.orphan.as_ref().filter(|_| *plane != Plane::Nothing) else {
            return Next::End("the agent has closed the control socket");
        };
        tracing::warn!("the agent is gone: going on without one for {} ms at most", orphan.limit_ms);
        self.alone_since = Some(boottime_ms());
        Next::Nothing
    }

    fn look(&mut self, plane: &Plane) -> Next {
        let (Some(since), Some(orphan)) = (self.alone_since, self.orphan.clone()) else { return Next::Nothing };
        let alone_ms = boottime_ms().saturating_sub(since);
        let held_ms = match plane {
            Plane::Serving { acknowledges: Acknowledges::Frozen { held_ms }, .. } => *held_ms,
            _ => 0,
        };
        if alone_ms.max(held_ms) >= orphan.limit_ms {
            self.release(&orphan);
            return Next::End("no agent has come back in time, and the peer may serve");
        }
        // A stream that is lost may have been fenced by a peer that takes over.
        if alone_ms >= orphan.addresses_ms || held_ms > 0 {
            self.release(&orphan);
        }
        Next::Nothing
    }

    /// Has the module's virtual addresses taken away, once.
    fn release(&mut self, orphan: &Orphan) {
        let Some((program, arguments)) = orphan.release.split_first().filter(|_| !self.released) else { return };
        self.released = true;
        tracing::warn!("the virtual addresses are taken away: the peer may want them");
        match Command::new(program).args(arguments).stdin(Stdio::null()).spawn() {
            Ok(child) => self.releasing = Some(child),
            Err(error) => tracing::error!("cannot run {program}: {error}"),
        }
    }

    /// Obeys the agent behind `socket` from now on, if it may, and tells it what runs.
    pub(super) fn answer(&mut self, socket: UnixStream, judged: Result<(), String>, plane: impl Fn() -> Plane) {
        let judged = judged.and_then(|()| match self.alone_since {
            Some(_) => Ok(()),
            None => Err("another agent commands it".to_owned()),
        });
        let taken = judged.and_then(|()| {
            if let Some(mut releasing) = self.releasing.take() {
                // The agent is about to set again what this takes away.
                let _ = releasing.wait();
            }
            let writer = socket.try_clone().map_err(|error| error.to_string())?;
            self.outbox.connect(writer);
            // What happens from here on is told after what is seen here.
            self.outbox.send(FromReplica::Found(plane()));
            self.alone_since = None;
            self.released = false;
            self.read(socket.try_clone().map_err(|error| error.to_string())?).map_err(|error| error.to_string())
        });
        match taken {
            Ok(()) => tracing::info!("another agent has taken over"),
            Err(reason) => {
                tracing::warn!(reason, "an agent was refused");
                // A failure: it is gone.
                let _ = control::send(&socket, &FromReplica::Refused(reason));
            }
        }
    }

    /// The process ends, whatever hangs.
    pub(super) fn end_in_time(&self) {
        std::thread::spawn(|| {
            std::thread::sleep(END);
            give_up();
        });
    }
}

fn give_up() {
    tracing::error!("the mounts could not be taken away in time: ending with them");
    std::process::exit(1);
}

/// Passes an agent's commands on until it is gone, or has ordered the end; that is the last order.
fn read_commands(socket: &UnixStream, orders: &Sender<Order>, agent: u64) -> Order {
    loop {
        match control::receive::<ToReplica>(socket) {
            Ok(Some(ToReplica::Command(command))) => {
                if orders.send(Order::Command(command)).is_err() {
                    return Order::Gone(agent);
                }
            }
            Ok(Some(ToReplica::Verify)) => {
                if orders.send(Order::Verify).is_err() {
                    return Order::Gone(agent);
                }
            }
            Ok(Some(ToReplica::End)) => return Order::End,
            Ok(Some(ToReplica::Configure(_) | ToReplica::Resume(_) | ToReplica::Hello(_))) => {
                tracing::error!("a second greeting: the agent and this replica are not of one version");
                return Order::End;
            }
            Ok(None) => return Order::Gone(agent),
            Err(error) => {
                tracing::error!(%error, "the agent's control socket failed");
                return Order::Gone(agent);
            }
        }
    }
}

fn listen(orphan: &Orphan) -> anyhow::Result<UnixListener> {
    let shown = orphan.socket.display();
    // Whoever listened there is gone: the agent starts one replica of a module at a time.
    let _ = std::fs::remove_file(&orphan.socket);
    let listener = UnixListener::bind(&orphan.socket).with_context(|| format!("cannot listen on {shown}"))?;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&orphan.socket, mode).with_context(|| format!("cannot protect {shown}"))?;
    Ok(listener)
}

fn accept(listener: &UnixListener, orders: &Sender<Order>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else {
            std::thread::sleep(LOOK);
            continue;
        };
        match greeted(socket) {
            Ok(Some(order)) => {
                if orders.send(order).is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("refused on the agents' socket: {error:#}"),
        }
    }
}

/// What comes over a new connection first; `None`: somebody only looked whether this replica lives.
fn greeted(socket: UnixStream) -> anyhow::Result<Option<Order>> {
    let peer = rustix::net::sockopt::socket_peercred(&socket).context("who is it?")?;
    let own = rustix::process::geteuid();
    anyhow::ensure!(peer.uid.is_root() || peer.uid == own, "user {} is not this agent's", peer.uid.as_raw());
    socket.set_read_timeout(Some(HELLO))?;
    let first = control::receive::<ToReplica>(&socket)?;
    socket.set_read_timeout(None)?;
    match first {
        Some(ToReplica::Hello(configure)) => Ok(Some(Order::Hello(socket, configure))),
        Some(ToReplica::End) => Ok(Some(Order::End)),
        Some(ToReplica::Configure(_) | ToReplica::Resume(_) | ToReplica::Command(_) | ToReplica::Verify) => {
            anyhow::bail!("the first message must be Hello")
        }
        None => Ok(None),
    }
}
