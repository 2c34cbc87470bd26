//! Making objects as the caller: file-system uid, gid and umask of this thread only.

use rustix::fs::Mode;
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::Result;

/// Who asks, as the kernel told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Owner of what is made.
    pub uid: u32,
    /// Group of what is made.
    pub gid: u32,
    /// Permission bits that are not to be set (a default ACL of the directory overrides it).
    pub umask: u32,
}

/// Gives this thread its own umask. To be called once by every thread that uses [`as_caller`].
///
/// # Errors
/// `EPERM` only in a confined process; then no objects can be made safely.
pub fn own_umask() -> Result<()> {
    // SAFETY: only the file-system attributes (umask, working and root directory) are unshared, which no other thread
    // relies on sharing with this one: this process never changes directory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// Runs `make` with the file-system identity and umask of the caller, but still allowed to search and write every
/// directory: the kernel has checked the caller's rights already (with groups we do not know).
pub fn as_caller<T>(caller: Caller, make: impl FnOnce() -> T) -> Result<T> {
    let _umask = UmaskGuard(rustix::process::umask(Mode::from_raw_mode(caller.umask & 0o777)));
    if caller.uid == 0 && caller.gid == 0 {
        return Ok(make());
    }
    let _identity = IdentityGuard::become_caller(caller)?;
    Ok(make())
}

struct UmaskGuard(Mode);

impl Drop for UmaskGuard {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

struct IdentityGuard;

impl IdentityGuard {
    fn become_caller(caller: Caller) -> Result<IdentityGuard> {
        let guard = IdentityGuard;
        // SAFETY: `setfsuid` and `setfsgid` are plain system calls on this thread's credentials; the guard restores them.
        unsafe {
            libc::setfsgid(caller.gid);
            libc::setfsuid(caller.uid);
        }
        if caller.uid != 0 {
            // Leaving uid 0 dropped the file-system capabilities from the effective set; returning to it restores them.
            let mut sets = rustix::thread::capabilities(None)?;
            sets.effective |=
                sets.permitted & (CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH | CapabilitySet::MKNOD);
            rustix::thread::set_capabilities(None, sets)?;
        }
        Ok(guard)
    }
}

impl Drop for IdentityGuard {
    fn drop(&mut self) {
        // SAFETY: as above; uid and gid 0 are this process's own.
        unsafe {
            libc::setfsuid(0);
            libc::setfsgid(0);
        }
    }
}
