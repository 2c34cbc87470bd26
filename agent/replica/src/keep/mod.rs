//! The mount outlives the replica: a kill, a fault or an upgrade of the data plane is a pause for its applications.
//!
//! ```text
//! replica ──starts──▶ holder (holds: /dev/fuse and directory of each mount, Store, files without a name)
//!    ╳ killed            │ Take
//! agent ──starts──▶ replica 2 ◀──┘  opens the Store ─▶ objects, right ─▶ RESEND ─▶ serves
//! ```
//!
//! **Who keeps the descriptors.** A process of its own, the *holder*: started by the replica that mounts, in a session of
//! its own, without logic and with nothing to do. Neither the agent nor systemd's store would do as well: the agent is
//! restarted itself, and systemd would keep them only for a service that it supervises, which a replica is not. With the
//! holder a kill -9 of the replica, of the agent, of both, or an upgrade of both one after the other loses nothing: the
//! agent that is there (or comes back) sees that the replica ended, and starts another, which takes over at the holder's
//! door. If none comes within the time in which the peer may serve, the holder aborts the connections, so that nobody
//! waits for ever: that is the failover of a kernel without RESEND (before 6.9), where nothing is held at all. What ends
//! the mount for good is a kill of holder *and* replica; then the mount is dead, as without this module.
//!
//! **What the next replica has to know** is in the [`Store`], memory that the holder keeps: every object the kernel has an
//! id of (file handle, references, opens, one name), what the kernel agreed to, the right to acknowledge. Handles of open
//! files carry nothing, a directory's position is the backing file system's own, and locks are the kernel's. An open file
//! without a name has no handle that could be opened: its descriptor goes to the holder *before* its last name is removed.
//!
//! **What was under way** the kernel hands out again (FUSE_NOTIFY_RESEND), marked by the highest bit of its number. It was
//! never answered, so nobody saw a result, and the kernel holds the locks of its directories and files: no other request
//! can have come between. Whatever carries results (writes at an offset, appends included; attributes; ranges) is
//! simply done again. A name that was to be made and is there, or to be removed and is not, was made or removed by the
//! first attempt: the kernel asks to make only what it knows to be absent, and nobody else changes the directory. Only
//! what the tree cannot tell (an exchange of names, attributes that must or must not exist) is noted before it is done,
//! with the fact that decides ([`Store::begin`]).
//!
//! **What may be acknowledged** is what the replica that ended might have acknowledged, or less: alone only if it held its
//! grant for that and had not given it up; if changes waited for the peer, they wait for the agent's decision, as after
//! any loss of the stream. All that was ever begun stands in the intent log, before it was done: the peer gets it by the
//! next resync.

mod holder;
mod messages;
mod record;
mod right;
mod store;

pub use holder::hold;
pub(crate) use record::{Identity, Known};
pub(crate) use right::{Right, Word};
pub(crate) use store::{RESENT, Slot, Store};

use messages::{DESCRIPTORS_MAX, Message, Mounts, receive, send};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, socketpair, sockopt,
};
use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for the holder's answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest time between the end of a process as seen by its control socket, and the last of its descriptors.
const CLOSING: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(2);

/// A mount that is to be held.
pub(crate) struct Mounted<'a> {
    pub(crate) path: &'a Path,
    pub(crate) device: u64,
    pub(crate) connection: BorrowedFd<'a>,
    pub(crate) directory: BorrowedFd<'a>,
}

/// A replica's end: the store, and the way to the holder.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) store: Store,
    holder: OwnedFd,
}

/// What was taken over.
pub(crate) struct Taken {
    pub(crate) keep: Keep,
    pub(crate) known: Vec<(Slot, Known)>,
    /// Ids below this may have been used.
    pub(crate) first_id: u64,
    pub(crate) mounts: Vec<TakenMount>,
    /// Objects without a name that are open, and whether their descriptor is good for writing.
    pub(crate) pinned: HashMap<u64, (OwnedFd, bool)>,
}

/// A mount that was taken over.
pub(crate) struct TakenMount {
    pub(crate) path: PathBuf,
    pub(crate) device: u64,
    pub(crate) connection: OwnedFd,
    pub(crate) directory: OwnedFd,
}

/// Where the holder of a replica listens, given where that replica listens for agents.
pub fn door_of(agents: &Path) -> PathBuf {
    agents.with_extension("hold")
}

impl Keep {
    /// Starts a holder that listens at `door`. It holds nothing yet.
    pub(crate) fn start(door: &Path) -> io::Result<Keep> {
        Keep::beside(door, |replica, listener| {
            // Through the link: the file may have been replaced by a newer one meanwhile.
            let mut command = Command::new("/proc/self/exe");
            command.arg("--hold").stdin(replica).stdout(listener).stderr(Stdio::inherit());
            let mut child = command.spawn()?;
            std::thread::Builder::new().name("holder".into()).spawn(move || child.wait())?;
            Ok(())
        })
    }

    fn beside(door: &Path, holder: impl FnOnce(OwnedFd, OwnedFd) -> io::Result<()>) -> io::Result<Keep> {
        // Nobody is behind it any more: whoever was has been asked to abandon what it held.
        let _ = std::fs::remove_file(door);
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        bind(&listener, &SocketAddrUnix::new(door)?)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(door, mode)?;
        listen(&listener, 4)?;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        holder(theirs, listener)?;
        Ok(Keep { store: Store::new()?, holder: ours })
    }

    /// From now on these mounts outlive this process, without one for at most `limit`.
    pub(crate) fn hold(&self, mounts: &[Mounted<'_>], limit: Duration) -> io::Result<()> {
        if 1 + 2 * mounts.len() > DESCRIPTORS_MAX {
            return Err(io::Error::other("too many directories"));
        }
        let mut all = vec![self.store.fd()];
        all.extend(mounts.iter().flat_map(|mount| [mount.connection, mount.directory]));
        let at = mounts.iter().map(|mount| (mount.path.to_owned(), mount.device)).collect();
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        send(&self.holder, &Message::Keep(Mounts { at, limit_ms }), &all)
    }

    /// The object is about to lose its last name, and is open.
    pub(crate) fn pin(&self, id: u64, descriptor: BorrowedFd<'_>, writable: bool) {
        self.say(&Message::Pin { id, writable }, &[descriptor]);
    }

    /// The object is not needed any more.
    pub(crate) fn unpin(&self, id: u64) {
        self.say(&Message::Unpin(id), &[]);
    }

    /// The mounts are gone, or are to end with this process.
    pub(crate) fn done(&self) {
        self.say(&Message::Done, &[]);
    }

    fn say(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) {
        if let Err(error) = send(&self.holder, message, descriptors) {
            tracing::debug!(%error, ?message, "the holder is gone: this mount ends with this process");
        }
    }
}

fn reach(door: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(door)?)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER))?;
    Ok(socket)
}

/// Whether somebody holds mounts behind this door.
pub fn is_held(door: &Path) -> bool {
    reach(door).is_ok()
}

/// Has the mounts behind this door ended, if there are any: whoever uses them gets an error. Returns once that is done.
pub fn abandon(door: &Path) {
    let Ok(socket) = reach(door) else { return };
    let done = send(&socket, &Message::Abandon, &[]).and_then(|()| receive(&socket));
    if let Err(error) = done {
        tracing::warn!(%error, "the holder of a mount does not answer");
    }
}

/// Takes over what is held behind this door. The replica that ended may have been seen to end a moment before the last
/// of its descriptors is closed: it is waited for.
///
/// # Errors
/// Nobody is there, another replica is, or what it holds cannot be understood. What is held stays so.
pub(crate) fn take(door: &Path) -> io::Result<Taken> {
    let end = Instant::now() + CLOSING;
    loop {
        match take_now(door) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => std::thread::sleep(LOOK),
            taken => return taken,
        }
    }
}

fn take_now(door: &Path) -> io::Result<Taken> {
    let holder = reach(door)?;
    send(&holder, &Message::Take, &[])?;
    let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "the holder of the mount is not understood");
    let (mounts, descriptors) = match receive(&holder)? {
        Some((Message::Keep(mounts), descriptors)) => (mounts, descriptors),
        Some(_) => return Err(unexpected()),
        None => return Err(io::Error::new(io::ErrorKind::WouldBlock, "another data plane serves the mount")),
    };
    let mut pinned = HashMap::new();
    loop {
        match receive(&holder)?.ok_or_else(unexpected)? {
            (Message::Pin { id, writable }, mut descriptors) => {
                let descriptor = descriptors.pop().ok_or_else(unexpected)?;
                pinned.insert(id, (descriptor, writable));
            }
            (Message::End, _) => break,
            _ => return Err(unexpected()),
        }
    }
    let mut descriptors = descriptors.into_iter();
    let store::Opened { store, known, first_id } = Store::open(descriptors.next().ok_or_else(unexpected)?)?;
    let mut taken = Vec::new();
    for (path, device) in mounts.at {
        let (Some(connection), Some(directory)) = (descriptors.next(), descriptors.next()) else {
            return Err(unexpected());
        };
        taken.push(TakenMount { path, device, connection, directory });
    }
    Ok(Taken { keep: Keep { store, holder }, known, first_id, mounts: taken, pinned })
}

#[cfg(test)]
mod tests;
