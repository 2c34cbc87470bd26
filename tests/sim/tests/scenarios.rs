//! Golden scenarios: every transcript in `tests/scenarios` is run again and must come out the same.
//! `UPDATE_EXPECT=1` rewrites them; then read the difference.

use holdfast_core::automaton::TRANSITIONS;
use holdfast_core::durable::HISTORY_MAX;
use holdfast_sim::scenario;
use std::path::{Path, PathBuf};

/// The transcripts by name, with their text.
fn transcripts() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(&folder).expect("tests/scenarios is there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 14, "scenarios are missing");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable scenario");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_scenario_runs_as_written() {
    for (path, written) in transcripts() {
        let now = scenario::run(&written).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        expect_test::expect_file![&path].assert_eq(&now);
    }
}

#[test]
fn every_row_of_the_automaton_is_taken_in_a_scenario() {
    let all: String = transcripts().into_iter().map(|(_, text)| text).collect();
    let missing: Vec<String> = TRANSITIONS
        .iter()
        .map(|row| format!("{} -> {}: {}", row.from, row.to, row.reason))
        .filter(|line| !all.contains(line.as_str()))
        .collect();
    assert!(missing.is_empty(), "no scenario shows:\n{}", missing.join("\n"));
}

#[test]
fn a_copy_left_behind_by_more_grants_than_a_ledger_keeps_is_still_resynced_unasked() {
    let mut orders = "> prim node1\n> run 1s\n> second node2\n> run 5s\n> stop node2\n> run 1s\n".to_owned();
    for _ in 0..HISTORY_MAX + 4 {
        orders.push_str("> stop node1\n> run 1s\n> start node1\n> run 1s\n");
    }
    orders.push_str("> start node2\n> run 5s\n");
    let told = scenario::run(&orders).expect("no rule is broken");
    let last: Vec<&str> = told.lines().rev().take(2).collect();
    let grants = told.matches("Event generation ").count();
    assert!(grants > HISTORY_MAX + 2, "only {grants} grants");
    assert!(last[0].starts_with("  node2 SECOND Ready") && last[1].starts_with("  node1 PRIM Ready"), "{last:?}");
}
