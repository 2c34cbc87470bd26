//! The journal on disk: two preallocated files of fixed slots, each slot with file number, position and checksum.
//!
//! One file is in force: the valid one with the highest number. Records are appended to it in batches, one `O_DSYNC`
//! write each, into room that was allocated before, so that a full disk does not matter. [`Journal::rewrite`] writes the
//! other file whole, its first slot last, and then invalidates the old one: at any moment a crash leaves either file
//! whole. A file whose first slot is damaged is never replaced silently by an older one, because the older one has been
//! invalidated: then nothing is known, and everything is compared.
//!
//! A slot that is not valid is the end, unless a valid one of a *later batch* follows: that is damage. (Of a batch torn
//! by a power loss any slots may be missing; it was not acknowledged, so no change depended on it.)

use super::record::{Record, SLOT};
use crate::crash;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Slots of a new file (1 MiB), and most of a grown one (32 MiB).
const SLOTS_MIN: u32 = 2048;
pub(super) const SLOTS_MAX: u32 = 65536;

const MAGIC: &[u8; 8] = b"HFtrack\x01";
const FRAME: usize = 22;

/// What the journal held when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// There was none.
    New,
    /// Records in the order they were written, and whose they are.
    Records(Vec<Record>, [u8; 32]),
    /// Something is there that cannot be trusted.
    Damaged(&'static str),
}

/// The two files.
#[derive(Debug)]
pub(super) struct Journal {
    files: [File; 2],
    active: usize,
    number: u64,
    next: u32,
    slots: [u32; 2],
}

impl Journal {
    /// Opens or makes the files in `folder`. Nothing is in force before the first [`Journal::rewrite`] if the answer is
    /// not `Records`.
    pub(super) fn open(folder: &Path) -> io::Result<(Journal, Loaded)> {
        let paths: [PathBuf; 2] = [0, 1].map(|n| folder.join(format!("track.{n}")));
        let existed = paths.iter().any(|path| path.exists());
        let mut files = Vec::new();
        for path in &paths {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            files.push(options.custom_flags(OFlags::DSYNC.bits().cast_signed()).open(path)?);
        }
        let [Some(one), Some(two)] = [files.pop(), files.pop()] else { return Err(io::Error::other("two files")) };
        let files = [two, one];
        let mut slots = [0; 2];
        for (file, slots) in files.iter().zip(&mut slots) {
            *slots = grow(file, SLOTS_MIN)?;
        }
        File::open(folder)?.sync_all()?;
        let images = [read_all(&files[0])?, read_all(&files[1])?];
        let numbers = images.each_ref().map(|image| first_slot(image));
        let active = usize::from(numbers[1] > numbers[0]);
        let mut journal = Journal { files, active, number: 0, next: 0, slots };
        let Some((number, identity)) = numbers[active] else {
            let loaded = if existed { Loaded::Damaged("neither file is whole") } else { Loaded::New };
            return Ok((journal, loaded));
        };
        journal.number = number;
        let loaded = match read_records(&images[active], number) {
            Ok((records, next)) => {
                journal.next = next;
                Loaded::Records(records, identity)
            }
            Err(why) => Loaded::Damaged(why),
        };
        Ok((journal, loaded))
    }

    /// Whether `count` more records fit.
    pub(super) fn has_room(&self, count: usize) -> bool {
        self.number != 0 && (self.next as usize).saturating_add(count) <= self.slots[self.active] as usize
    }

    /// Appends encoded records in one durable write; the caller has asked for room.
    pub(super) fn append(&mut self, records: &[Vec<u8>]) -> io::Result<()> {
        let first = self.next;
        let mut bytes = Vec::with_capacity(records.len() * SLOT);
        for (at, record) in (first..).zip(records) {
            bytes.extend_from_slice(&slot(self.number, at, first, record));
        }
        self.files[self.active].write_all_at(&bytes, u64::from(first) * SLOT as u64)?;
        self.next += records.len() as u32;
        Ok(())
    }

    /// Sees to it that the next [`Journal::rewrite`] has room for `count` records and at least as many more behind them,
    /// if the disk has it; answers how many records it can take with some left for what comes next.
    pub(super) fn make_room(&mut self, count: usize) -> usize {
        let other = 1 - self.active;
        let wanted = u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(64);
        let wanted = wanted.clamp(SLOTS_MIN, SLOTS_MAX);
        if self.slots[other] < wanted {
            // On a full disk what is there already has to do.
            self.slots[other] = grow(&self.files[other], wanted).unwrap_or(self.slots[other]);
        }
        // Without any room behind them each further record would be a rewrite of all.
        let slots = self.slots[other] as usize;
        slots - (slots / 8).max(1)
    }

    /// Makes exactly these records, of this owner, the journal.
    ///
    /// # Errors
    /// There are more than [`Journal::make_room`] answered, or the disk fails.
    pub(super) fn rewrite(&mut self, identity: &[u8; 32], records: &[Vec<u8>]) -> io::Result<()> {
        let other = 1 - self.active;
        let file = &self.files[other];
        if records.len() + 1 > self.slots[other] as usize {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let number = if self.number == 0 { random()? } else { self.number + 1 };
        let mut bytes = Vec::with_capacity((records.len() + 1) * SLOT);
        for (at, record) in (1..).zip(records) {
            bytes.extend_from_slice(&slot(number, at, 1, record));
        }
        file.write_all_at(&bytes, SLOT as u64)?;
        crash::point("track-rewriting");
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(identity);
        head.extend_from_slice(&(records.len() as u32).to_le_bytes());
        file.write_all_at(&slot(number, 0, 0, &head), 0)?;
        crash::point("track-rewritten");
        if self.number != 0 {
            self.files[self.active].write_all_at(&[0; SLOT], 0)?;
        }
        self.active = other;
        self.number = number;
        self.next = records.len() as u32 + 1;
        Ok(())
    }
}

/// A first number that no left-over of an earlier journal has.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok((u64::from_le_bytes(bytes) >> 2) | 1)
}

/// Makes a file at least `slots` long, of written zeros (an allocated but unwritten block would cost a journal commit of
/// the file system at its first write); answers its slots.
fn grow(file: &File, slots: u32) -> io::Result<u32> {
    let have = (file.metadata()?.len() / SLOT as u64) as u32;
    if have >= slots {
        return Ok(have.min(SLOTS_MAX));
    }
    let zeros = vec![0; (slots - have) as usize * SLOT];
    file.write_all_at(&zeros, u64::from(have) * SLOT as u64)?;
    Ok(slots)
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let length = (file.metadata()?.len() as usize).min(SLOTS_MAX as usize * SLOT);
    let mut bytes = vec![0; length - length % SLOT];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn slot(number: u64, at: u32, batch: u32, record: &[u8]) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[4..12].copy_from_slice(&number.to_le_bytes());
    bytes[12..16].copy_from_slice(&at.to_le_bytes());
    bytes[16..20].copy_from_slice(&batch.to_le_bytes());
    bytes[20..22].copy_from_slice(&(record.len() as u16).to_le_bytes());
    bytes[FRAME..FRAME + record.len()].copy_from_slice(record);
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

struct Valid<'a> {
    number: u64,
    at: u32,
    batch: u32,
    record: &'a [u8],
}

fn valid(bytes: &[u8]) -> Option<Valid<'_>> {
    let sum = u32::from_le_bytes(*bytes.first_chunk()?);
    if bytes.len() != SLOT || crc32fast::hash(&bytes[4..]) != sum {
        return None;
    }
    let length = usize::from(u16::from_le_bytes([bytes[20], bytes[21]]));
    Some(Valid {
        number: u64::from_le_bytes(*bytes[4..].first_chunk()?),
        at: u32::from_le_bytes(*bytes[12..].first_chunk()?),
        batch: u32::from_le_bytes(*bytes[16..].first_chunk()?),
        record: bytes.get(FRAME..FRAME + length)?,
    })
}

fn first_slot(image: &[u8]) -> Option<(u64, [u8; 32])> {
    let head = valid(image.get(..SLOT)?).filter(|head| head.at == 0)?;
    let rest = head.record.strip_prefix(MAGIC)?;
    Some((head.number, *rest.first_chunk()?))
}

/// The records of a file and the number of its first free slot.
fn read_records(image: &[u8], number: u64) -> Result<(Vec<Record>, u32), &'static str> {
    let head = valid(&image[..SLOT]).ok_or("its first slot is damaged")?;
    let written = head.record.last_chunk().map_or(0, |count| u32::from_le_bytes(*count));
    let mut records = Vec::new();
    let mut slots = (1u32..).zip(image[SLOT..].chunks(SLOT));
    for (at, bytes) in slots.by_ref() {
        let Some(found) = valid(bytes).filter(|found| found.number == number && found.at == at) else {
            if at <= written {
                return Err("a record is damaged");
            }
            let later = |(_, bytes)| valid(bytes).is_some_and(|found| found.number == number && found.batch > at);
            return if slots.any(later) { Err("a record is damaged") } else { Ok((records, at)) };
        };
        records.push(Record::decode(found.record).ok_or("a record of another version")?);
    }
    Ok((records, (image.len() / SLOT) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::record::Standing;

    const OWNER: [u8; 32] = [9; 32];

    fn record(number: u64) -> Record {
        Record::Standing(Standing { base: number, ..Standing::default() })
    }

    fn encoded(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        numbers.map(|number| record(number).encode().unwrap()).collect()
    }

    fn written() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, loaded) = Journal::open(folder.path()).unwrap();
        assert_eq!(loaded, Loaded::New);
        journal.rewrite(&OWNER, &encoded(0..3)).unwrap();
        journal.append(&encoded(3..5)).unwrap();
        journal.append(&encoded(5..6)).unwrap();
        (folder, journal)
    }

    fn loaded(folder: &tempfile::TempDir) -> Loaded {
        Journal::open(folder.path()).unwrap().1
    }

    fn records(numbers: std::ops::Range<u64>) -> Loaded {
        Loaded::Records(numbers.map(record).collect(), OWNER)
    }

    #[test]
    fn what_was_appended_is_there_after_a_crash() {
        let (folder, mut journal) = written();
        assert_eq!(loaded(&folder), records(0..6));
        journal.rewrite(&OWNER, &encoded(4..6)).unwrap();
        journal.append(&encoded(6..7)).unwrap();
        assert_eq!(loaded(&folder), records(4..7));
        let (mut again, _) = Journal::open(folder.path()).unwrap();
        again.append(&encoded(7..9)).unwrap();
        assert_eq!(loaded(&folder), records(4..9));
    }

    #[test]
    fn a_torn_last_batch_is_not_there_and_damage_before_it_is_seen() {
        for (damaged, expected) in [(6, Some(5)), (4, None), (2, None)] {
            let (folder, journal) = written();
            journal.files[journal.active].write_all_at(&[7; 9], damaged * SLOT as u64 + 100).unwrap();
            match expected {
                Some(count) => assert_eq!(loaded(&folder), records(0..count)),
                None => assert!(matches!(loaded(&folder), Loaded::Damaged(_)), "slot {damaged}"),
            }
        }
        // Of one batch of two, the first slot alone is missing: nobody was told that either is there.
        let (folder, mut journal) = written();
        journal.append(&encoded(6..8)).unwrap();
        journal.files[journal.active].write_all_at(&[0; SLOT], 7 * SLOT as u64).unwrap();
        assert_eq!(loaded(&folder), records(0..6));
    }

    #[test]
    fn a_damaged_head_never_brings_an_older_file_back() {
        let (folder, mut journal) = written();
        journal.rewrite(&OWNER, &encoded(0..1)).unwrap();
        journal.files[journal.active].write_all_at(&[7; 9], 100).unwrap();
        assert!(matches!(loaded(&folder), Loaded::Damaged(_)));
    }

    #[test]
    fn a_rewrite_torn_before_its_head_leaves_the_old_file_in_force() {
        let (folder, mut journal) = written();
        let other = 1 - journal.active;
        journal.files[other].write_all_at(&[3; 4 * SLOT], SLOT as u64).unwrap();
        assert_eq!(loaded(&folder), records(0..6));
        // Left-overs of an earlier use are never taken for records.
        journal.rewrite(&OWNER, &encoded(0..1)).unwrap();
        assert_eq!(loaded(&folder), records(0..1));
    }
}
