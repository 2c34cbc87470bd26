//! What the peer is told, in which order, and when the application hears of it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::recording::Policy;
use super::support::{Mounted, eventually};
use crate::op::{FileId, FileKind, Op};
use crate::replicate::Verdict;

fn filled() -> Mounted {
    Mounted::with(
        |path| {
            fs::create_dir_all(path.join("a/b")).unwrap();
            fs::write(path.join("a/b/f"), "0123456789").unwrap();
        },
        64,
    )
}

#[test]
fn objects_are_bound_with_their_directories_before_use_and_once() {
    let m = filled();
    let file = OpenOptions::new().write(true).open(m.join("a/b/f")).unwrap();
    file.write_all_at(b"x", 3).unwrap();
    file.write_all_at(b"y", 4).unwrap();
    let ops = m.recording.ops();
    let [
        Op::Bind { id: a, parent: FileId(1), name: n1, kind: FileKind::Directory, .. },
        Op::Bind { id: b, parent: p2, name: n2, .. },
        Op::Bind { id: f, parent: p3, name: n3, kind: FileKind::File, .. },
        Op::Write { id: w1, offset: 3, clear_suid: false },
        Op::Write { id: w2, offset: 4, .. },
    ] = &ops[..]
    else {
        panic!("{ops:?}")
    };
    assert_eq!((a, b, f, f), (p2, p3, w1, w2));
    assert_eq!((&n1[..], &n2[..], &n3[..]), (&b"a"[..], &b"b"[..], &b"f"[..]));
    m.recording.clear();
    m.recording.set_session(2);
    file.write_all_at(b"z", 5).unwrap();
    let ops = m.recording.ops();
    assert!(matches!(ops[..], [Op::Bind { .. }, Op::Bind { .. }, Op::Bind { .. }, Op::Write { .. }]), "{ops:?}");
    m.recording.clear();
    m.recording.set_session(0);
    file.write_all_at(b"!", 6).unwrap();
    assert!(matches!(m.recording.ops()[..], [Op::Write { .. }]), "nobody follows: nothing to bind");
}

#[test]
fn a_bind_names_where_the_object_is_now() {
    let m = filled();
    let file = OpenOptions::new().write(true).open(m.join("a/b/f")).unwrap();
    fs::rename(m.join("a/b/f"), m.join("g")).unwrap();
    m.recording.clear();
    m.recording.set_session(7);
    file.write_all_at(b"x", 0).unwrap();
    let ops = m.recording.ops();
    assert!(matches!(&ops[0], Op::Bind { parent: FileId(1), name, .. } if name == b"g"), "{ops:?}");
    assert_eq!(ops.len(), 2);
}

#[test]
fn an_object_without_a_name_stays_local_in_a_new_session() {
    let m = filled();
    let mut file = OpenOptions::new().append(true).open(m.join("a/b/f")).unwrap();
    fs::remove_file(m.join("a/b/f")).unwrap();
    file.write_all(b"still known").unwrap();
    assert!(matches!(m.recording.ops().last(), Some(Op::Write { .. })));
    m.recording.clear();
    m.recording.set_session(2);
    file.write_all(b"not any more").unwrap();
    assert!(m.recording.ops().is_empty(), "{:?}", m.recording.ops());
}

/// Runs `change` on a thread of its own while answers are held, and checks that it comes back only with the verdict.
fn answered_only_after_the_verdict(m: &Mounted, what: &str, change: impl FnOnce() -> std::io::Result<()> + Send) {
    m.recording.set(Policy::Hold);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = change();
            done.store(true, Ordering::SeqCst);
            result
        });
        eventually(what, || m.recording.held() > 0 && m.recording.open_tickets() == 0);
        // Others read on meanwhile: no reader thread waits for the verdict.
        assert_eq!(fs::read(m.join("a/other")).unwrap(), b"other");
        assert!(!done.load(Ordering::SeqCst), "{what} was answered before the verdict");
        m.recording.set(Policy::Acknowledge);
        m.recording.decide(Verdict::Acknowledged);
        worker.join().unwrap().unwrap_or_else(|error| panic!("{what}: {error}"));
    });
}

#[test]
fn every_change_is_answered_only_after_the_verdict() {
    let m = filled();
    fs::write(m.join("a/other"), "other").unwrap();
    let file = OpenOptions::new().write(true).open(m.join("a/b/f")).unwrap();
    let check = |what: &str, change: &(dyn Fn() -> std::io::Result<()> + Sync)| {
        answered_only_after_the_verdict(&m, what, change)
    };
    check("write", &|| file.write_all_at(b"new", 0));
    check("truncate", &|| file.set_len(2));
    check("fsync", &|| file.sync_all());
    check("fdatasync", &|| file.sync_data());
    check("create", &|| {
        rustix::fs::open(m.join("c"), rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY, rustix::fs::Mode::RUSR)
            .map(drop)
            .map_err(Into::into)
    });
    check("mkdir", &|| fs::create_dir(m.join("d")));
    check("symlink", &|| std::os::unix::fs::symlink("x", m.join("s")));
    check("link", &|| fs::hard_link(m.join("c"), m.join("h")));
    check("rename", &|| fs::rename(m.join("h"), m.join("i")));
    check("unlink", &|| fs::remove_file(m.join("i")));
    check("rmdir", &|| fs::remove_dir(m.join("d")));
    check("chown", &|| std::os::unix::fs::chown(m.join("c"), Some(5), None));
    check("utimens", &|| file.set_modified(std::time::SystemTime::UNIX_EPOCH));
    assert_eq!(m.recording.open_tickets(), 0);
}

#[test]
fn a_refused_change_is_eio_and_reads_go_on() {
    let m = filled();
    fs::write(m.join("a/other"), "other").unwrap();
    let file = OpenOptions::new().write(true).open(m.join("a/b/f")).unwrap();
    m.recording.set(Policy::Refuse);
    let eio = |result: std::io::Result<()>| assert_eq!(result.err().unwrap().raw_os_error(), Some(libc::EIO));
    eio(file.write_all_at(b"new", 0));
    eio(file.sync_all());
    eio(File::create(m.join("new")).map(drop));
    eio(fs::create_dir(m.join("dir")));
    eio(fs::rename(m.join("a/other"), m.join("a/another")));
    assert_eq!(m.recording.open_tickets(), 0);
    m.recording.set(Policy::Acknowledge);
    m.front.refuse();
    // That an id is not used any more is told whenever the kernel forgets it, and changes nothing.
    let changes = || m.recording.ops();
    let before = changes();
    eio(file.write_all_at(b"new", 0));
    eio(fs::create_dir(m.join("dir2")));
    eio(fs::remove_file(m.join("a/other")));
    assert_eq!(changes(), before, "nothing is submitted any more");
    assert_eq!(fs::read(m.join("a/b/f")).unwrap().len(), 10);
    assert!(!m.join("dir2").exists());
}

#[test]
fn changes_of_one_object_are_submitted_in_the_order_they_happen() {
    let m = Arc::new(Mounted::new());
    let start = Barrier::new(6);
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let (m, start) = (&m, &start);
            scope.spawn(move || {
                let file = OpenOptions::new().create(true).truncate(false).write(true).open(m.join("f")).unwrap();
                start.wait();
                for round in 0..200_u32 {
                    let byte = writer * 50 + (round % 50) as u8;
                    file.write_all_at(&vec![byte; 3000], u64::from(round * 7919 % 20_000)).unwrap();
                    if round % 16 == 0 {
                        file.set_len(u64::from(round * 31 % 15_000)).unwrap();
                    }
                }
            });
        }
        for mover in 0..2 {
            let (m, start) = (&m, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..100 {
                    let (one, two) = (m.join(&format!("n{mover}")), m.join(&format!("n{}", round % 3)));
                    let _ = fs::write(&one, format!("{mover} {round}"));
                    let _ = fs::rename(&one, &two);
                    let _ = fs::hard_link(&two, m.join(&format!("h{}", round % 5)));
                    let _ = fs::remove_file(m.join(&format!("h{}", (round + 2) % 5)));
                }
            });
        }
    });
    m.assert_mirrored();
}

#[test]
fn what_could_not_be_written_here_is_taken_back_there() {
    let m = Mounted::new();
    // A file system of 1 MiB below the directory: the write does not fit.
    let small = m.path();
    m.front.unmount(true).unwrap();
    rustix::mount::mount("none", &small, "tmpfs", rustix::mount::MountFlags::empty(), c"size=1m").unwrap();
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        }
    }
    let _unmount = Unmount(small.clone());
    let inodes = crate::front::Inodes::open(std::slice::from_ref(&small)).unwrap();
    let replicate: Arc<dyn crate::replicate::Replicate> = m.recording.clone();
    let front = Arc::new(crate::front::Front::mount(&inodes, crate::front::Mode::ReadWrite, &replicate).unwrap());
    let _done = super::support::watch(&front);
    let mut file = File::create_new(small.join("f")).unwrap();
    let mut written = 0;
    let error = loop {
        match file.write(&[1; 300_000]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert!(written <= 1 << 20);
    let copy = tempfile::tempdir().unwrap();
    let mut mirror = super::mirror::Mirror::new(copy.path());
    for (op, payload) in m.recording.changes() {
        mirror.apply(&op, &payload);
    }
    assert_eq!(fs::read(copy.path().join("f")).unwrap(), fs::read(small.join("f")).unwrap());
    assert_eq!(fs::metadata(copy.path().join("f")).unwrap().len(), written as u64);
    drop(file);
    front.unmount(true).unwrap();
}

#[test]
fn forgotten_objects_are_forgotten_by_the_peer_too() {
    let m = Mounted::new();
    fs::write(m.join("f"), "x").unwrap();
    fs::remove_file(m.join("f")).unwrap();
    eventually("Forget", || m.recording.forgot());
    assert_eq!(m.inodes.len(), 1, "only the root");
}

#[test]
fn resync_walks_the_tree_and_learns_of_moves() {
    let m = filled();
    m.inodes.watch_touched(true);
    let root = m.inodes.root(0).unwrap();
    let a = m.inodes.child(&root, b"a").unwrap();
    assert_eq!(super::pieces::names(&a), [b"b"]);
    let b = m.inodes.child(&a, b"b").unwrap();
    let f = m.inodes.child(&b, b"f").unwrap();
    let mut buffer = [0; 100];
    {
        let _order = f.lock_order();
        assert_eq!(m.inodes.read_at(&f, &mut buffer, 2).unwrap(), 8);
    }
    assert_eq!(m.inodes.place(f.id()), Some((b.id(), b"f".to_vec())));
    assert_eq!(m.inodes.child(&root, b"none").unwrap_err(), rustix::io::Errno::NOENT);
    fs::rename(m.join("a/b/f"), m.join("a/g")).unwrap();
    fs::hard_link(m.join("a/g"), m.join("h")).unwrap();
    let touched = m.inodes.take_touched().entries;
    let mut touched: Vec<_> = touched.into_iter().map(|(directory, object)| (directory, object.id())).collect();
    touched.sort();
    assert_eq!(touched, [(root.id(), f.id()), (a.id(), f.id())]);
    // An object stays the same for the kernel and for resync.
    {
        let _order = f.lock_order();
        f.mark_bound(m.recording_session());
    }
    m.recording.clear();
    fs::write(m.join("h"), "x").unwrap();
    assert!(!m.recording.ops().iter().any(|op| matches!(op, Op::Bind { id, .. } if *id == f.id())));
    drop((f, b, a, root));
}

#[test]
fn while_changes_are_paused_nothing_is_submitted() {
    let m = filled();
    let file = OpenOptions::new().write(true).open(m.join("a/b/f")).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    std::thread::scope(|scope| {
        let paused = m.inodes.pause_changes();
        let before = m.recording.ops().len();
        let writer = scope.spawn(|| file.write_all_at(b"y", 0));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(m.recording.ops().len(), before);
        m.recording.set_session(9);
        drop(paused);
        writer.join().unwrap().unwrap();
    });
    let ops = m.recording.ops();
    assert!(matches!(ops[ops.len() - 2..], [Op::Bind { .. }, Op::Write { .. }]), "{ops:?}");
}

impl Mounted {
    fn recording_session(&self) -> u64 {
        crate::replicate::Replicate::session(&*self.recording)
    }
}
