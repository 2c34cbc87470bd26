//! A replica that is killed while it serves, and the next one: applications see a pause, and each change is made once.

use super::agents::going_on;
use super::*;
use rustix::fs::{FlockOperation, RenameFlags, XattrFlags};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};

fn configure(nodes: &Nodes) -> Configure {
    going_on(nodes, 30_000)
}

/// A primary alone.
fn serve(nodes: &Nodes, crash_at: Option<&str>) -> Replica {
    fs::write(nodes.data(1).join("closed"), "").unwrap();
    let mut one = Replica::begin(&ToReplica::Configure(Box::new(configure(nodes))), crash_at);
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    // One file is closed, so that the kernel knows that nobody wants to hear of that: a program that is started from here
    // would otherwise wait, while nobody serves, to have closed what it inherited.
    drop(fs::File::open(nodes.data(1).join("closed")).unwrap());
    one
}

fn open_file(nodes: &Nodes) -> fs::File {
    fs::File::create(nodes.data(1).join("file")).unwrap()
}

/// The next one, which takes the mount over.
fn resume(nodes: &Nodes) -> Replica {
    let one = Replica::begin(&ToReplica::Resume(Box::new(configure(nodes))), None);
    eventually("the mount is taken over", || one.plane.lock().unwrap().is_some());
    one
}

fn kill(one: &mut Replica) {
    one.child.kill().unwrap();
}

fn release(mut one: Replica) {
    one.command(C::Release { abort: false });
    one.expect_event(E::Released);
    one.close();
}

#[test]
fn open_files_positions_and_locks_outlive_the_replica() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    let data = nodes.data(1);
    fill(&data, 0, 30);
    let mut written = fs::File::options().read(true).append(true).create(true).open(data.join("written")).unwrap();
    written.write_all(b"before").unwrap();
    let mut unnamed = fs::File::options().read(true).write(true).create_new(true).open(data.join("unnamed")).unwrap();
    unnamed.write_all(b"still here").unwrap();
    fs::remove_file(data.join("unnamed")).unwrap();
    let mut listing = fs::read_dir(data.join("folder1")).unwrap();
    let first = listing.next().unwrap().unwrap().file_name();
    rustix::fs::flock(&written, FlockOperation::NonBlockingLockExclusive).unwrap();
    for round in 0..3 {
        kill(&mut one);
        let data = data.clone();
        // Asked while nobody serves.
        let asked = std::thread::spawn(move || fs::metadata(data.join("folder2/file9")).map(|found| found.len()));
        one = resume(&nodes);
        assert_eq!(asked.join().unwrap().unwrap(), 1 + 9 * 977);
        written.write_all(format!(" {round}").as_bytes()).unwrap();
        unnamed.write_all(b"!").unwrap();
    }
    let mut text = String::new();
    unnamed.seek(SeekFrom::Start(0)).unwrap();
    unnamed.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here!!!");
    assert_eq!(fs::read_to_string(data.join("written")).unwrap(), "before 0 1 2");
    let mut names: Vec<_> = listing.map(|entry| entry.unwrap().file_name()).collect();
    names.push(first);
    names.sort();
    assert_eq!(names, ["file1", "file15", "file22", "file29", "file8"]);
    let other = fs::File::open(data.join("written")).unwrap();
    assert!(rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive).is_err(), "the lock is gone");
    drop((written, unnamed, other));
    release(one);
    assert_eq!(fs::read_to_string(data.join("written")).unwrap(), "before 0 1 2");
    assert!(!data.join("unnamed").exists());
}

/// One of each kind of change that cannot be made twice.
fn change(folder: &Path, number: u64) -> std::io::Result<()> {
    let at = |name: &str| folder.join(format!("{name}{number}"));
    fs::create_dir(at("folder"))?;
    let file = fs::File::options().read(true).append(true).create_new(true).open(at("folder").join("file"))?;
    rustix::fs::fsetxattr(&file, c"user.made", b"1", XattrFlags::CREATE)?;
    (&file).write_all(b"one")?;
    (&file).write_all(b"two")?;
    rustix::fs::fremovexattr(&file, c"user.made")?;
    fs::hard_link(at("folder").join("file"), at("link"))?;
    std::os::unix::fs::symlink("there", at("symlink"))?;
    fs::write(at("other"), "other")?;
    let cwd = rustix::fs::CWD;
    rustix::fs::renameat_with(cwd, at("link"), cwd, at("other"), RenameFlags::EXCHANGE)?;
    fs::rename(at("folder").join("file"), at("moved"))?;
    fs::remove_dir(at("folder"))?;
    // The file is called `moved` and `other`; `link` is the one that was made as `other`.
    fs::remove_file(at("other"))?;
    fs::rename(at("link"), at("moved").with_extension("old"))?;
    fs::remove_file(at("symlink"))?;
    file.sync_all()
}

fn demand_changed(folder: &Path, number: u64) {
    let at = |name: &str| folder.join(format!("{name}{number}"));
    let moved = at("moved");
    assert_eq!(fs::read_to_string(&moved).unwrap(), "onetwo", "{number}");
    assert_eq!(fs::metadata(&moved).unwrap().nlink(), 1, "{number}");
    assert_eq!(fs::read_to_string(moved.with_extension("old")).unwrap(), "other", "{number}");
    for gone in ["folder", "link", "other", "symlink"] {
        assert!(fs::symlink_metadata(at(gone)).is_err(), "{gone}{number}");
    }
}

#[test]
fn each_change_is_made_once_through_a_kill_at_any_step_of_it() {
    for point in ["front-begun", "front-made", "front-acknowledged"] {
        let nodes = Nodes::new();
        let folder = nodes.data(1);
        // Every passage that the changes come by.
        for passage in 1.. {
            let mut one = serve(&nodes, Some(&format!("{point}:{passage}")));
            let (at, number) = (folder.clone(), passage);
            let changing = std::thread::spawn(move || change(&at, number));
            eventually("a kill, or the end", || one.socket_has_ended() || changing.is_finished());
            if !one.socket_has_ended() {
                changing.join().unwrap().unwrap();
                assert!(passage > 12, "{point} was passed {passage} times only");
                release(one);
                break;
            }
            let next = resume(&nodes);
            changing.join().unwrap().unwrap_or_else(|error| panic!("{point}:{passage}: {error}"));
            demand_changed(&folder, passage);
            let _ = one.child.wait();
            release(next);
            demand_changed(&folder, passage);
        }
    }
}

#[test]
fn a_busy_application_sees_no_error_through_many_kills() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|thread| {
            let (folder, stop) = (nodes.data(1).join(format!("busy{thread}")), stop.clone());
            std::thread::spawn(move || {
                fs::create_dir(&folder).unwrap();
                let mut made = 0;
                while !stop.load(Ordering::Acquire) {
                    change(&folder, made).unwrap_or_else(|error| panic!("change {made}: {error}"));
                    demand_changed(&folder, made);
                    made += 1;
                }
                made
            })
        })
        .collect();
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(60)); // the load goes on for a while: nothing is waited for
        kill(&mut one);
        one = resume(&nodes);
    }
    stop.store(true, Ordering::Release);
    let made: Vec<u64> = busy.into_iter().map(|thread| thread.join().unwrap()).collect();
    release(one);
    for (thread, made) in made.into_iter().enumerate() {
        (0..made).for_each(|number| demand_changed(&nodes.data(1).join(format!("busy{thread}")), number));
        let left = fs::read_dir(nodes.data(1).join(format!("busy{thread}"))).unwrap().count() as u64;
        assert_eq!(left, 2 * made, "something is there twice");
    }
}

#[test]
fn a_primary_that_waited_for_its_peer_acknowledges_nothing_after_a_kill_until_it_is_told_to_go_on_alone() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    let mut two = nodes.start(2);
    fill(&nodes.data(1), 0, 30);
    follow(&mut one, &mut two, 7, FIRST);
    let file = Arc::new(open_file(&nodes));
    file.write_all_at(b"paired", 0).unwrap();
    kill(&mut one);
    let mut next = resume(&nodes);
    let plane = next.plane.lock().unwrap().clone().unwrap();
    let Plane::Serving { generation, acknowledges: Acknowledges::Frozen { .. }, session: None, connected: false } =
        plane
    else {
        panic!("{plane:?}")
    };
    assert_eq!(generation, FIRST);
    next.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    let done = Arc::new(AtomicBool::new(false));
    let (writer, told) = (file.clone(), done.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all_at(b"held", 6).unwrap();
        told.store(true, Ordering::Release);
    });
    eventually("the write is held back", || next.stats.lock().unwrap().held_back == 1);
    // Killed once more: it is held back by the next one, too.
    kill(&mut next);
    let mut last = resume(&nodes);
    last.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    eventually("the write is held back again", || last.stats.lock().unwrap().held_back == 1);
    assert!(!done.load(Ordering::Acquire), "acknowledged by nobody's word");
    last.command(C::ContinueAlone { generation: FIRST });
    let refused = last.failed();
    assert!(refused.contains("no grant"), "the grant was given up when the peer was complete: {refused}");
    assert!(!done.load(Ordering::Acquire));
    last.command(C::ContinueAlone { generation: SECOND });
    writing.join().unwrap();
    follow(&mut last, &mut two, 8, SECOND);
    file.write_all_at(b" and paired again", 10).unwrap();
    drop(file);
    assert_eq!(nodes.differences(), Vec::<String>::new());
    release(last);
    assert_eq!(fs::read_to_string(nodes.data(1).join("file")).unwrap(), "pairedheld and paired again");
}

#[test]
fn a_primary_alone_goes_on_by_its_grant_and_its_resync_begins_anew() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    fs::write(nodes.data(1).join("file"), "alone").unwrap();
    kill(&mut one);
    let mut next = resume(&nodes);
    let alone =
        Plane::Serving { generation: FIRST, acknowledges: Acknowledges::Alone, session: None, connected: false };
    assert_eq!(*next.plane.lock().unwrap(), Some(alone));
    fs::write(nodes.data(1).join("file"), "still alone").unwrap();
    let mut two = nodes.start(2);
    follow(&mut next, &mut two, 7, FIRST);
    assert_eq!(nodes.differences(), Vec::<String>::new());
    release(next);
}

#[test]
fn a_replica_that_had_refused_its_writers_is_not_followed_and_its_mount_ends() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    let file = open_file(&nodes);
    one.command(C::Refuse);
    one.expect_event(E::Refusing);
    kill(&mut one);
    let mut next = Replica::begin(&ToReplica::Resume(Box::new(configure(&nodes))), None);
    let reason = next.failed();
    assert!(reason.contains("refused its writers"), "{reason}");
    assert!(!next.child.wait().unwrap().success());
    assert!(file.write_at(b"x", 0).is_err());
    assert_eq!(fs::read_dir(nodes.data(1)).unwrap().count(), 2, "the mount is gone");
}

#[test]
fn a_replica_that_begins_anew_ends_the_mount_that_nobody_took_over() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    let file = open_file(&nodes);
    kill(&mut one);
    let waiting = std::thread::spawn(move || file.write_at(b"x", 0));
    let mut next = Replica::start(configure(&nodes));
    next.command(C::Serve { generation: FIRST });
    next.expect_event(E::Serving);
    assert!(waiting.join().unwrap().is_err(), "a write to a mount that is gone was acknowledged");
    fs::write(nodes.data(1).join("file"), "new").unwrap();
    release(next);
}

#[test]
fn a_mount_that_nobody_takes_over_in_time_is_taken_away() {
    let nodes = Nodes::new();
    let mut one = Replica::start(going_on(&nodes, 200));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    let file = open_file(&nodes);
    kill(&mut one);
    assert!(file.write_at(b"x", 0).is_err(), "nobody is there to write it");
    eventually("the mount is gone", || fs::read_dir(nodes.data(1)).is_ok_and(|entries| entries.count() == 1));
}

/// Files without a name that the holders keep for data of this node.
fn held_without_a_name(nodes: &Nodes) -> usize {
    let below = nodes.data(1);
    let holds = |process: &Path| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|word| word == b"--hold")
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let descriptors =
        processes.filter(|process| holds(process)).filter_map(|process| fs::read_dir(process.join("fd")).ok());
    let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(&below) && target.to_string_lossy().ends_with("(deleted)")).count()
}

#[test]
fn a_file_without_a_name_that_nobody_heard_of_is_not_held() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, Some("front-made"));
    let folder = nodes.data(1);
    let making = std::thread::spawn(move || {
        use std::os::unix::fs::OpenOptionsExt;
        fs::File::options().write(true).custom_flags(libc::O_TMPFILE).open(folder)
    });
    eventually("the kill", || one.socket_has_ended());
    let _ = one.child.wait();
    assert_eq!(held_without_a_name(&nodes), 1, "what was made and not told");
    let next = resume(&nodes);
    let made = making.join().unwrap().unwrap();
    eventually("only the one that the application has is held", || held_without_a_name(&nodes) == 1);
    made.write_all_at(b"x", 0).unwrap();
    drop(made);
    eventually("its room is given back", || held_without_a_name(&nodes) == 0);
    release(next);
}

#[test]
fn a_replica_that_has_told_that_it_took_over_hears_whoever_wants_to_end_it() {
    let nodes = Nodes::new();
    let mut one = serve(&nodes, None);
    for _ in 0..10 {
        kill(&mut one);
        one = resume(&nodes);
        UnixStream::connect(nodes.base.path().join("agents")).unwrap();
    }
    release(one);
}
