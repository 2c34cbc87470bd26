//! Listing a directory of the backing tree.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, RawDir, SeekFrom};

use super::Result;
use super::status::kind_of;
use crate::op::FileKind;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, as bytes.
    pub name: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Kind, if the file system told it.
    pub kind: Option<FileKind>,
    /// Where listing goes on after this entry.
    pub next: u64,
}

/// Opens a descriptor of its own for listing (its position is not shared).
pub fn open_listing(directory: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, rustix::fs::Mode::empty())
}

/// Calls `each` for the entries after position `from` (0: the beginning), `.` and `..` included, until it answers
/// `false` or the end. `buffer` is scratch room; its size is how much the kernel reads ahead.
pub fn list_from(
    listing: impl AsFd,
    from: u64,
    buffer: &mut [MaybeUninit<u8>],
    mut each: impl FnMut(DirEntry) -> bool,
) -> Result<()> {
    rustix::fs::seek(listing.as_fd(), SeekFrom::Start(from))?;
    let mut entries = RawDir::new(listing.as_fd(), buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let entry = DirEntry {
            name: entry.file_name().to_bytes().to_vec(),
            ino: entry.ino(),
            kind: kind_of(entry.file_type()),
            next: entry.next_entry_cookie(),
        };
        if !each(entry) {
            break;
        }
    }
    Ok(())
}

/// The kind of what is at `name`; `None` if it is gone.
pub fn kind_at(directory: impl AsFd, name: &[u8]) -> Option<FileKind> {
    let stat = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
    kind_of(rustix::fs::FileType::from_raw_mode(stat.st_mode))
}

/// All entries of a directory, without `.` and `..`.
pub fn list_all(directory: impl AsFd) -> Result<Vec<DirEntry>> {
    let listing = open_listing(directory)?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut all = Vec::new();
    list_from(&listing, 0, buffer.spare_capacity_mut(), |entry| {
        if entry.name != b"." && entry.name != b".." {
            all.push(entry);
        }
        true
    })?;
    Ok(all)
}
