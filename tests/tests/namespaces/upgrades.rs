//! The programs of both nodes are replaced by newly installed ones, one node after the other, under PostgreSQL.

use crate::bench::{Scenario, TIMEOUT_MS, load, progress};
use anyhow::{Context, Result, ensure};
use holdfast_tests::demo::application::Application;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, trees};

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[Scenario {
    name: "upgrade_of_agent_and_data_plane_under_postgresql_is_a_pause_without_an_error",
    run: |_| under_postgresql(),
}];

const APPLICATION: Application = Application::Postgresql;

/// Installs the programs of a node anew, as a package does: other files at the same places.
pub fn install_anew(lab: &Lab, number: u8) -> Result<()> {
    let install = "cp -L /opt/holdfast/bin/holdfast* /srv/.new/ && mount --bind /srv/.new /opt/holdfast/bin";
    lab.host(number).shell(&format!("mkdir /srv/.new && {install}")).map(drop)
}

/// Numbers of the processes of this name.
fn numbers(lab: &Lab, number: u8, name: &str) -> Vec<i32> {
    lab.host(number).named(name).iter().map(|process| process.pid).collect()
}

/// The server process of PostgreSQL, and the device it writes to.
fn application(lab: &Lab) -> Result<(String, String)> {
    let host = lab.host(1);
    Ok((host.shell("head -n 1 /srv/postgresql/postmaster.pid")?, host.shell("stat --format=%d /srv/postgresql")?))
}

fn under_postgresql() -> Result<()> {
    let plan = ModulePlan { timeout_ms: TIMEOUT_MS, ..APPLICATION.plan() };
    let lab = Lab::new("upgrade")?;
    lab.configure(&plan)?;
    APPLICATION.prepare(&lab)?;
    lab.start_pair(&plan.name)?;
    upgrade(&lab, &plan.name).with_context(|| lab.diagnosis(&plan.name))
}

fn upgrade(lab: &Lab, module: &str) -> Result<()> {
    let bank = APPLICATION.bank(lab);
    wait_until("the ledger's tables", PATIENCE, || bank.set_up().map(|()| true))?;
    let watch = lab.watch_health(module);
    let load = load(&bank, "upgrade");
    progress(&load, 100)?;
    let before = application(lab)?;
    // The secondary first, as one does.
    for number in [2, 1] {
        let data_plane = numbers(lab, number, "holdfast-replica");
        install_anew(lab, number)?;
        lab.restart_agent(number)?;
        lab.wait_pair(module, 1)?;
        progress(&load, 100)?;
        let now = numbers(lab, number, "holdfast-replica");
        ensure!(now.iter().any(|pid| !data_plane.contains(pid)), "node{number} runs the old data plane: {now:?}");
    }
    ensure!(before == application(lab)?, "application or mount are not what they were: {before:?}");
    let report = load.finish();
    println!("  longest outage {} ms, {} acknowledged", report.longest_outage_ms, report.acknowledged.len());
    ensure!(report.repeated == 0, "{} attempts failed, the last: {:?}", report.repeated, report.last_failure);
    bank.demand(&report.acknowledged)?;
    demand_turns(&watch.finish(), &[1])?;
    lab.cli(1, &["stop", "-m", module])?;
    lab.wait_serves(2, module, PATIENCE)?;
    bank.demand(&report.acknowledged)?;
    lab.cli(1, &["start", "-m", module])?;
    lab.wait_pair(module, 2)?;
    lab.host(2).shell("sync -f /srv/postgresql")?;
    let copies = [1, 2].map(|number| lab.backing(number, "/srv/postgresql"));
    wait_until("both copies to be equal", PATIENCE, || {
        let found = trees::differences(&copies[0], &copies[1])?;
        ensure!(found.is_empty(), "{}", found.join("; "));
        Ok(true)
    })
}
