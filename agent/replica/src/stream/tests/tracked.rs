//! Resyncs by what both nodes name, after crashes that lose what was only in memory, against whole-tree comparison.

use super::load::{Load, scramble, scramble_unlinked};
use super::support::{Pair, eventually};
use crate::filter::Filter;
use crate::track::BrokenTrack;
use crate::verify::{Compare, compare_trees_with};
use holdfast_api::userconfig::{Excluded, Exclusion};
use holdfast_core::replica::ReplicaEvent;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

pub(super) fn differences(pair: &Pair) -> Vec<String> {
    let found = compare_trees_with(&pair.a(), &pair.b(), Compare { stamped_times: false }).unwrap();
    found.iter().map(ToString::to_string).collect()
}

/// Makes `copy` hold what `tree` holds now, as a disk would after a sync.
fn save(tree: &Path, copy: &Path) {
    let _ = fs::remove_dir_all(copy);
    assert!(Command::new("cp").args(["-a", "--"]).arg(tree).arg(copy).status().unwrap().success());
}

/// Takes the directory back to what it was when it was saved; the directory itself stays.
fn take_back(tree: &Path, copy: &Path) {
    for entry in fs::read_dir(tree).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
            .unwrap();
    }
    let from = copy.join(".");
    assert!(Command::new("cp").args(["-a", "--"]).arg(from).arg(tree).status().unwrap().success());
}

/// A tree of some weight that nobody changes, beside what the tests change.
fn weight(a: &Path, b: &Path) {
    for tree in [a, b] {
        for i in 0..200 {
            fs::create_dir_all(tree.join(format!("still/{}", i % 10))).unwrap();
            fs::write(tree.join(format!("still/{}/{i}", i % 10)), vec![i as u8; 50_000]).unwrap();
        }
    }
}

#[test]
fn after_a_crash_of_the_secondary_only_what_is_named_is_compared() {
    let mut pair = Pair::tracked(weight);
    fs::write(pair.a().join("data"), vec![1; 12 << 20]).unwrap();
    pair.resync(1);
    pair.look(true);
    let copy = pair.b().with_extension("synced");
    save(&pair.b(), &copy);
    let file = fs::OpenOptions::new().write(true).open(pair.a().join("data")).unwrap();
    file.write_all_at(&[9; 100], 5 << 20).unwrap();
    fs::write(pair.a().join("still/3/new"), "new").unwrap();
    pair.crash_secondary();
    take_back(&pair.b(), &copy);
    file.write_all_at(&[8; 100], 9 << 20).unwrap();
    drop(file);
    pair.resync(2);
    let (entries, bytes) = pair.compared();
    assert!(entries <= 4 && bytes <= 4 * 65536, "{entries} entries and {bytes} bytes were compared");
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn whatever_was_done_before_and_after_a_crash_both_trees_are_equal_again() {
    for seed in 1..=12 {
        let mut pair = Pair::tracked(|a, b| {
            scramble_unlinked(a, seed, 150);
            scramble_unlinked(b, seed, 150);
        });
        pair.resync(1);
        scramble_unlinked(&pair.a(), seed + 100, 60);
        pair.look(true);
        let copy = pair.b().with_extension("synced");
        save(&pair.b(), &copy);
        scramble_unlinked(&pair.a(), seed + 200, 1 + seed * 7 % 40);
        pair.crash_secondary();
        if seed % 3 != 0 {
            take_back(&pair.b(), &copy);
        }
        scramble_unlinked(&pair.a(), seed + 300, seed * 11 % 60);
        let load = (seed % 2 == 0).then(|| Load::start(&pair.a(), seed, 2));
        pair.resync(2);
        if let Some(load) = load {
            load.stop();
        }
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn hard_links_are_the_same_after_a_crash() {
    for seed in 1..=3 {
        let mut pair = Pair::tracked(|a, b| {
            scramble(a, seed, 300);
            scramble(b, seed, 300);
        });
        pair.resync(1);
        scramble(&pair.a(), seed + 100, 100);
        pair.crash_secondary();
        scramble(&pair.a(), seed + 200, 100);
        pair.resync(2);
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn a_crash_of_both_nodes_is_made_good_by_what_is_named() {
    for seed in 1..=4 {
        let mut pair = Pair::tracked(weight);
        scramble_unlinked(&pair.a(), seed, 80);
        pair.resync(1);
        pair.look(true);
        let copy = pair.b().with_extension("synced");
        save(&pair.b(), &copy);
        scramble_unlinked(&pair.a(), seed + 100, 40);
        let mut pair = pair.crash_both(|_, b| take_back(b, &copy));
        scramble_unlinked(&pair.a(), seed + 200, 20);
        pair.resync(2);
        let (entries, _) = pair.compared();
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
        assert!(entries < 150, "seed {seed}: {entries} entries were compared, 200 of them were never touched");
    }
}

#[test]
fn a_restored_image_of_the_secondary_is_compared_whole() {
    let mut pair = Pair::tracked(weight);
    pair.resync(1);
    let (copy, state) = (pair.b().with_extension("image"), pair.b().with_file_name("state2"));
    let state_copy = state.with_extension("image");
    save(&pair.b(), &copy);
    save(&state, &state_copy);
    fs::write(pair.a().join("still/1/1"), "changed, synced on both, forgotten").unwrap();
    pair.look(true);
    pair.drop_follower();
    take_back(&pair.b(), &copy);
    take_back(&state, &state_copy);
    pair.crash_secondary();
    pair.resync(2);
    let (entries, _) = pair.compared();
    assert!(entries > 200, "{entries}");
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn an_interrupted_resync_goes_on_with_what_is_named() {
    let mut pair = Pair::tracked(weight);
    pair.resync(1);
    for round in 0..3 {
        scramble_unlinked(&pair.a(), round, 30);
        pair.crash_secondary();
        pair.begin(10 + round);
        let events = pair.primary_events.clone();
        eventually("the resync has begun", || events.any(|e| matches!(e, ReplicaEvent::PeerConnected { .. })));
    }
    pair.crash_secondary();
    pair.resync(20);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn what_was_excluded_is_compared_when_it_is_not_any_more() {
    let names = [Excluded::Matching("[.]log$".into())];
    let own = |a: &Path, b: &Path| {
        weight(a, b);
        fs::write(a.join("own.log"), "primary's").unwrap();
        fs::write(b.join("own.log"), "secondary's").unwrap();
    };
    let mut pair = Pair::tracked_excluding(own, &names);
    pair.resync(1);
    pair.look(true);
    let mut pair = pair.crash_both(|_, _| {});
    pair.resync(2);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

/// Whether this name of a tree is each node's own.
fn is_own(filter: &Filter, tree: &Path, path: &Path) -> bool {
    let above: Vec<&Path> = path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
    let excluded = |part: &&Path| {
        let directory = tree.join(part).symlink_metadata().is_ok_and(|found| found.is_dir());
        filter.excludes(0, part.as_os_str().as_encoded_bytes(), directory)
    };
    above.iter().any(excluded)
}

/// What differs of all that is replicated.
fn replicated_differences(pair: &Pair, names: &[Excluded]) -> Vec<String> {
    let (a, b) = (pair.a(), pair.b());
    let exclusion = |names: &Excluded| Exclusion { directory: a.display().to_string(), names: names.clone() };
    let filter = Filter::new(std::slice::from_ref(&a), &names.iter().map(exclusion).collect::<Vec<_>>()).unwrap();
    let replicated = |path: &Path| {
        let there = [&a, &b].into_iter().filter(|tree| tree.join(path).symlink_metadata().is_ok());
        there.into_iter().any(|tree| !is_own(&filter, tree, path))
    };
    let found = compare_trees_with(&a, &b, Compare { stamped_times: false }).unwrap();
    found.iter().filter(|difference| replicated(&difference.path)).map(ToString::to_string).collect()
}

#[test]
fn each_nodes_own_names_are_left_alone_when_only_what_is_named_is_compared() {
    let kinds = [
        vec![Excluded::Path("mine".into()), Excluded::Path("d2/f3".into()), Excluded::Path("d1".into())],
        vec![Excluded::Path("mine".into()), Excluded::Matching("3$".into()), Excluded::Matching("^d0/f".into())],
        vec![Excluded::Path("mine".into()), Excluded::NotMatching("[0-2]$".into())],
    ];
    for seed in 1..=9 {
        let names = &kinds[seed as usize % kinds.len()];
        let fill = |a: &Path, b: &Path| {
            weight(a, b);
            for (tree, text) in [(a, "primary's"), (b, "secondary's")] {
                scramble_unlinked(tree, seed, 100);
                fs::create_dir_all(tree.join("mine/deep")).unwrap();
                fs::write(tree.join("mine/deep/file"), text).unwrap();
            }
        };
        let mut pair = Pair::tracked_excluding(fill, names);
        pair.resync(1);
        pair.look(true);
        let copy = pair.b().with_extension("synced");
        save(&pair.b(), &copy);
        scramble_unlinked(&pair.a(), seed + 200, 40);
        fs::write(pair.a().join("mine/deep/file"), "changed by the primary").unwrap();
        fs::create_dir_all(pair.a().join("mine/made")).unwrap();
        pair.crash_secondary();
        if seed % 2 == 0 {
            take_back(&pair.b(), &copy);
        }
        scramble_unlinked(&pair.a(), seed + 300, 30);
        pair.resync(2);
        let (entries, _) = pair.compared();
        pair.stop();
        assert_eq!(replicated_differences(&pair, names), Vec::<String>::new(), "seed {seed}: {names:?}");
        assert_eq!(fs::read_to_string(pair.b().join("mine/deep/file")).unwrap(), "secondary's", "seed {seed}");
        assert!(!pair.b().join("mine/made").exists(), "seed {seed}");
        assert!(entries < 150, "seed {seed}: {entries} entries were compared, most of them never touched");
    }
}

#[test]
fn a_forgotten_tree_is_compared_whole() {
    let mut pair = Pair::tracked(weight);
    pair.resync(1);
    pair.look(true);
    // Nobody names it; only an order finds it.
    fs::write(pair.b().join("still/3/3"), "changed behind our back").unwrap();
    pair.crash_secondary();
    pair.trackers.as_ref().unwrap()[1].nothing_known().unwrap();
    pair.resync(2);
    let (entries, _) = pair.compared();
    pair.stop();
    assert!(entries > 200, "{entries}");
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn a_file_in_use_whose_remaining_name_nobody_has_met_is_found() {
    let mut pair = Pair::tracked(|a, b| {
        for tree in [a, b] {
            fs::write(tree.join("met"), "content").unwrap();
            fs::hard_link(tree.join("met"), tree.join("other")).unwrap();
        }
    });
    pair.resync(1);
    pair.crash_secondary();
    let file = fs::OpenOptions::new().write(true).open(pair.a().join("met")).unwrap();
    fs::remove_file(pair.a().join("met")).unwrap();
    pair.resync(2);
    file.write_all_at(b"CHANGED", 0).unwrap();
    drop(file);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn what_was_written_by_a_name_that_is_gone_is_compared_by_the_other_name() {
    for met in [true, false] {
        let mut pair = Pair::tracked(|a, b| {
            for tree in [a, b] {
                fs::write(tree.join("one"), "one file").unwrap();
                fs::hard_link(tree.join("one"), tree.join("other")).unwrap();
            }
        });
        pair.resync(1);
        pair.look(true);
        let copy = pair.b().with_extension("synced");
        save(&pair.b(), &copy);
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        let file = fs::OpenOptions::new().write(true).open(pair.a().join("one")).unwrap();
        file.write_all_at(b"ONE", 0).unwrap();
        drop(file);
        if met {
            fs::metadata(pair.a().join("other")).unwrap();
        }
        fs::remove_file(pair.a().join("one")).unwrap();
        pair.crash_secondary();
        take_back(&pair.b(), &copy);
        pair.resync(2);
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "the other name was met: {met}");
    }
}

#[test]
fn a_comparison_that_finds_something_has_everything_compared_next() {
    let mut pair = Pair::tracked(weight);
    pair.resync(1);
    fs::write(pair.b().join("still/3/3"), "changed behind our back").unwrap();
    assert!(pair.verify().differences > 0);
    // It is not forgotten as what both disks have is.
    fs::write(pair.a().join("new"), "new").unwrap();
    pair.look(true);
    pair.crash_secondary();
    pair.resync(2);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn a_change_that_does_not_fit_has_everything_compared_next() {
    let mut pair = Pair::tracked(weight);
    pair.resync(1);
    fs::remove_file(pair.b().join("still/1/1")).unwrap();
    fs::write(pair.b().join("still/2/2"), "changed behind our back").unwrap();
    let path = pair.a();
    let writer = std::thread::spawn(move || fs::rename(path.join("still/1/1"), path.join("still/1/moved")));
    eventually("the stream is lost", || pair.primary_events.lost().is_some());
    pair.crash_secondary();
    writer.join().unwrap().unwrap();
    pair.resync(2);
    pair.stop();
    assert_eq!(differences(&pair), Vec::<String>::new());
}

#[test]
fn a_resync_interrupted_anywhere_leaves_nothing_unnamed() {
    for seed in 1..=6 {
        let mut pair = Pair::tracked(|a, b| {
            scramble_unlinked(a, seed, 120);
            scramble_unlinked(b, seed, 120);
        });
        pair.resync(1);
        pair.look(true);
        let copy = pair.b().with_extension("synced");
        save(&pair.b(), &copy);
        scramble_unlinked(&pair.a(), seed + 100, 60);
        pair.crash_secondary();
        take_back(&pair.b(), &copy);
        for step in 0..5 {
            scramble_unlinked(&pair.a(), seed * 31 + step, 8);
            pair.begin(10 + step);
            let (primary, wanted) = (pair.primary_events.clone(), 1 + (seed * 17 + step * 29) % 90);
            let mut applied = 0;
            eventually("some of it was applied", || {
                applied += pair.follower().figures().take().ops_per_s;
                // Changed while it runs, too.
                scramble_unlinked(&pair.a(), seed * 77 + step + applied, 1);
                applied >= wanted || primary.any(|e| matches!(e, ReplicaEvent::ResyncCopied { .. }))
            });
            pair.crash_secondary();
            if step % 2 == 1 {
                // Nothing of it had reached the disk.
                take_back(&pair.b(), &copy);
            }
        }
        pair.resync(50);
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

/// One of the runs above with a rule broken: what differs at its end.
fn broken_run(broken: BrokenTrack, synced: bool) -> Vec<String> {
    let mut pair = Pair::tracked(|_, _| {});
    for i in 0..20 {
        fs::write(pair.a().join(format!("f{i}")), vec![1; 3 << 20]).unwrap();
    }
    pair.resync(1);
    for tracker in pair.trackers.as_ref().unwrap() {
        tracker.break_rules(broken);
    }
    let copy = pair.b().with_extension("synced");
    save(&pair.b(), &copy);
    let write = |pair: &Pair, value: u8| {
        for i in 0..20 {
            let file = fs::OpenOptions::new().write(true).open(pair.a().join(format!("f{i}"))).unwrap();
            file.write_all_at(&[value; 10], (i * 131_072 + 1) % (3 << 20)).unwrap();
        }
    };
    write(&pair, 7);
    if !synced {
        // The secondary has acknowledged a flush, but its disk has not what came before it.
        pair.look(true);
    }
    if broken.skips_intents {
        let copy = copy.clone();
        pair = pair.crash_both(move |_, b| take_back(b, &copy));
    } else {
        pair.crash_secondary();
        take_back(&pair.b(), &copy);
    }
    pair.resync(2);
    pair.stop();
    differences(&pair)
}

#[test]
fn a_broken_rule_is_seen_by_the_comparison() {
    let right = BrokenTrack::default();
    assert_eq!(broken_run(right, true), Vec::<String>::new());
    for (broken, synced) in [
        (BrokenTrack { skips_intents: true, ..right }, true),
        (BrokenTrack { loses_bits: true, ..right }, true),
        (right, false),
    ] {
        assert_ne!(broken_run(broken, synced), Vec::<String>::new(), "{broken:?}, synced: {synced}: was not seen");
    }
}
