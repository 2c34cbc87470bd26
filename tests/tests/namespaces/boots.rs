//! The unit file below a real systemd: start at boot, a killed agent, an orderly shutdown.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, load, progress};
use anyhow::{Context, Result, ensure};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, LabOptions};

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "systemd_boots_a_marked_module_after_a_power_cut_of_both_nodes", run: booted },
    Scenario { name: "systemd_restarts_a_killed_agent_and_no_transfer_is_lost", run: killed_agent },
    Scenario { name: "shutdown_of_the_primary_machine_hands_over_after_stop_prim", run: shut_down },
];

/// Two hosts below systemd with the bank as PRIM and SECOND, started at boot.
fn pair() -> Result<Lab> {
    let lab = Lab::with("boots", &LabOptions { systemd: true, ..LabOptions::default() })?;
    let plan = ModulePlan::bank(TIMEOUT_MS);
    lab.configure(&plan)?;
    for number in lab.numbers() {
        lab.cli(number, &["boot", "-m", MODULE, "on"])?;
    }
    lab.start_pair(MODULE)?;
    Ok(lab)
}

fn booted(_: &mut Bench) -> Result<()> {
    let mut lab = pair()?;
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    lab.power_off(2)?;
    lab.power_off(1)?;
    lab.power_on(1)?;
    lab.power_on(2)?;
    // Nobody orders anything: the unit is enabled and the module is marked.
    let story = lab.wait_pair(MODULE, 1).and_then(|()| progress(&load, 50));
    story.with_context(|| lab.diagnosis(MODULE))?;
    let report = load.finish();
    lab.bank(MODULE).demand(&report.acknowledged).map(drop)
}

fn killed_agent(_: &mut Bench) -> Result<()> {
    let lab = pair()?;
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    let before = lab.host(1).shell("systemctl show --property=MainPID holdfast-agent")?;
    lab.host(1).shell("systemctl kill --signal=KILL --kill-whom=main holdfast-agent")?;
    wait_until("systemd to restart the agent", PATIENCE, || {
        let now = lab.host(1).shell("systemctl show --property=MainPID holdfast-agent")?;
        Ok(now != before && now.trim() != "MainPID=0")
    })?;
    let both_back = || {
        let ready = |number| -> Result<bool> { Ok(lab.state(number, MODULE)?.readiness == "Ready") };
        Ok(ready(1)? && ready(2)?)
    };
    wait_until("both nodes to be Ready again", PATIENCE, both_back).with_context(|| lab.diagnosis(MODULE))?;
    progress(&load, 50)?;
    let report = load.finish();
    lab.bank(MODULE).demand(&report.acknowledged).map(drop)
}

fn shut_down(_: &mut Bench) -> Result<()> {
    let mut lab = pair()?;
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    lab.host(1).shell("systemctl poweroff")?;
    lab.wait_serves(2, MODULE, PATIENCE)?;
    progress(&load, 100)?;
    let log = lab.module_log(2, MODULE, 40);
    ensure!(!log.contains("silent on every link"), "the peer waited for silence instead of the hand-over:\n{log}");
    wait_until("node1 to be off", PATIENCE, || Ok(lab.host(1).processes().is_empty()))?;
    let application = std::fs::read_to_string(lab.host(1).folder().join("data/var/modules/bank/application.log"))
        .context("node1's application log")?;
    ensure!(application.contains("stop_prim"), "stop_prim was not run before the shutdown");
    lab.power_off(1)?;
    lab.power_on(1)?;
    lab.wait_pair(MODULE, 2).with_context(|| lab.diagnosis(MODULE))?;
    progress(&load, 50)?;
    let report = load.finish();
    demand_turns(&watch.finish(), &[1, 2])?;
    lab.bank(MODULE).demand(&report.acknowledged).map(drop)
}
