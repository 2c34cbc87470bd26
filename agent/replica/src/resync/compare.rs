//! Comparing one extent of a file by the hashes of its blocks, and sending what differs.

use super::Fault;
use super::hands::Hands;
use crate::frame::ResyncStep;
use crate::front::Held;
use crate::op::Op;
use crate::stream::Lost;
use crate::stream::applier::{BLOCK, EXTENT, ZERO, hash_block, next_data};
use crate::stream::table::Reply;
use crate::tree::{Level, descriptors};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes read and hashed at once.
const CHUNK: usize = 1 << 20;
/// Bytes sent under one hold of the order lock: the application's writes to the file wait that long at most.
const PART: usize = 256 << 10;

/// A file being compared.
pub(super) struct FileJob {
    pub(super) held: Held,
    /// All of it is compared: it is exact afterwards.
    pub(super) whole: bool,
    left: AtomicUsize,
}

impl FileJob {
    pub(super) fn new(held: Held, extents: usize, whole: bool) -> Self {
        Self { held, whole, left: AtomicUsize::new(extents) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// One extent less; whether it was the last.
    pub(super) fn extent_done(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// An extent whose hashes were asked for.
pub(super) struct Pending {
    pub(super) job: Arc<FileJob>,
    pub(super) index: u64,
    /// Which blocks of it are compared, one bit each.
    pub(super) blocks: u64,
    pub(super) request: u64,
}

impl Hands {
    /// Compares one extent; answers the bytes compared and the bytes sent.
    ///
    /// Nothing is locked while both contents are compared. The hashes are of one point of the stream, and the content here
    /// is read after it, while the application may write. Take a byte of blocks found equal: if no change later in the
    /// stream covers it, both nodes have what was compared; if one does, both end with the last such change. So what was
    /// found equal is equal. What was not is read again, and sent, under the order lock.
    pub(super) fn compare(&self, pending: &Pending) -> Result<(u64, u64), Fault> {
        let theirs = match self.sender.reply(self.epoch, pending.request)? {
            Reply::Hashes(blocks) => blocks,
            Reply::Flushed | Reply::Checked(_) => {
                return Err(Lost("the secondary answered something else".into()).into());
            }
        };
        let file = &pending.job.held;
        let start = pending.index * EXTENT;
        let mut buffer = vec![0; CHUNK];
        let (mut compared, mut sent) = (0, 0);
        for chunk in 0..EXTENT / CHUNK as u64 {
            let at = start + chunk * CHUNK as u64;
            let blocks = pending.blocks >> (chunk * (CHUNK / BLOCK) as u64) & ((1 << (CHUNK / BLOCK)) - 1);
            if blocks == 0 {
                continue;
            }
            let theirs = theirs.get((chunk as usize * CHUNK / BLOCK)..).unwrap_or_default();
            let count = match self.read_chunk(file, &mut buffer, at) {
                Ok(count) => count,
                Err(errno) => {
                    self.gone(file, errno)?;
                    break;
                }
            };
            if count == 0 {
                break;
            }
            for range in differences(&buffer[..count], theirs, blocks) {
                for from in range.clone().step_by(PART) {
                    let part = from..range.end.min(from + PART);
                    sent += self.send_part(file, &mut buffer[part.clone()], at + part.start as u64)?;
                }
            }
            let whole = count.div_ceil(BLOCK) as u32;
            compared += (count as u64).min(u64::from((blocks & ((1 << whole) - 1)).count_ones()) * BLOCK as u64);
        }
        Ok((compared, sent))
    }

    /// Sends what a part of a file has now; zeros need not travel. Answers the bytes sent.
    fn send_part(&self, file: &Held, buffer: &mut [u8], at: u64) -> Result<u64, Fault> {
        self.wait_window()?;
        let _order = file.lock_order();
        let count = match self.read_chunk(file, buffer, at) {
            Ok(count) => count,
            Err(errno) => return self.gone(file, errno).map(|()| 0),
        };
        let mut sent = 0;
        for (range, zero) in runs(&buffer[..count]) {
            let offset = at + range.start as u64;
            if zero {
                self.send(ResyncStep::Zero { id: file.id(), offset, length: range.len() as u64 })?;
            } else {
                sent += range.len() as u64;
                self.send_op(Op::Write { id: file.id(), offset, clear_suid: false }, &buffer[range])?;
            }
        }
        Ok(sent)
    }

    /// All extents of a file are compared: its attributes.
    pub(super) fn finish(&self, job: &FileJob) -> Result<(), Fault> {
        let _order = job.held.lock_order();
        self.settle(&job.held)
    }

    /// What the file has at `at` now; a hole is not read.
    fn read_chunk(&self, file: &Held, buffer: &mut [u8], at: u64) -> crate::tree::Result<usize> {
        let fd = self.inodes.open_backing(file, Level::Read)?;
        let size = self.inodes.status(file)?.size;
        let length = size.saturating_sub(at).min(buffer.len() as u64) as usize;
        if length > 0 && next_data(&*fd, at, at + length as u64)? >= at + length as u64 {
            buffer[..length].fill(0);
            return Ok(length);
        }
        read_all(&*fd, &mut buffer[..length], at)
    }
}

/// Reads until the file ends. What cannot be read is an error, also after a part that can: nothing is passed over.
fn read_all(fd: impl AsFd, buffer: &mut [u8], at: u64) -> crate::tree::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match descriptors::read_at(fd.as_fd(), &mut buffer[done..], at + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// The ranges of `ours` that differ from what the secondary's hashes tell, neighbours joined. Where the secondary had no
/// block its file has zeros, or what live writes have put there since. Only the blocks whose bit is set are looked at.
fn differences(ours: &[u8], theirs: &[[u8; 32]], blocks: u64) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (number, block) in ours.chunks(BLOCK).enumerate() {
        if blocks >> number & 1 == 0 || hash_block(block) == theirs.get(number).copied().unwrap_or(ZERO) {
            continue;
        }
        let start = number * BLOCK;
        match found.last_mut() {
            Some(range) if range.end == start => range.end = start + block.len(),
            _ => found.push(start..start + block.len()),
        }
    }
    found
}

/// What is zeros (`true`) and what is not, in whole blocks.
fn runs(part: &[u8]) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for (number, block) in part.chunks(BLOCK).enumerate() {
        let (start, zero) = (number * BLOCK, block.iter().all(|byte| *byte == 0));
        match runs.last_mut() {
            Some((range, kind)) if *kind == zero => range.end = start + block.len(),
            _ => runs.push((start..start + block.len(), zero)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_travels_and_zeros_never_do() {
        let mut ours = vec![7; 4 * BLOCK + 10];
        ours[BLOCK..2 * BLOCK].fill(0);
        let same = hash_block(&ours[..BLOCK]);
        assert_eq!(differences(&ours, &[], u64::MAX), [0..BLOCK, 2 * BLOCK..4 * BLOCK + 10]);
        assert_eq!(
            differences(&ours, &[same, same, same, [9; 32]], u64::MAX),
            [BLOCK..2 * BLOCK, 3 * BLOCK..4 * BLOCK + 10]
        );
        let last = hash_block(&ours[4 * BLOCK..]);
        assert!(differences(&ours, &[same, ZERO, same, same, last], u64::MAX).is_empty());
        assert_eq!(runs(&ours), [(0..BLOCK, false), (BLOCK..2 * BLOCK, true), (2 * BLOCK..4 * BLOCK + 10, false)]);
    }
}
