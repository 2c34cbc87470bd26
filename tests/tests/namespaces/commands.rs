//! What operators do: stop, start, swap, restart, with clients at work.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress};
use anyhow::{Result, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use rustix::process::Signal;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "swap_exchanges_roles_under_load", run: swap },
    Scenario { name: "stopped_primary_hands_over_and_comes_back_as_secondary", run: stop_primary },
    Scenario { name: "stopped_secondary_leaves_the_primary_serving", run: stop_secondary },
    Scenario { name: "restart_of_the_application_does_not_fail_over", run: restart },
    Scenario { name: "agent_told_to_end_hands_over_and_comes_back_as_secondary", run: agent_ends },
    Scenario { name: "agent_told_twice_does_not_wait_for_a_script_that_hangs", run: agent_hurries },
    Scenario { name: "stopped_module_says_what_its_directories_hold", run: inventory },
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

/// Tells the agent of node 1 to end and waits until it has; the host and its boot id stay.
fn end_agent(lab: &Lab) -> Result<()> {
    lab.host(1).signal("holdfast-agent", Signal::TERM)?;
    await_end(lab)
}

fn await_end(lab: &Lab) -> Result<()> {
    wait_until("the agent to end", PATIENCE, || Ok(lab.host(1).named("holdfast-agent").is_empty()))?;
    wait_until("the data plane to end", PATIENCE, || Ok(lab.host(1).named("holdfast-replica").is_empty()))?;
    ensure!(lab.host(1).fuse_mounts().is_empty(), "still mounted on node1: {:?}", lab.host(1).fuse_mounts());
    ensure!(lab.host(1).named("holdfast-bank").is_empty(), "the application still runs on node1");
    Ok(())
}

fn agent_ends(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    let generation = bench.lab()?.state(1, MODULE)?.generation;
    end_agent(bench.lab()?)?;
    bench.lab()?.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    let log = bench.lab()?.module_log(2, MODULE, 50);
    let promise = format!("generation {}: node1 has recorded", generation.number + 1);
    ensure!(log.contains(&promise), "node2 waited for silence instead of being handed over to:\n{log}");
    progress(&load, 50)?;
    bench.lab()?.start_agent(1)?;
    bench.lab()?.wait_pair(MODULE, 2)?;
    progress(&load, 50)?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1, 2])?;
    bench.demand_equal_copies(2)
}

fn agent_hurries(_: &mut Bench) -> Result<()> {
    // The polite stop waits for longer than this scenario may take.
    let plan = ModulePlan::bank(TIMEOUT_MS).edited(r#"nicestoptimeout="5""#, r#"nicestoptimeout="600""#);
    Bench::own("hurry", &plan, |_| Ok(()))?.tell(|bench| {
        let lab = bench.lab()?;
        // Frozen, it does not end when it is asked to.
        lab.host(1).stop_process("holdfast-bank")?;
        lab.host(1).signal("holdfast-agent", Signal::TERM)?;
        let script = || Ok(lab.host(1).named("stop_prim").len() == 1);
        wait_until("the stop script", PATIENCE, script)?;
        lab.host(1).signal("holdfast-agent", Signal::TERM)?;
        await_end(lab)?;
        lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
        lab.start_agent(1)?;
        lab.wait_pair(MODULE, 2)
    })
}

fn inventory(_: &mut Bench) -> Result<()> {
    let lab = Lab::new("count")?;
    lab.host(1).shell("mkdir -p /srv/bank && echo newest > /srv/bank/file && touch -d @1700000000 /srv/bank/file")?;
    lab.configure(&ModulePlan::bank(TIMEOUT_MS))?;
    let counted = |number| -> Result<serde_json::Value> {
        let text = lab.cli(number, &["state", "-m", MODULE, "--json"])?;
        Ok(serde_json::from_str::<serde_json::Value>(&text)?["inventory"].clone())
    };
    let expected = serde_json::json!({ "entries": 1, "bytes": 7, "changed_unix_ms": 1_700_000_000_000_u64 });
    wait_until("the count on node1", PATIENCE, || Ok(counted(1)? == expected))?;
    wait_until("the count on node2", PATIENCE, || Ok(counted(2)?["entries"] == 0))?;
    ensure!(lab.host(1).named("holdfast-replica").is_empty(), "the data plane runs in a module that never started");
    Ok(())
}
