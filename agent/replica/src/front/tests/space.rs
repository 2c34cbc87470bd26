//! fallocate, files without a name, names that change places, ranges copied by the kernel, and mapped writes.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::support::{Mounted, eventually};
use crate::op::{Allocation, Op};

#[test]
fn space_is_reserved_freed_and_zeroed_on_both_sides() {
    let m = Mounted::new();
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(m.join("f")).unwrap();
    file.write_all_at(&[7; 200_000], 0).unwrap();
    let kinds = [
        (Allocation::PunchHole, 8192, 65_536),
        (Allocation::ZeroOnly, 100_000, 5000),
        (Allocation::ReserveOnly, 0, 4 << 20),
        (Allocation::Reserve, 300_000, 100_000),
        (Allocation::Zero, 390_000, 50_000),
    ];
    for (how, offset, length) in kinds {
        rustix::fs::fallocate(&file, how.flags(), offset, length).unwrap();
        let last = m.recording.ops().into_iter().next_back();
        assert!(matches!(last, Some(Op::Allocate { how: told, .. }) if told == how), "{how:?}: {last:?}");
    }
    let mut room = vec![1; 200_000];
    file.read_exact_at(&mut room, 0).unwrap();
    assert!(room[8192..8192 + 65_536].iter().all(|byte| *byte == 0), "the kernel's cache knows of the hole");
    assert_eq!((room[8191], room[199_999], file.metadata().unwrap().len()), (7, 7, 440_000));
    assert!(file.metadata().unwrap().blocks() * 512 >= 4 << 20);
    for refused in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(rustix::fs::fallocate(&file, refused, 0, 4096), Err(Errno::OPNOTSUPP));
    }
    drop(file);
    m.assert_mirrored();
}

#[test]
fn a_file_without_a_name_gets_one_and_is_the_same_on_both_sides() {
    let m = Mounted::new();
    let unnamed = |text: &[u8]| {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let file = File::from(rustix::fs::open(m.path(), flags, Mode::from_raw_mode(0o640)).unwrap());
        file.write_all_at(text, 0).unwrap();
        file
    };
    let name = |file: &File, name: &str| {
        let path = crate::tree::handle::proc_path(file.as_fd());
        rustix::fs::linkat(rustix::fs::CWD, path.as_c_str(), rustix::fs::CWD, m.join(name), AtFlags::SYMLINK_FOLLOW)
    };
    let file = unnamed(b"first");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    name(&file, "named").unwrap();
    file.write_all_at(b"more", 5).unwrap();
    drop(unnamed(b"never named"));
    // Made before a session the peer is in: it gets all of it with the name.
    let earlier = unnamed(b"made earlier");
    earlier.set_len(3 << 20).unwrap();
    let before = m.recording.changes();
    m.recording.clear();
    m.recording.set_session(2);
    name(&earlier, "earlier").unwrap();
    let ops = m.recording.ops();
    assert!(matches!(ops[0], Op::Create { .. }), "{ops:?}");
    assert!(ops.iter().any(|op| matches!(op, Op::Write { .. })), "{ops:?}");
    drop((file, earlier));
    assert_eq!(fs::read(m.join("named")).unwrap(), b"firstmore");
    assert_eq!(fs::metadata(m.join("named")).unwrap().mode() & 0o7777, 0o640);
    eventually("only the named ones stay", || m.inodes.len() <= 3);
    eventually("the mount is free", || m.front.unmount(false).is_ok());
    let changes = [before, m.recording.changes()].concat();
    m.assert_copy_of(&changes);
}

#[test]
fn names_change_places_in_one_step() {
    let m = Mounted::new();
    fs::create_dir_all(m.join("d/sub")).unwrap();
    fs::write(m.join("f"), "file").unwrap();
    let rename = |from: &str, to: &str, flags| {
        rustix::fs::renameat_with(rustix::fs::CWD, m.join(from), rustix::fs::CWD, m.join(to), flags)
    };
    rename("f", "d/sub", RenameFlags::EXCHANGE).unwrap();
    assert!(m.join("f").is_dir());
    assert_eq!(fs::read_to_string(m.join("d/sub")).unwrap(), "file");
    fs::write(m.join("f/inside"), "x").unwrap();
    assert!(matches!(rename("f", "none", RenameFlags::EXCHANGE), Err(Errno::NOENT)));
    assert_eq!(rename("f", "d", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(rename("d/sub", "f/moved", RenameFlags::WHITEOUT), Err(Errno::INVAL));
    assert_eq!(m.recording.ops().iter().filter(|op| matches!(op, Op::Exchange { .. })).count(), 1);
    m.assert_mirrored();
}

#[test]
fn a_copied_range_is_sent_as_what_it_became() {
    let m = Mounted::new();
    fs::write(m.join("from"), vec![9; 6 << 20]).unwrap();
    let (from, to) = (File::open(m.join("from")).unwrap(), File::create_new(m.join("to")).unwrap());
    to.write_all_at(b"kept", 0).unwrap();
    m.recording.clear();
    let (mut read, mut written) = (0, 4);
    while read < 6 << 20 {
        let count = rustix::fs::copy_file_range(&from, Some(&mut read), &to, Some(&mut written), 6 << 20).unwrap();
        assert!(count > 0);
    }
    assert!(m.recording.ops().iter().all(|op| matches!(op, Op::Write { .. })));
    let content = fs::read(m.join("to")).unwrap();
    assert_eq!((content.len(), &content[..4], content[4], content[6 << 20]), ((6 << 20) + 4, &b"kept"[..], 9, 9));
}

#[test]
fn a_mapped_write_reaches_the_peer_without_msync() {
    let m = Mounted::new();
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(m.join("map")).unwrap();
    file.set_len(4096).unwrap();
    // SAFETY: a fresh mapping of a file nobody truncates, used within its length and unmapped once.
    unsafe {
        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
        let map = mmap(std::ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0);
        let map = map.unwrap();
        // The mapping alone keeps the file open.
        drop(file);
        for byte in [1, 2] {
            m.recording.clear();
            map.cast::<u8>().write(byte);
            eventually("the mapped write", || {
                m.recording.changes().iter().any(|(_, payload)| payload.first() == Some(&byte))
            });
        }
        munmap(map, 4096).unwrap();
    }
    eventually("the mount is free although it is looked at every second", || m.front.unmount(false).is_ok());
}
