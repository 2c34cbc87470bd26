//! The replicated directories themselves: taken before anything is mounted over them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::mount::MountError;

/// Most replicated directories one process serves.
pub const DIRECTORIES_MAX: usize = 1024;

/// Why the directories could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory cannot be opened.
    #[error(
        "cannot open the replicated directory {path}: {error}; create it or correct the path in the module's configuration"
    )]
    Directory {
        /// The path as configured.
        path: PathBuf,
        /// What the system said.
        error: Errno,
    },
    /// The path goes through a symbolic link or is not absolute.
    #[error(
        "the replicated directory {path} must be an absolute path without symbolic links or `..` (it is really {real})"
    )]
    NotPlain {
        /// The path as configured.
        path: PathBuf,
        /// Where it leads.
        real: PathBuf,
    },
    /// One directory is inside another (or named twice).
    #[error("the replicated directory {inner} lies inside {outer}; replicate only {outer}")]
    Nested {
        /// The inner one.
        inner: PathBuf,
        /// The outer one.
        outer: PathBuf,
    },
    /// Something is mounted over it that this process must not take away.
    #[error(transparent)]
    Mounted(#[from] MountError),
    /// There are too many.
    #[error("{0} replicated directories are too many (at most {DIRECTORIES_MAX}); replicate a common parent instead")]
    TooMany(usize),
}

/// A replicated directory and its handle.
pub(super) struct RootDirectory {
    pub(super) path: PathBuf,
    pub(super) fd: Arc<OwnedFd>,
}

/// Takes the handle of a replicated directory.
pub(super) fn open_root(path: &Path) -> Result<RootDirectory, OpenError> {
    let failed = |error| OpenError::Directory { path: path.to_owned(), error };
    super::mount::clear_stale(path)?;
    let real = std::fs::canonicalize(path).map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    if real != path {
        return Err(OpenError::NotPlain { path: path.to_owned(), real });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    // As the system spells it, without a trailing slash: mounts are found again by it.
    Ok(RootDirectory { path: real, fd: Arc::new(fd) })
}

/// One directory inside another would be replicated twice.
pub(super) fn refuse_nested(directories: &[PathBuf]) -> Result<(), OpenError> {
    for (index, inner) in directories.iter().enumerate() {
        for (other, outer) in directories.iter().enumerate() {
            if index != other && inner.starts_with(outer) {
                return Err(OpenError::Nested { inner: inner.clone(), outer: outer.clone() });
            }
        }
    }
    Ok(())
}

/// Raises the limit of open files to what this process may have; answers it.
pub(super) fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(1 << 20);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).is_ok();
    let now = if raised { Some(wanted) } else { limit.current };
    usize::try_from(now.unwrap_or(1024)).unwrap_or(usize::MAX)
}
