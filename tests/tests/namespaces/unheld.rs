//! Mounts that no other data plane can take over: on every kernel before 6.9, and here because the replicated directory is
//! on a file system without file handles. An upgrade waits for the module's next stop, a crash is a failover.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress, settle};
use crate::upgrades::install_anew;
use anyhow::{Result, ensure};
use holdfast_replica::verify::{Compare, compare_trees_with};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "upgrade_waits_for_the_next_stop_where_no_mount_can_be_handed_over", run: |_| upgrade() },
    Scenario { name: "killed_data_plane_fails_over_where_no_mount_can_be_handed_over", run: |_| kill() },
];

const REPLICA: &str = "holdfast-replica";
/// Where the overlay is seen beside the mount over it.
const DISK: &str = "/srv/disk";

/// Puts an overlay, which has no file handles, below the replicated directory of both hosts.
fn lay_over(lab: &Lab) -> Result<()> {
    let line = format!(
        "mkdir -p /srv/lower /srv/upper /srv/work /srv/bank {DISK} && \
         mount -t overlay overlay -o lowerdir=/srv/lower,upperdir=/srv/upper,workdir=/srv/work {DISK} && \
         mount --bind {DISK} /srv/bank"
    );
    [1, 2].into_iter().try_for_each(|number| lab.host(number).shell(&line).map(drop))
}

fn own(name: &str, story: impl FnOnce(&mut Bench) -> Result<()>) -> Result<()> {
    Bench::own(name, &ModulePlan::bank(TIMEOUT_MS), lay_over)?.tell(|bench| {
        let holders = [1, 2].map(|number| bench.lab().map(|lab| lab.host(number).named("holdfast-holder").len()));
        ensure!(holders.into_iter().all(|count| count.is_ok_and(|count| count == 0)), "the mounts are held after all");
        story(bench)
    })
}

/// The process of a node's data plane, and the file it runs.
fn data_plane(lab: &Lab, number: u8) -> Result<(i32, u64)> {
    let found = lab.host(number).named(REPLICA);
    ensure!(found.len() == 1, "{} data planes on node{number}", found.len());
    Ok((found[0].pid, std::fs::metadata(format!("/proc/{}/exe", found[0].pid))?.ino()))
}

fn demand_copies(lab: &Lab, primary: u8) -> Result<()> {
    let copy =
        |number| -> Result<PathBuf> { Ok(PathBuf::from(format!("/proc/{}/root{DISK}", lab.host(number).init()?))) };
    let (left, right) = (copy(1)?, copy(2)?);
    wait_until("both copies to be equal", PATIENCE, || {
        settle(lab, primary)?;
        let found = compare_trees_with(&left, &right, Compare { stamped_times: false })?;
        let shown: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
        ensure!(shown.is_empty(), "{}", shown.join("; "));
        Ok(true)
    })
}

/// The new agent goes on with the data plane of before, which applications feel nothing of; the new one comes with the
/// next start.
fn upgrade() -> Result<()> {
    own("unheld", |bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        let before = data_plane(lab, 1)?;
        install_anew(lab, 1)?;
        lab.restart_agent(1)?;
        lab.wait_pair(MODULE, 1)?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        ensure!(data_plane(lab, 1)? == before, "the data plane did not serve on");
        lab.cli(1, &["stop", "-m", MODULE])?;
        lab.wait_serves(2, MODULE, PATIENCE)?;
        lab.cli(1, &["start", "-m", MODULE])?;
        lab.wait_pair(MODULE, 2)?;
        let now = data_plane(lab, 1)?;
        ensure!(now.1 != before.1, "the data plane of before has outlived the stop: {before:?}, {now:?}");
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1, 2])?;
        demand_copies(bench.lab()?, 2)
    })
}

fn kill() -> Result<()> {
    own("unheld", |bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        bench.lab()?.host(1).signal(REPLICA, rustix::process::Signal::KILL)?;
        bench.lab()?.wait_serves(2, MODULE, PATIENCE)?;
        progress(&load, 50)?;
        bench.lab()?.wait_pair(MODULE, 2)?;
        let report = bench.finish(load)?;
        println!("  longest outage {} ms, {} acknowledged", report.longest_outage_ms, report.acknowledged.len());
        demand_turns(&watch.finish(), &[1, 2])?;
        demand_copies(bench.lab()?, 2)
    })
}
