//! One change of the replicated tree, as a *result*: chosen ids, modes, owners, times and offsets, so that applying it
//! twice is the same as applying it once, and both nodes end with the same tree.

use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};

/// A file, directory or other object of the replicated tree, for the life of a replica process: drawn from a counter by
/// the primary, never reused. Replicated directory number *i* (from 0) is object *i + 1*, on both nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u64);

/// Kind of an object, as in the upper bits of `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

/// Seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds (may be negative).
    pub seconds: i64,
    /// Nanoseconds, below 10⁹.
    pub nanoseconds: u32,
}

/// What a change of attributes sets; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// New length, in bytes.
    pub size: Option<u64>,
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Access time.
    pub accessed: Option<Time>,
    /// Modification time.
    pub modified: Option<Time>,
}

/// What is done to a range of a file's space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allocation {
    /// Room is made; a file that ends before the range's end grows.
    Reserve,
    /// Room is made; the length stays.
    ReserveOnly,
    /// The range reads as zeros and takes no room; the length stays.
    PunchHole,
    /// The range reads as zeros and has room; a file that ends before the range's end grows.
    Zero,
    /// The range reads as zeros and has room; the length stays.
    ZeroOnly,
}

impl Allocation {
    /// As fallocate(2) wants it.
    pub fn flags(self) -> FallocateFlags {
        match self {
            Allocation::Reserve => FallocateFlags::empty(),
            Allocation::ReserveOnly => FallocateFlags::KEEP_SIZE,
            Allocation::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Allocation::Zero => FallocateFlags::ZERO_RANGE,
            Allocation::ZeroOnly => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        }
    }
}

/// One change. Names are bytes (no `/`, not empty, at most 255); `payload` travels beside the operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are told by their variant
pub enum Op {
    /// `id` means the object at `name` in `parent`: sent before the first use of an id in a session.
    Bind { id: FileId, parent: FileId, name: Vec<u8>, kind: FileKind },
    /// The primary will not use `id` again.
    Forget { id: FileId },
    /// Payload at `offset`; `clear_suid` also clears set-uid and set-gid as the kernel asked.
    Write { id: FileId, offset: u64, clear_suid: bool },
    /// Attributes were set to these values.
    SetAttributes { id: FileId, attributes: Attributes },
    /// An object was made (`kind` is not `Symlink`), with its final mode, owner and device number.
    Create { id: FileId, parent: FileId, name: Vec<u8>, kind: FileKind, mode: u32, uid: u32, gid: u32, device: u64 },
    /// A symbolic link was made; the payload is its target.
    Symlink { id: FileId, parent: FileId, name: Vec<u8>, uid: u32, gid: u32 },
    /// `id` got a further name.
    Link { id: FileId, parent: FileId, name: Vec<u8> },
    /// A name that is not a directory was removed; `id` was behind it.
    Unlink { id: FileId, parent: FileId, name: Vec<u8> },
    /// An empty directory was removed.
    RemoveDirectory { id: FileId, parent: FileId, name: Vec<u8> },
    /// `id` was renamed, replacing what had the new name.
    Rename { id: FileId, parent: FileId, name: Vec<u8>, new_parent: FileId, new_name: Vec<u8> },
    /// `id` and `other` changed places.
    Exchange { id: FileId, parent: FileId, name: Vec<u8>, other: FileId, other_parent: FileId, other_name: Vec<u8> },
    /// A regular file without a name was made on the file system of `parent`; a link may give it one.
    CreateUnnamed { id: FileId, parent: FileId, mode: u32, uid: u32, gid: u32 },
    /// Space of `id` was reserved, freed or zeroed.
    Allocate { id: FileId, offset: u64, length: u64, how: Allocation },
    /// Extended attribute `name` has the payload as value.
    SetXattr { id: FileId, name: Vec<u8> },
    /// Extended attribute `name` was removed.
    RemoveXattr { id: FileId, name: Vec<u8> },
    /// `id` is to be on disk (`data_only`: fdatasync) before this is acknowledged.
    Sync { id: FileId, data_only: bool },
    /// Everything is to be on disk before this is acknowledged.
    SyncAll,
}
