//! The FUSE front: covers the replicated directories with mounts and turns what applications do into changes.
//!
//! ```text
//! /dev/fuse ─▶ session (2 readers, small pool) ─▶ wire ─▶ ops ─▶ [ inodes · tree · Replicate ] ─▶ reply ─▶ /dev/fuse
//! ```
//! A reader never waits for the peer: it submits, applies locally, and leaves the answer to whoever learns the verdict.

pub mod alone;
mod arrivals;
mod change;
mod flusher;
pub mod inode;
pub mod inodes;
mod kept;
mod mount;
mod ops;
pub mod pieces;
mod places;
pub(crate) mod pool;
pub mod reply;
mod roots;
mod session;
pub mod touched;
mod track;
mod users;
pub mod wire;

#[cfg(test)]
mod tests;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use alone::Alone;
pub use inode::{Held, Inode, OrderGuard, lock_orders};
pub use inodes::Inodes;
pub(crate) use mount::end_mount;
pub use mount::{MountError, UnmountError};
pub use pieces::{Child, Piece, Pieces};
pub use roots::{DIRECTORIES_MAX, OpenError};
pub use touched::Touched;
pub use users::User;

use crate::op::FileId;
use crate::replicate::Replicate;
use flusher::Flusher;
use mount::Mount;
use pool::Pool;
use session::{Connection, ConnectionParts};

/// How long the threads of a mount that was taken away may take to notice.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two looks at them: a thread cannot be joined with a limit, and a failover waits for this.
const JOIN_LOOK: Duration = Duration::from_millis(1);
/// Threads for fsync and other long calls.
const SLOW_THREADS: usize = 4;

/// What the mounts are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The primary: cached, every change goes through [`Replicate`].
    ReadWrite,
    /// The secondary: read-only and uncached, since the stream changes the files below.
    ReadOnly,
}

/// The mounts over the replicated directories, and the threads that serve them. Dropped: aborted and unmounted.
pub struct Front {
    mounts: Vec<Mounted>,
    refused: Arc<AtomicBool>,
    pool: Arc<Pool>,
}

struct Mounted {
    mount: Mount,
    connection: Arc<Connection>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    flusher: Option<Flusher>,
}

impl Mounted {
    fn unmount(&self) -> Result<(), UnmountError> {
        if let Some(flusher) = &self.flusher {
            flusher.pause();
        }
        let done = self.mount.unmount();
        if let (Err(_), Some(flusher)) = (&done, &self.flusher) {
            flusher.resume();
        }
        done
    }
}

impl Front {
    /// Mounts over all directories of `inodes` (a table of its own for each mount: [`Inodes::renew`]) or over none.
    /// Dead mounts of an earlier process are cleared first.
    ///
    /// # Errors
    /// [`MountError`] names the directory and the cure; nothing stays mounted.
    pub fn mount(inodes: &Arc<Inodes>, mode: Mode, replicate: &Arc<dyn Replicate>) -> Result<Front, MountError> {
        let threads_failed = |error| MountError::Threads { directory: "the replicated directories".into(), error };
        let pool = Arc::new(Pool::start("front-slow", SLOW_THREADS).map_err(threads_failed)?);
        let mut front = Front { mounts: Vec::new(), refused: Arc::new(AtomicBool::new(false)), pool };
        let read_only = mode == Mode::ReadOnly;
        for (index, path) in inodes.directories().into_iter().enumerate() {
            let Some(directory) = inodes.directory_fd(index) else {
                continue;
            };
            let (mount, device) = Mount::new(path, &directory, read_only)?;
            let connection = Connection::new(ConnectionParts {
                device,
                root: FileId(index as u64 + 1),
                directory,
                inodes: inodes.clone(),
                replicate: replicate.clone(),
                read_only,
                refused: front.refused.clone(),
                pool: front.pool.clone(),
                negotiated: None,
            });
            front.add(mount, connection)?;
        }
        Ok(front)
    }

    fn add(&mut self, mount: Mount, connection: Arc<Connection>) -> Result<(), MountError> {
        let path = mount.path().to_owned();
        // From here on dropping the front takes it away again.
        let threads = Mutex::default();
        self.mounts.push(Mounted { mount, connection: connection.clone(), threads, flusher: None });
        let failed = |error| MountError::Threads { directory: path.clone(), error };
        let threads = connection.start().map_err(failed)?;
        if let Some(mounted) = self.mounts.last_mut() {
            *lock(&mounted.threads) = threads;
            if !connection.read_only {
                mounted.flusher = Some(Flusher::start(&path, mounted.mount.device(), &connection).map_err(failed)?);
            }
        }
        Ok(())
    }

    /// Every later change is answered EIO; reads go on.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// Takes all mounts away and waits for their threads; may be called again after an error. With `abort` the
    /// connections are ended first, so that no process can hold them: requests under way fail in the application.
    ///
    /// # Errors
    /// Without `abort`: [`UnmountError::Busy`] names the processes that still use a mount; it stays, as do later ones.
    pub fn unmount(&self, abort: bool) -> Result<(), UnmountError> {
        for mounted in &self.mounts {
            if abort {
                mounted.mount.abort(Some(mounted.connection.channel.fd().as_fd()))?
            } else {
                mounted.unmount()?
            }
        }
        for mounted in &self.mounts {
            let left = join_within(std::mem::take(&mut *lock(&mounted.threads)), JOIN_TIMEOUT);
            if !left.is_empty() {
                // A disk that hangs; the mount is gone, and the threads end when the disk answers.
                tracing::warn!("{} threads of an unmounted directory still wait for its disk", left.len());
            }
            if !abort {
                // The kernel drops the last RELEASEs with the mount.
                mounted.connection.send_unsent_times();
            }
        }
        Ok(())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Err(error) = self.unmount(true) {
            tracing::error!(%error, "a replicated directory stays mounted");
        }
        let left = join_within(self.pool.end(), JOIN_TIMEOUT);
        if !left.is_empty() {
            tracing::warn!("{} calls to the disk of an unmounted directory still wait", left.len());
        }
    }
}

/// Waits for threads to end; answers those that did not in time.
fn join_within(mut threads: Vec<JoinHandle<()>>, timeout: Duration) -> Vec<JoinHandle<()>> {
    let end = Instant::now() + timeout;
    loop {
        threads.retain(|thread| !thread.is_finished());
        if threads.is_empty() || Instant::now() >= end {
            return threads;
        }
        std::thread::sleep(JOIN_LOOK);
    }
}

/// Locks, also after a panic of another holder: what we keep under locks is valid between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_read<T: ?Sized>(gate: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    gate.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_write<T: ?Sized>(gate: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    gate.write().unwrap_or_else(PoisonError::into_inner)
}
