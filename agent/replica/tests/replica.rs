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

use holdfast_api::ids::{Generation, ModuleId, NodeId};
use holdfast_core::replica::{Acknowledges, Plane, ReplicaCommand as C, ReplicaEvent as E, ResyncProgress};
use holdfast_replica::control::{
    self, AsyncMode, Configure, FromReplica, Orphan, PROTOCOL, Stats, ToReplica, VerifyReport,
};
use holdfast_replica::setaside;
use holdfast_replica::tls::pin::fingerprint;
use holdfast_replica::verify::{Compare, compare_trees_with};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FIRST: Generation = Generation { number: 1, id: 11 };
const SECOND: Generation = Generation { number: 2, id: 22 };

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Keys, addresses and folders of two nodes.
struct Nodes {
    base: tempfile::TempDir,
    ports: [SocketAddr; 2],
    fingerprints: [String; 2],
}

impl Nodes {
    fn new() -> Self {
        let base = tempfile::Builder::new().prefix("holdfast-replica-").tempdir_in("/tmp").unwrap();
        // Both at once, so that they differ.
        let free = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let ports = free.map(|listener| listener.local_addr().unwrap());
        let fingerprints = [1, 2].map(|node| make_key(base.path(), &format!("node{node}")));
        for node in [1, 2] {
            fs::create_dir(base.path().join(format!("data{node}"))).unwrap();
            fs::create_dir(base.path().join(format!("state{node}"))).unwrap();
        }
        Self { base, ports, fingerprints }
    }

    fn data(&self, node: usize) -> PathBuf {
        self.base.path().join(format!("data{node}"))
    }

    fn state(&self, node: usize) -> PathBuf {
        self.base.path().join(format!("state{node}"))
    }

    fn configure(&self, node: usize) -> Configure {
        let other = 3 - node;
        Configure {
            protocol: PROTOCOL,
            module: "mirror".into(),
            module_id: ModuleId(1),
            directories: vec![self.data(node)],
            exclusions: Vec::new(),
            required: Vec::new(),
            listen: self.ports[node - 1],
            peer: self.ports[other - 1],
            node: NodeId(node as u16),
            peer_node: NodeId(other as u16),
            key_file: self.base.path().join(format!("node{node}.key")),
            certificate_file: self.base.path().join(format!("node{node}.crt")),
            peer_fingerprint: self.fingerprints[other - 1].clone(),
            encryption: true,
            secret: String::new(),
            async_mode: AsyncMode::Second,
            state_dir: self.state(node),
            boot_id: "boot".into(),
            send_timeout_ms: 5000,
            resume_window_ms: 700,
            resync_threads: 6,
            resync_bytes_per_s: 0,
            resync_mark_ms: 15_000,
            orphan: None,
        }
    }

    fn start(&self, node: usize) -> Replica {
        Replica::start(self.configure(node))
    }

    fn differences(&self) -> Vec<String> {
        let found = compare_trees_with(&self.data(1), &self.data(2), Compare { stamped_times: false }).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    /// What differs between the files themselves, below the mounts, after both ended in order.
    fn differences_of(&self, primary: &mut Replica, secondary: &mut Replica) -> Vec<String> {
        primary.command(C::Release { abort: false });
        primary.expect_event(E::Released);
        secondary.command(C::Fence);
        secondary.expect_event(E::Fenced);
        secondary.command(C::Release { abort: false });
        secondary.expect_event(E::Released);
        self.differences()
    }
}

fn make_key(folder: &Path, name: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join(format!("{name}.crt")), made.cert.pem()).unwrap();
    fingerprint(made.cert.der()).unwrap()
}

/// One replica process and what it has told.
struct Replica {
    child: Child,
    socket: UnixStream,
    told: Arc<Mutex<Vec<E>>>,
    stats: Arc<Mutex<Stats>>,
    verified: Arc<Mutex<Option<VerifyReport>>>,
    plane: Arc<Mutex<Option<Plane>>>,
    read: usize,
}

impl Replica {
    fn start(configure: Configure) -> Self {
        Self::begin(&ToReplica::Configure(Box::new(configure)), None)
    }

    /// With its first message; killed at this point of its work.
    fn begin(first: &ToReplica, crash_at: Option<&str>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let number = theirs.as_raw_fd();
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-replica"));
        command.args(["--control-fd", &number.to_string()]);
        if let Some(point) = crash_at {
            command.env(holdfast_replica::crash::VARIABLE, point);
        }
        // SAFETY: between fork and exec only one system call is made, on a descriptor that is open.
        unsafe {
            command.pre_exec(move || {
                let fd = std::os::fd::BorrowedFd::borrow_raw(number);
                Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
            });
        }
        let child = command.spawn().unwrap();
        drop(theirs);
        control::send(&ours, first).unwrap();
        let (told, stats) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Stats::default())));
        let (socket, events, figures) = (ours.try_clone().unwrap(), told.clone(), stats.clone());
        let report = Arc::new(Mutex::new(None));
        let verified = report.clone();
        let plane = Arc::new(Mutex::new(None));
        let found = plane.clone();
        std::thread::spawn(move || {
            while let Ok(Some(message)) = control::receive::<FromReplica>(&socket) {
                match message {
                    FromReplica::Event(event) => events.lock().unwrap().push(event),
                    FromReplica::Stats(stats) => *figures.lock().unwrap() = stats,
                    FromReplica::Found(plane) => *found.lock().unwrap() = Some(plane),
                    FromReplica::Done | FromReplica::Refused(_) => {}
                    FromReplica::Verify(report) => *verified.lock().unwrap() = Some(report),
                }
            }
        });
        Self { child, socket: ours, told, stats, verified: report, plane, read: 0 }
    }

    /// Compares both copies.
    fn verify(&self) -> VerifyReport {
        *self.verified.lock().unwrap() = None;
        control::send(&self.socket, &ToReplica::Verify).unwrap();
        eventually("the comparison ends", || {
            self.verified.lock().unwrap().as_ref().is_some_and(|report| !report.running)
        });
        self.verified.lock().unwrap().clone().unwrap()
    }

    fn command(&self, command: C) {
        control::send(&self.socket, &ToReplica::Command(command)).unwrap();
    }

    /// Waits for an event among those not yet waited past; others before it are passed over.
    fn expect<T>(&mut self, what: &str, pick: impl Fn(&E) -> Option<T>) -> T {
        let mut found = None;
        let told = self.told.clone();
        eventually(what, || {
            let told = told.lock().unwrap();
            for (at, event) in told.iter().enumerate().skip(self.read) {
                if let Some(value) = pick(event) {
                    self.read = at + 1;
                    found = Some(value);
                    return true;
                }
                assert!(!matches!(event, E::Failed { .. }), "while waiting for {what}: {event:?}");
            }
            false
        });
        found.unwrap()
    }

    fn expect_event(&mut self, event: E) {
        self.expect(&format!("{event:?}"), |e| (*e == event).then_some(()));
    }

    fn failed(&mut self) -> String {
        self.expect("Failed", |e| match e {
            E::Failed { reason } => Some(reason.clone()),
            _ => None,
        })
    }

    /// Whether the process is gone, or nothing of it but a thread that waits for its own mount.
    fn socket_has_ended(&self) -> bool {
        let mut byte = [0];
        rustix::net::recv(&self.socket, &mut byte, rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT)
            .is_ok_and(|(got, _)| got == 0)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn close(mut self) {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        let mut status = None;
        eventually("the process ends with its agent", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success());
    }
}

impl Drop for Replica {
    /// Lets it take its mounts away first; a killed one leaves them dead.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let end = Instant::now() + Duration::from_secs(12);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A primary with an up-to-date secondary, resynced while `load` runs.
fn pair(nodes: &Nodes, load: impl FnOnce(&Path) + Send + 'static) -> (Replica, Replica) {
    let (mut one, mut two) = (nodes.start(1), nodes.start(2));
    one.command(C::Inspect);
    one.expect("Inspected", |e| matches!(e, E::Inspected { .. }).then_some(()));
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    let data = nodes.data(1);
    let loading = std::thread::spawn(move || load(&data));
    follow(&mut one, &mut two, 7, FIRST);
    loading.join().unwrap();
    (one, two)
}

fn follow(primary: &mut Replica, secondary: &mut Replica, session: u64, generation: Generation) {
    secondary.command(C::Follow { session, generation });
    primary.command(C::AcceptPeer { session });
    primary.expect_event(E::PeerConnected { session });
    secondary.expect_event(E::Following { session });
    primary.expect_event(E::ResyncCopied { session });
    primary.command(C::CompleteResync);
    secondary.expect_event(E::CaughtUp { session });
    secondary.command(C::ConfirmUpToDate);
    primary.expect_event(E::PeerUpToDate { session });
}

fn fill(root: &Path, from: usize, to: usize) {
    for i in from..to {
        let folder = root.join(format!("folder{}", i % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("file{i}")), vec![i as u8; 1 + i * 977]).unwrap();
    }
}

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
    let (one, two) = settled_pair(&nodes);
    release_both(&nodes, one, two);
    let old = fs::metadata(nodes.data(2).join("still/folder3/file3")).unwrap().modified().unwrap();
    fs::write(nodes.data(2).join("still/folder3/file3"), vec![9; 1 + 3 * 977]).unwrap();
    fs::File::open(nodes.data(2).join("still/folder3/file3")).unwrap().set_modified(old).unwrap();
    fs::remove_file(nodes.data(1).join("still/folder5/file5")).unwrap();
    let (mut one, mut two) = (nodes.start(1), nodes.start(2));
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
        E::Inspected { inventory } => Some(inventory.entries),
        _ => None,
    });
    assert_eq!(entries, 1);
    one.command(C::Serve { generation: FIRST });
    one.expect_event(E::Serving);
    one.close();
}
