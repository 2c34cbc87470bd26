//! Resyncs that are interrupted and go on where they stood, against whole-tree comparison.

use super::load::{scramble, scramble_unlinked};
use super::support::{Pair, eventually};
use super::tracked::differences;
use crate::resync::Limits;
use crate::track::{BrokenTrack, Standing};
use holdfast_core::replica::ReplicaEvent;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Entries of [`weight`], directories included.
const ENTRIES: u64 = 264;

/// Slow enough to be interrupted in the middle.
const SLOW: Limits = Limits { threads: 3, bytes_per_s: 10 << 20, mark_period: Duration::from_millis(50) };

/// A tree of which the secondary has nothing.
fn weight(a: &Path, _: &Path) {
    for folder in 0..12 {
        for file in 0..20 {
            fs::create_dir_all(a.join(format!("w{folder}/below"))).unwrap();
            fs::write(a.join(format!("w{folder}/f{file}")), vec![file as u8 + 1; 50_000]).unwrap();
        }
    }
}

fn mark(pair: &Pair) -> Standing {
    pair.trackers.as_ref().unwrap()[0].standing()
}

/// Entries compared in the session that runs.
fn so_far(pair: &Pair) -> u64 {
    pair.primary_events
        .last(|event| match event {
            ReplicaEvent::ResyncProgress { progress } => Some(progress.entries_done),
            _ => None,
        })
        .unwrap_or(0)
}

/// Begins a session and interrupts it once `enough` is there.
fn interrupt(pair: &mut Pair, session: u64, mut enough: impl FnMut(&Pair) -> bool) {
    pair.begin(session);
    eventually("enough is compared and saved", || enough(pair));
    assert!(!pair.primary_events.any(|e| matches!(e, ReplicaEvent::ResyncCopied { .. })), "it was interrupted");
    pair.crash_secondary();
}

#[test]
fn an_interrupted_full_compare_goes_on_where_it_stood() {
    let mut pair = Pair::limited(SLOW, weight);
    let mut marks = 0;
    for session in 1..=2 {
        interrupt(&mut pair, session, |pair| so_far(pair) > 80 && mark(pair).flushed > marks);
        marks = mark(&pair).flushed;
        fs::write(pair.a().join("w3/f3"), format!("changed after {session}")).unwrap();
        fs::rename(pair.a().join("w5"), pair.a().join(format!("w{}", 20 + session))).ok();
    }
    pair.resync(3);
    let (entries, _) = pair.compared();
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
    assert!(entries < ENTRIES - 60, "{entries} entries were compared in the last session");
}

#[test]
fn an_interrupted_copy_of_one_large_file_goes_on_in_the_middle() {
    let size = 64 << 20;
    let mut pair = Pair::limited(Limits { threads: 1, ..SLOW }, |a, _| {
        let content: Vec<u8> = (0..size).map(|at: u32| (at / 4096) as u8 | 1).collect();
        fs::write(a.join("large"), content).unwrap();
    });
    interrupt(&mut pair, 1, |pair| mark(pair).flushed > 0);
    pair.resync(2);
    let (_, bytes) = pair.compared();
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
    assert!(bytes < u64::from(size) - (8 << 20), "{bytes} bytes were compared again");
}

#[test]
fn wherever_a_first_copy_is_interrupted_both_trees_are_equal_at_last() {
    for seed in 1..=6 {
        let limits = Limits { threads: 1 + seed as usize % 4, bytes_per_s: 0, mark_period: Duration::ZERO };
        let mut pair = Pair::limited(limits, |a, b| {
            scramble_unlinked(a, seed, 120);
            scramble_unlinked(b, seed + 50, 120);
            if seed == 6 {
                // Which names are one file is not known after a mark: everything is compared again.
                scramble(a, 77, 60);
            }
        });
        for step in 0..4 {
            pair.begin(10 + step);
            let (primary, wanted) = (pair.primary_events.clone(), 1 + (seed * 23 + step * 41) % 120);
            let mut applied = 0;
            eventually("some of it was applied", || {
                applied += pair.follower().figures().take().ops_per_s;
                scramble_unlinked(&pair.a(), seed * 77 + step + applied, 1);
                applied >= wanted || primary.any(|e| matches!(e, ReplicaEvent::ResyncCopied { .. }))
            });
            pair.crash_secondary();
            scramble_unlinked(&pair.a(), seed * 31 + step, 8);
        }
        pair.resync(50);
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn a_primary_that_dies_in_the_middle_goes_on_from_the_mark_too() {
    let mut pair = Pair::limited(SLOW, weight);
    pair.begin(1);
    eventually("a mark is saved", || so_far(&pair) > 100 && mark(&pair).flushed > 2);
    // In what comes last: nobody looks for it here.
    let mut pair = pair.crash_both(|a, _| fs::write(a.join("w9/f1"), "edited while nobody watched").unwrap());
    pair.resync(2);
    let (entries, _) = pair.compared();
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
    assert!(entries < ENTRIES - 40, "{entries} entries were compared");
}

#[test]
fn a_mark_that_forgets_what_is_left_is_seen_by_the_comparison() {
    let mut pair = Pair::limited(SLOW, weight);
    for tracker in pair.trackers.as_ref().unwrap() {
        tracker.break_rules(BrokenTrack { forgets_left: true, ..BrokenTrack::default() });
    }
    interrupt(&mut pair, 1, |pair| so_far(pair) > 60 && mark(pair).flushed > 1);
    pair.resync(2);
    pair.stop();
    assert_ne!(differences(&pair), Vec::<String>::new());
}

#[test]
fn an_order_to_compare_everything_outlives_a_mark() {
    let mut pair = Pair::limited(SLOW, weight);
    interrupt(&mut pair, 1, |pair| so_far(pair) > 100 && mark(pair).flushed > 1);
    fs::remove_file(pair.b().join("w0/f0")).ok();
    fs::remove_file(pair.b().join("w11/f0")).ok();
    pair.trackers.as_ref().unwrap()[0].nothing_known().unwrap();
    pair.resync(2);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}
