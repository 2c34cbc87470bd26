//! The memory that outlives the replica: a memfd with the kernel's objects, requests begun, and the right to acknowledge.
//!
//! It is written with `pwrite`, not mapped: what a killed process had written stays, each write whole. A write costs half
//! a microsecond. Nothing here survives the machine; after a reboot the journal of what may differ is what counts.

use super::record::{self, IDENTITY, Identity, Known, NAME, REFS, SLOT, USES};
use super::right::{self, Right};
use crate::op::FileId;
use crate::stream::lock;
use rustix::fs::MemfdFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Layout version; another is refused, and the replica begins anew on a new mount.
const MAGIC: &[u8; 8] = b"HFkeep\x00\x02";
/// The kernel marks a request it hands out again by this bit of its number.
pub(crate) const RESENT: u64 = 1 << 63;

const RIGHT_AT: u64 = 512;
const IDS_AT: u64 = 1024;
const BEGUN_AT: u64 = 4096;
/// Requests begun are noted here in a ring, in the order in which they began: one that waits for the peer is found again
/// as long as not so many have begun after it, whatever numbers other requests have used up meanwhile.
const BEGUN_COUNT: u64 = 16384;
const BEGUN_SIZE: u64 = 32;
const SLOTS_AT: u64 = BEGUN_AT + BEGUN_COUNT * BEGUN_SIZE;
/// Ids are set aside in lots of this size.
const IDS_LOT: u64 = 1 << 16;
/// Most objects, so that a broken file cannot make a reader grow without bound (8 GiB of records).
const SLOTS_MAX: u64 = 1 << 24;

/// Number of an object's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// The memory of one mount.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    slots: Mutex<Slots>,
    /// Requests begun, here and by processes that are gone.
    begun_count: AtomicU64,
    /// What processes that are gone had noted of requests begun.
    begun: HashMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    next: u32,
    /// Ids below this are set aside.
    ids: u64,
}

/// What another process has written.
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// What the kernel knew.
    pub(crate) known: Vec<(Slot, Known)>,
    /// Ids below this may have been used.
    pub(crate) first_id: u64,
}

impl Store {
    /// A new one.
    pub(crate) fn new() -> io::Result<Store> {
        let file = File::from(rustix::fs::memfd_create("holdfast-keep", MemfdFlags::CLOEXEC)?);
        file.write_all_at(MAGIC, 0)?;
        Ok(Store { file, slots: Mutex::default(), begun_count: AtomicU64::new(0), begun: HashMap::new() })
    }

    /// One that another process has written.
    ///
    /// # Errors
    /// It is of another version, or damaged.
    pub(crate) fn open(file: OwnedFd) -> io::Result<Opened> {
        let file = File::from(file);
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, 0)?;
        if magic != *MAGIC {
            return Err(damaged("it was written by another version"));
        }
        let mut ids = [0; 8];
        file.read_exact_at(&mut ids, IDS_AT).unwrap_or(());
        let length = file.metadata()?.len();
        let count = length.saturating_sub(SLOTS_AT).div_ceil(SLOT as u64);
        if count > SLOTS_MAX {
            return Err(damaged("it is too long"));
        }
        let mut known = Vec::new();
        let mut slots = Slots { ids: u64::from_le_bytes(ids), ..Slots::default() };
        let mut page = vec![0; 128 * SLOT];
        while u64::from(slots.next) < count {
            let at = SLOTS_AT + u64::from(slots.next) * SLOT as u64;
            page.fill(0);
            let got = crate::tree::descriptors::read_at(&file, &mut page, at)?;
            for slot in page[..got.next_multiple_of(SLOT)].chunks(SLOT) {
                match record::read(slot).map_err(damaged)? {
                    Some(object) => known.push((Slot(slots.next), object)),
                    None => slots.free.push(slots.next),
                }
                slots.next += 1;
            }
            if got == 0 {
                break;
            }
        }
        let first_id = slots.ids.max(known.iter().map(|(_, object)| object.identity.id.0 + 1).max().unwrap_or(0));
        let (begun, count) = read_begun(&file)?;
        let store = Store { file, slots: Mutex::new(slots), begun_count: AtomicU64::new(count), begun };
        Ok(Opened { store, known, first_id })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Memory that is full cannot be helped here: the next process is to refuse what is not whole.
    fn write(&self, bytes: &[u8], at: u64) {
        if let Err(error) = self.file.write_all_at(bytes, at) {
            // Its page is there: this cannot fail for want of memory.
            let _ = self.file.write_all_at(&[0; MAGIC.len()], 0);
            tracing::error!(%error, "what the kernel knows cannot be kept: this mount will not outlive this process");
        }
    }

    fn write_part(&self, slot: Slot, part: (usize, usize), bytes: &[u8]) {
        self.write(bytes, SLOTS_AT + u64::from(slot.0) * SLOT as u64 + part.0 as u64);
    }

    /// The kernel is about to know this object. `None`: it cannot be kept.
    pub(crate) fn add(
        &self,
        identity: &Identity,
        place: Option<(FileId, &[u8])>,
        (opens, writers): (u32, u32),
        (refs, removed): (u64, bool),
    ) -> Option<Slot> {
        let encoded = record::identity(identity)?;
        let slot = {
            let mut slots = lock(&self.slots);
            if identity.id.0 >= slots.ids {
                slots.ids = identity.id.0 + IDS_LOT;
                self.write(&slots.ids.to_le_bytes(), IDS_AT);
            }
            let slot = slots.free.pop().or_else(|| {
                slots.next += 1;
                Some(slots.next - 1)
            });
            Slot(slot?)
        };
        self.write_part(slot, IDENTITY, &encoded);
        self.name(slot, place);
        self.uses(slot, opens, writers);
        // Only now it counts.
        self.refs(slot, refs, removed);
        Some(slot)
    }

    /// The kernel knows nothing of it any more.
    pub(crate) fn remove(&self, slot: Slot) {
        self.write_part(slot, REFS, &[0; REFS.1]);
        lock(&self.slots).free.push(slot.0);
    }

    pub(crate) fn refs(&self, slot: Slot, refs: u64, removed: bool) {
        self.write_part(slot, REFS, &record::refs(refs, removed));
    }

    pub(crate) fn uses(&self, slot: Slot, opens: u32, writers: u32) {
        self.write_part(slot, USES, &record::uses(opens, writers));
    }

    pub(crate) fn name(&self, slot: Slot, place: Option<(FileId, &[u8])>) {
        self.write_part(slot, NAME, &record::name(place));
    }

    /// What may be acknowledged, and the agreed flags of the kernel's protocol.
    pub(crate) fn set_right(&self, right: &Right) {
        self.write(&right::encode(right), RIGHT_AT);
    }

    /// # Errors
    /// It is damaged, or was never told.
    pub(crate) fn right(&self) -> io::Result<Right> {
        let mut bytes = [0; right::SIZE];
        self.file.read_exact_at(&mut bytes, RIGHT_AT)?;
        right::decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no right to serve is noted"))
    }

    /// A request whose effect cannot be told from the tree alone is begun; `fact`: what tells later whether it was done.
    pub(crate) fn begin(&self, unique: u64, fact: u64) {
        let count = self.begun_count.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; BEGUN_SIZE as usize];
        for (at, value) in [(0, unique & !RESENT), (8, fact), (16, count)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&sum.to_le_bytes());
        self.write(&bytes, BEGUN_AT + count % BEGUN_COUNT * BEGUN_SIZE);
    }

    /// The fact that a process which is gone noted when it began this request, if it did.
    pub(crate) fn begun(&self, unique: u64) -> Option<u64> {
        self.begun.get(&(unique & !RESENT)).copied()
    }
}

/// The facts noted of requests begun, and how many had begun.
fn read_begun(file: &File) -> io::Result<(HashMap<u64, u64>, u64)> {
    let mut ring = vec![0; (BEGUN_COUNT * BEGUN_SIZE) as usize];
    crate::tree::descriptors::read_at(file, &mut ring, BEGUN_AT)?;
    let (mut begun, mut next) = (HashMap::new(), 0);
    for record in ring.chunks_exact(BEGUN_SIZE as usize) {
        let number = |at: usize| record[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        if record[24..28] != crc32fast::hash(&record[..24]).to_le_bytes() {
            continue; // never used
        }
        begun.insert(number(0), number(8));
        next = next.max(number(16) + 1);
    }
    Ok((begun, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::FileKind;

    fn identity(id: u64) -> Identity {
        let kind = FileKind::File;
        Identity { id: FileId(id), kind, excluded: false, device: 1, ino: id, tag: 9, handle: None }
    }

    #[test]
    fn another_process_reads_what_was_written() {
        let store = Store::new().unwrap();
        let gone = store.add(&identity(70_000), None, (0, 0), (1, false)).unwrap();
        let there = store.add(&identity(70_001), Some((FileId(1), b"a")), (1, 1), (1, false)).unwrap();
        store.remove(gone);
        store.refs(there, 4, true);
        store.uses(there, 2, 0);
        store.name(there, Some((FileId(2), b"b")));
        store.begin(42, 7);
        let Opened { store: again, known, first_id } = Store::open(store.file.try_clone().unwrap().into()).unwrap();
        let name = Some((FileId(2), b"b".to_vec()));
        let expected = Known { identity: identity(70_001), refs: 4, removed: true, opens: 2, writers: 0, name };
        assert_eq!(known, [(there, expected)]);
        assert!(first_id > 70_001, "{first_id}");
        assert_eq!((again.begun(42), again.begun(42 | RESENT), again.begun(44)), (Some(7), Some(7), None));
        assert_eq!(again.add(&identity(first_id), None, (0, 0), (1, false)), Some(gone), "its room is used again");
        assert!(again.right().is_err());
    }

    #[test]
    fn a_request_begun_is_found_again_whatever_numbers_others_have_used_up_since() {
        let store = Store::new().unwrap();
        let (waits, others) = (42, [42 + 2 * 4096, 42 + 2 * BEGUN_COUNT, 42 + 8 * BEGUN_COUNT]);
        store.begin(waits, 7);
        others.iter().for_each(|other| store.begin(*other, 8));
        let again = Store::open(store.file.try_clone().unwrap().into()).unwrap().store;
        assert_eq!(again.begun(waits | RESENT), Some(7));
        // The next process goes on where this one ended.
        again.begin(44, 9);
        let last = Store::open(again.file.into()).unwrap().store;
        assert_eq!([waits, 44].map(|unique| last.begun(unique)), [Some(7), Some(9)]);
        assert_eq!(others.map(|other| last.begun(other)), [Some(8); 3]);
    }

    #[test]
    fn what_another_version_wrote_is_refused() {
        let store = Store::new().unwrap();
        store.file.write_all_at(b"HFkeep\x00\x03", 0).unwrap();
        assert!(Store::open(store.file.into()).is_err());
    }
}
