//! Crashes under load: nodes, programs, the data plane; every acknowledged transfer is there afterwards.

use crate::bench::{Bench, MODULE, Scenario, progress};
use anyhow::{Result, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::PATIENCE;
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use rustix::process::Signal;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "killed_primary_node_loses_no_acknowledged_transfer", run: killed_primary },
    Scenario { name: "power_cut_of_the_primary_loses_no_acknowledged_transfer", run: power_cut },
    Scenario { name: "reboot_of_the_secondary_shorter_than_the_timeout_is_noticed", run: short_reboot },
    Scenario { name: "reboot_of_the_primary_shorter_than_the_timeout_fails_over", run: short_reboot_primary },
    Scenario { name: "killed_replica_of_the_primary_fails_over", run: killed_replica_primary },
    Scenario { name: "killed_replica_of_the_secondary_leaves_the_primary_serving", run: killed_replica_secondary },
    Scenario { name: "killed_agent_of_the_primary_loses_no_acknowledged_transfer", run: killed_agent },
    Scenario { name: "killed_application_is_restarted_on_the_same_node", run: killed_application },
];

/// Load, a crash of node 1, takeover by node 2, return of node 1 as secondary, equal copies.
fn fails_over(bench: &mut Bench, crash: fn(&mut Lab) -> Result<()>, back: fn(&mut Lab) -> Result<()>) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 100)?;
    crash(bench.lab()?)?;
    bench.lab()?.wait_serves(2, MODULE, PATIENCE)?;
    progress(&load, 100)?;
    back(bench.lab()?)?;
    bench.lab()?.wait_pair(MODULE, 2)?;
    progress(&load, 50)?;
    let report = bench.finish(load)?;
    println!("  longest outage {} ms, {} acknowledged", report.longest_outage_ms, report.acknowledged.len());
    demand_turns(&watch.finish(), &[1, 2])?;
    bench.demand_equal_copies(2)
}

/// Load, a crash of something on node 2, node 1 serves all the time, equal copies.
fn serves_on(bench: &mut Bench, crash: fn(&mut Lab) -> Result<()>) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 100)?;
    let generation = bench.lab()?.state(1, MODULE)?.generation;
    crash(bench.lab()?)?;
    progress(&load, 100)?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    ensure!(
        bench.lab()?.state(1, MODULE)?.generation.number > generation.number,
        "the primary went on alone without a grant"
    );
    progress(&load, 50)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1])?;
    bench.demand_equal_copies(1)
}

fn boot(lab: &mut Lab) -> Result<()> {
    lab.power_on(1)?;
    lab.start_agent(1)
}

fn killed_primary(bench: &mut Bench) -> Result<()> {
    fails_over(bench, |lab| lab.kill_node(1), boot)
}

fn power_cut(bench: &mut Bench) -> Result<()> {
    fails_over(bench, |lab| lab.power_off(1), boot)
}

fn short_reboot(bench: &mut Bench) -> Result<()> {
    serves_on(bench, |lab| lab.reboot(2))
}

fn short_reboot_primary(bench: &mut Bench) -> Result<()> {
    fails_over(bench, |lab| lab.reboot(1), |_| Ok(()))
}

fn killed_replica_primary(bench: &mut Bench) -> Result<()> {
    fails_over(
        bench,
        |lab| lab.host(1).signal("holdfast-replica", Signal::KILL).map(|_| ()),
        |lab| {
            // A replica that crashes is a local fault: the module may stop here and wait for somebody.
            if lab.state(1, MODULE)?.running { Ok(()) } else { lab.cli(1, &["start", "-m", MODULE]).map(|_| ()) }
        },
    )
}

fn killed_replica_secondary(bench: &mut Bench) -> Result<()> {
    serves_on(bench, |lab| {
        let before = lab.state(1, MODULE)?.generation.number;
        lab.host(2).signal("holdfast-replica", Signal::KILL)?;
        // ALONE may be over before anybody looks; the generation it was served under is not.
        wait_until("node1 to go on under a new generation", PATIENCE, || {
            Ok(lab.state(1, MODULE)?.generation.number > before)
        })?;
        if lab.state(2, MODULE)?.running { Ok(()) } else { lab.cli(2, &["start", "-m", MODULE]).map(|_| ()) }
    })
}

fn killed_agent(bench: &mut Bench) -> Result<()> {
    fails_over(bench, |lab| lab.host(1).signal("holdfast-agent", Signal::KILL).map(|_| ()), |lab| lab.start_agent(1))
}

fn killed_application(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    bench.lab()?.host(1).signal("holdfast-bank", Signal::KILL)?;
    progress(&load, 50)?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1])
}
