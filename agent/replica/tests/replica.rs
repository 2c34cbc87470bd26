//! Two real replica processes on loopback, driven over their control sockets as the agents would.
#![allow(clippy::unwrap_used)] // helpers of tests are outside of #[test] functions

#[path = "replica/agents.rs"]
mod agents;
#[path = "replica/copies.rs"]
mod copies;
#[path = "replica/kills.rs"]
mod kills;
#[path = "replica/outlives.rs"]
mod outlives;
#[path = "replica/resyncs.rs"]
mod resyncs;
#[path = "replica/support.rs"]
mod support;

use holdfast_api::ids::Generation;
use holdfast_core::replica::{Acknowledges, Plane, ReplicaCommand as C, ReplicaEvent as E, ResyncProgress};
use holdfast_replica::control::{self, Configure, FromReplica, Orphan, ToReplica};
use holdfast_replica::setaside;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{FIRST, Nodes, Replica, SECOND, eventually, fill, follow, make_key, pair};

#[test]
fn every_write_survives_the_death_of_the_primary() {
    let nodes = Nodes::new();
    fill(&nodes.data(1), 0, 100);
    fill(&nodes.data(2), 50, 120);
    let (mut one, mut two) = pair(&nodes, |root| fill(root, 100, 200));
    let refused = fs::write(nodes.data(2).join("edit"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(30), "the secondary's directory is read-only");
    fill(&nodes.data(1), 200, 260);
    assert_eq!(fs::read(nodes.data(2).join("folder0/file210")).unwrap().len(), 1 + 210 * 977, "seen on the secondary");
    eventually("figures", || {
        fill(&nodes.data(1), 259, 260);
        one.stats.lock().unwrap().ack_p50_us > 0
    });

    one.kill();
    two.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    two.command(C::Fence);
    two.expect_event(E::Fenced);
    two.command(C::Serve { generation: SECOND });
    two.expect_event(E::Serving);
    for i in 0..260 {
        let path = nodes.data(2).join(format!("folder{}/file{i}", i % 7));
        assert_eq!(fs::read(&path).unwrap(), vec![i as u8; 1 + i * 977], "{}", path.display());
    }
    fill(&nodes.data(2), 260, 300);

    // The dead node comes back and follows.
    let mut one = nodes.start(1);
    follow(&mut two, &mut one, 8, SECOND);
    fill(&nodes.data(2), 300, 320);
    release_both(&nodes, two, one);
}

/// Number of the journal in force: one more with each pairing begun, and with each saved.
fn journal_number(state: &Path) -> u64 {
    let number = |file: &str| {
        let head = fs::read(state.join(file)).unwrap_or_default();
        head.get(4..12).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
    };
    number("track.0").max(number("track.1"))
}

/// Writers that go on until they are stopped, whatever becomes of the mount.
struct Load(Arc<std::sync::atomic::AtomicBool>, std::thread::JoinHandle<u64>);

impl Load {
    fn start(root: PathBuf) -> Self {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut done = 0;
            for i in 0u64.. {
                if stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let folder = root.join(format!("load/{}", i % 5));
                let path = folder.join(format!("f{}", i % 23));
                let made = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, vec![i as u8; 5000]));
                let moved = made.and_then(|()| fs::rename(&path, folder.join(format!("g{}", i % 11))));
                done += u64::from(moved.is_ok());
            }
            done
        });
        Self(stop, thread)
    }

    fn stop(self) -> u64 {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        self.1.join().unwrap()
    }
}

/// Entries and bytes compared by the last resync.
fn compared(primary: &Replica) -> (u64, u64) {
    let told = primary.told.lock().unwrap();
    let last = told.iter().rev().find_map(|event| match event {
        E::ResyncProgress { progress } => Some((progress.entries_done, progress.bytes_done)),
        _ => None,
    });
    last.unwrap()
}

/// Much that nobody changes.
fn weight(nodes: &Nodes) {
    for node in [1, 2] {
        fill(&nodes.data(node).join("still"), 0, 400);
    }
}

fn release_both(nodes: &Nodes, mut primary: Replica, mut secondary: Replica) {
    let differences = nodes.differences_of(&mut primary, &mut secondary);
    assert_eq!(differences, Vec::<String>::new());
    primary.close();
    secondary.close();
}

/// A pair whose pairing is saved on both nodes.
fn settled_pair(nodes: &Nodes) -> (Replica, Replica) {
    weight(nodes);
    let state = nodes.state(1);
    let (began, at) = (Arc::new(Mutex::new(0)), state.clone());
    let told = began.clone();
    let both = pair(nodes, move |_| *told.lock().unwrap() = journal_number(&at));
    let began = *began.lock().unwrap();
    eventually("the pairing is saved", || journal_number(&state) >= began + 2);
    both
}

#[test]
fn after_kill_9_of_the_secondary_under_load_only_what_may_differ_is_compared() {
    let nodes = Nodes::new();
    let (mut one, mut two) = settled_pair(&nodes);
    let load = Load::start(nodes.data(1));
    eventually("the load has begun", || fs::exists(nodes.data(1).join("load/4")).unwrap());
    two.kill();
    one.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    one.command(C::ContinueAlone { generation: SECOND });
    let mut two = nodes.start(2);
    follow(&mut one, &mut two, 8, SECOND);
    let (entries, bytes) = compared(&one);
    assert!(load.stop() > 0);
    assert!(entries < 200 && bytes < 4 << 20, "{entries} entries, {bytes} bytes of 400 entries, 78 MB were compared");
    release_both(&nodes, one, two);
}

#[test]
fn after_kill_9_of_the_primary_under_load_only_what_may_differ_is_compared() {
    let nodes = Nodes::new();
    let (mut one, mut two) = settled_pair(&nodes);
    let load = Load::start(nodes.data(1));
    eventually("the load has begun", || fs::exists(nodes.data(1).join("load/4")).unwrap());
    one.kill();
    two.expect("StreamLost", |e| matches!(e, E::StreamLost { session: 7, .. }).then_some(()));
    load.stop();
    two.command(C::Fence);
    two.expect_event(E::Fenced);
    two.command(C::Serve { generation: SECOND });
    two.expect_event(E::Serving);
    let load = Load::start(nodes.data(2));
    let mut one = nodes.start(1);
    follow(&mut two, &mut one, 8, SECOND);
    let (entries, bytes) = compared(&two);
    assert!(load.stop() > 0);
    assert!(entries < 200 && bytes < 4 << 20, "{entries} entries, {bytes} bytes of 400 entries, 78 MB were compared");
    release_both(&nodes, two, one);
}

#[test]
fn what_was_edited_while_both_were_stopped_is_compared_and_nothing_else() {
    let nodes = Nodes::new();
    for node in [1, 2] {
        for number in 0..400 {
            fs::create_dir_all(nodes.data(node).join(format!("crowd/folder{number}"))).unwrap();
        }
    }
    let (one, two) = settled_pair(&nodes);
    release_both(&nodes, one, two);
    let old = fs::metadata(nodes.data(2).join("still/folder3/file3")).unwrap().modified().unwrap();
    fs::write(nodes.data(2).join("still/folder3/file3"), vec![9; 1 + 3 * 977]).unwrap();
    fs::File::open(nodes.data(2).join("still/folder3/file3")).unwrap().set_modified(old).unwrap();
    fs::remove_file(nodes.data(1).join("still/folder5/file5")).unwrap();
    let (mut one, mut two) = (nodes.start(1), nodes.start(2));
    // Fewer descriptors than a directory has entries.
    [&one, &two].into_iter().for_each(|replica| replica.limit_descriptors(100));
    one.command(C::Serve { generation: SECOND });
    one.expect_event(E::Serving);
    follow(&mut one, &mut two, 8, SECOND);
    let (entries, _) = compared(&one);
    assert!(entries < 200, "{entries} entries were compared");
    release_both(&nodes, one, two);
}

#[test]
fn commands_out_of_place_fail_with_a_cure() {
    let nodes = Nodes::new();
    let mut one = nodes.start(1);
    one.command(C::CompleteResync);
    assert!(one.failed().contains("Serve or Follow first"));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    one.command(C::CompleteResync);
    assert!(one.failed().contains("no resync has been copied"));
    one.command(C::ContinueAlone { generation: Generation { id: FIRST.id + 1, ..FIRST } });
    assert!(one.failed().contains("not higher"));
    one.command(C::Refuse);
    one.expect_event(E::Refusing);
    let refused = fs::write(nodes.data(1).join("late"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(5));
    one.command(C::Release { abort: true });
    one.expect_event(E::Released);
    one.close();
}

#[test]
fn a_mount_goes_with_its_agent() {
    let nodes = Nodes::new();
    let mut one = nodes.start(1);
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    fs::write(nodes.data(1).join("file"), "x").unwrap();
    let mounted = || fs::read_to_string("/proc/self/mounts").unwrap().contains(&*nodes.data(1).to_string_lossy());
    assert!(mounted());
    one.close();
    assert!(!mounted());
}

#[test]
fn a_foreign_key_never_becomes_a_peer() {
    let nodes = Nodes::new();
    let mut one = nodes.start(1);
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    one.command(C::AcceptPeer { session: 7 });
    make_key(nodes.base.path(), "foreign");
    let mut configure = nodes.configure(2);
    configure.key_file = nodes.base.path().join("foreign.key");
    configure.certificate_file = nodes.base.path().join("foreign.crt");
    configure.directories = vec![nodes.base.path().join("foreign")];
    fs::create_dir(&configure.directories[0]).unwrap();
    let foreign = Replica::start(configure);
    foreign.command(C::Follow { session: 7, generation: FIRST });
    // The right one gets through although the foreign one keeps trying.
    let mut two = nodes.start(2);
    two.command(C::Follow { session: 7, generation: FIRST });
    two.expect_event(E::Following { session: 7 });
    one.expect_event(E::PeerConnected { session: 7 });
    assert!(!foreign.told.lock().unwrap().iter().any(|e| matches!(e, E::Following { .. })));
}

#[test]
fn an_unknown_control_protocol_is_refused() {
    let nodes = Nodes::new();
    let mut replica = Replica::start(Configure { protocol: 99, ..nodes.configure(1) });
    assert!(replica.failed().contains("version 99"));
    eventually("the process ends", || replica.child.try_wait().unwrap().is_some());
}

#[test]
fn an_inspection_waits_for_the_paths_that_must_be_there() {
    let nodes = Nodes::new();
    let disk = nodes.data(1).join("disk");
    let configure = |here: &str| Configure {
        directories: vec![disk.clone()],
        required: vec![disk.join(here)],
        ..nodes.configure(1)
    };
    let mut one = Replica::start(configure("here"));
    one.command(C::Inspect);
    let missing = one.expect("Missing", |e| match e {
        E::Missing { path } => Some(path.clone()),
        _ => None,
    });
    assert_eq!(missing, disk.join("here").display().to_string());
    one.command(C::Serve { generation: FIRST });
    assert!(one.failed().contains("must be (<tocheck>)"), "nothing is mounted over an empty directory");
    one.command(C::Inspect);
    one.expect("Missing", |e| matches!(e, E::Missing { .. }).then_some(()));
    fs::create_dir(&disk).unwrap();
    fs::write(disk.join("here"), "x").unwrap();
    let entries = one.expect("Inspected", |e| match e {
        E::Inspected { inventory, .. } => Some(inventory.entries),
        _ => None,
    });
    assert_eq!(entries, 1);
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    one.close();
}
