//! A primary with a real mount and a secondary that applies, in one process.

use crate::control::AsyncMode;
use crate::filter::Filter;
use crate::front::{Front, Inodes, Mode};
use crate::replicate::Replicate;
use crate::resync::Limits;
use crate::stream::applier::Applier;
use crate::stream::follower::{Follow, Follower};
use crate::stream::sender::Sender;
use crate::stream::server::{Serve, Server};
use crate::stream::{Events, Local};
use crate::tls::tests::Keys;
use crate::tls::{Channel, Protection};
use crate::track::Tracker;
use crate::track::keeper::Keeper;
use holdfast_api::ids::Generation;
use holdfast_api::userconfig::{Excluded, Exclusion};
use holdfast_core::replica::ReplicaEvent;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Events as they came.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<ReplicaEvent>>>);

impl Seen {
    pub(super) fn sink(&self) -> Events {
        let seen = self.0.clone();
        Arc::new(move |event| seen.lock().unwrap().push(event))
    }

    pub(super) fn any(&self, matches: impl Fn(&ReplicaEvent) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(matches)
    }

    pub(super) fn last<T>(&self, pick: impl Fn(&ReplicaEvent) -> Option<T>) -> Option<T> {
        self.0.lock().unwrap().iter().rev().find_map(pick)
    }

    pub(super) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(super) fn lost(&self) -> Option<String> {
        self.last(|event| match event {
            ReplicaEvent::StreamLost { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }
}

pub(super) struct Pair {
    follower: Option<Follower>,
    pub(super) trackers: Option<[Arc<Tracker>; 2]>,
    keeper: Option<Keeper>,
    server: Option<Server>,
    serve: Serve,
    front: Option<Arc<Front>>,
    pub(super) inodes: Arc<Inodes>,
    pub(super) sender: Arc<Sender>,
    pub(super) primary_events: Seen,
    pub(super) secondary_events: Seen,
    pub(super) generation: Generation,
    protection: Protection,
    filter: Arc<Filter>,
    base: tempfile::TempDir,
    limits: Limits,
    /// A rule is broken, to see that a test notices.
    pub(super) applies_out_of_order: bool,
    _watch: mpsc::Sender<()>,
}

fn local(node: u16) -> Local {
    Local {
        module: 1,
        node,
        peer_node: 3 - node,
        boot_id: format!("boot-{node}"),
        incarnation: u64::from(node),
        send_timeout: Duration::from_secs(20),
        resume_window: Duration::from_millis(700),
    }
}

impl Pair {
    /// Directories `a` (mounted) and `b`, filled before.
    pub(super) fn new(fill: impl FnOnce(&Path, &Path)) -> Self {
        Self::in_folder(base_folder(), false, fill, &[], Limits::default())
    }

    /// As [`Pair::new`], without replicating these names.
    pub(super) fn excluding(fill: impl FnOnce(&Path, &Path), names: &[Excluded]) -> Self {
        Self::in_folder(base_folder(), false, fill, names, Limits::default())
    }

    /// As [`Pair::new`], and both nodes remember what may differ.
    pub(super) fn tracked(fill: impl FnOnce(&Path, &Path)) -> Self {
        Self::in_folder(base_folder(), true, fill, &[], Limits::default())
    }

    /// As [`Pair::tracked`], without replicating these names.
    pub(super) fn tracked_excluding(fill: impl FnOnce(&Path, &Path), names: &[Excluded]) -> Self {
        Self::in_folder(base_folder(), true, fill, names, Limits::default())
    }

    /// As [`Pair::tracked`], with a resync that keeps to these limits.
    pub(super) fn limited(limits: Limits, fill: impl FnOnce(&Path, &Path)) -> Self {
        Self::in_folder(base_folder(), true, fill, &[], limits)
    }

    fn in_folder(
        base: tempfile::TempDir,
        tracked: bool,
        fill: impl FnOnce(&Path, &Path),
        names: &[Excluded],
        limits: Limits,
    ) -> Self {
        let (a, b) = (base.path().join("a"), base.path().join("b"));
        if !a.exists() {
            std::fs::create_dir(&a).unwrap();
            std::fs::create_dir(&b).unwrap();
        }
        fill(&a, &b);
        let (one, two) = (Keys::new(), Keys::new());
        let generation = Generation { number: 1, id: 1 };
        let (primary_events, secondary_events) = (Seen::default(), Seen::default());
        let sender = Sender::new(local(1), generation, primary_events.sink());
        let filter = |path: &Path| {
            let exclusion =
                |names: &Excluded| Exclusion { directory: path.display().to_string(), names: names.clone() };
            let exclusions: Vec<_> = names.iter().map(exclusion).collect();
            Arc::new(Filter::new(&[path.to_owned()], &exclusions).unwrap())
        };
        let (filter_b, filter) = (filter(&b), filter(&a));
        let trackers = tracked
            .then(|| [(1, &filter), (2, &filter_b)].map(|(node, filter)| open_tracker(base.path(), node, filter)));
        let inodes = Inodes::open_filtered(&[a], filter).unwrap();
        inodes.set_tracker(trackers.as_ref().map(|[one, _]| one.clone()));
        let keeper = trackers.as_ref().map(|[one, _]| Keeper::new(one.clone(), inodes.clone(), &sender));
        let replicate: Arc<dyn Replicate> = sender.clone();
        let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &replicate).unwrap());
        let serve = Serve {
            sender: sender.clone(),
            inodes: inodes.clone(),
            protection: one.trusting(&two),
            send_timeout: Duration::from_secs(20),
            events: primary_events.sink(),
            limits,
        };
        let server = Server::start("127.0.0.1:0".parse().unwrap(), serve.clone()).unwrap();
        Self {
            _watch: watch(&front),
            follower: None,
            trackers,
            keeper,
            server: Some(server),
            serve,
            front: Some(front),
            inodes,
            sender,
            primary_events,
            secondary_events,
            generation,
            protection: two.trusting(&one),
            filter: filter_b,
            base,
            limits,
            applies_out_of_order: false,
        }
    }

    pub(super) fn a(&self) -> PathBuf {
        self.base.path().join("a")
    }

    pub(super) fn b(&self) -> PathBuf {
        self.base.path().join("b")
    }

    /// The next resync keeps to these limits.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.serve.limits = limits;
        self.server = Some(Server::start("127.0.0.1:0".parse().unwrap(), self.serve.clone()).unwrap());
    }

    pub(super) fn follower(&self) -> &Follower {
        self.follower.as_ref().unwrap()
    }

    pub(super) fn drop_follower(&mut self) {
        self.follower = None;
    }

    fn address(&self) -> std::net::SocketAddr {
        self.server.as_ref().unwrap().address().unwrap()
    }

    /// A connection with the peer's key that has said nothing yet.
    pub(super) fn dial(&self) -> Channel {
        let socket = TcpStream::connect(self.address()).unwrap();
        self.protection.channel(socket, false, Duration::from_secs(5)).unwrap()
    }

    /// A session that begins.
    pub(super) fn begin(&mut self, session: u64) {
        self.sender.accept_peer(session).unwrap();
        let root = Arc::new(OwnedFd::from(std::fs::File::open(self.b()).unwrap()));
        let applier = Applier::new(vec![(self.b(), root)], AsyncMode::Second).unwrap();
        let mut applier = applier.with_filter(self.filter.clone());
        applier.out_of_order = self.applies_out_of_order.then_some(None);
        self.follower = Some(Follower::start(
            Follow {
                local: local(2),
                peer: self.address(),
                protection: self.protection.clone(),
                session,
                generation: self.generation,
                events: self.secondary_events.sink(),
                tracker: self.trackers.as_ref().map(|[_, two]| two.clone()),
            },
            applier,
        ));
    }

    /// Objects that the primary knows.
    pub(super) fn known(&self) -> usize {
        self.inodes.len()
    }

    /// Compares both copies as they are.
    pub(super) fn verify(&self) -> crate::control::VerifyReport {
        let last = Mutex::default();
        crate::survey::verify(&self.sender, &self.inodes, &|report| *last.lock().unwrap() = report);
        last.into_inner().unwrap()
    }

    /// A whole session up to UpToDate.
    pub(super) fn resync(&mut self, session: u64) {
        self.begin(session);
        self.end_resync(session);
    }

    /// What is left of a session that has begun, up to UpToDate.
    pub(super) fn end_resync(&mut self, session: u64) {
        let (primary, secondary) = (self.primary_events.clone(), self.secondary_events.clone());
        let wait = |what: &str, seen: &Seen, event: ReplicaEvent| {
            eventually(what, || {
                assert_eq!(primary.lost().filter(|_| session == 1), None);
                seen.any(|e| *e == event)
            });
        };
        wait("copied", &primary, ReplicaEvent::ResyncCopied { session });
        self.sender.complete_resync().unwrap();
        wait("caught up", &secondary, ReplicaEvent::CaughtUp { session });
        self.follower().confirm();
        wait("up to date", &primary, ReplicaEvent::PeerUpToDate { session });
        self.look(false);
    }

    /// The keeper of the primary's tracker looks; `due`: at a flush.
    pub(super) fn look(&mut self, due: bool) {
        if let Some(keeper) = &mut self.keeper {
            keeper.look(&self.sender, due).unwrap();
        }
    }

    /// The secondary's process is gone, and what it only had in memory.
    pub(super) fn crash_secondary(&mut self) {
        self.follower = None;
        let sender = self.sender.clone();
        let lost = self.primary_events.clone();
        eventually("the stream is lost", || lost.lost().is_some());
        self.generation = Generation { number: self.generation.number + 1, id: 7 };
        sender.continue_alone(self.generation).unwrap();
        self.primary_events.forget();
        self.secondary_events.forget();
        if let Some([_, two]) = &mut self.trackers {
            two.close();
            *two = open_tracker(self.base.path(), 2, &self.filter);
        }
    }

    /// Both processes are gone; the primary starts anew, and nothing is excluded from replication any more.
    pub(super) fn crash_both(mut self, between: impl FnOnce(&Path, &Path)) -> Self {
        self.follower = None;
        let front = self.front.take().unwrap();
        let _ = front.unmount(true);
        // Before the next one: it unmounts whatever is there.
        drop(front);
        self.server = None;
        self.keeper = None;
        if let Some(trackers) = self.trackers.take() {
            trackers.iter().for_each(|tracker| tracker.close());
        }
        let limits = self.limits;
        let base = std::mem::replace(&mut self.base, tempfile::tempdir().unwrap());
        Self::in_folder(base, true, between, &[], limits)
    }

    /// Entries and bytes that the last resync compared.
    pub(super) fn compared(&self) -> (u64, u64) {
        let progress = self.primary_events.last(|event| match event {
            ReplicaEvent::ResyncProgress { progress } => Some(*progress),
            _ => None,
        });
        let progress = progress.unwrap();
        (progress.entries_done, progress.bytes_done)
    }

    /// Ends everything; the directories can be compared.
    pub(super) fn stop(&mut self) {
        // Not aborted: closed files have their times sent.
        let front = self.front.take().unwrap();
        eventually("unmounted", || front.unmount(false).is_ok());
        if let Some(follower) = &mut self.follower {
            // What was submitted last and nobody waited for (times of closed files) is on its way.
            let sender = self.sender.clone();
            eventually("everything is acknowledged", || sender.idle());
            follower.fence();
        }
        self.server = None;
    }
}

fn base_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("holdfast-stream-").tempdir_in("/tmp").unwrap()
}

fn open_tracker(base: &Path, node: u16, filter: &Filter) -> Arc<Tracker> {
    let folder = base.join(format!("state{node}"));
    std::fs::create_dir_all(&folder).unwrap();
    let tree = base.join(if node == 1 { "a" } else { "b" });
    let root = Arc::new(OwnedFd::from(std::fs::File::open(tree).unwrap()));
    Tracker::open(&folder, (vec![root], filter), "boot").unwrap().unwrap()
}

/// Aborts the mounts of a test that hangs.
fn watch(front: &Arc<Front>) -> mpsc::Sender<()> {
    let (done, finished) = mpsc::channel::<()>();
    let front = Arc::downgrade(front);
    std::thread::spawn(move || {
        let hangs = finished.recv_timeout(Duration::from_secs(150)) == Err(mpsc::RecvTimeoutError::Timeout);
        if let Some(front) = front.upgrade().filter(|_| hangs) {
            eprintln!("the test hangs: aborting its mounts");
            let _ = front.unmount(true);
        }
    });
    done
}

/// Has the kernel forget what nobody uses of a mount: to change a mount it lets go of all names.
pub(super) fn forget_unused(mount: &Path) -> std::io::Result<()> {
    Ok(rustix::mount::mount_remount(mount, rustix::mount::MountFlags::empty(), c"")?)
}

/// Polls until `condition` holds.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
