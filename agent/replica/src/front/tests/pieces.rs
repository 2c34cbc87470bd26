//! A directory listed piece by piece is what it is at the moment of each piece, whatever is made, moved and removed.

use super::support::Mounted;
use crate::front::{Held, Piece, Pieces};
use crate::tree::{Level, list};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// All names of a directory that are replicated.
pub(super) fn names(directory: &Held) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut pieces = Pieces::begin(directory, 0);
    while !pieces.is_over() {
        all.extend(piece(&mut pieces, |_| {}).children.into_iter().map(|(name, _, _)| name));
    }
    all
}

/// The next piece, looked at by `check` under the directory's order lock.
fn piece(pieces: &mut Pieces, check: impl Fn(&Piece)) -> Piece {
    let directory = pieces.directory().clone();
    loop {
        pieces.look().unwrap();
        let order = directory.lock_order();
        if let Some(piece) = pieces.next(&order).unwrap() {
            check(&piece);
            return piece;
        }
    }
}

#[test]
fn pieces_follow_each_other_from_the_first_name_to_the_last() {
    let count = 1500;
    let m = Mounted::with(
        |path| (0..count).for_each(|number| fs::write(path.join(format!("f{number}")), "").unwrap()),
        4096,
    );
    let root = m.inodes.root(0).unwrap();
    let mut pieces = Pieces::begin(&root, 0);
    let (mut after, mut all) = (Vec::new(), BTreeSet::new());
    while !pieces.is_over() {
        let piece = piece(&mut pieces, |_| {});
        assert_eq!(piece.after, after);
        assert!(piece.children.len() <= 16 && m.inodes.len() < 20, "no more is kept than one piece");
        all.extend(piece.children.into_iter().map(|(name, _, _)| name));
        after = piece.upto;
    }
    assert!(after.is_empty());
    assert_eq!(all.len(), count);
}

/// Two threads that change names of a directory until this is dropped.
struct Changing {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Changing {
    fn start(m: &Mounted) -> Changing {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (1..=2).map(|thread| {
            let (path, stop, changes) = (m.path(), stop.clone(), changes.clone());
            let mut number = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread);
            let mut roll = move |below: u64| {
                number ^= number << 13;
                number ^= number >> 7;
                number ^= number << 17;
                (number >> 11) % below
            };
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let (one, other) = (path.join(format!("f{}", roll(900))), path.join(format!("f{}", roll(900))));
                    let aside = path.join(format!("aside/f{}", roll(50)));
                    // Some cannot be done.
                    let _ = match roll(8) {
                        0 | 1 => fs::write(one, ""),
                        2 => fs::remove_file(one),
                        3 => fs::rename(one, other),
                        4 => fs::rename(one, aside),
                        5 => fs::rename(aside, one),
                        6 => fs::hard_link(one, other),
                        _ => std::os::unix::fs::symlink("x", one),
                    };
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Changing { threads: threads.collect(), stop, changes }
    }

    /// Waits until as many changes more were made.
    fn some(&self, count: u64) {
        let (from, end) = (self.changes.load(Ordering::Relaxed), Instant::now() + Duration::from_secs(60));
        while self.changes.load(Ordering::Relaxed) < from + count {
            assert!(Instant::now() < end, "changes stand still");
            std::thread::yield_now();
        }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn many(path: &Path) {
    (0..700).for_each(|number| fs::write(path.join(format!("f{number}")), "").unwrap());
    fs::create_dir(path.join("aside")).unwrap();
}

/// The names that the directory has between the piece's ends and those that were told.
fn both(backing: &OwnedFd, piece: &Piece) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
    let within = |name: &Vec<u8>| *name > piece.after && (piece.upto.is_empty() || *name <= piece.upto);
    let there = list::list_all(backing).unwrap().into_iter().map(|entry| entry.name);
    (there.filter(within).collect(), piece.children.iter().map(|(name, _, _)| name.clone()).collect())
}

#[test]
fn each_piece_is_what_the_directory_has_there_at_that_moment() {
    let m = Mounted::with(many, 4096);
    let root = m.inodes.root(0).unwrap();
    let backing = m.inodes.open_backing(&root, Level::Read).unwrap();
    let changing = Changing::start(&m);
    // Small looks, and more changes than a watch remembers.
    for beside in [0, 2, 4, 9] {
        let mut pieces = Pieces::begin(&root, beside);
        changing.some(if beside == 2 { 300 } else { 20 });
        while !pieces.is_over() {
            piece(&mut pieces, |piece| {
                let (there, told) = both(&backing, piece);
                assert_eq!(told, there);
            });
            changing.some(1);
        }
    }
}

#[test]
fn a_listing_that_does_not_hear_of_what_comes_in_is_seen() {
    let m = Mounted::with(many, 4096);
    m.inodes.watches.deaf.store(true, Ordering::Relaxed);
    let root = m.inodes.root(0).unwrap();
    let backing = m.inodes.open_backing(&root, Level::Read).unwrap();
    let changing = Changing::start(&m);
    let (missed, end) = (AtomicBool::new(false), Instant::now() + Duration::from_secs(60));
    while !missed.load(Ordering::Relaxed) {
        assert!(Instant::now() < end, "nothing was ever missed");
        let mut pieces = Pieces::begin(&root, 0);
        while !pieces.is_over() {
            piece(&mut pieces, |piece| {
                let (there, told) = both(&backing, piece);
                missed.fetch_or(told != there, Ordering::Relaxed);
            });
            changing.some(1);
        }
    }
}
