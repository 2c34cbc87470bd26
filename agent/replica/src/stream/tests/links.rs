//! Files with several names that lose some while a resync has met only these.

use super::support::{Pair, eventually, forget_unused};
use crate::resync::Limits;
use crate::verify::{Compare, compare_trees_with};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Slow enough to change names in the middle.
const SLOW: Limits = Limits { threads: 1, bytes_per_s: 24 << 20, mark_period: Duration::from_secs(60) };

const CONTENT: &[u8] = b"one file with two names";

/// A file whose second name is met after its first one and after a large file, which takes a while.
fn two_names(a: &Path, _: &Path) {
    fs::create_dir_all(a.join("first/later/last")).unwrap();
    fs::write(a.join("first/file"), CONTENT).unwrap();
    fs::hard_link(a.join("first/file"), a.join("first/later/last/file")).unwrap();
    let content: Vec<u8> = (0..48 << 20).map(|at: u32| (at / 4096) as u8 | 1).collect();
    fs::write(a.join("first/later/large"), content).unwrap();
}

/// Removes the first name, the only one that the secondary has, does `then` before the second one is met, and compares.
fn lose_the_first_name(then: impl FnOnce(&Path)) {
    let mut pair = Pair::limited(SLOW, two_names);
    pair.begin(1);
    let (a, b) = (pair.a(), pair.b());
    eventually("the first name is compared", || fs::read(b.join("first/file")).is_ok_and(|read| read == CONTENT));
    fs::remove_file(a.join("first/file")).unwrap();
    assert!(!b.join("first/later/last/file").exists(), "the second name was not met yet");
    then(&a);
    pair.end_resync(1);
    pair.stop();
    assert_eq!(compare_trees_with(&a, &b, Compare { stamped_times: false }).unwrap(), []);
}

#[test]
fn a_file_that_lost_the_only_name_the_secondary_has_is_compared_again_by_its_other_name() {
    lose_the_first_name(|_| {});
}

#[test]
fn the_other_name_of_a_file_that_the_secondary_has_lost_can_be_moved() {
    lose_the_first_name(|a| fs::rename(a.join("first/later/last/file"), a.join("first/moved")).unwrap());
}

#[test]
fn a_file_that_the_secondary_has_lost_gets_further_names() {
    lose_the_first_name(|a| {
        fs::hard_link(a.join("first/later/last/file"), a.join("first/third")).unwrap();
        fs::write(a.join("first/third"), "written through its third name").unwrap();
    });
}

#[test]
fn a_file_whose_only_met_name_is_replaced_is_compared_again_by_its_other_name() {
    lose_the_first_name(|a| {
        fs::hard_link(a.join("first/later/last/file"), a.join("first/again")).unwrap();
        fs::write(a.join("first/other"), "takes its place").unwrap();
        fs::rename(a.join("first/other"), a.join("first/again")).unwrap();
    });
}

#[test]
fn a_file_linked_ahead_of_the_walk_and_forgotten_by_the_kernel_is_still_one_file() {
    let mut pair = Pair::limited(SLOW, |a, b| {
        two_names(a, b);
        fs::remove_file(a.join("first/later/last/file")).unwrap();
    });
    pair.begin(1);
    let (a, b) = (pair.a(), pair.b());
    eventually("the first name is compared", || fs::read(b.join("first/file")).is_ok_and(|read| read == CONTENT));
    fs::hard_link(a.join("first/file"), a.join("first/later/last/second")).unwrap();
    forget_unused(&a).unwrap();
    fs::write(a.join("first/later/last/second"), "written by its second name").unwrap();
    pair.end_resync(1);
    pair.stop();
    assert_eq!(compare_trees_with(&a, &b, Compare { stamped_times: false }).unwrap(), []);
}
