//! File handles: a name for an object of a file system that survives renaming and needs no open descriptor.

use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Result;

/// Most bytes a handle has (`MAX_HANDLE_SZ`).
const HANDLE_MAX: usize = 128;

/// A file handle, valid for one file system (its `st_dev`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileHandle {
    handle_type: i32,
    bytes: Box<[u8]>,
}

#[repr(C)]
struct RawHandle {
    handle_bytes: u32,
    handle_type: i32,
    f_handle: [u8; HANDLE_MAX],
}

impl FileHandle {
    /// Handle of what `fd` (also `O_PATH`) refers to.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the file system has no handles.
    pub fn of(fd: impl AsFd) -> Result<FileHandle> {
        let mut raw = RawHandle { handle_bytes: HANDLE_MAX as u32, handle_type: 0, f_handle: [0; HANDLE_MAX] };
        let mut mount_id: i32 = 0;
        // SAFETY: `raw` is laid out as the kernel's `struct file_handle` and has room for the `handle_bytes` it announces;
        // the empty path is a valid C string; all pointers live across the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                fd.as_fd().as_raw_fd(),
                c"".as_ptr(),
                &raw mut raw,
                &raw mut mount_id,
                libc::AT_EMPTY_PATH,
            )
        };
        if done != 0 {
            return Err(last_error());
        }
        let length = (raw.handle_bytes as usize).min(HANDLE_MAX);
        Ok(FileHandle { handle_type: raw.handle_type, bytes: raw.f_handle[..length].into() })
    }

    /// Opens the object; `mount` is any directory opened (not `O_PATH`) on its file system.
    ///
    /// # Errors
    /// `ESTALE` if the object is gone, `EPERM` without `CAP_DAC_READ_SEARCH`.
    pub fn open(&self, mount: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
        let mut raw = RawHandle {
            handle_bytes: self.bytes.len() as u32,
            handle_type: self.handle_type,
            f_handle: [0; HANDLE_MAX],
        };
        raw.f_handle[..self.bytes.len()].copy_from_slice(&self.bytes);
        let flags = flags | OFlags::CLOEXEC;
        // SAFETY: `raw` is laid out as `struct file_handle` and lives across the call, which only reads it; a
        // non-negative result is a new descriptor nobody else owns.
        unsafe {
            let fd = libc::syscall(
                libc::SYS_open_by_handle_at,
                mount.as_fd().as_raw_fd(),
                &raw const raw,
                flags.bits() as libc::c_int,
            );
            if fd < 0 { Err(last_error()) } else { Ok(OwnedFd::from_raw_fd(fd as RawFd)) }
        }
    }

    /// Type and bytes, to be written down.
    pub fn parts(&self) -> (i32, &[u8]) {
        (self.handle_type, &self.bytes)
    }

    /// A handle that was written down; `None` if it is longer than any.
    pub fn from_parts(handle_type: i32, bytes: &[u8]) -> Option<FileHandle> {
        (bytes.len() <= HANDLE_MAX).then(|| FileHandle { handle_type, bytes: bytes.into() })
    }

    /// A number that differs for different objects of one file system, their reused inode numbers included.
    pub fn tag(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Opens again what `fd` refers to, with other flags (through `/proc/self/fd`).
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    let path = proc_path(fd.as_fd());
    rustix::fs::open(path.as_c_str(), flags | OFlags::CLOEXEC, rustix::fs::Mode::empty())
}

/// Sets the permissions of what `fd` refers to, also if it is `O_PATH`.
///
/// # Errors
/// What the file system says.
pub fn chmod(fd: impl AsFd, permissions: u32) -> Result<()> {
    let mode = rustix::fs::Mode::from_raw_mode(permissions & 0o7777);
    match rustix::fs::fchmod(fd.as_fd(), mode) {
        // `O_PATH`: through its link, which costs a walk along a path.
        Err(Errno::BADF) => rustix::fs::chmod(proc_path(fd.as_fd()).as_c_str(), mode),
        done => done,
    }
}

/// The path under which this process can name what `fd` refers to, as long as that is open.
pub fn proc_path(fd: BorrowedFd<'_>) -> ProcPath<'_> {
    let mut path = ProcPath([0; 32], fd);
    let text = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let length = text.len().min(31);
    path.0[..length].copy_from_slice(&text.as_bytes()[..length]);
    path
}

/// A short path, ended by NUL.
pub struct ProcPath<'fd>([u8; 32], #[allow(dead_code, reason = "held, not read")] BorrowedFd<'fd>);

impl ProcPath<'_> {
    /// The path as a C string.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"/proc/self/fd")
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
