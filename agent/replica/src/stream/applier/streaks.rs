//! Files that are written in sequence: their disk is set to work early, so that the sync at the end finds little to do.
//!
//! A sync of the primary waits for both disks. The kernel begins to write by itself only after seconds; until then a
//! secondary that gets a long file would have all of it left when it is asked to sync.

use crate::op::FileId;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

/// Files that are followed at a time.
const FILES: usize = 8;

/// Bytes in sequence after which the disk is set to work on them.
const STRIDE: u64 = 8 << 20;

#[derive(Debug)]
struct Streak {
    id: FileId,
    /// From here on nothing was begun.
    begun: u64,
    /// Where the next write of the sequence is.
    end: u64,
}

/// The sequences under way, the one written last at the end.
#[derive(Debug, Default)]
pub(super) struct Streaks(VecDeque<Streak>);

impl Streaks {
    /// `length` bytes were written at `offset` of `id`: what is to be brought to the disk now.
    pub(super) fn wrote(&mut self, id: FileId, offset: u64, length: u64) -> Option<Range<u64>> {
        let end = offset.saturating_add(length);
        let known = self.0.iter().position(|streak| streak.id == id).and_then(|at| self.0.remove(at));
        let mut streak =
            known.filter(|streak| streak.end == offset).unwrap_or(Streak { id, begun: offset, end: offset });
        streak.end = end;
        let due = end - streak.begun >= STRIDE;
        let range = due.then(|| std::mem::replace(&mut streak.begun, end)..end);
        self.0.push_back(streak);
        if self.0.len() > FILES {
            self.0.pop_front();
        }
        range
    }
}

/// Has the disk begin to write a range of a file, and waits for nothing but room in its queue.
pub(super) fn begin(fd: &OwnedFd, range: &Range<u64>) -> Result<(), Errno> {
    let signed = |value: u64| i64::try_from(value).map_err(|_| Errno::INVAL);
    let (offset, length) = (signed(range.start)?, signed(range.end - range.start)?);
    // SAFETY: a plain system call on a descriptor that is open.
    let done = unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_long_sequence_is_begun_stride_by_stride() {
        let mut streaks = Streaks::default();
        let ranges: Vec<_> = (0..20).filter_map(|at| streaks.wrote(FileId(9), at * MIB, MIB)).collect();
        assert_eq!(ranges, [0..8 * MIB, 8 * MIB..16 * MIB]);
    }

    #[test]
    fn several_sequences_at_once_are_told_apart() {
        let mut streaks = Streaks::default();
        let mut begun = 0;
        for at in 0..8 {
            for id in 0..FILES as u64 {
                begun += usize::from(streaks.wrote(FileId(id), at * MIB, MIB).is_some());
            }
        }
        assert_eq!(begun, FILES);
    }

    #[test]
    fn writes_here_and_there_begin_nothing() {
        let mut streaks = Streaks::default();
        assert!((0..100).all(|at| streaks.wrote(FileId(9), at * 7 % 50 * MIB, MIB).is_none()));
        assert!((0..100).all(|_| streaks.wrote(FileId(9), 0, MIB).is_none()), "nor the same over and over");
        assert_eq!(streaks.0.len(), 1);
    }
}
