//! Attributes, contents and hashes of one object of the secondary.

use crate::op::{Allocation, Attributes, FileKind, Time};
use crate::tree::{Status, descriptors};
use rustix::fs::{AtFlags, FallocateFlags, Gid, SeekFrom, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Bytes of a file that are compared under one request.
pub const EXTENT: u64 = 4 << 20;

/// Bytes that are hashed, and travel, together.
pub const BLOCK: usize = 64 << 10;

/// Stands for a block of zeros; no content hashes to it.
pub const ZERO: [u8; 32] = [0; 32];

pub(super) fn set_owner(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    rustix::fs::chownat(fd, c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::EMPTY_PATH)
}

pub(super) fn set_mode(fd: impl AsFd, mode: u32) -> Result<(), Errno> {
    crate::tree::handle::chmod(fd, mode)
}

/// Sets times, also of a symbolic link itself.
pub(super) fn set_times(fd: impl AsFd, accessed: Option<Time>, modified: Option<Time>) -> Result<(), Errno> {
    let spec = |time: Option<Time>| match time {
        Some(time) => Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
    };
    let times = Timestamps { last_access: spec(accessed), last_modification: spec(modified) };
    rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)
}

/// Sets what is given, in the order that lets each survive the next: a change of owner clears set-uid bits, a change of
/// length the times.
pub(super) fn set_all(fd: impl AsFd, kind: FileKind, attributes: &Attributes) -> Result<(), Errno> {
    set_owner(fd.as_fd(), attributes.uid, attributes.gid)?;
    if let Some(mode) = attributes.mode.filter(|_| kind != FileKind::Symlink) {
        set_mode(fd.as_fd(), mode)?;
    }
    if attributes.accessed.is_some() || attributes.modified.is_some() {
        set_times(fd, attributes.accessed, attributes.modified)?;
    }
    Ok(())
}

/// Clears set-uid, and set-gid where it means a group's rights, as the kernel does for a write without privileges.
pub(super) fn clear_suid(fd: impl AsFd) -> Result<(), Errno> {
    let mode = Status::of(fd.as_fd())?.permissions();
    let mut kept = mode & !0o4000;
    if mode & 0o2010 == 0o2010 {
        kept &= !0o2000;
    }
    if kept == mode { Ok(()) } else { set_mode(fd, kept) }
}

/// Makes a range zeros: a hole where the file system can, else written zeros. The length stays as it is.
pub(super) fn zero(fd: impl AsFd, offset: u64, length: u64) -> Result<(), Errno> {
    let size = Status::of(fd.as_fd())?.size;
    let length = length.min(size.saturating_sub(offset));
    if length == 0 {
        return Ok(());
    }
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(fd.as_fd(), hole, offset, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        done => return done,
    }
    let zeros = vec![0; BLOCK];
    let mut at = offset;
    while at < offset + length {
        let part = (offset + length - at).min(BLOCK as u64) as usize;
        match descriptors::write_at(fd.as_fd(), &zeros[..part], at) {
            (_, None) => at += part as u64,
            (_, Some(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Reserves, frees or zeroes space. Where the file system cannot, content and length are made right all the same.
pub(super) fn allocate(fd: impl AsFd, offset: u64, length: u64, how: Allocation) -> Result<(), Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd.as_fd(), how.flags(), offset, length)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        done => return done,
    }
    if matches!(how, Allocation::PunchHole | Allocation::Zero | Allocation::ZeroOnly) {
        zero(fd.as_fd(), offset, length)?;
    }
    let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
    let grows = matches!(how, Allocation::Reserve | Allocation::Zero) && Status::of(fd.as_fd())?.size < end;
    if grows { rustix::fs::ftruncate(fd, end) } else { Ok(()) }
}

/// Hash of a block's content, [`ZERO`] if there is nothing but zeros in it.
pub fn hash_block(block: &[u8]) -> [u8; 32] {
    if is_zero(block) { ZERO } else { *blake3::hash(block).as_bytes() }
}

fn is_zero(block: &[u8]) -> bool {
    // Comparing a slice with itself shifted by one is a memcmp: much faster than byte by byte.
    block.first().is_none_or(|first| *first == 0 && block[..block.len() - 1] == block[1..])
}

/// Hashes of the blocks of extent `index` up to the end of the file; holes are not read, nor blocks whose bit in `wanted`
/// is not set ([`ZERO`] stands in their places).
pub fn hash_extent(fd: impl AsFd, index: u64, wanted: u64) -> Result<Vec<[u8; 32]>, Errno> {
    hash_some(fd, (index.checked_mul(EXTENT).ok_or(Errno::INVAL)?, EXTENT), |block| wanted >> block & 1 != 0)
}

/// Hashes of the blocks from `start` (a multiple of [`BLOCK`]) on, of at most `length` bytes and up to the end of the
/// file; holes are not read.
pub fn hash_range(fd: impl AsFd, start: u64, length: u64) -> Result<Vec<[u8; 32]>, Errno> {
    hash_some(fd, (start, length), |_| true)
}

fn hash_some(
    fd: impl AsFd,
    (start, length): (u64, u64),
    wanted: impl Fn(usize) -> bool,
) -> Result<Vec<[u8; 32]>, Errno> {
    let size = Status::of(fd.as_fd())?.size;
    let end = size.min(start.saturating_add(length));
    let mut hashes = Vec::new();
    let mut buffer = vec![0; BLOCK];
    let mut at = start;
    let mut data = start;
    while at < end {
        let length = (end - at).min(BLOCK as u64);
        if !wanted(hashes.len()) {
            hashes.push(ZERO);
            at += length;
            continue;
        }
        if data < at + length {
            data = next_data(fd.as_fd(), data.max(at), end)?;
        }
        if data >= at + length {
            hashes.push(ZERO);
        } else {
            let count = descriptors::read_at(fd.as_fd(), &mut buffer[..length as usize], at)?;
            hashes.push(hash_block(&buffer[..count]));
            data = at + length;
        }
        at += length;
    }
    Ok(hashes)
}

/// The next position at or after `from` that is not in a hole; `end` if there is none before it. Descriptors are used
/// for positioned reading only, so their own position may be moved.
pub fn next_data(fd: impl AsFd, from: u64, end: u64) -> Result<u64, Errno> {
    match rustix::fs::seek(fd, SeekFrom::Data(from)) {
        Ok(data) => Ok(data.min(end)),
        Err(Errno::NXIO) => Ok(end),
        // No such call on this file system: everything is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(from),
        Err(error) => Err(error),
    }
}
