//! What agent and replica, and two replicas, say to each other.

use super::json::same_again;
use holdfast_api::ids::Generation;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{self, Decoder, FromReplica, Stats, ToReplica};
use holdfast_replica::frame::{self, CheckStep, Entry, FrameReader, HEADER, Hello, Message, ResyncStep};
use holdfast_replica::op::{Allocation, FileId, FileKind, Op};

/// Control messages of both directions, whole and in pieces.
pub fn control(bytes: &[u8]) -> bool {
    messages::<ToReplica>(bytes) | messages::<FromReplica>(bytes)
}

fn messages<T: serde::de::DeserializeOwned + serde::Serialize>(bytes: &[u8]) -> bool {
    let mut decoder = Decoder::default();
    let mut from_pieces = 0;
    'pieces: for piece in bytes.chunks(7) {
        decoder.push(piece);
        loop {
            match decoder.next_message::<T>() {
                Ok(Some(message)) => {
                    same_again(&message);
                    from_pieces += 1;
                }
                Ok(None) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    let (mut rest, mut whole) = (bytes, 0);
    while let Ok(Some(message)) = control::receive::<T>(&mut rest) {
        same_again(&message);
        whole += 1;
    }
    assert_eq!(from_pieces, whole, "in pieces something else is read");
    whole > 0
}

/// Messages of both directions.
pub fn control_samples() -> Vec<Vec<u8>> {
    let generation = Generation { number: 3, id: 9 };
    let to = [
        ReplicaCommand::Inspect,
        ReplicaCommand::Serve { generation },
        ReplicaCommand::Follow { session: 4, generation },
        ReplicaCommand::Release { abort: true },
    ];
    let from = [
        FromReplica::Event(ReplicaEvent::StreamLost { session: 4, reason: "reset".to_owned() }),
        FromReplica::Stats(Stats { bytes_per_s: 5, ..Stats::default() }),
        FromReplica::Alive,
    ];
    let to: Vec<u8> = to.into_iter().flat_map(|command| encoded(&ToReplica::Command(command))).collect();
    vec![to, from.iter().flat_map(encoded).collect()]
}

fn encoded<T: serde::Serialize>(message: &T) -> Vec<u8> {
    control::encode(message).expect("it fits a frame")
}

/// Frames of the replication stream, as they are and with the first one's checksum put right.
pub fn frames(bytes: &[u8]) -> bool {
    read_frames(bytes) | read_frames(&with_right_sum(bytes))
}

fn with_right_sum(bytes: &[u8]) -> Vec<u8> {
    let mut right = bytes.to_vec();
    if let Some(body) = right.len().checked_sub(HEADER) {
        let length = u32::from_le_bytes([right[0], right[1], right[2], right[3]]) as usize;
        let end = HEADER + if length <= body { length } else { body };
        right[0..4].copy_from_slice(&((end - HEADER) as u32).to_le_bytes());
        let sum = crc32fast::hash(&right[..16]) ^ crc32fast::hash(&right[HEADER..end]);
        right[16..HEADER].copy_from_slice(&sum.to_le_bytes());
    }
    right
}

fn read_frames(bytes: &[u8]) -> bool {
    let mut reader = FrameReader::default();
    let mut read = false;
    for piece in bytes.chunks(1000) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(found)) => {
                    let mut again = frame::encode(&found.message, found.payload);
                    frame::number(&mut again, found.sequence);
                    let mut second = FrameReader::default();
                    second.push(&again);
                    let second = second.next_frame().expect("what was written is whole").expect("and all there");
                    assert_eq!((second.sequence, &second.message), (found.sequence, &found.message));
                    assert_eq!(second.payload, found.payload);
                    read = true;
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return read;
                }
            }
        }
    }
    read
}

/// A beginning, changes, and a resync.
pub fn frame_samples() -> Vec<Vec<u8>> {
    let hello = Message::Hello(Hello {
        module: 1,
        node: 2,
        boot_id: "boot".to_owned(),
        incarnation: 3,
        session: 4,
        generation: Generation { number: 5, id: 6 },
        applied: 7,
        standing: [8, 9, 10, 11],
    });
    let name = || b"file".to_vec();
    let (id, parent) = (FileId(9), FileId(1));
    let ops = [
        Op::Bind { id, parent, name: name(), kind: FileKind::File, exact: true },
        Op::Link { id, parent, name: name() },
        Op::Rename { id, parent, name: name(), new_parent: parent, new_name: b"other".to_vec() },
        Op::Sync { id, data_only: true },
        Op::Allocate { id, offset: 1, length: 2, how: Allocation::PunchHole },
        Op::Exchange { id, parent, name: name(), other: parent, other_parent: id, other_name: name() },
        Op::CreateUnnamed { id, parent, mode: 0o600, uid: 1, gid: 2 },
    ];
    let entry = Entry {
        id,
        name: name(),
        kind: FileKind::File,
        linked: true,
        exact: false,
        device: 0,
        target: b"x/../y".to_vec(),
    };
    let steps = [
        ResyncStep::List {
            directory: parent,
            after: b"a".to_vec(),
            upto: Vec::new(),
            entries: vec![entry.clone(), entry.clone()],
        },
        ResyncStep::Hash { request: 1, id, index: 2, blocks: 3 },
        ResyncStep::Match { directory: parent, entries: vec![entry.clone()], absent: vec![name()] },
        ResyncStep::Begin { full: true },
        ResyncStep::Zero { id, offset: 4096, length: 65536 },
        ResyncStep::Complete,
    ];
    let messages = [hello, Message::Refused("no".to_owned()), Message::Ack(8), Message::Challenge([1; 32])]
        .into_iter()
        .chain(ops.into_iter().map(Message::Op))
        .chain(steps.into_iter().map(Message::Resync))
        .chain([
            Message::Hashes { request: 1, blocks: vec![[2; 32]; 3] },
            Message::Synced(9),
            Message::NamesWanted(1),
            Message::Names { last: true, told: None },
            Message::Check(CheckStep::End { request: 4 }),
        ]);
    let mut samples: Vec<Vec<u8>> = messages.map(|message| numbered(&message, b"", 0)).collect();
    samples.push(numbered(&Message::Op(Op::Write { id, offset: 3, clear_suid: false }), b"payload", 12));
    let all = samples.concat();
    samples.push(all);
    samples
}

fn numbered(message: &Message, payload: &[u8], sequence: u64) -> Vec<u8> {
    let mut bytes = frame::encode(message, payload);
    frame::number(&mut bytes, sequence);
    bytes
}
