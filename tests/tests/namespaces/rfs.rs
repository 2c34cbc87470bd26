//! `<rfs>` beyond plain replication: names that stay each node's own, paths that must be there, copies compared.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress};
use anyhow::{Result, bail, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use serde_json::Value;
use std::time::Duration;

const DIRECTORY: &str = r#"<replicated dir="/srv/bank" mode="read_only"/>"#;
const GUARDED: &str = r#"<replicated dir="/srv/bank" mode="read_only"><notreplicated path="own"/>
    <notreplicated regexpath="[.]tmp$"/><tocheck path="own/file"/></replicated>"#;

/// A schedule of every minute comes round.
const SCHEDULE: Duration = Duration::from_secs(120);

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "excluded_names_missing_paths_and_planted_differences_are_told", run: guarded }];

fn guarded(_: &mut Bench) -> Result<()> {
    let scheduled = r#"<rfs scrub="* * * * *" async="second">"#;
    let plan = ModulePlan::bank(TIMEOUT_MS).edited(DIRECTORY, GUARDED).edited(r#"<rfs async="second">"#, scheduled);
    let prepare = |lab: &Lab| {
        let make = "mkdir -p /srv/bank/own; hostname > /srv/bank/own/file";
        lab.numbers().into_iter().try_for_each(|number| lab.host(number).shell(make).map(|_| ()))?;
        lab.host(2).shell("echo 'of node2' > /srv/bank/own/file").map(|_| ())
    };
    Bench::own("guard", &plan, prepare)?.tell(|bench| {
        excluded(bench.lab()?)?;
        compared(bench)?;
        missing(bench.lab()?)?;
        told_before(bench.lab()?)
    })
}

fn excluded(lab: &Lab) -> Result<()> {
    lab.host(1).shell("echo 'of node1' > /srv/bank/own/file; echo x > /srv/bank/a.tmp; echo y > /srv/bank/plain")?;
    lab.host(1).shell("echo z > /srv/bank/moved; mv /srv/bank/moved /srv/bank/moved.tmp; rm -f /srv/bank/a.tmp")?;
    let own = std::fs::read_to_string(lab.backing(2, "/srv/bank/own/file"))?;
    ensure!(own == "of node2\n", "node2 has {own:?}, written on node1");
    for (name, there) in [("plain", true), ("moved", false), ("moved.tmp", false)] {
        ensure!(lab.backing(2, &format!("/srv/bank/{name}")).exists() == there, "{name} on node2: not {there}");
    }
    Ok(())
}

fn compared(bench: &mut Bench) -> Result<()> {
    let load = bench.load()?;
    progress(&load, 20)?;
    let told = bench.lab()?.cli(1, &["rfsverify", "-m", MODULE])?;
    ensure!(told.contains(": 0 differences"), "{told}");
    progress(&load, 20)?;
    bench.finish(load)?;
    let lab = bench.lab()?;
    std::fs::write(lab.backing(2, "/srv/bank/planted"), "here alone")?;
    // The secondary asks its primary.
    let heard = || Ok(lab.cli(2, &["-H", "node1", "state", "-m", MODULE]).is_ok());
    wait_until("node2 to reach node1 over the cluster link", PATIENCE, heard)?;
    let Err(told) = lab.cli(2, &["rfsverify", "-m", MODULE]) else { bail!("the planted file was not found") };
    let told = format!("{told:#}");
    ensure!(told.contains("/srv/bank/planted: only on the secondary"), "{told}");
    scrubbed(lab)?;
    std::fs::remove_file(lab.backing(2, "/srv/bank/planted"))?;
    Ok(())
}

/// The planted file is found by schedule, too, and told by everything that tells.
fn scrubbed(lab: &Lab) -> Result<()> {
    let state = || -> Result<Value> { Ok(serde_json::from_str(&lab.cli(1, &["state", "-m", MODULE, "--json"])?)?) };
    wait_until("the schedule's comparison to find the file", SCHEDULE, || {
        let state = state()?;
        if state["scrub"]["last"]["differences"] == 1 { Ok(true) } else { bail!("{}", state["scrub"]) }
    })?;
    let state = state()?;
    let scrub = &state["scrub"];
    ensure!(scrub["last"]["named"].to_string().contains("/srv/bank/planted"), "{scrub}");
    ensure!(scrub["next_unix_ms"].as_u64() > scrub["last"]["ended_unix_ms"].as_u64(), "{scrub}");
    let resources = state["resources"].as_array().into_iter().flatten();
    let down = resources.clone().any(|resource| resource["name"] == "rfs.scrub" && resource["value"] == "down");
    ensure!(down, "{}", state["resources"]);
    let log = lab.module_log(1, MODULE, 200);
    ensure!(
        log.contains("the copies differ: 1 differences") && log.contains("compared by schedule (* * * * *)"),
        "{log}"
    );
    let shown = lab.cli(1, &["state", "-m", MODULE])?;
    ensure!(shown.contains("scrub (* * * * *) next ") && shown.contains("1 DIFFERENCES"), "{shown}");
    // The one that is not primary leaves it to the other.
    let log = lab.module_log(2, MODULE, 200);
    ensure!(!log.contains("by schedule"), "{log}");
    Ok(())
}

fn missing(lab: &Lab) -> Result<()> {
    lab.cli(2, &["stop", "-m", MODULE])?;
    lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
    // As when the disk is not mounted.
    lab.host(2).shell("mv /srv/bank /srv/away; mkdir /srv/bank")?;
    lab.cli(2, &["start", "-m", MODULE])?;
    lab.wait_state(2, MODULE, "WAIT NotReady", PATIENCE)?;
    wait_until("node2 to say what it waits for", PATIENCE, || {
        let said = lab.state(2, MODULE)?.waiting_for.unwrap_or_default();
        if said.contains("/srv/bank/own/file") { Ok(true) } else { bail!("{said}") }
    })?;
    ensure!(std::fs::read_dir(lab.backing(2, "/srv/bank"))?.next().is_none(), "something was copied into it");
    lab.host(2).shell("rmdir /srv/bank; mv /srv/away /srv/bank")?;
    lab.wait_pair(MODULE, 1)
}

/// What a resync would change is told before it; then everything is compared, as ordered.
fn told_before(lab: &Lab) -> Result<()> {
    lab.cli(2, &["stop", "-m", MODULE])?;
    lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
    lab.host(1).shell("echo new > /srv/bank/written-alone")?;
    let Err(told) = lab.cli(2, &["rfsdiff", "-m", MODULE]) else { bail!("the new file was not told") };
    let told = format!("{told:#}");
    ensure!(told.contains("/srv/bank/written-alone: only on the primary") && told.contains("65536 bytes"), "{told}");
    ensure!(!lab.backing(2, "/srv/bank/written-alone").exists(), "telling has changed something");
    ensure!(lab.cli(1, &["rfsdiff", "-m", MODULE]).is_err(), "the primary has nobody to compare itself with");
    lab.cli(2, &["second", "fullsync", "-m", MODULE])?;
    lab.wait_pair(MODULE, 1)?;
    let log = lab.cli(2, &["log", "-m", MODULE])?;
    ensure!(log.contains("everything is compared at the next resync, as ordered"), "{log}");
    ensure!(lab.backing(2, "/srv/bank/written-alone").exists(), "it was not resynced");
    let own = std::fs::read_to_string(lab.backing(2, "/srv/bank/own/file"))?;
    ensure!(own == "of node2\n", "node2 has {own:?} of its own");
    Ok(())
}
