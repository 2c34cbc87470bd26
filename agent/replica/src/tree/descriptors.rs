//! A bounded set of open descriptors of backing objects: opened when needed, closed when others need the room.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Result;
use super::handle::{FileHandle, reopen};
use crate::front::lock;
use crate::op::FileKind;

/// What a descriptor is good for; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `O_PATH`: status, owner, times, and as the directory of a name.
    Path,
    /// Reading a file, listing a directory.
    Read,
    /// Writing a file.
    Write,
}

/// How one object of the backing tree is reached.
#[derive(Debug)]
pub struct Backing {
    kind: FileKind,
    state: Mutex<State>,
    used: AtomicBool,
}

#[derive(Debug)]
struct State {
    locator: Locator,
    slot: Option<Slot>,
}

#[derive(Debug)]
enum Locator {
    /// By handle on the file system `device`.
    Handle { device: u64, handle: FileHandle },
    /// By a descriptor that stays open: no handles here, or the object has no name any more.
    Pinned(Slot),
}

#[derive(Debug)]
struct Slot {
    fd: Arc<OwnedFd>,
    level: Level,
    _counted: Counted,
}

/// One of a counted kind, as long as it lives.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Counted {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The bounded set.
#[derive(Debug)]
pub struct Descriptors {
    budget: usize,
    pinned_max: usize,
    live: Arc<AtomicUsize>,
    pinned: Arc<AtomicUsize>,
    queue: Mutex<VecDeque<Weak<Backing>>>,
    mounts: Mutex<Vec<(u64, Arc<OwnedFd>)>>,
}

impl Descriptors {
    /// A set of at most `budget` descriptors that can be closed at will and `pinned_max` that cannot.
    pub fn new(budget: usize, pinned_max: usize) -> Descriptors {
        Descriptors {
            budget: budget.max(8),
            pinned_max,
            live: Arc::new(AtomicUsize::new(0)),
            pinned: Arc::new(AtomicUsize::new(0)),
            queue: Mutex::new(VecDeque::new()),
            mounts: Mutex::new(Vec::new()),
        }
    }

    /// Makes known the file system `device` through a directory opened on it (not `O_PATH`).
    pub fn add_mount(&self, device: u64, directory: Arc<OwnedFd>) {
        let mut mounts = lock(&self.mounts);
        if !mounts.iter().any(|(known, _)| *known == device) {
            mounts.push((device, directory));
        }
    }

    /// Whether the file system `device` is known.
    pub fn has_mount(&self, device: u64) -> bool {
        lock(&self.mounts).iter().any(|(known, _)| *known == device)
    }

    /// Descriptors open now: (closable, pinned).
    pub fn open_now(&self) -> (usize, usize) {
        (self.live.load(Ordering::Relaxed), self.pinned.load(Ordering::Relaxed))
    }

    /// A new object, reached by `handle` or, without one, by `fd` (`O_PATH`) kept open.
    ///
    /// # Errors
    /// `ENFILE` if it would have to be pinned and no more may be.
    pub fn adopt(&self, kind: FileKind, device: u64, handle: Option<FileHandle>, fd: OwnedFd) -> Result<Arc<Backing>> {
        self.adopt_opened((kind, device), handle, fd, Level::Path)
    }

    /// As [`Descriptors::adopt`], of a descriptor that is good for `level`.
    ///
    /// # Errors
    /// `ENFILE` if it would have to be pinned and no more may be.
    pub fn adopt_opened(
        &self,
        (kind, device): (FileKind, u64),
        handle: Option<FileHandle>,
        fd: OwnedFd,
        level: Level,
    ) -> Result<Arc<Backing>> {
        let fd = Arc::new(fd);
        let (locator, slot) = match handle {
            Some(handle) => (Locator::Handle { device, handle }, Some(self.slot(fd, level))),
            None => (Locator::Pinned(Slot { fd, level, _counted: self.count_pinned()? }), None),
        };
        let cached = slot.is_some();
        let state = Mutex::new(State { locator, slot });
        let backing = Arc::new(Backing { kind, state, used: AtomicBool::new(false) });
        if cached {
            self.make_room(&backing);
        }
        Ok(backing)
    }

    /// An object that is opened when it is needed.
    pub fn by_handle(&self, (kind, device): (FileKind, u64), handle: FileHandle) -> Arc<Backing> {
        let state = Mutex::new(State { locator: Locator::Handle { device, handle }, slot: None });
        Arc::new(Backing { kind, state, used: AtomicBool::new(false) })
    }

    /// The handle an object is reached by.
    pub fn handle(&self, backing: &Backing) -> Option<FileHandle> {
        match &lock(&backing.state).locator {
            Locator::Handle { handle, .. } => Some(handle.clone()),
            Locator::Pinned(_) => None,
        }
    }

    /// The descriptor that an object is reached by.
    pub fn pinned(&self, backing: &Backing) -> Option<(Arc<OwnedFd>, Level)> {
        match &lock(&backing.state).locator {
            Locator::Handle { .. } => None,
            Locator::Pinned(slot) => Some((slot.fd.clone(), slot.level)),
        }
    }

    /// A descriptor good for `level`. It stays open as long as it is held, whatever the set closes meanwhile.
    ///
    /// # Errors
    /// `ESTALE` if the object is gone; what `open` says (`EROFS`, `EPERM` for an immutable file, …).
    pub fn get(&self, backing: &Arc<Backing>, level: Level) -> Result<Arc<OwnedFd>> {
        let mut state = lock(&backing.state);
        if let Some(slot) = &state.slot
            && slot.level >= level
        {
            backing.used.store(true, Ordering::Relaxed);
            return Ok(slot.fd.clone());
        }
        let flags = open_flags(backing.kind, level);
        let fd = match &state.locator {
            Locator::Pinned(slot) if slot.level >= level => return Ok(slot.fd.clone()),
            Locator::Pinned(slot) => reopen(&*slot.fd, flags)?,
            Locator::Handle { device, handle } => handle.open(&*self.mount(*device)?, flags)?,
        };
        let fd = Arc::new(fd);
        let fresh = state.slot.replace(self.slot(fd.clone(), level)).is_none();
        drop(state);
        if fresh {
            self.make_room(backing);
        }
        Ok(fd)
    }

    /// Keeps a descriptor of `backing` open from now on: it is about to lose its last name while in use.
    ///
    /// # Errors
    /// `ENFILE` if no more may be pinned; what `open` says.
    pub fn pin(&self, backing: &Arc<Backing>) -> Result<()> {
        let fallback = match backing.kind {
            FileKind::File => Level::Read,
            FileKind::Directory => Level::Read,
            _ => Level::Path,
        };
        let best = if backing.kind == FileKind::File { Level::Write } else { fallback };
        let (fd, level) = match self.get(backing, best) {
            Ok(fd) => (fd, best),
            Err(_) => (self.get(backing, fallback)?, fallback),
        };
        let mut state = lock(&backing.state);
        state.locator = Locator::Pinned(Slot { fd, level, _counted: self.count_pinned()? });
        Ok(())
    }

    /// Closes the closable descriptor of `backing`, if it has one.
    pub fn close(&self, backing: &Backing) {
        // Dropped outside the lock: the last close of a removed file frees its blocks.
        let _closed = lock(&backing.state).slot.take();
    }

    /// The object is not needed any more: closes what can be closed; what is pinned goes with `backing` itself.
    pub fn forget(&self, backing: &Backing) {
        self.close(backing);
    }

    fn slot(&self, fd: Arc<OwnedFd>, level: Level) -> Slot {
        Slot { fd, level, _counted: Counted::new(&self.live) }
    }

    fn mount(&self, device: u64) -> Result<Arc<OwnedFd>> {
        let mounts = lock(&self.mounts);
        mounts.iter().find(|(known, _)| *known == device).map(|(_, fd)| fd.clone()).ok_or(Errno::STALE)
    }

    fn count_pinned(&self) -> Result<Counted> {
        let counted = Counted::new(&self.pinned);
        if self.pinned.load(Ordering::Relaxed) > self.pinned_max { Err(Errno::NFILE) } else { Ok(counted) }
    }

    /// Queues a newly filled slot and closes as many others as are over the budget: those not used since last looked at.
    fn make_room(&self, backing: &Arc<Backing>) {
        let mut queue = lock(&self.queue);
        queue.push_back(Arc::downgrade(backing));
        let mut looks = queue.len() * 2;
        while self.live.load(Ordering::Relaxed) > self.budget && looks > 0 {
            looks -= 1;
            let Some(candidate) = queue.pop_front() else {
                break;
            };
            let Some(candidate) = candidate.upgrade() else {
                continue;
            };
            if candidate.used.swap(false, Ordering::Relaxed) {
                queue.push_back(Arc::downgrade(&candidate));
            } else if !Arc::ptr_eq(&candidate, backing) {
                self.close(&candidate);
            } else {
                queue.push_back(Arc::downgrade(&candidate));
            }
        }
        if queue.len() > 2 * self.budget + 64 {
            queue.retain(|entry| entry.upgrade().is_some_and(|backing| lock(&backing.state).slot.is_some()));
        }
    }
}

impl Backing {
    /// Kind of the object.
    pub fn kind(&self) -> FileKind {
        self.kind
    }
}

fn open_flags(kind: FileKind, level: Level) -> OFlags {
    let base = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match (kind, level) {
        (_, Level::Path) => OFlags::PATH | base,
        (FileKind::Directory, _) => OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        // Not NOFOLLOW: a pinned descriptor is opened again through its link in /proc.
        (FileKind::File, Level::Read) => OFlags::RDONLY | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::CLOEXEC,
        (FileKind::File, Level::Write) => OFlags::RDWR | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::CLOEXEC,
        // Never open devices, pipes and sockets: opening one has effects.
        _ => OFlags::PATH | base,
    }
}

/// Reads at `offset` until `buffer` is full or the file ends; answers the bytes read.
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(fd.as_fd(), &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Writes at `offset` until all is written or an error stops it; answers the bytes written and that error.
pub fn write_at(fd: impl AsFd, data: &[u8], offset: u64) -> (usize, Option<Errno>) {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::pwrite(fd.as_fd(), &data[done..], offset + done as u64) {
            Ok(0) => return (done, Some(Errno::IO)),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}
