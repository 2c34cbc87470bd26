//! Contents: writing, appending, sparse files, direct and mapped writes, many open files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};

use super::support::{Mounted, eventually, shell};
use crate::op::Op;

#[test]
fn what_is_written_is_read_back_and_mirrored() {
    let m = Mounted::new();
    fs::write(m.join("a"), b"hello").unwrap();
    fs::write(m.join("big"), vec![7; 5 << 20]).unwrap();
    assert_eq!(fs::read(m.join("a")).unwrap(), b"hello");
    assert_eq!(fs::read(m.join("big")).unwrap(), vec![7; 5 << 20]);
    let file = OpenOptions::new().read(true).write(true).open(m.join("a")).unwrap();
    file.write_all_at(b"HE", 0).unwrap();
    file.set_len(3).unwrap();
    file.set_len(10).unwrap();
    assert_eq!(fs::read(m.join("a")).unwrap(), b"HEl\0\0\0\0\0\0\0");
    drop(file);
    fs::File::create(m.join("big")).unwrap();
    assert_eq!(fs::metadata(m.join("big")).unwrap().len(), 0);
    m.assert_mirrored();
}

#[test]
fn four_processes_append_without_losing_a_line() {
    let m = Mounted::new();
    let script = "for p in 1 2 3 4; do (for i in $(seq 300); do echo \"$p line $i\" >> log; done) & done; wait";
    shell(&m.path(), script);
    let text = fs::read_to_string(m.join("log")).unwrap();
    assert_eq!(text.lines().count(), 1200);
    for process in 1..=4 {
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&format!("{process} "))).collect();
        let wanted: Vec<_> = (1..=300).map(|i| format!("{process} line {i}")).collect();
        assert_eq!(lines, wanted);
    }
    m.assert_mirrored();
}

#[test]
fn sparse_files_stay_sparse_and_holes_are_found() {
    let m = Mounted::new();
    let mut file = File::create_new(m.join("sparse")).unwrap();
    file.set_len(1 << 30).unwrap();
    file.write_all_at(b"x", 512 << 20).unwrap();
    assert!(file.metadata().unwrap().blocks() < 1000);
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(data, 512 << 20);
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(b"e").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1 << 30);
    assert!(m.recording.changes().iter().map(|(_, payload)| payload.len()).sum::<usize>() < 1 << 20);
    // Taken away again on a slow thread, since it is a long truncate.
    file.set_len(5).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    drop(file);
    m.assert_mirrored();
}

#[test]
fn direct_writes_arrive() {
    let m = Mounted::new();
    let file =
        OpenOptions::new().create(true).read(true).write(true).custom_flags(libc::O_DIRECT).open(m.join("d")).unwrap();
    #[repr(align(4096))]
    struct Aligned([u8; 8192]);
    let mut buffer = Aligned([3; 8192]);
    file.write_all_at(&buffer.0, 4096).unwrap();
    buffer.0.fill(0);
    file.read_exact_at(&mut buffer.0, 4096).unwrap();
    assert_eq!(buffer.0, [3; 8192]);
    drop(file);
    assert_eq!(fs::read(m.join("d")).unwrap().len(), 12288);
    m.assert_mirrored();
}

#[test]
fn a_mapped_write_arrives_by_msync() {
    let m = Mounted::new();
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(m.join("map")).unwrap();
    file.set_len(16384).unwrap();
    // SAFETY: a fresh mapping of a file nobody truncates, used within its length and unmapped once.
    unsafe {
        use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
        let map = mmap(std::ptr::null_mut(), 16384, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0);
        let map = map.unwrap();
        map.cast::<u8>().add(5000).write(42);
        msync(map, 16384, MsyncFlags::SYNC).unwrap();
        munmap(map, 16384).unwrap();
    }
    let writes = |op: &Op| matches!(op, Op::Write { offset: 4096, .. });
    assert!(m.recording.ops().iter().any(writes), "{:?}", m.recording.ops());
    drop(file);
    eventually("the modification time", || matches!(m.recording.ops().last(), Some(Op::SetAttributes { .. })));
    m.assert_mirrored();
}

#[test]
fn a_synchronous_write_is_synced_on_both_sides() {
    let m = Mounted::new();
    for (name, flag) in [("sync", libc::O_SYNC), ("dsync", libc::O_DSYNC), ("direct", libc::O_DSYNC | libc::O_DIRECT)] {
        #[repr(align(4096))]
        struct Aligned([u8; 4096]);
        let mut file = OpenOptions::new().create(true).write(true).custom_flags(flag).open(m.join(name)).unwrap();
        m.recording.clear();
        file.write_all(&Aligned([1; 4096]).0).unwrap();
        let ops = m.recording.ops();
        let write = ops.iter().position(|op| matches!(op, Op::Write { .. })).unwrap();
        let sync = ops.iter().rposition(|op| matches!(op, Op::Sync { .. }));
        assert!(sync.is_some_and(|sync| sync > write), "{name}: {ops:?}");
    }
}

#[test]
fn fsync_fdatasync_and_directory_sync_reach_the_peer() {
    let m = Mounted::new();
    let mut file = File::create_new(m.join("f")).unwrap();
    file.write_all(b"x").unwrap();
    m.recording.clear();
    file.sync_data().unwrap();
    assert!(matches!(m.recording.ops()[..], [Op::Sync { data_only: true, .. }]), "{:?}", m.recording.ops());
    m.recording.clear();
    file.sync_all().unwrap();
    let ops = m.recording.ops();
    assert!(matches!(ops[..], [Op::SetAttributes { .. }, Op::Sync { data_only: false, .. }]), "{ops:?}");
    m.recording.clear();
    File::open(m.path()).unwrap().sync_all().unwrap();
    assert!(matches!(m.recording.ops()[..], [Op::Sync { .. }]), "{:?}", m.recording.ops());
}

#[test]
fn syncing_the_file_system_brings_mapped_writes_to_the_peer() {
    let m = Mounted::new();
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(m.join("map")).unwrap();
    file.set_len(4096).unwrap();
    // SAFETY: a fresh mapping of a file nobody truncates, used within its length and unmapped once.
    unsafe {
        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
        let map = mmap(std::ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0);
        let map = map.unwrap();
        map.cast::<u8>().write(42);
        m.recording.clear();
        shell(&m.path(), "sync -f .");
        let ops = m.recording.ops();
        assert!(ops.iter().any(|op| matches!(op, Op::Write { .. })), "{ops:?}");
        eprintln!("{ops:?}");
        munmap(map, 4096).unwrap();
    }
}

#[test]
fn set_uid_is_cleared_when_another_user_writes_or_truncates() {
    let m = Mounted::new();
    let path = m.join("tool");
    for script in ["printf x >> tool", "truncate -s 1 tool", "printf y > tool"] {
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o6777);
        shell(
            &m.path(),
            &format!("chmod 777 . && setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '{script}'"),
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o777, "{script}");
    }
    m.assert_mirrored();
}

#[test]
fn chown_clears_set_uid_on_both_sides() {
    let m = Mounted::new();
    fs::write(m.join("tool"), "x").unwrap();
    fs::set_permissions(m.join("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    std::os::unix::fs::chown(m.join("tool"), Some(1000), Some(1000)).unwrap();
    let meta = fs::metadata(m.join("tool")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o755, 1000, 1000));
    m.assert_mirrored();
}

#[test]
fn more_files_can_be_open_than_descriptors_are_kept() {
    let m = Mounted::with(|_| {}, 16);
    let mut open = Vec::new();
    for number in 0..500 {
        let mut file =
            OpenOptions::new().create_new(true).read(true).write(true).open(m.join(&format!("f{number}"))).unwrap();
        write!(file, "file {number}").unwrap();
        open.push(file);
    }
    for (number, file) in open.iter_mut().enumerate() {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("file {number}"));
        file.write_all_at(b"FILE", 0).unwrap();
    }
    let (live, pinned) = m.inodes.descriptors.open_now();
    assert!(live <= 17 && pinned == 0, "{live} {pinned}");
    drop(open);
    m.assert_mirrored();
}

#[test]
fn times_set_by_the_application_are_kept_and_sent() {
    let m = Mounted::new();
    let script = "echo x > a; touch -d '2001-02-03 04:05:06.789' a; mkdir d; touch -d 2002-01-01 d; ln -s a l; touch -h -d 2003-01-01 l";
    shell(&m.path(), script);
    let meta = fs::metadata(m.join("a")).unwrap();
    assert_eq!(meta.mtime_nsec(), 789_000_000);
    assert_eq!(fs::symlink_metadata(m.join("l")).unwrap().mtime() / 86400 / 365, 33);
    m.assert_mirrored();
}
