//! What the core says and what it must not forget: heartbeats, and ledgers with the durable state in them.

use holdfast_agent::ledger::{Ledger, SLOT};
use holdfast_api::ids::{Generation, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::{Heartbeat, Incarnation};
use holdfast_core::replica::Inventory;
use std::os::unix::fs::FileExt;

const KEY: [u8; 32] = [7; 32];

/// Length of a heartbeat's tag.
const TAG: usize = 32;

/// A heartbeat, as it is and with the right tag.
pub fn heartbeat(bytes: &[u8]) -> bool {
    let body = &bytes[..bytes.len().saturating_sub(TAG)];
    let tagged = [body, blake3::keyed_hash(&KEY, body).as_bytes()].concat();
    let mut read = false;
    for datagram in [bytes, &tagged] {
        if let Ok(heartbeat) = Heartbeat::decode(&KEY, datagram) {
            let again = heartbeat.encode(&KEY);
            assert_eq!(Heartbeat::decode(&KEY, &again), Ok(heartbeat));
            read = true;
        }
    }
    read
}

/// Heartbeats with little and with much to say.
pub fn heartbeat_samples() -> Vec<Vec<u8>> {
    let generation = |number| Generation { number, id: number * 0x0101_0101 };
    let sample = |history: u64, resources: usize| Heartbeat {
        from: NodeId(2),
        boot_id: 3,
        incarnation: Incarnation { count: 4, id: 5 },
        origin: Incarnation { count: 3, id: 4 },
        sequence: 6,
        echo: Incarnation { count: 7, id: 8 },
        saving: false,
        hears_you: true,
        signature: 9,
        state: ModuleState::Second,
        readiness: Readiness::Ready,
        running: true,
        data: DataState::UpToDate,
        generation: generation(10),
        history: (0..history).map(generation).collect(),
        solo: false,
        outdated_since: 11,
        continued: true,
        was_primary: false,
        claims: true,
        failover: false,
        asks: 12,
        session: 13,
        swap_request: 14,
        inventory: Inventory { entries: 15, bytes: 16, changed_unix_ms: u64::MAX },
        resources: (0..resources).map(|at| (format!("tcp.web{at}"), ResourceValue::Down)).collect(),
    };
    vec![sample(0, 0).encode(&KEY), sample(3, 1).encode(&KEY), sample(16, 8).encode(&KEY)]
}

/// Head of a ledger's slot: magic, version, sequence, length.
const HEAD: usize = 24;

/// A ledger: two bytes of length of what is in the first slot, that, and what is in the second; each as it is and with
/// the right length and hash. What is read can be saved and read again.
pub fn ledger(bytes: &[u8]) -> bool {
    let (length, rest) = bytes.split_at(bytes.len().min(2));
    let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (first, second) = rest.split_at(length.min(rest.len()));
    let right = read_ledger(&right_slot(first), second);
    read_ledger(first, second) | right
}

/// Its payload is what is there, and its hash is right.
fn right_slot(slot: &[u8]) -> Vec<u8> {
    let payload = slot.len().saturating_sub(32);
    let mut right = slot[..payload].to_vec();
    if payload >= HEAD {
        right[20..HEAD].copy_from_slice(&((payload - HEAD) as u32).to_le_bytes());
    }
    let hash = blake3::hash(&right);
    right.extend_from_slice(hash.as_bytes());
    right
}

fn read_ledger(first: &[u8], second: &[u8]) -> bool {
    thread_local! {
        // One file for all: no state in it outlasts a check. In memory if that can be: a save waits for its disk.
        static FOLDER: tempfile::TempDir =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder for a ledger");
    }
    let path = FOLDER.with(|folder| folder.path().join("m.ledger"));
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(&path);
    let file = file.expect("a file for a ledger");
    for (at, slot) in [first, second].into_iter().enumerate() {
        file.write_all_at(&slot[..slot.len().min(SLOT)], (at * SLOT) as u64).expect("a slot is written");
    }
    file.set_len(2 * SLOT as u64).expect("the file has its size");
    match Ledger::open(&path) {
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            false
        }
        Ok((mut ledger, durable)) => {
            // A state may be too large to be saved, and then says so.
            if ledger.save(&durable).is_ok() {
                let (_, again) = Ledger::open(&path).expect("what was saved is read");
                assert_eq!(again, durable);
            }
            true
        }
    }
}

/// Ledgers with one and with two saved states.
pub fn ledger_samples() -> Vec<Vec<u8>> {
    let slot = |sequence: u64, durable: &Durable| {
        let payload = serde_json::to_vec(durable).expect("a state is JSON");
        let mut slot = b"HFLEDGER".to_vec();
        slot.extend_from_slice(&holdfast_agent::ledger::VERSION.to_le_bytes());
        slot.extend_from_slice(&sequence.to_le_bytes());
        slot.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        slot.extend_from_slice(&payload);
        let hash = blake3::hash(&slot);
        slot.extend_from_slice(hash.as_bytes());
        slot
    };
    let generation = |number| Generation { number, id: number * 77 };
    let early = Durable { generation: generation(1), solo: true, ..Durable::default() };
    let late = Durable {
        generation: generation(9),
        history: (1..9).rev().map(generation).collect(),
        data: DataState::UpToDate,
        failover: Some(false),
        running: true,
        ..Durable::default()
    };
    let both = |first: &[u8], second: &[u8]| [&(first.len() as u16).to_le_bytes()[..], first, second].concat();
    vec![both(&slot(2, &late), &slot(1, &early)), both(&[], &slot(1, &early)), both(&slot(8, &early), &slot(9, &late))]
}
