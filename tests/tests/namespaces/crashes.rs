//! Crashes under load: nodes, programs, the data plane; every acknowledged transfer is there afterwards.

use crate::bench::{Bench, MODULE, Scenario, progress};
use anyhow::{Context, Result, ensure};
use holdfast_tests::bank::client::Load;
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
    Scenario { name: "killed_replica_of_the_primary_is_a_pause_without_an_error", run: killed_replica_primary },
    Scenario { name: "killed_replica_of_a_primary_alone_is_a_pause_without_an_error", run: killed_replica_alone },
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

/// Kills the data plane that serves on node 1, and waits until another one has taken its mount over.
fn kill_serving_replica(lab: &Lab) -> Result<()> {
    let running = || lab.host(1).named("holdfast-replica");
    // One that was killed before may not have gone yet.
    let mut serving = None;
    wait_until("one data plane on node1", PATIENCE, || {
        let mut now = running();
        serving = now.pop().filter(|_| now.is_empty());
        Ok(serving.is_some())
    })?;
    let serving = serving.context("no data plane on node1")?;
    serving.signal(Signal::KILL)?;
    wait_until("another data plane on node1", PATIENCE, || Ok(running().iter().any(|now| now.pid != serving.pid)))
}

/// The application runs on through all of it, on the same mount, and no attempt of its clients fails.
fn pause_without_an_error(bench: &mut Bench, story: impl FnOnce(&mut Bench, &Load) -> Result<()>) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 100)?;
    let application = |lab: &Lab| -> Result<_> {
        let running: Vec<i32> = lab.host(1).named("holdfast-bank").iter().map(|process| process.pid).collect();
        Ok((running, lab.host(1).shell("stat --format=%d /srv/bank")?))
    };
    let before = application(bench.lab()?)?;
    story(bench, &load)?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    progress(&load, 50)?;
    ensure!(before == application(bench.lab()?)?, "application or mount are not what they were: {before:?}");
    let report = bench.finish(load)?;
    println!("  longest outage {} ms, {} acknowledged", report.longest_outage_ms, report.acknowledged.len());
    ensure!(report.repeated == 0, "{} attempts failed, the last: {:?}", report.repeated, report.last_failure);
    demand_turns(&watch.finish(), &[1])?;
    bench.demand_equal_copies(1)
}

fn killed_replica_primary(bench: &mut Bench) -> Result<()> {
    pause_without_an_error(bench, |bench, load| {
        for _ in 0..3 {
            kill_serving_replica(bench.lab()?)?;
            progress(load, 50)?;
            bench.lab()?.wait_pair(MODULE, 1)?;
        }
        // Twice in a row, the second time while the first is still being mended.
        kill_serving_replica(bench.lab()?)?;
        kill_serving_replica(bench.lab()?)?;
        progress(load, 50)
    })
}

fn killed_replica_alone(bench: &mut Bench) -> Result<()> {
    pause_without_an_error(bench, |bench, load| {
        let lab = bench.lab()?;
        lab.cli(2, &["stop", "-m", MODULE])?;
        lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
        for _ in 0..2 {
            kill_serving_replica(lab)?;
            progress(load, 50)?;
        }
        lab.cli(2, &["start", "-m", MODULE]).map(|_| ())
    })
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
