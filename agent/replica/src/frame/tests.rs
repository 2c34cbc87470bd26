//! Frames survive the wire in any pieces; damage, foreign versions and nonsense are refused without a panic.

use super::*;
use crate::op::{Allocation, Attributes, FileId, FileKind, Op, Time};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1..=255u8, 1..=255).prop_map(|mut bytes| {
        bytes.iter_mut().filter(|b| **b == b'/').for_each(|b| *b = b'_');
        if bytes == b"." || bytes == b".." { b"dot".to_vec() } else { bytes }
    })
}

fn id() -> impl Strategy<Value = FileId> {
    (1..=u64::MAX).prop_map(FileId)
}

fn kind() -> impl Strategy<Value = FileKind> {
    prop_oneof![Just(FileKind::File), Just(FileKind::Directory), Just(FileKind::Fifo), Just(FileKind::BlockDevice)]
}

fn time() -> impl Strategy<Value = Time> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    use proptest::option::of;
    (of(any::<u64>()), of(0..0o10000u32), of(any::<u32>()), of(any::<u32>()), of(time()), of(time()))
        .prop_map(|(size, mode, uid, gid, accessed, modified)| Attributes { size, mode, uid, gid, accessed, modified })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (id(), id(), name(), kind(), any::<bool>()).prop_map(|(id, parent, name, kind, exact)| Op::Bind {
            id,
            parent,
            name,
            kind,
            exact
        }),
        id().prop_map(|id| Op::Forget { id }),
        (id(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(id, offset, length, punch)| {
            let how = if punch { Allocation::PunchHole } else { Allocation::ZeroOnly };
            Op::Allocate { id, offset, length, how }
        }),
        (id(), id(), name(), id(), id(), name()).prop_map(|(id, parent, name, other, other_parent, other_name)| {
            Op::Exchange { id, parent, name, other, other_parent, other_name }
        }),
        (id(), id(), 0..0o10000u32, any::<u32>(), any::<u32>())
            .prop_map(|(id, parent, mode, uid, gid)| Op::CreateUnnamed { id, parent, mode, uid, gid }),
        (id(), any::<u64>(), any::<bool>()).prop_map(|(id, offset, clear_suid)| Op::Write { id, offset, clear_suid }),
        (id(), attributes()).prop_map(|(id, attributes)| Op::SetAttributes { id, attributes }),
        (id(), id(), name(), kind(), 0..0o10000u32, any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
            |(id, parent, name, kind, mode, uid, gid, device)| Op::Create {
                id,
                parent,
                name,
                kind,
                mode,
                uid,
                gid,
                device
            }
        ),
        (id(), id(), name(), 0..9u32, 0..9u32).prop_map(|(id, parent, name, uid, gid)| Op::Symlink {
            id,
            parent,
            name,
            uid,
            gid
        }),
        (id(), id(), name()).prop_map(|(id, parent, name)| Op::Link { id, parent, name }),
        (id(), id(), name(), id(), name()).prop_map(|(id, parent, name, new_parent, new_name)| Op::Rename {
            id,
            parent,
            name,
            new_parent,
            new_name
        }),
        (id(), name()).prop_map(|(id, name)| Op::SetXattr { id, name }),
        (id(), any::<bool>()).prop_map(|(id, data_only)| Op::Sync { id, data_only }),
        Just(Op::SyncAll),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    (id(), name(), kind(), any::<[bool; 2]>(), any::<u64>()).prop_map(|(id, name, kind, [linked, exact], device)| {
        Entry { id, name, kind, linked, exact, device, target: b"x/../y".to_vec() }
    })
}

/// All names between the first and the last of some, each open or closed.
fn piece() -> impl Strategy<Value = (FileId, Vec<u8>, Vec<u8>, Vec<Entry>)> {
    (id(), any::<[bool; 2]>(), proptest::collection::vec(entry(), 0..5)).prop_map(
        |(id, [begins, ends], mut entries)| {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            let after = if begins || entries.is_empty() { Vec::new() } else { entries.remove(0).name };
            entries.retain(|entry| entry.name > after);
            let upto = entries.last().filter(|_| !ends).map_or(Vec::new(), |entry| entry.name.clone());
            (id, after, upto, entries)
        },
    )
}

fn told() -> impl Strategy<Value = Told> {
    let what = prop_oneof![
        name().prop_map(ToldWhat::Name),
        Just(ToldWhat::AllFiles),
        any::<bool>().prop_map(|whole| ToldWhat::Inside { whole }),
        proptest::collection::vec((any::<u32>(), any::<u64>()), 0..4).prop_map(ToldWhat::Blocks),
    ];
    (any::<u16>(), proptest::collection::vec(name(), 0..4), what).prop_map(|(root, steps, what)| Told {
        root,
        steps,
        what,
    })
}

fn check() -> impl Strategy<Value = CheckStep> {
    let numbers = (0..0o10000u32, any::<u32>(), any::<u32>(), any::<u64>());
    prop_oneof![
        piece().prop_map(|(directory, after, upto, entries)| CheckStep::List { directory, after, upto, entries }),
        (id(), numbers, proptest::option::of(time()), any::<[u8; 32]>()).prop_map(
            |(id, (mode, uid, gid, size), modified, xattrs)| {
                CheckStep::Object { id, mode, uid, gid, size, modified, xattrs }
            }
        ),
        (id(), any::<u64>(), proptest::collection::vec(any::<[u8; 32]>(), 0..16))
            .prop_map(|(id, offset, blocks)| CheckStep::Blocks { id, offset, blocks }),
        id().prop_map(|id| CheckStep::Done { id }),
        any::<u64>().prop_map(|request| CheckStep::End { request }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        4 => op().prop_map(Message::Op),
        1 => piece().prop_map(|(directory, after, upto, entries)| {
            Message::Resync(ResyncStep::List { directory, after, upto, entries })
        }),
        1 => (id(), 0..0o10000u32, time(), time(), proptest::collection::vec(name(), 0..4)).prop_map(
            |(id, mode, accessed, modified, xattrs)| {
                Message::Resync(ResyncStep::Settle { id, mode, accessed, modified, xattrs })
            }
        ),
        1 => (any::<u64>(), proptest::collection::vec(any::<[u8; 32]>(), 0..64))
            .prop_map(|(request, blocks)| Message::Hashes { request, blocks }),
        2 => check().prop_map(Message::Check),
        1 => (any::<[u64; 4]>(), proptest::collection::vec(".{0,40}", 0..4)).prop_map(
            |([request, entries, bytes, differences], named)| {
                Message::Checked { request, checked: Checked { entries, bytes, differences, named } }
            }
        ),
        1 => ".{0,40}".prop_map(Message::Broken),
        1 => any::<u64>().prop_map(Message::Ack),
        1 => any::<u32>().prop_map(Message::NamesWanted),
        1 => (any::<bool>(), proptest::option::of(proptest::collection::vec(told(), 0..5)))
            .prop_map(|(last, told)| Message::Names { last, told }),
        1 => (id(), proptest::collection::vec(entry(), 0..3), proptest::collection::vec(name(), 0..3)).prop_map(
            |(directory, entries, absent)| Message::Resync(ResyncStep::Match { directory, entries, absent })
        ),
        1 => any::<bool>().prop_map(|full| Message::Resync(ResyncStep::Begin { full })),
        1 => (any::<u64>(), any::<u64>())
            .prop_map(|(request, flush)| Message::Resync(ResyncStep::Flush { request, flush })),
        1 => any::<[u64; 3]>()
            .prop_map(|[request, base, flush]| Message::Resync(ResyncStep::Mark { request, base, flush })),
        1 => any::<[u64; 8]>().prop_map(Message::Progress),
        1 => any::<u64>().prop_map(Message::Synced),
    ]
}

fn carries(message: &Message) -> bool {
    matches!(message, Message::Op(Op::Write { .. } | Op::SetXattr { .. } | Op::Symlink { .. }))
}

proptest! {
    #[test]
    fn frames_survive_the_wire_in_any_pieces(
        messages in proptest::collection::vec((message(), proptest::collection::vec(any::<u8>(), 0..300)), 1..6),
        piece in 1usize..200,
    ) {
        let mut wire = Vec::new();
        let sent: Vec<_> = messages.into_iter().zip(1..).map(|((message, payload), sequence)| {
            let payload = if carries(&message) { payload } else { Vec::new() };
            let mut frame = encode(&message, &payload);
            number(&mut frame, 77);
            number(&mut frame, sequence);
            wire.extend_from_slice(&frame);
            (sequence, message, payload)
        }).collect();
        let mut reader = FrameReader::default();
        let mut seen = Vec::new();
        for part in wire.chunks(piece) {
            reader.push(part);
            while let Some(frame) = reader.next_frame().unwrap() {
                seen.push((frame.sequence, frame.message, frame.payload.to_vec()));
            }
        }
        prop_assert_eq!(seen, sent);
    }

    #[test]
    fn one_changed_bit_is_noticed(message in message(), at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let mut frame = encode(&message, &[]);
        number(&mut frame, 5);
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        let mut reader = FrameReader::default();
        reader.push(&frame);
        prop_assert!(!matches!(reader.next_frame(), Ok(Some(_))));
    }

    #[test]
    fn no_bytes_make_decoding_panic(kind in 0u16..100, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = body::decode(kind, &body);
    }

    #[test]
    fn no_cut_body_makes_decoding_panic(message in message(), cut in any::<proptest::sample::Index>()) {
        let mut bytes = Vec::new();
        let kind = body::encode(&message, &mut bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = body::decode(kind, &bytes);
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [b"..".as_slice(), b".", b"", b"a/b", b"a\0b"] {
        let op = Op::Unlink { id: FileId(3), parent: FileId(1), name: name.to_vec() };
        let mut reader = FrameReader::default();
        reader.push(&encode(&Message::Op(op), &[]));
        assert!(matches!(reader.next_frame(), Err(FrameError::Malformed { .. })), "{name:?}");
    }
}

#[test]
fn unknown_versions_and_oversized_frames_are_refused_before_their_body() {
    let mut frame = encode(&Message::UpToDate, &[]);
    frame[4] = 9;
    let mut reader = FrameReader::default();
    reader.push(&frame);
    assert_eq!(reader.next_frame().unwrap_err(), FrameError::Version(9));

    let mut frame = encode(&Message::UpToDate, &[]);
    frame[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut reader = FrameReader::default();
    reader.push(&frame);
    assert_eq!(reader.next_frame().unwrap_err(), FrameError::TooLong(u32::MAX as usize));
}
