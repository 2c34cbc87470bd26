//! The system-call layer on the backing directories: everything by handle and descriptor, never by path.
//!
//! ```text
//! Inode ─▶ Backing (file handle or pinned descriptor) ─▶ Descriptors (bounded LRU) ─▶ fd ─▶ status, list, xattr, …
//! ```
//! Nothing here knows FUSE or the peer. Results carry the kernel's error number.

pub mod descriptors;
pub mod handle;
pub mod identity;
pub mod list;
pub mod status;
pub mod xattr;

/// What a system call on the backing tree answers.
pub type Result<T> = std::result::Result<T, rustix::io::Errno>;

pub use descriptors::{Backing, Descriptors, Level};
pub use list::DirEntry;
pub use status::Status;
