//! Tests of the request parser: known requests, cut-off ones, and arbitrary bytes.

use proptest::prelude::*;

use super::*;

fn frame(opcode: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(((HEADER_SIZE + body.len()) as u32).to_ne_bytes());
    frame.extend(opcode.to_ne_bytes());
    frame.extend(7_u64.to_ne_bytes());
    frame.extend(65_537_u64.to_ne_bytes());
    for word in [1000_u32, 100, 4242, 0] {
        frame.extend(word.to_ne_bytes());
    }
    frame.extend(body);
    frame
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

#[test]
fn a_write_is_parsed_with_its_payload() {
    let mut body = Vec::new();
    body.extend(0_u64.to_ne_bytes());
    body.extend(4096_u64.to_ne_bytes());
    body.extend(words(&[5, WRITE_KILL_SUIDGID, 0, 0, 1, 0]));
    body.extend(b"hello");
    let bytes = frame(16, &body);
    let (header, request) = parse(&bytes, true).unwrap();
    assert_eq!((header.unique, header.node, header.uid, header.gid, header.pid), (7, 65_537, 1000, 100, 4242));
    assert_eq!(request, Request::Write { offset: 4096, flags: WRITE_KILL_SUIDGID, data: b"hello" });
}

#[test]
fn a_rename_has_two_names_and_flags() {
    let mut body = Vec::new();
    body.extend(9_u64.to_ne_bytes());
    body.extend(words(&[1, 0]));
    body.extend(b"old\0new\0");
    let bytes = frame(45, &body);
    let (_, request) = parse(&bytes, true).unwrap();
    assert_eq!(request, Request::Rename { name: c"old", new_parent: 9, new_name: c"new", flags: 1 });
}

#[test]
fn the_header_of_setxattr_depends_on_what_was_agreed() {
    let old = frame(21, &[words(&[3, 0]), b"user.a\0abc".to_vec()].concat());
    let new = frame(21, &[words(&[3, 0, 1, 0]), b"user.a\0abc".to_vec()].concat());
    let wanted = |kill_sgid| Request::SetXattr { name: c"user.a", value: b"abc", flags: 0, kill_sgid };
    assert_eq!(parse(&old, false).unwrap().1, wanted(false));
    assert_eq!(parse(&new, true).unwrap().1, wanted(true));
}

#[test]
fn names_that_leave_their_directory_are_refused() {
    for name in [&b"\0"[..], b".\0", b"..\0", b"a/b\0", b"unended"] {
        assert_eq!(parse(&frame(1, name), true).unwrap_err().1, WireError::Body(1));
    }
}

#[test]
fn a_forget_count_beyond_the_buffer_is_refused() {
    assert_eq!(parse(&frame(42, &words(&[u32::MAX, 0])), true).unwrap_err().1, WireError::Body(42));
}

#[test]
fn old_kernels_send_a_short_init() {
    let (_, request) =
        parse(&frame(26, &words(&[7, 31, 131_072, 1])), true).map(|(h, r)| (h, format!("{r:?}"))).unwrap();
    assert!(request.contains("minor: 31") && request.contains("flags: 1"), "{request}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), ext: bool) {
        let _ = parse(&bytes, ext);
    }

    #[test]
    fn no_body_panics(opcode in 0_u32..56, body in prop::collection::vec(any::<u8>(), 0..200), ext: bool) {
        if let Ok((_, Request::BatchForget { pairs })) = parse(&frame(opcode, &body), ext) {
            assert!(forget_pairs(pairs).count() * 16 == pairs.len());
        }
    }

    #[test]
    fn a_cut_off_request_is_refused(opcode in 0_u32..56, body in prop::collection::vec(any::<u8>(), 0..100), cut in 1_usize..40) {
        let bytes = frame(opcode, &body);
        prop_assert!(parse(&bytes[..bytes.len() - cut.min(bytes.len())], true).is_err());
    }
}
