//! Kills at every named point of both data planes, under load: nothing acknowledged is missing, and after the next resync
//! both copies are equal.

use super::*;
use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// A point, and the passages of it at which a node is killed: the first must come, later ones may.
type Points = [(&'static str, &'static [u64])];

/// Points of the node that serves, in the order of a session.
const SERVING: &Points = &[
    ("track-before-append", &[1, 3]),
    ("track-appended", &[1, 3]),
    ("track-rewriting", &[1, 2, 3]),
    ("track-rewritten", &[1, 2]),
    ("front-made", &[1, 700]),
    ("front-acknowledged", &[1]),
    ("stream-placed", &[1, 90, 900]),
    ("stream-sent", &[1, 90]),
    ("mark-answered", &[1]),
    ("mark-saved", &[1]),
    ("resync-copied", &[1]),
    ("resync-completing", &[1]),
    ("up-to-date-heard", &[1]),
    ("pairing-synced", &[1]),
    ("pairing-saved", &[1]),
    ("flush-asked", &[1]),
    ("flush-answered", &[1]),
    ("flush-saved", &[1]),
];

/// Points of the node that follows.
const FOLLOWING: &Points = &[
    ("peer-applied", &[1, 90, 900]),
    ("peer-settled", &[1, 30]),
    ("peer-acknowledged", &[1, 30]),
    ("peer-synced", &[1, 2]),
    ("peer-saved", &[1, 2]),
    ("track-rewriting", &[1, 2]),
    ("track-rewritten", &[1, 2]),
];

/// Passed only where a next process takes the mount over: killed there in `outlives`.
const ELSEWHERE: [&str; 1] = ["front-begun"];

/// Files whose attributes are changed once the nodes are a pair: more than stay named without a flush.
const NAMED: usize = 1100;
/// Bytes of one entry of the ledger.
const ENTRY: usize = 16;

/// Writers that remember what was acknowledged to them: entries of a ledger, each twice (in a file that is written in
/// place, and as a file of its own that is written under another name and renamed), and removals.
struct Clerk {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Acknowledged>,
}

#[derive(Default)]
struct Acknowledged {
    entries: u64,
    files: u64,
    removed: u64,
}

fn entry(number: u64) -> [u8; ENTRY] {
    let mut bytes = [0xa5; ENTRY];
    bytes[..8].copy_from_slice(&(number + 1).to_le_bytes());
    bytes
}

impl Clerk {
    /// Ends with the first error: the mount is gone.
    fn start(root: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut told = Acknowledged::default();
            // Ends when it cannot write; what was acknowledged before is what counts.
            let _ = write_until(&root, &stopped, &mut told);
            told
        });
        Self { stop, thread }
    }

    fn end(self) -> Acknowledged {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

fn write_until(root: &Path, stop: &AtomicBool, told: &mut Acknowledged) -> std::io::Result<()> {
    let ledger = fs::File::options().write(true).create(true).truncate(false).open(root.join("ledger"))?;
    for number in 0.. {
        if stop.load(Ordering::Acquire) {
            return Ok(());
        }
        ledger.write_all_at(&entry(number), number * ENTRY as u64)?;
        told.entries = number + 1;
        fs::write(root.join("new"), entry(number))?;
        fs::rename(root.join("new"), root.join(format!("entry{number}")))?;
        told.files = number + 1;
        if number >= 40 {
            fs::remove_file(root.join(format!("entry{}", number - 40)))?;
            told.removed = number - 39;
        }
        if number % 8 == 7 {
            ledger.sync_data()?;
        }
    }
    Ok(())
}

impl Acknowledged {
    /// Everything acknowledged is there, as it was told.
    fn demand(&self, root: &Path, place: &str) {
        let ledger = fs::read(root.join("ledger")).unwrap_or_default();
        for number in 0..self.entries {
            let at = number as usize * ENTRY;
            assert_eq!(ledger.get(at..at + ENTRY), Some(&entry(number)[..]), "{place}: entry {number} of the ledger");
        }
        // The next one may have been begun.
        for number in self.removed + 1..self.files {
            let file = fs::read(root.join(format!("entry{number}"))).unwrap_or_default();
            assert_eq!(file, entry(number), "{place}: file {number}");
        }
        for number in 0..self.removed {
            assert!(!root.join(format!("entry{number}")).exists(), "{place}: file {number} is there again");
        }
    }
}

/// What a run came to before its victim died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// Nobody but the primary has everything.
    Begun,
    /// The secondary has everything: its agent saves that, and it may be promoted from here on.
    Complete,
    /// The story was told to its end.
    End,
}

/// Waits for an event of `from`; `false` if the victim died before.
fn await_event(from: &Replica, victim: &Replica, wanted: &dyn Fn(&E) -> bool) -> bool {
    let mut came = false;
    eventually("an event, or the kill", || {
        came = from.told.lock().unwrap().iter().any(wanted);
        came || victim.socket_has_ended()
    });
    came || from.told.lock().unwrap().iter().any(wanted)
}

/// Orders something of a node that may be gone by now: then the next wait ends with that.
fn order(replica: &Replica, command: C) {
    let _ = control::send(&replica.socket, &ToReplica::Command(command));
}

/// A session from its beginning to its first flush, under load; how far it came before the victim died.
fn story(nodes: &Nodes, (one, two): (&Replica, &Replica), at: &Kill, clerk: &mut Option<Clerk>) -> Reached {
    let victim = if at.node == 1 { one } else { two };
    order(one, C::Serve { generation: FIRST });
    if !await_event(one, victim, &|e| matches!(e, E::Serving)) {
        return Reached::Begun;
    }
    *clerk = Some(Clerk::start(nodes.data(1)));
    order(two, C::Follow { session: 7, generation: FIRST });
    order(one, C::AcceptPeer { session: 7 });
    if !await_event(one, victim, &|e| matches!(e, E::ResyncCopied { .. })) {
        return Reached::Begun;
    }
    order(one, C::CompleteResync);
    if !await_event(two, victim, &|e| matches!(e, E::CaughtUp { .. })) {
        return Reached::Begun;
    }
    order(two, C::ConfirmUpToDate);
    if !await_event(one, victim, &|e| matches!(e, E::PeerUpToDate { .. })) {
        return Reached::Complete;
    }
    change_many(nodes, at.named());
    let written = || fs::metadata(nodes.data(1).join("ledger")).map_or(0, |found| found.len());
    let (began, end) = (written(), Instant::now() + Duration::from_secs(20));
    let enough = || at.named() == 0 && written() > began + 150 * ENTRY as u64;
    while !victim.socket_has_ended() && !enough() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    if victim.socket_has_ended() { Reached::Complete } else { Reached::End }
}

/// Changes the attributes of so many files, several at once: each is named in the journal.
fn change_many(nodes: &Nodes, count: usize) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let folder = nodes.data(1).join("many");
            scope.spawn(move || {
                for number in (thread..count).step_by(8) {
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                    if fs::set_permissions(folder.join(number.to_string()), mode).is_err() {
                        // The mount is gone.
                        return;
                    }
                }
            });
        }
    });
}

/// Where a node is killed.
struct Kill {
    node: usize,
    point: &'static str,
    passage: u64,
}

impl Kill {
    /// Files whose attributes are changed in a pair, so that it is flushed.
    fn named(&self) -> usize {
        if self.point.starts_with("flush") { NAMED } else { 0 }
    }

    fn begin(&self, nodes: &Nodes, node: usize) -> Replica {
        let resync_mark_ms = if self.point.starts_with("mark") { 1 } else { 15_000 };
        let configure = Configure { resync_mark_ms, resume_window_ms: 200, ..nodes.configure(node) };
        let at = format!("{}:{}", self.point, self.passage);
        Replica::begin(&ToReplica::Configure(Box::new(configure)), (node == self.node).then_some(&at))
    }
}

/// One run with a kill; whether its point was passed.
fn killed(at: &Kill) -> bool {
    let node = at.node;
    let place = format!("node{node} killed at {}:{}", at.point, at.passage);
    let nodes = Nodes::new();
    fill(&nodes.data(1), 0, 40);
    fill(&nodes.data(2), 20, 60);
    fs::create_dir(nodes.data(1).join("many")).unwrap();
    (0..at.named()).for_each(|number| fs::write(nodes.data(1).join(format!("many/{number}")), "").unwrap());
    let (mut one, mut two) = (at.begin(&nodes, 1), at.begin(&nodes, 2));
    let mut clerk = None;
    let reached = story(&nodes, (&one, &two), at, &mut clerk);
    if reached == Reached::End {
        // What still runs may yet come by the point: nothing is read through the mount any more.
        clerk.unwrap().end();
        return false;
    }
    let acknowledged;
    let (primary, secondary) = if node == 2 {
        // The primary goes on under a grant.
        two.child.wait().unwrap();
        one.command(C::ContinueAlone { generation: SECOND });
        let two = nodes.start(2);
        acknowledged = (clerk, 1);
        (one, two)
    } else if reached == Reached::Complete {
        // The secondary has been saved as up to date: it takes over, with everything that was acknowledged.
        one.child.wait().unwrap();
        two.command(C::ConfirmUpToDate);
        two.command(C::Fence);
        two.expect_event(E::Fenced);
        two.command(C::Serve { generation: SECOND });
        two.expect_event(E::Serving);
        clerk.unwrap().end().demand(&nodes.data(2), &place);
        acknowledged = (None, 2);
        (two, nodes.start(1))
    } else {
        // Nobody but the primary has everything: it comes back.
        one.child.wait().unwrap();
        two.command(C::Fence);
        two.expect_event(E::Fenced);
        drop(two);
        let mut one = nodes.start(1);
        one.command(C::Serve { generation: SECOND });
        one.expect_event(E::Serving);
        if let Some(clerk) = clerk {
            clerk.end().demand(&nodes.data(1), &place);
        }
        acknowledged = (None, 1);
        (one, nodes.start(2))
    };
    let (mut primary, mut secondary) = (primary, secondary);
    follow(&mut primary, &mut secondary, 8, SECOND);
    let (clerk, serving) = acknowledged;
    if let Some(clerk) = clerk {
        let told = clerk.end();
        assert!(told.files > 0, "{place}: nothing was written");
        told.demand(&nodes.data(serving), &place);
        told.demand(&nodes.data(3 - serving), &place);
    }
    let differences = nodes.differences_of(&mut primary, &mut secondary);
    assert_eq!(differences, Vec::<String>::new(), "{place}");
    true
}

#[test]
fn a_kill_at_any_point_loses_nothing_acknowledged_and_both_copies_are_equal_again() {
    let (mut runs, missed) = (Vec::new(), Mutex::new(Vec::new()));
    for (node, points) in [(1, SERVING), (2, FOLLOWING)] {
        for (point, passages) in points {
            runs.extend(passages.iter().map(|&passage| Kill { node, point, passage }));
        }
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    // A few at a time: most of the time each waits for a clock.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(at) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let passed = killed(at);
                    println!("node{} at {}:{}: {passed}, {:?}", at.node, at.point, at.passage, began.elapsed());
                    if !passed && at.passage == 1 {
                        missed.lock().unwrap().push((at.node, at.point));
                    }
                }
            });
        }
    });
    assert_eq!(missed.into_inner().unwrap(), [], "never passed");
}

#[test]
fn every_point_of_the_data_plane_is_one_that_is_killed_at() {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(path).unwrap();
                found.extend(
                    text.split("crash::point(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
                );
            }
        }
    }
    let known = SERVING.iter().chain(FOLLOWING).map(|(point, _)| *point).chain(ELSEWHERE);
    assert_eq!(found, known.map(str::to_owned).collect());
}
