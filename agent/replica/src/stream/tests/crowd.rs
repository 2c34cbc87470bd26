//! Directories with many names, resynced piece by piece while names are made, moved and removed in them: afterwards both
//! trees are the same, and at no time much is known of them. (Pieces and looks are small in tests.)

use super::support::{Pair, eventually};
use super::tracked::differences;
use crate::resync::Limits;
use holdfast_core::replica::ReplicaEvent;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    /// One of many names of few directories.
    fn path(&mut self, root: &Path) -> PathBuf {
        let folder = ["", "one", "two", "one/in"][self.roll(4) as usize];
        root.join(folder).join(format!("n{:03}", self.roll(150)))
    }

    fn content(&mut self) -> String {
        format!("content {}", self.roll(1 << 40)).repeat(1 + self.roll(9) as usize)
    }
}

/// One change of names, or of what is behind one; that some cannot be done is part of it.
fn change(dice: &mut Dice, root: &Path, links: bool) -> std::io::Result<()> {
    let (path, other) = (dice.path(root), dice.path(root));
    match dice.roll(16) {
        0..4 => fs::write(path, dice.content()),
        4..7 => fs::rename(path, other),
        7 | 8 => fs::remove_file(path),
        9 if links => fs::hard_link(path, other),
        10 => {
            let (here, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
            Ok(rustix::fs::renameat_with(here, path, here, other, flags)?)
        }
        11 => std::os::unix::fs::symlink(dice.content(), path),
        12 => {
            // With something in it, and moved.
            fs::create_dir(&path)?;
            fs::write(path.join("inside"), dice.content())?;
            fs::rename(path, other)
        }
        13 => fs::remove_dir_all(path),
        14 => fs::rename(root.join("one/in"), root.join("two/in"))
            .or_else(|_| fs::rename(root.join("two/in"), root.join("one/in"))),
        _ => fs::OpenOptions::new().write(true).open(path)?.write_all_at(dice.content().as_bytes(), dice.roll(9000)),
    }
}

fn fill(root: &Path, seed: u64, links: bool) {
    for folder in ["one/in", "two"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut dice = Dice::new(seed);
    for _ in 0..600 {
        let _ = change(&mut dice, root, links);
    }
    let _ = fs::rename(root.join("two/in"), root.join("one/in"));
}

struct Changing {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Changing {
    fn start(root: &Path, seed: u64, links: bool) -> Changing {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..2).map(|thread| {
            let (root, stop, changes) = (root.to_owned(), stop.clone(), changes.clone());
            let mut dice = Dice::new(seed * 10 + thread);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = change(&mut dice, &root, links) {
                        assert_ne!(error.raw_os_error(), Some(5), "no change may be refused");
                    }
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Changing { threads: threads.collect(), stop, changes }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.changes.load(Ordering::Relaxed)
    }
}

/// Slow enough for changes between any two pieces.
fn slow(seed: u64) -> Limits {
    Limits { threads: 1 + seed as usize % 3, bytes_per_s: 2 << 20, mark_period: Duration::from_secs(60) }
}

#[test]
fn what_changes_in_crowded_directories_while_they_are_compared_is_the_same_on_both() {
    for seed in 1..=3 {
        let mut pair = Pair::limited(slow(seed), |a, b| {
            fill(a, seed, true);
            fill(b, seed + 100, true);
        });
        let changing = Changing::start(&pair.a(), seed, true);
        pair.resync(1);
        let changes = changing.end();
        assert!(changes > 100, "{changes} changes were made meanwhile");
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn what_changes_in_crowded_directories_is_the_same_after_a_compare_of_what_is_named() {
    for seed in 1..=2 {
        let mut pair = Pair::limited(slow(seed), |a, _| fill(a, seed, false));
        pair.resync(1);
        let changing = Changing::start(&pair.a(), seed, false);
        pair.crash_secondary();
        let before = changing.changes.load(Ordering::Relaxed);
        eventually("enough is changed", || changing.changes.load(Ordering::Relaxed) > before + 300);
        pair.resync(2);
        changing.end();
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn of_a_directory_with_many_files_few_are_known_at_any_time() {
    let many = 2000;
    let mut pair = Pair::tracked(|a, b| {
        for tree in [a, b] {
            fs::create_dir(tree.join("many")).unwrap();
            // Half of them are everywhere, and each node has some of its own.
            let own = if tree == a { 0 } else { many / 2 };
            (own..own + many).for_each(|number| fs::write(tree.join(format!("many/{number}")), "x").unwrap());
        }
    });
    pair.begin(1);
    let (events, mut most) = (pair.primary_events.clone(), 0);
    eventually("all is copied", || {
        most = most.max(pair.known());
        events.any(|event| *event == ReplicaEvent::ResyncCopied { session: 1 })
    });
    pair.end_resync(1);
    assert!(most < 200, "{most} objects were known at once");
    assert_eq!(pair.verify().differences, 0);
    assert!(pair.known() < 200);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}
