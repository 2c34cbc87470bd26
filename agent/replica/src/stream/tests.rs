//! Both ends of the stream in one process: a real mount on the primary, TLS over loopback, the applier on the secondary.

mod broken;
mod crowd;
mod links;
mod load;
mod long;
mod marks;
mod moments;
mod support;
mod tracked;

use crate::frame::{FrameReader, Message, ResyncStep, encode};
use crate::verify::{Compare, compare_trees, compare_trees_with};
use holdfast_api::ids::Generation;
use holdfast_api::userconfig::Excluded;
use holdfast_core::replica::ReplicaEvent;
use load::{Load, scramble};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Pair, eventually};

#[test]
fn a_resync_makes_any_two_trees_the_same() {
    for seed in 1..=4 {
        let mut pair = Pair::new(|a, b| {
            scramble(a, seed, 400);
            scramble(b, seed + 100, 400);
            // Much the same, too: only blocks that differ travel.
            fs::write(a.join("big"), vec![5; 9 << 20]).unwrap();
            fs::write(b.join("big"), vec![5; 11 << 20]).unwrap();
        });
        pair.resync(1);
        pair.stop();
        let found = compare_trees(&pair.a(), &pair.b()).unwrap();
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

#[test]
fn a_resync_sends_only_what_differs_and_keeps_holes() {
    let mut pair = Pair::new(|a, b| {
        for tree in [a, b] {
            fs::write(tree.join("same"), vec![5; 8 << 20]).unwrap();
        }
        fs::File::create(a.join("holes")).unwrap().set_len(64 << 20).unwrap();
        fs::write(b.join("holes"), vec![7; 1 << 20]).unwrap();
    });
    fs::write(pair.a().join("same"), vec![5; (8 << 20) - 1]).unwrap();
    pair.resync(1);
    let sent = pair.primary_events.last(|event| match event {
        ReplicaEvent::ResyncProgress { progress } => Some(*progress),
        _ => None,
    });
    assert!(sent.is_some_and(|p| p.bytes_sent <= 64 << 10 && p.bytes_done > 71 << 20), "{sent:?}");
    pair.stop();
    assert_eq!(compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap(), []);
    use std::os::unix::fs::MetadataExt;
    assert!(fs::metadata(pair.b().join("holes")).unwrap().blocks() < 64, "zeros became a hole");
}

#[test]
fn a_resync_under_load_ends_with_equal_trees() {
    for seed in 1..=3 {
        let mut pair = Pair::new(|a, b| {
            scramble(a, seed, 600);
            scramble(b, seed + 7, 600);
        });
        let load = Load::start(&pair.a(), seed, 3);
        pair.resync(1);
        let at = load.operations();
        eventually("the load goes on after the resync", || load.operations() > at + 300);
        load.stop();
        pair.stop();
        let found = compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap();
        assert!(found.is_empty(), "seed {seed}: {found:#?}");
    }
}

#[test]
fn a_cut_stream_resumes_in_its_session_without_loss() {
    let mut pair = Pair::new(|a, _| scramble(a, 5, 100));
    pair.resync(1);
    let load = Load::start(&pair.a(), 11, 2);
    for _ in 0..12 {
        let at = load.operations();
        eventually("the load goes on", || {
            assert_eq!((pair.primary_events.lost(), pair.secondary_events.lost()), (None, None));
            load.operations() > at + 40
        });
        pair.follower().cut();
    }
    load.stop();
    assert_eq!(pair.primary_events.lost(), None);
    assert_eq!(pair.secondary_events.lost(), None);
    pair.stop();
    let found = compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_answer_lost_with_its_connection_is_not_waited_for() {
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    let epoch = pair.sender.paired().unwrap();
    // The secondary answers something else: this answer never comes.
    let lost = pair.sender.ask(epoch, |request| ResyncStep::Flush { request: request + 1000, flush: 0 }).unwrap();
    let sender = pair.sender.clone();
    let waiting = std::thread::spawn(move || sender.reply(epoch, lost));
    eventually("it was asked", || pair.sender.idle());
    pair.follower().cut();
    eventually("nobody waits any more", || waiting.is_finished());
    assert!(waiting.join().unwrap().is_err());
    // The session goes on.
    let request = pair.sender.ask(epoch, |request| ResyncStep::Flush { request, flush: 0 }).unwrap();
    pair.sender.reply(epoch, request).unwrap();
    assert_eq!(pair.primary_events.lost(), None);
    pair.stop();
}

#[test]
fn what_waits_for_a_lost_peer_is_acknowledged_only_under_a_higher_generation() {
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    pair.drop_follower();
    let done = Arc::new(AtomicBool::new(false));
    let (path, told) = (pair.a().join("held"), done.clone());
    let writer = std::thread::spawn(move || {
        fs::write(path, "held back").unwrap();
        told.store(true, Ordering::Release);
    });
    eventually("the stream is lost", || pair.primary_events.lost().is_some());
    eventually("a change is held back", || pair.sender.take_stats().held_back > 0);
    assert!(!done.load(Ordering::Acquire));
    assert!(pair.sender.accept_peer(2).is_err());
    assert!(pair.sender.continue_alone(Generation { number: 1, id: 8 }).is_err());
    assert!(!done.load(Ordering::Acquire));
    pair.sender.continue_alone(Generation { number: 2, id: 9 }).unwrap();
    writer.join().unwrap();
    // Later changes wait for nobody, and a new session brings everything over.
    fs::write(pair.a().join("alone"), "not held back").unwrap();
    pair.generation = Generation { number: 2, id: 9 };
    pair.resync(2);
    pair.stop();
    let found = compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap();
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(fs::read_to_string(pair.b().join("held")).unwrap(), "held back");
}

#[test]
fn refused_changes_fail_in_the_application() {
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    let mut file = fs::File::create(pair.a().join("file")).unwrap();
    pair.drop_follower();
    let writer = std::thread::spawn(move || file.write_all(b"too late"));
    eventually("a change is held back", || pair.sender.take_stats().held_back > 0);
    pair.sender.refuse();
    let error = writer.join().unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5));
    pair.stop();
}

#[test]
fn an_error_of_the_secondary_ends_the_stream_with_its_path() {
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    fs::write(pair.a().join("file"), "x").unwrap();
    // Somebody removes it behind our back: the next change of its name cannot be applied.
    fs::remove_file(pair.b().join("file")).unwrap();
    let path = pair.a();
    let writer = std::thread::spawn(move || fs::rename(path.join("file"), path.join("other")));
    eventually("the stream is lost", || pair.primary_events.lost().is_some());
    let reason = pair.primary_events.lost().unwrap();
    assert!(reason.contains("renaming") && reason.contains("/b/file") && reason.contains("errno 2"), "{reason}");
    pair.sender.continue_alone(Generation { number: 2, id: 2 }).unwrap();
    writer.join().unwrap().unwrap();
    pair.stop();
}

#[test]
fn oversized_frames_and_early_messages_are_refused() {
    let pair = Pair::new(|_, _| {});
    pair.sender.accept_peer(1).unwrap();
    let channel = pair.dial();
    let mut huge = encode(&Message::UpToDate, &[]);
    huge[..4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    channel.send(&huge, &mut Vec::new()).unwrap();
    assert!(channel.expect_message(&mut FrameReader::default()).is_err(), "the door closes");
    let channel = pair.dial();
    channel.send(&encode(&Message::Ack(1), &[]), &mut Vec::new()).unwrap();
    assert!(channel.expect_message(&mut FrameReader::default()).is_err(), "no greeting, no talk");
    assert!(!pair.primary_events.any(|event| matches!(event, ReplicaEvent::PeerConnected { .. })));
}

#[test]
fn what_is_not_replicated_stays_each_nodes_own() {
    let names = [Excluded::Path("own/deep".into()), Excluded::Matching("[.]log$".into())];
    let fill = |a: &Path, b: &Path| {
        for (tree, text) in [(a, "primary's"), (b, "secondary's")] {
            fs::create_dir_all(tree.join("own/deep")).unwrap();
            fs::create_dir(tree.join("d")).unwrap();
            fs::write(tree.join("own/deep/file"), text).unwrap();
            fs::write(tree.join("d/x.log"), text).unwrap();
            fs::write(tree.join("plain"), text).unwrap();
        }
        fs::write(b.join("only.log"), "secondary's").unwrap();
        fs::write(b.join("only"), "goes").unwrap();
        fs::write(a.join("d/kept"), "x").unwrap();
    };
    let mut pair = Pair::excluding(fill, &names);
    pair.resync(1);
    fs::write(pair.a().join("own/deep/more"), "x").unwrap();
    fs::write(pair.a().join("own/plain"), "replicated").unwrap();
    fs::create_dir(pair.a().join("emptied")).unwrap();
    eventually("the directory is there", || pair.b().join("emptied").exists());
    fs::write(pair.b().join("emptied/own.log"), "secondary's").unwrap();
    fs::remove_dir(pair.a().join("emptied")).unwrap();
    pair.stop();
    assert_eq!(pair.secondary_events.lost(), None);
    let found: Vec<String> = compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false })
        .unwrap()
        .into_iter()
        .filter(|difference| !difference.what.starts_with("modified"))
        .map(|difference| difference.to_string())
        .collect();
    let expected = [
        "d/x.log: size 9 / 11",
        "d/x.log: content from byte 0",
        "only.log: only in the second tree",
        "own/deep/file: size 9 / 11",
        "own/deep/file: content from byte 0",
        "own/deep/more: only in the first tree",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_nobody_waits_for_arrives_without_a_next_change() {
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    let path = pair.a().join("file");
    fs::write(&path, "content").unwrap();
    // The time a closed file has, and that a removed one is forgotten.
    eventually("everything is acknowledged", || pair.sender.idle());
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    eventually("its time is on the secondary", || {
        pair.sender.idle() && modified(&path) == modified(&pair.b().join("file"))
    });
    fs::remove_file(&path).unwrap();
    eventually("everything is acknowledged", || pair.sender.idle());
    pair.stop();
}

#[test]
fn what_an_owners_change_takes_from_a_program_is_taken_on_both_nodes() {
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    for (name, owner) in [("same", 0), ("other", 7)] {
        let path = pair.a().join(name);
        fs::write(&path, "a program").unwrap();
        // Permission to use low ports, in version 2 of the kernel's form.
        let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        rustix::fs::setxattr(&path, "security.capability", &value, rustix::fs::XattrFlags::empty()).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
    }
    pair.stop();
    assert_eq!(compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap(), []);
}

#[test]
fn what_does_not_change_is_not_told() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let mut pair = Pair::new(|_, _| {});
    pair.resync(1);
    let path = pair.a().join("file");
    fs::write(&path, "content").unwrap();
    // The kernel tells of a closed file after the close: the time it has then belongs to what came before.
    let told = || pair.sender.take_stats().ops_per_s == 0 && pair.sender.idle();
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    eventually("the closed file's time is on the secondary, and all is told", || {
        modified(&path) == modified(&pair.b().join("file")) && told()
    });
    let now = fs::metadata(&path).unwrap();
    chown(&path, Some(now.uid()), Some(now.gid())).unwrap();
    fs::set_permissions(&path, now.permissions()).unwrap();
    assert_eq!(pair.sender.take_stats().ops_per_s, 0);
    // With set-uid an owner's change that changes no owner changes the mode.
    let with_suid = || fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
    with_suid();
    chown(&path, Some(now.uid()), Some(now.gid())).unwrap();
    with_suid();
    chown(&path, Some(7), Some(8)).unwrap();
    with_suid();
    pair.stop();
    let theirs = fs::metadata(pair.b().join("file")).unwrap();
    assert_eq!((theirs.uid(), theirs.gid(), theirs.mode() & 0o7777), (7, 8, 0o4755));
    // The directory's time is stamped by each node.
    assert_eq!(compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap(), []);
}
