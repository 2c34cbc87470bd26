//! The ledger: one preallocated file of two slots per module, written in place, so that it works on a full disk.
//!
//! Each slot is `magic · version · sequence · length · payload (JSON) · blake3 of all before`. Saves alternate between
//! the slots, each followed by `fdatasync`; a torn slot leaves the other one. Saves run on a thread of their own, so that a
//! slow disk delays only its module, whose engine goes on saying that it lives and gives up what takes too long.

use crate::files;
use anyhow::{Context, Result, bail};
use holdfast_core::durable::Durable;
use holdfast_replica::crash;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Version of the payload.
pub const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"HFLEDGER";
const HEAD: usize = 8 + 4 + 8 + 4;
const HASH: usize = 32;
/// Size of a slot, in bytes; a whole number of blocks, so that writing one never touches the other.
pub const SLOT: usize = 16 * 1024;

/// A module's ledger file, opened.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    /// Sequence of the newest good slot; it is in slot `sequence % 2`.
    sequence: u64,
}

/// What a slot holds.
enum Slot {
    Empty,
    Torn,
    Foreign(u32),
    /// Whole, and not to be understood: why.
    Unknown(String),
    Good(u64, Box<Durable>),
}

fn read_slot(bytes: &[u8]) -> Slot {
    if bytes.iter().all(|byte| *byte == 0) {
        return Slot::Empty;
    }
    parse_slot(bytes).unwrap_or(Slot::Torn)
}

fn parse_slot(bytes: &[u8]) -> Option<Slot> {
    let head = bytes.get(..HEAD)?;
    let version = u32::from_le_bytes(head[8..12].try_into().ok()?);
    let sequence = u64::from_le_bytes(head[12..20].try_into().ok()?);
    let length = u32::from_le_bytes(head[20..24].try_into().ok()?) as usize;
    let end = HEAD.checked_add(length)?;
    let hash = bytes.get(end..end.checked_add(HASH)?)?;
    if &head[..8] != MAGIC || blake3::hash(&bytes[..end]).as_bytes() != hash {
        return None;
    }
    if version != VERSION {
        return Some(Slot::Foreign(version));
    }
    // Not torn: what stands there was saved, by another version of this program. The other slot is older.
    Some(match serde_json::from_slice(&bytes[HEAD..end]) {
        Ok(durable) => Slot::Good(sequence, Box::new(durable)),
        Err(error) => Slot::Unknown(error.to_string()),
    })
}

impl Ledger {
    /// Opens the file, or makes it with its full size; gives the newest whole state.
    ///
    /// # Errors
    /// A version this program does not know, both slots damaged, or the file cannot be opened.
    pub fn open(path: &Path) -> Result<(Self, Durable)> {
        let shown = path.display();
        if !path.exists() {
            Self::create(path).with_context(|| format!("cannot make the ledger {shown}"))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("cannot open the ledger {shown}"))?;
        let mut slots = [vec![0; SLOT], vec![0; SLOT]];
        for (index, slot) in slots.iter_mut().enumerate() {
            file.read_exact_at(slot, (index * SLOT) as u64)
                .with_context(|| format!("cannot read the ledger {shown}"))?;
        }
        let (sequence, durable) = match (read_slot(&slots[0]), read_slot(&slots[1])) {
            (Slot::Foreign(version), _) | (_, Slot::Foreign(version)) => bail!(
                "the ledger {shown} has version {version}; this program reads version {VERSION}: install the matching version"
            ),
            (Slot::Unknown(error), _) | (_, Slot::Unknown(error)) => bail!(
                "the ledger {shown} holds what this program does not know ({error}): install the version that wrote it, or a \
                 later one"
            ),
            (Slot::Good(a, first), Slot::Good(b, second)) => {
                if a > b {
                    (a, first)
                } else {
                    (b, second)
                }
            }
            (Slot::Good(sequence, durable), _) | (_, Slot::Good(sequence, durable)) => (sequence, durable),
            (Slot::Empty, _) | (_, Slot::Empty) => (0, Box::default()),
            (Slot::Torn, Slot::Torn) => bail!(
                "both slots of the ledger {shown} are damaged: move the file away; the module then asks which copy of the data is right"
            ),
        };
        Ok((Self { file, sequence }, *durable))
    }

    fn create(path: &Path) -> Result<()> {
        let temporary = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        // Written, not only sized: the blocks must exist when the disk is full later.
        file.write_all_at(&vec![0; 2 * SLOT], 0)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        files::sync_dir(path.parent().context("the ledger has no folder")?)?;
        Ok(())
    }

    /// Saves the state into the older slot; durable when it returns. After an error the newer slot is untouched.
    pub fn save(&mut self, durable: &Durable) -> io::Result<()> {
        let payload = serde_json::to_vec(durable)?;
        if HEAD + payload.len() + HASH > SLOT {
            return Err(io::Error::other("the state does not fit into a ledger slot"));
        }
        let sequence = self.sequence + 1;
        let mut bytes = Vec::with_capacity(SLOT);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        crash::point("ledger-decided");
        self.file.write_all_at(&bytes, (sequence % 2) * SLOT as u64)?;
        crash::point("ledger-written");
        self.file.sync_data()?;
        crash::point("ledger-saved");
        self.sequence = sequence;
        Ok(())
    }
}

type Job = (Durable, oneshot::Sender<io::Result<()>>);

/// A ledger on its own thread.
#[derive(Debug)]
pub struct LedgerThread {
    jobs: mpsc::SyncSender<Job>,
    /// The module is gone: what still waits behind a slow disk must not overwrite what its successor saves.
    ended: Arc<AtomicBool>,
}

impl LedgerThread {
    /// Starts the thread.
    pub fn start(mut ledger: Ledger, module: &str) -> Result<Self> {
        let (jobs, inbox) = mpsc::sync_channel::<Job>(4);
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        let run = move || {
            for (durable, done) in inbox {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let _ = done.send(ledger.save(&durable));
            }
        };
        std::thread::Builder::new().name(format!("ledger-{module}")).spawn(run).context("cannot start a thread")?;
        Ok(Self { jobs, ended })
    }

    /// Saves, however long it takes; an error is a failed save, in plain words.
    pub async fn save(&self, durable: Durable) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        let busy = "the disk has not finished earlier saves";
        self.jobs.try_send((durable, done)).map_err(|_| busy.to_owned())?;
        match result.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the ledger's thread ended".to_owned()),
        }
    }
}

impl Drop for LedgerThread {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, LedgerThread, SLOT, VERSION};
    use holdfast_core::durable::Durable;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    fn state(session: u64) -> Durable {
        Durable { session, ..Durable::default() }
    }

    fn damage(path: &Path, at: u64) {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
    }

    #[test]
    fn newest_state_survives_and_a_torn_slot_falls_back_to_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ledger");
        let (mut ledger, first) = Ledger::open(&path).unwrap();
        assert_eq!(first, Durable::default());
        for session in 1..=5 {
            ledger.save(&state(session)).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * SLOT as u64);
        assert_eq!(Ledger::open(&path).unwrap().1, state(5));
        damage(&path, SLOT as u64 + 30);
        let (mut ledger, durable) = Ledger::open(&path).unwrap();
        assert_eq!(durable, state(4));
        ledger.save(&state(6)).unwrap();
        assert_eq!(Ledger::open(&path).unwrap().1, state(6));
        damage(&path, 30);
        damage(&path, SLOT as u64 + 30);
        assert!(Ledger::open(&path).unwrap_err().to_string().contains("damaged"));
    }

    /// Changes the slot that the first save goes to, and makes its hash right again.
    fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut slot = vec![0; SLOT];
        file.read_exact_at(&mut slot, SLOT as u64).unwrap();
        change(&mut slot);
        let length = u32::from_le_bytes(slot[20..24].try_into().unwrap()) as usize;
        let hash = blake3::hash(&slot[..24 + length]);
        slot[24 + length..56 + length].copy_from_slice(hash.as_bytes());
        file.write_all_at(&slot, SLOT as u64).unwrap();
    }

    #[test]
    fn unknown_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ledger");
        let (mut ledger, _) = Ledger::open(&path).unwrap();
        ledger.save(&state(1)).unwrap();
        change(&path, |slot| slot[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes()));
        assert!(Ledger::open(&path).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn slot_of_a_newer_agent_is_refused_and_not_taken_for_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ledger");
        let (mut ledger, _) = Ledger::open(&path).unwrap();
        for session in 1..=3 {
            ledger.save(&state(session)).unwrap();
        }
        change(&path, |slot| {
            let length = u32::from_le_bytes(slot[20..24].try_into().unwrap()) as usize;
            let more = br#","of_tomorrow":1}"#;
            slot[24 + length - 1..24 + length - 1 + more.len()].copy_from_slice(more);
            slot[20..24].copy_from_slice(&((length - 1 + more.len()) as u32).to_le_bytes());
        });
        let refused = Ledger::open(&path).unwrap_err().to_string();
        assert!(refused.contains("of_tomorrow") && refused.contains("install the version"), "{refused}");
    }

    #[tokio::test]
    async fn saves_on_the_thread_are_durable_when_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ledger");
        let (ledger, _) = Ledger::open(&path).unwrap();
        let thread = LedgerThread::start(ledger, "m").unwrap();
        thread.save(state(9)).await.unwrap();
        assert_eq!(Ledger::open(&path).unwrap().1, state(9));
    }

    proptest! {
        #[test]
        fn no_content_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..2) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("m.ledger");
            let (mut ledger, _) = Ledger::open(&path).unwrap();
            ledger.save(&state(1)).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&bytes, (at * SLOT) as u64).unwrap();
            let _ = Ledger::open(&path);
        }
    }
}
