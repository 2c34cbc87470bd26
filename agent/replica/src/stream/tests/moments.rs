//! Changes in the moments between two steps of a resync that nothing but their own order makes safe.

use super::support::{Pair, eventually, forget_unused};
use super::tracked::differences;
use crate::op::FileId;
use crate::resync::Limits;
use crate::track::{BrokenTrack, Locate, Object, Place, Touch, Tracker};
use holdfast_core::replica::ReplicaEvent;
use rustix::fs::{AtFlags, CWD};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Slow enough to change something in the middle.
const SLOW: Limits = Limits { threads: 1, bytes_per_s: 24 << 20, mark_period: Duration::from_secs(60) };

/// Directories that each take a while, and are looked at in an order that is the file system's.
const PARTS: usize = 6;

fn large(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at / 4096) as u8 | 1).collect()
}

fn parts(a: &Path, b: &Path) {
    for part in 0..PARTS {
        for tree in [a, b] {
            fs::create_dir(tree.join(format!("{part}"))).unwrap();
        }
        fs::write(a.join(format!("{part}/file")), format!("what is in {part}")).unwrap();
        fs::write(a.join(format!("{part}/large")), large(16 << 20)).unwrap();
    }
}

/// Waits until a part is copied and another one is not begun: both.
fn copied_and_not_begun(a: &Path, b: &Path) -> (PathBuf, PathBuf) {
    let modified =
        |tree: &Path, part: usize| fs::metadata(tree.join(format!("{part}/large"))).map(|m| m.modified().unwrap());
    let mut found = None;
    eventually("a part is copied", || {
        let copied = (0..PARTS).find(|part| modified(b, *part).ok() == modified(a, *part).ok());
        let untouched = (0..PARTS).find(|part| !b.join(format!("{part}/file")).exists());
        found = copied.zip(untouched);
        found.is_some()
    });
    let (copied, untouched) = found.unwrap();
    (copied.to_string().into(), untouched.to_string().into())
}

fn end_of(mut pair: Pair, session: u64) {
    pair.end_resync(session);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn what_is_moved_to_where_the_walk_has_been_and_forgotten_with_its_directory_is_compared() {
    let mut pair = Pair::limited(SLOW, parts);
    pair.begin(1);
    let (a, b) = (pair.a(), pair.b());
    let (copied, untouched) = copied_and_not_begun(&a, &b);
    fs::rename(a.join(untouched).join("file"), a.join(copied).join("moved")).unwrap();
    forget_unused(&a).unwrap();
    end_of(pair, 1);
}

#[test]
fn what_inherits_rights_of_a_directory_not_yet_compared_gets_those_of_the_primary() {
    // user::rwx, user:1234:rwx, group::r-x, mask::rwx, other::r-x
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 7, 1234), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let mut pair = Pair::limited(SLOW, |a, b| {
        parts(a, b);
        for part in 0..PARTS {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(b.join(format!("{part}")), "system.posix_acl_default", &list, flags).unwrap();
        }
    });
    pair.begin(1);
    let (a, b) = (pair.a(), pair.b());
    let (_, untouched) = copied_and_not_begun(&a, &b);
    fs::write(a.join(&untouched).join("made"), "x").unwrap();
    fs::create_dir(a.join(&untouched).join("directory")).unwrap();
    end_of(pair, 1);
}

#[test]
fn a_file_with_several_names_first_met_when_all_is_copied_stays_one_file() {
    let mut pair = Pair::tracked(|a, b| {
        for tree in [a, b] {
            fs::write(tree.join("one"), "one file").unwrap();
            fs::hard_link(tree.join("one"), tree.join("other")).unwrap();
        }
    });
    pair.resync(1);
    pair.crash_secondary();
    fs::write(pair.a().join("new"), "named").unwrap();
    pair.begin(2);
    let events = pair.primary_events.clone();
    eventually("all is copied", || events.any(|event| *event == ReplicaEvent::ResyncCopied { session: 2 }));
    fs::OpenOptions::new().write(true).open(pair.a().join("one")).unwrap().write_all_at(b"ONE", 0).unwrap();
    end_of(pair, 2);
}

#[test]
fn a_name_to_be_compared_of_a_file_with_several_is_moved_before_its_turn() {
    // Nothing is compared before the first steps are paid for.
    let limits = Limits { bytes_per_s: 200, ..SLOW };
    let mut pair = Pair::limited(Limits { bytes_per_s: 0, ..SLOW }, |a, b| {
        for tree in [a, b] {
            fs::create_dir_all(tree.join("here")).unwrap();
            fs::create_dir_all(tree.join("there")).unwrap();
            fs::write(tree.join("here/first"), "one file").unwrap();
        }
    });
    pair.resync(1);
    pair.crash_secondary();
    fs::hard_link(pair.a().join("here/first"), pair.a().join("here/second")).unwrap();
    fs::hard_link(pair.b().join("here/first"), pair.b().join("here/second")).unwrap();
    // Met again by the name that is to be compared.
    forget_unused(&pair.a()).unwrap();
    pair.limit(limits);
    pair.begin(2);
    let events = pair.primary_events.clone();
    eventually("the resync has begun", || events.any(|e| matches!(e, ReplicaEvent::PeerConnected { .. })));
    fs::write(pair.a().join("here/second"), "changed").unwrap();
    fs::rename(pair.a().join("here/second"), pair.a().join("there/moved")).unwrap();
    end_of(pair, 2);
}

/// A name in a directory of the secondary, told as it was when that node served.
struct Here<'a>(&'a Tracker, PathBuf);

impl Locate for Here<'_> {
    fn object(&self) -> Option<Object> {
        self.0.object(fs::File::open(&self.1).ok()?)
    }

    fn place(&self) -> Option<Place> {
        None
    }
}

#[test]
fn a_mark_that_only_the_secondary_has_saved_loses_nothing_that_the_secondary_named() {
    let limits = Limits { mark_period: Duration::ZERO, ..SLOW };
    let mut pair = Pair::limited(limits, |a, b| {
        for tree in [a, b] {
            fs::write(tree.join("theirs"), "the same on both").unwrap();
        }
    });
    pair.resync(1);
    pair.crash_secondary();
    let [ours, theirs] = pair.trackers.clone().unwrap();
    let touch = Touch::Name { name: b"theirs", directory: false };
    theirs.before(FileId(7), touch, &Here(&theirs, pair.b())).unwrap();
    fs::write(pair.b().join("theirs"), "written when this node served").unwrap();
    fs::write(pair.a().join("large"), large(24 << 20)).unwrap();
    ours.break_rules(BrokenTrack { loses_marks: true, ..BrokenTrack::default() });
    pair.begin(2);
    let events = pair.primary_events.clone();
    eventually("the stream is lost at a mark", || events.lost().is_some_and(|why| why.contains("what may differ")));
    pair.crash_secondary();
    ours.break_rules(BrokenTrack::default());
    assert_eq!(fs::read(pair.b().join("theirs")).unwrap(), b"written when this node served", "it was not compared yet");
    pair.begin(3);
    end_of(pair, 3);
}

#[test]
fn what_is_made_linked_and_removed_while_a_resync_runs_is_forgotten() {
    let mut pair = Pair::limited(SLOW, |a, b| {
        parts(a, b);
        for file in 0..100 {
            fs::write(a.join(format!("old{file}")), "x").unwrap();
            fs::hard_link(a.join(format!("old{file}")), a.join(format!("also{file}"))).unwrap();
        }
    });
    pair.begin(1);
    let (a, b) = (pair.a(), pair.b());
    copied_and_not_begun(&a, &b);
    for file in 0..100 {
        let (old, new) = (a.join(format!("made{file}")), a.join(format!("delivered{file}")));
        fs::write(&old, "x").unwrap();
        fs::hard_link(&old, &new).unwrap();
        fs::remove_file(old).unwrap();
        fs::remove_file(new).unwrap();
        fs::remove_file(a.join(format!("old{file}"))).unwrap();
        fs::remove_file(a.join(format!("also{file}"))).unwrap();
    }
    eventually("they are forgotten", || pair.inodes.len() < 50);
    assert!(!pair.primary_events.any(|e| matches!(e, ReplicaEvent::ResyncCopied { .. })), "while the resync runs");
    end_of(pair, 1);
}

#[test]
fn a_session_begins_when_the_resync_of_the_last_one_has_ended() {
    let mut pair = Pair::limited(SLOW, parts);
    let inodes = pair.inodes.clone();
    let root = inodes.root(0).unwrap();
    let order = root.lock_order();
    let connected = |pair: &Pair, session| pair.primary_events.any(|e| *e == ReplicaEvent::PeerConnected { session });
    pair.begin(1);
    eventually("it has begun", || connected(&pair, 1));
    pair.crash_secondary();
    pair.begin(2);
    // The first one may still look at the directory.
    let end = Instant::now() + Duration::from_millis(700);
    while Instant::now() < end {
        assert!(!connected(&pair, 2));
        std::thread::yield_now();
    }
    drop(order);
    drop((root, inodes));
    end_of(pair, 2);
}

#[test]
fn a_file_in_use_that_gets_and_loses_a_name_is_compared_by_one_that_nobody_has_met() {
    let mut pair = Pair::limited(SLOW, |a, b| {
        parts(a, b);
        for part in 0..PARTS {
            fs::hard_link(a.join(format!("{part}/file")), a.join(format!("met{part}"))).unwrap();
        }
    });
    let (a, b) = (pair.a(), pair.b());
    let files: Vec<fs::File> = (0..PARTS)
        .map(|part| {
            let path = a.join(format!("met{part}"));
            let file = fs::File::open(&path).unwrap();
            fs::remove_file(path).unwrap();
            file
        })
        .collect();
    pair.begin(1);
    let (_, untouched) = copied_and_not_begun(&a, &b);
    let file = &files[untouched.to_str().unwrap().parse::<usize>().unwrap()];
    let (link, again) = (crate::tree::handle::proc_path(file.as_fd()), a.join("again"));
    rustix::fs::linkat(CWD, link.as_c_str(), CWD, &again, AtFlags::SYMLINK_FOLLOW).unwrap();
    fs::remove_file(again).unwrap();
    drop(files);
    end_of(pair, 1);
}

#[test]
fn what_is_made_while_a_resync_runs_can_be_moved_any_number_of_times() {
    let mut pair = Pair::limited(SLOW, parts);
    pair.begin(1);
    let (a, b) = (pair.a(), pair.b());
    let (copied, untouched) = copied_and_not_begun(&a, &b);
    fs::write(a.join(&untouched).join("made"), "x").unwrap();
    fs::rename(a.join(&untouched).join("made"), a.join(&copied).join("delivered")).unwrap();
    fs::create_dir(a.join(&untouched).join("directory")).unwrap();
    fs::rename(a.join(&untouched).join("directory"), a.join(&copied).join("directory")).unwrap();
    assert!(pair.inodes.take_touched().entries.is_empty(), "nothing is remembered of it");
    end_of(pair, 1);
}

#[test]
fn the_kernel_forgets_what_nobody_uses_when_these_tests_want_it() {
    let mut pair = Pair::new(|_, _| {});
    fs::write(pair.a().join("file"), "x").unwrap();
    assert!(pair.known() > 1);
    forget_unused(&pair.a()).unwrap();
    eventually("only the root is known", || pair.known() == 1);
    pair.stop();
}
