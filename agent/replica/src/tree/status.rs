//! The attributes of an object of the backing tree.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, StatxFlags, StatxTimestamp};

use super::Result;
use crate::op::{FileKind, Time};

/// What `statx` says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Device the object lives on.
    pub device: u64,
    /// Inode number there.
    pub ino: u64,
    /// `st_mode`: kind and permissions.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, for device files.
    pub rdev: u64,
    /// Length in bytes.
    pub size: u64,
    /// Allocated, in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of reads and writes, in bytes.
    pub block_size: u32,
    /// Last access.
    pub accessed: Time,
    /// Last change of the content.
    pub modified: Time,
    /// Last change of the inode.
    pub changed: Time,
    /// When it was made, if the file system knows.
    pub born: Option<Time>,
}

impl Status {
    /// Status of what `fd` refers to (an `O_PATH` descriptor will do, also of a symbolic link).
    pub fn of(fd: impl AsFd) -> Result<Status> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let x = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted)?;
        let born = x.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(Status {
            device: rustix::fs::makedev(x.stx_dev_major, x.stx_dev_minor),
            ino: x.stx_ino,
            mode: u32::from(x.stx_mode),
            links: x.stx_nlink,
            uid: x.stx_uid,
            gid: x.stx_gid,
            rdev: rustix::fs::makedev(x.stx_rdev_major, x.stx_rdev_minor),
            size: x.stx_size,
            blocks: x.stx_blocks,
            block_size: x.stx_blksize,
            accessed: time(x.stx_atime),
            modified: time(x.stx_mtime),
            changed: time(x.stx_ctime),
            born: born.then(|| time(x.stx_btime)),
        })
    }

    /// Kind of the object.
    pub fn kind(&self) -> FileKind {
        kind_of(FileType::from_raw_mode(self.mode)).unwrap_or(FileKind::File)
    }

    /// The permission bits (07777).
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

/// Our kind for a file type; `None` if the kernel did not say.
pub fn kind_of(file_type: FileType) -> Option<FileKind> {
    Some(match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => return None,
    })
}

/// The file type for our kind.
pub fn type_of(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::Fifo,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharacterDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

fn time(t: StatxTimestamp) -> Time {
    Time { seconds: t.tv_sec, nanoseconds: t.tv_nsec }
}
