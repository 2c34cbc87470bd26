//! Golden scenarios: every transcript in `tests/scenarios` is run again and must come out the same.
//! `UPDATE_EXPECT=1` rewrites them; then read the difference.

use holdfast_sim::scenario;
use std::path::Path;

#[test]
fn every_scenario_runs_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("tests/scenarios is there")
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 14, "scenarios are missing");
    for path in paths {
        let written = std::fs::read_to_string(&path).expect("a readable scenario");
        let now = scenario::run(&written).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        expect_test::expect_file![&path].assert_eq(&now);
    }
}
