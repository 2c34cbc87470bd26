//! What operators do: stop, start, swap, restart, with clients at work.

use crate::bench::{Bench, MODULE, Scenario, progress};
use anyhow::{Result, ensure};
use holdfast_tests::lab::cluster::PATIENCE;
use holdfast_tests::lab::health::demand_turns;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "swap_exchanges_roles_under_load", run: swap },
    Scenario { name: "stopped_primary_hands_over_and_comes_back_as_secondary", run: stop_primary },
    Scenario { name: "stopped_secondary_leaves_the_primary_serving", run: stop_secondary },
    Scenario { name: "restart_of_the_application_does_not_fail_over", run: restart },
];

fn swap(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    bench.lab()?.cli(1, &["swap", "-m", MODULE])?;
    bench.lab()?.wait_pair(MODULE, 2)?;
    bench.lab()?.wait_serves(2, MODULE, PATIENCE)?;
    progress(&load, 50)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1, 2])?;
    bench.demand_equal_copies(2)
}

fn stop_primary(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    let lab = bench.lab()?;
    lab.cli(1, &["stop", "-m", MODULE])?;
    lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    ensure!(lab.host(1).named("holdfast-bank").is_empty(), "the application still runs on node1");
    progress(&load, 50)?;
    bench.lab()?.cli(1, &["start", "-m", MODULE])?;
    bench.lab()?.wait_pair(MODULE, 2)?;
    progress(&load, 50)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1, 2])?;
    bench.demand_equal_copies(2)
}

fn stop_secondary(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    let lab = bench.lab()?;
    lab.cli(2, &["stop", "-m", MODULE])?;
    lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    progress(&load, 50)?;
    bench.lab()?.cli(2, &["start", "-m", MODULE])?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    progress(&load, 50)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1])?;
    bench.demand_equal_copies(1)
}

fn restart(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 20)?;
    let before: Vec<i32> = bench.lab()?.host(1).named("holdfast-bank").iter().map(|process| process.pid).collect();
    bench.lab()?.cli(1, &["restart", "-m", MODULE])?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    let after: Vec<i32> = bench.lab()?.host(1).named("holdfast-bank").iter().map(|process| process.pid).collect();
    ensure!(before != after && after.len() == 1, "the application was not restarted: {before:?} {after:?}");
    progress(&load, 20)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1])
}
