//! Brings writes through shared memory mappings to the peer about once a second: the kernel keeps them to itself until
//! somebody syncs, or for half a minute.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;

use super::lock;
use super::session::Connection;
use crate::tree::Status;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long taking a mount away waits for a sync under way (of a peer that does not answer).
const STOP: Duration = Duration::from_secs(2);

/// The thread of one mount.
#[derive(Debug)]
pub(super) struct Flusher(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Wanted: no descriptor of the mount may be held, the unmount would find it busy.
    paused: bool,
    ended: bool,
    busy: bool,
}

impl Flusher {
    /// Starts it for the mount `device` on `path`.
    pub(super) fn start(path: &Path, device: u64, connection: &Arc<Connection>) -> std::io::Result<Flusher> {
        let shared = Arc::new(Shared::default());
        let (path, connection, of_thread) = (path.to_owned(), Arc::downgrade(connection), shared.clone());
        let thread = std::thread::Builder::new().name("flusher".into());
        thread.spawn(move || {
            // While this thread waits for its own process's answer, that process may be killed: its descriptors, the
            // connection's above all, must end then, so this thread must not share them.
            if own_descriptors().is_err() {
                tracing::warn!("mapped writes reach the peer only by msync or after half a minute: unshare is refused");
                return;
            }
            of_thread.run(&path, device, &connection);
        })?;
        Ok(Flusher(shared))
    }

    /// Holds nothing of the mount from now on (or, if its sync hangs, soon).
    pub(super) fn pause(&self) {
        let mut state = lock(&self.0.state);
        state.paused = true;
        while state.busy {
            let waited = self.0.changed.wait_timeout(state, STOP).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() {
                return;
            }
        }
    }

    /// The mount stays after all.
    pub(super) fn resume(&self) {
        lock(&self.0.state).paused = false;
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        lock(&self.0.state).ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, path: &Path, device: u64, connection: &Weak<Connection>) {
        loop {
            let state = lock(&self.state);
            let (mut state, _) = self.changed.wait_timeout(state, PERIOD).unwrap_or_else(PoisonError::into_inner);
            let Some(connection) = connection.upgrade().filter(|_| !state.ended) else { return };
            if state.paused || !connection.inodes.any_writer() {
                continue;
            }
            drop(connection);
            state.busy = true;
            drop(state);
            // The next look may go better; a mount that is gone ends this thread.
            let _ = sync(path, device);
            lock(&self.state).busy = false;
            self.changed.notify_all();
        }
    }
}

/// Has the kernel write back what is dirty in this mount: mapped pages only, since all else is written through.
fn sync(path: &Path, device: u64) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, OFlags::PATH | flags, Mode::empty())?;
    if Status::of(&root)?.device != device {
        return Ok(());
    }
    rustix::fs::syncfs(rustix::fs::openat(&root, c".", flags, Mode::empty())?)
}

/// Gives this thread a table of descriptors of its own, with none but the standard ones.
fn own_descriptors() -> rustix::io::Result<()> {
    // SAFETY: only this thread's view changes. It never uses a descriptor made before: those it was started with are
    // closed in its own table only.
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::FILES)?;
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32);
    }
    Ok(())
}
