//! Where a file has data, and comparing two files there only: a file of terabytes may hold a few bytes.

use crate::tree::{Result, descriptors};
use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// Bytes read of each file at once.
const PIECE: usize = 1 << 20;

/// Has the disk hold all of a file and the page cache nothing: then what counts as data is what was written.
pub fn forget(fd: &OwnedFd) -> Result<()> {
    rustix::fs::fdatasync(fd)?;
    rustix::fs::fadvise(fd, 0, None::<NonZeroU64>, Advice::DontNeed)
}

/// Ranges of the first `size` bytes of a file that are not holes, in order, none touching the next.
pub fn ranges(fd: &OwnedFd, size: u64) -> Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            Err(Errno::NXIO) => break,
            // No such call on this file system: everything is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(std::iter::once(0..size).collect()),
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(fd, SeekFrom::Hole(start))?.min(size);
        add(&mut found, start..end);
        // What was changed meanwhile may be a hole by now.
        at = end.max(start + 1);
    }
    Ok(found)
}

/// What is in either of two lists of ranges.
pub fn union(left: &[Range<u64>], right: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = [left, right].concat();
    all.sort_by_key(|range| range.start);
    let mut found = Vec::new();
    all.into_iter().for_each(|range| add(&mut found, range));
    found
}

fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
        _ if range.is_empty() => {}
        _ => ranges.push(range),
    }
}

/// The first byte within `ranges` in which two files differ.
pub fn first_difference(a: &OwnedFd, b: &OwnedFd, ranges: &[Range<u64>]) -> Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let piece = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(PIECE));
            let ca = descriptors::read_at(a, &mut left[..piece], at)?;
            let cb = descriptors::read_at(b, &mut right[..piece], at)?;
            let both = ca.min(cb);
            if left[..both] != right[..both] {
                let offset = (0..both).find(|i| left[*i] != right[*i]).unwrap_or(0);
                return Ok(Some(at + offset as u64));
            }
            if both == 0 {
                break;
            }
            at += both as u64;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let (left, right) = ([0..10, 20..30, 50..60], [5..20, 30..31, 55..56, 70..70]);
        assert_eq!(union(&left, &right), [0..31, 50..60]);
        assert_eq!(union(&[], &[]), []);
    }
}
