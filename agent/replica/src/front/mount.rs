//! Mounting over a directory and taking the mount away again, also when its processes hang or its server died.

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode as FileMode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags};

use super::users::{User, describe, users_below};
use super::wire::PAYLOAD_MAX;
use crate::tree::Status;

/// What our mounts are called.
const FILESYSTEM: &str = "fuse.holdfast";
/// A live server answers within this time.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A mount is in use for moments by whoever walks over `/proc`, and by a child of its user between fork and exec.
const GLANCE: Duration = Duration::from_millis(500);
/// Time between two attempts within [`GLANCE`].
const GLANCE_LOOK: Duration = Duration::from_millis(5);
/// Dead mounts on one directory that are cleared at most.
const STALE_MAX: usize = 32;

/// Why a directory could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Processes have files open below it.
    #[error("{directory} is in use by {}; stop them, then start again", describe(.users))]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who uses it.
        users: Vec<User>,
    },
    /// Another process serves a mount on it, or its server hangs.
    #[error(
        "{directory} is already mounted by another replica that is alive or hangs; stop that module (or `umount -l {directory}`), then start again"
    )]
    AlreadyServed {
        /// The directory.
        directory: PathBuf,
    },
    /// `/dev/fuse` cannot be opened.
    #[error("cannot open /dev/fuse: {0}; load the kernel's fuse module (modprobe fuse) and run as root")]
    Device(Errno),
    /// The system refused.
    #[error("cannot mount over {directory}: {error}; the replica must run as root with the right to mount")]
    System {
        /// The directory.
        directory: PathBuf,
        /// What it said.
        error: Errno,
    },
    /// No thread could be started.
    #[error("cannot start the threads that serve {directory}: {error}")]
    Threads {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Why a mount could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// Processes still use it.
    #[error("{directory} is still in use by {}; stop them or release it with abort", describe(.users))]
    Busy {
        /// The directory.
        directory: PathBuf,
        /// Who uses it.
        users: Vec<User>,
    },
    /// The system refused.
    #[error("cannot unmount {directory}: {error}")]
    System {
        /// The directory.
        directory: PathBuf,
        /// What it said.
        error: Errno,
    },
}

/// A mount over a directory.
#[derive(Debug)]
pub(super) struct Mount {
    path: PathBuf,
    device: u64,
}

impl Mount {
    /// Mounts over `path`, whose own directory was opened before as `directory`; answers the connection's descriptor.
    pub(super) fn new(path: &Path, directory: &OwnedFd, read_only: bool) -> Result<(Mount, OwnedFd), MountError> {
        let failed = |error| MountError::System { directory: path.to_owned(), error };
        clear_stale(path)?;
        let status = Status::of(directory).map_err(failed)?;
        let users = users_below(path, status.device);
        if !users.is_empty() {
            return Err(MountError::InUse { directory: path.to_owned(), users });
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/fuse", flags, FileMode::empty()).map_err(MountError::Device)?;
        let options = std::ffi::CString::new(format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read={PAYLOAD_MAX}",
            device.as_raw_fd()
        ))
        .unwrap_or_default();
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        rustix::mount::mount("holdfast", path, FILESYSTEM, flags, options.as_c_str()).map_err(failed)?;
        let mounted = mounts_at(path).last().map_or(0, |mount| mount.device);
        Ok((Mount { path: path.to_owned(), device: mounted }, device))
    }

    /// A mount that an earlier process has made.
    pub(super) fn taken_over(path: PathBuf, device: u64) -> Mount {
        Mount { path, device }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What `stat` says its files are on.
    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Takes the mount away if nobody uses it for longer than a glance.
    pub(super) fn unmount(&self) -> Result<(), UnmountError> {
        if !self.is_there() {
            return Ok(());
        }
        let end = Instant::now() + GLANCE;
        loop {
            match rustix::mount::unmount(&self.path, UnmountFlags::NOFOLLOW) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY) if Instant::now() < end => std::thread::sleep(GLANCE_LOOK),
                Err(Errno::BUSY) => {
                    let users = users_below(&self.path, self.device);
                    return Err(UnmountError::Busy { directory: self.path.clone(), users });
                }
                Err(error) => return Err(UnmountError::System { directory: self.path.clone(), error }),
            }
        }
    }

    /// Ends the connection, whatever hangs in it, and takes the mount away: its users get ENOTCONN from then on.
    /// `channel` is the connection's descriptor; once it is dead its number may belong to another mount.
    pub(super) fn abort(&self, channel: Option<BorrowedFd<'_>>) -> Result<(), UnmountError> {
        if channel.is_none_or(is_connected)
            && let Err(error) = abort_connection(self.device)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot abort through fusectl; forcing the unmount");
        }
        if !self.is_there() {
            return Ok(());
        }
        // FORCE aborts as well, should fusectl not have been there.
        let flags = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        rustix::mount::unmount(&self.path, flags)
            .map_err(|error| UnmountError::System { directory: self.path.clone(), error })
    }

    /// Whether it is still the uppermost mount on its directory.
    fn is_there(&self) -> bool {
        mounts_at(&self.path).last().is_some_and(|mount| mount.device == self.device)
    }
}

/// Ends the connection of a mount whose server is gone, and takes it away: whoever waits on it gets an error.
///
/// # Errors
/// It cannot be unmounted; it is dead all the same.
pub(crate) fn end_mount(path: &Path, device: u64) -> Result<(), UnmountError> {
    Mount { path: path.to_owned(), device }.abort(None)
}

/// Whether the connection of this `/dev/fuse` descriptor still lives.
fn is_connected(channel: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(channel, PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && !polled[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL)
}

/// Aborts the FUSE connection of the mounted `device`, through a private instance of fusectl.
fn abort_connection(device: u64) -> rustix::io::Result<()> {
    let control = rustix::mount::fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&control)?;
    let control = rustix::mount::fsmount(&control, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let path = format!("{}/abort", rustix::fs::minor(device));
    let abort = rustix::fs::openat(&control, path, OFlags::WRONLY | OFlags::CLOEXEC, FileMode::empty())?;
    fs::File::from(abort).write_all(b"1").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// A line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MountLine {
    device: u64,
    ours: bool,
}

/// The mounts on exactly `path`, lowest first.
fn mounts_at(path: &Path) -> Vec<MountLine> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(|line| parse_mount(line, path)).collect()
}

fn parse_mount(line: &[u8], path: &Path) -> Option<MountLine> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = unescape(words.nth(1)?);
    if point != path.as_os_str().as_bytes() {
        return None;
    }
    let filesystem = words.skip_while(|word| *word != b"-").nth(1)?;
    Some(MountLine {
        device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
        ours: filesystem == FILESYSTEM.as_bytes(),
    })
}

/// Undoes the octal escapes of mountinfo (`\040` for a space).
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if byte == b'\\' => {
                plain.push(code);
                rest = &after[3..];
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// Clears mounts that an earlier process left on the directory when it died; a live one is left alone.
pub fn clear_stale(path: &Path) -> Result<(), MountError> {
    for _ in 0..STALE_MAX {
        // As mountinfo spells it: without a trailing slash.
        let path: PathBuf = path.components().collect();
        let path = path.as_path();
        let Some(mount) = mounts_at(path).into_iter().next_back().filter(|mount| mount.ours) else {
            return Ok(());
        };
        if !is_dead(path) {
            return Err(MountError::AlreadyServed { directory: path.to_owned() });
        }
        tracing::info!(path = %path.display(), "clearing the dead mount of an earlier process");
        Mount { path: path.to_owned(), device: mount.device }
            .abort(None)
            .map_err(|_| MountError::AlreadyServed { directory: path.to_owned() })?;
    }
    Err(MountError::AlreadyServed { directory: path.to_owned() })
}

/// Whether nobody serves the mount on `path`. Asked on a thread of its own, since a hung server never answers.
fn is_dead(path: &Path) -> bool {
    let (tell, told) = mpsc::channel();
    let path = path.to_owned();
    let asked = std::thread::Builder::new().name("front-probe".into()).spawn(move || {
        let _ = tell.send(rustix::fs::statvfs(&path).map(drop));
    });
    match asked {
        Ok(_) => matches!(told.recv_timeout(ALIVE_TIMEOUT), Ok(Err(Errno::NOTCONN | Errno::CONNABORTED))),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_is_understood() {
        let line = br"36 35 0:42 / /srv/my\040data rw,relatime shared:1 - fuse.holdfast holdfast rw,user_id=0";
        let mount = parse_mount(line, Path::new("/srv/my data")).unwrap();
        assert_eq!(mount, MountLine { device: rustix::fs::makedev(0, 42), ours: true });
        assert_eq!(parse_mount(line, Path::new("/srv/my")), None);
        assert_eq!(parse_mount(b"", Path::new("/")), None);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"a\040b\134c\9"), br"a b\c\9");
    }
}
