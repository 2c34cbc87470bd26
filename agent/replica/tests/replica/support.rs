//! Two nodes of real replica processes on loopback, and what their agents would order and hear.

use holdfast_api::ids::{Generation, ModuleId, NodeId};
use holdfast_core::replica::{Plane, ReplicaCommand as C, ReplicaEvent as E};
use holdfast_replica::control::{self, AsyncMode, Configure, FromReplica, PROTOCOL, Stats, ToReplica, VerifyReport};
use holdfast_replica::tls::pin::fingerprint;
use holdfast_replica::verify::{Compare, compare_trees_with};
use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const FIRST: Generation = Generation { number: 1, id: 11 };
pub const SECOND: Generation = Generation { number: 2, id: 22 };

pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Keys, addresses and folders of two nodes.
pub struct Nodes {
    pub base: tempfile::TempDir,
    pub ports: [SocketAddr; 2],
    pub fingerprints: [String; 2],
}

impl Nodes {
    pub fn new() -> Self {
        let base = tempfile::Builder::new().prefix("holdfast-replica-").tempdir_in("/tmp").unwrap();
        let ports = [1, 2].map(address);
        let fingerprints = [1, 2].map(|node| make_key(base.path(), &format!("node{node}")));
        for node in [1, 2] {
            fs::create_dir(base.path().join(format!("data{node}"))).unwrap();
            fs::create_dir(base.path().join(format!("state{node}"))).unwrap();
        }
        Self { base, ports, fingerprints }
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.base.path().join(format!("data{node}"))
    }

    pub fn state(&self, node: usize) -> PathBuf {
        self.base.path().join(format!("state{node}"))
    }

    pub fn configure(&self, node: usize) -> Configure {
        let other = 3 - node;
        Configure {
            protocol: PROTOCOL,
            module: "mirror".into(),
            module_id: ModuleId(1),
            directories: vec![self.data(node)],
            exclusions: Vec::new(),
            covered: None,
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
            send_timeout_ms: 30_000, // beside builds a disk stands still for seconds
            resume_window_ms: 700,
            resync_threads: 6,
            resync_bytes_per_s: 0,
            resync_mark_ms: 15_000,
            orphan: None,
        }
    }

    pub fn start(&self, node: usize) -> Replica {
        Replica::start(self.configure(node))
    }

    pub fn differences(&self) -> Vec<String> {
        let found = compare_trees_with(&self.data(1), &self.data(2), Compare { stamped_times: false }).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    /// What differs between the files themselves, below the mounts, after both ended in order.
    pub fn differences_of(&self, primary: &mut Replica, secondary: &mut Replica) -> Vec<String> {
        primary.command(C::Release { abort: false });
        primary.expect_event(E::Released);
        secondary.command(C::Fence);
        secondary.expect_event(E::Fenced);
        secondary.command(C::Release { abort: false });
        secondary.expect_event(E::Released);
        self.differences()
    }
}

impl Drop for Nodes {
    /// What a killed process left mounted would keep the folder from being removed.
    fn drop(&mut self) {
        for node in [1, 2] {
            let _ = rustix::mount::unmount(self.data(node), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Where a node listens: an address that no other process of this machine takes for a connection of its own.
pub fn address(node: u8) -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let port = 20_000 + TAKEN.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, node, high, low], port))
}

pub fn make_key(folder: &Path, name: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join(format!("{name}.crt")), made.cert.pem()).unwrap();
    fingerprint(made.cert.der()).unwrap()
}

/// One replica process and what it has told.
pub struct Replica {
    pub child: Child,
    pub socket: UnixStream,
    pub told: Arc<Mutex<Vec<E>>>,
    pub stats: Arc<Mutex<Stats>>,
    pub verified: Arc<Mutex<Option<VerifyReport>>>,
    pub plane: Arc<Mutex<Option<Plane>>>,
    /// How often it has said that it goes on, or told figures.
    pub words: Arc<AtomicU64>,
    pub read: usize,
}

impl Replica {
    pub fn start(configure: Configure) -> Self {
        Self::begin(&ToReplica::Configure(Box::new(configure)), None)
    }

    /// With its first message; killed at this point of its work.
    pub fn begin(first: &ToReplica, crash_at: Option<&str>) -> Self {
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
        let words = Arc::new(AtomicU64::new(0));
        let heard = words.clone();
        std::thread::spawn(move || {
            while let Ok(Some(message)) = control::receive::<FromReplica>(&socket) {
                match message {
                    FromReplica::Event(event) => events.lock().unwrap().push(event),
                    FromReplica::Stats(stats) => {
                        *figures.lock().unwrap() = stats;
                        heard.fetch_add(1, Ordering::Relaxed);
                    }
                    FromReplica::Alive => drop(heard.fetch_add(1, Ordering::Relaxed)),
                    FromReplica::Found(plane) => *found.lock().unwrap() = Some(plane),
                    FromReplica::Done | FromReplica::Refused(_) => {}
                    FromReplica::Verify(report) => *verified.lock().unwrap() = Some(report),
                }
            }
        });
        Self { child, socket: ours, told, stats, verified: report, plane, words, read: 0 }
    }

    /// Lets it have no more descriptors than these.
    pub fn limit_descriptors(&self, most: u64) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).unwrap();
    }

    /// Waits until it has said once more that it goes on.
    pub fn goes_on(&self) {
        let before = self.words.load(Ordering::Relaxed);
        eventually("a word", || self.words.load(Ordering::Relaxed) > before);
    }

    /// Compares both copies.
    pub fn verify(&self) -> VerifyReport {
        *self.verified.lock().unwrap() = None;
        control::send(&self.socket, &ToReplica::Verify).unwrap();
        eventually("the comparison ends", || {
            self.verified.lock().unwrap().as_ref().is_some_and(|report| !report.running)
        });
        self.verified.lock().unwrap().clone().unwrap()
    }

    pub fn command(&self, command: C) {
        control::send(&self.socket, &ToReplica::Command(command)).unwrap();
    }

    /// Waits for an event among those not yet waited past; others before it are passed over.
    pub fn expect<T>(&mut self, what: &str, pick: impl Fn(&E) -> Option<T>) -> T {
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

    pub fn expect_event(&mut self, event: E) {
        self.expect(&format!("{event:?}"), |e| (*e == event).then_some(()));
    }

    pub fn failed(&mut self) -> String {
        self.expect("Failed", |e| match e {
            E::Failed { reason } => Some(reason.clone()),
            _ => None,
        })
    }

    /// Whether the process is gone, or nothing of it but a thread that waits for its own mount.
    pub fn socket_has_ended(&self) -> bool {
        let mut byte = [0];
        rustix::net::recv(&self.socket, &mut byte, rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT)
            .is_ok_and(|(got, _)| got == 0)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn close(mut self) {
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
pub fn pair(nodes: &Nodes, load: impl FnOnce(&Path) + Send + 'static) -> (Replica, Replica) {
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

pub fn follow(primary: &mut Replica, secondary: &mut Replica, session: u64, generation: Generation) {
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

pub fn fill(root: &Path, from: usize, to: usize) {
    for i in from..to {
        let folder = root.join(format!("folder{}", i % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("file{i}")), vec![i as u8; 1 + i * 977]).unwrap();
    }
}
