//! The agent is killed at named points around its ledger, its grants and its data plane, under load; another one goes on.
//!
//! The data plane's own points are in its crate's tests.

use crate::bench::{Bench, MODULE, Scenario, progress};
use anyhow::{Context, Result, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::PATIENCE;
use holdfast_tests::lab::health::demand_single_but_between;
use holdfast_tests::lab::wait::wait_until;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// All points at all passages up to [`PASSAGES_MAX`], instead of [`KILLS`].
const ALL_VARIABLE: &str = "HOLDFAST_ALL_KILLS";
const PASSAGES_MAX: u32 = 5;

/// Every point of the agent.
const POINTS: [&str; 9] = [
    "ledger-decided",
    "ledger-written",
    "ledger-saved",
    "engine-saved",
    "engine-carried-out",
    "replica-starting",
    "replica-started",
    "replica-ordering",
    "replica-ordered",
];
/// Those passed when a data plane is started: after the last one was killed.
const STARTS: [&str; 3] = ["replica-starting", "replica-started", TAKEN_OVER];
/// Passed only where another data plane takes a mount over: on the node that serves.
const TAKEN_OVER: &str = "replica-taken-over";

/// Node, point and passage.
type Kill = (u8, &'static str, u32);

/// Those of every run.
const KILLS: [Kill; 16] = [
    (1, "ledger-decided", 1),
    (1, "ledger-written", 2),
    (1, "ledger-saved", 1),
    (1, "engine-saved", 3),
    (1, "engine-carried-out", 1),
    (1, "replica-starting", 1),
    (1, "replica-ordering", 2),
    (1, TAKEN_OVER, 1),
    (2, "ledger-decided", 3),
    (2, "ledger-written", 1),
    (2, "ledger-saved", 2),
    (2, "engine-saved", 1),
    (2, "engine-carried-out", 2),
    (2, "replica-started", 1),
    (2, "replica-ordering", 2),
    (2, "replica-ordered", 3),
];

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "agent_killed_at_any_point_around_its_ledger_loses_no_acknowledged_transfer", run: kills },
    Scenario { name: "every_kill_point_of_the_agent_is_one_that_is_killed_at", run: known },
];

fn kills(bench: &mut Bench) -> Result<()> {
    let all = std::env::var_os(ALL_VARIABLE).is_some();
    let every = || {
        let passages = |point| (1..=PASSAGES_MAX).flat_map(move |passage| [(1, point, passage), (2, point, passage)]);
        POINTS.into_iter().flat_map(passages).chain([(1, TAKEN_OVER, 1), (1, TAKEN_OVER, 2)]).collect()
    };
    let runs: Vec<Kill> = if all { every() } else { KILLS.to_vec() };
    for kill in runs {
        let (node, point, passage) = kill;
        let began = Instant::now();
        let passed = killed(bench, kill).with_context(|| format!("agent of node{node} killed at {point}:{passage}"))?;
        println!("  node{node} at {point}:{passage}: {passed}, {:.1} s", began.elapsed().as_secs_f64());
        ensure!(passed || all, "the agent of node{node} did not pass {point} {passage} times");
    }
    Ok(())
}

/// One run; whether its point was passed.
fn killed(bench: &mut Bench, (node, point, passage): Kill) -> Result<bool> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 20)?;
    let lab = bench.lab()?;
    lab.host(node).signal("holdfast-agent", rustix::process::Signal::KILL)?;
    wait_until("the agent to end", PATIENCE, || Ok(lab.host(node).named("holdfast-agent").is_empty()))?;
    let started = lab.start_agent_killed_at(node, &format!("{point}:{passage}"));
    if !lab.host(node).named("holdfast-agent").is_empty() {
        started?;
    }
    let died = story(lab, node, point)?;
    if !died {
        // It may yet come by the point.
        lab.host(node).signal("holdfast-agent", rustix::process::Signal::KILL)?;
        wait_until("the agent to end", PATIENCE, || Ok(lab.host(node).named("holdfast-agent").is_empty()))?;
    }
    let lab = bench.pair()?;
    let now_ms = watch.now_ms();
    lab.wait_pair(MODULE, 1)?;
    progress(&load, 20)?;
    bench.finish(load)?;
    demand_single_but_between(&watch.finish(), now_ms, now_ms)?;
    bench.demand_equal_copies(1)?;
    Ok(died)
}

/// What makes agents save, grant, start data planes and end them, until the one on `node` has died; whether it has.
fn story(lab: &Lab, node: u8, point: &str) -> Result<bool> {
    type Step = fn(&Lab) -> Result<()>;
    let steps: [Step; 6] = [
        |lab| lab.cli(2, &["stop", "-m", MODULE]).map(drop),
        |lab| lab.cli(2, &["start", "-m", MODULE]).map(drop),
        |lab| lab.cli(1, &["swap", "-m", MODULE]).map(drop),
        |lab| lab.cli(1, &["stop", "-m", MODULE]).map(drop),
        |lab| lab.cli(1, &["start", "-m", MODULE]).map(drop),
        |lab| lab.cli(2, &["swap", "-m", MODULE]).map(drop),
    ];
    let died = || lab.host(node).named("holdfast-agent").is_empty();
    if settled(lab, &died)? {
        return Ok(true);
    }
    if STARTS.contains(&point) {
        lab.host(node).signal("holdfast-replica", rustix::process::Signal::KILL)?;
        if wait_until("the agent to die", Duration::from_secs(10), || Ok(died())).is_ok() {
            return Ok(true);
        }
    }
    for step in steps {
        // A command to an agent that dies of it gets no answer; what matters is what is found afterwards.
        let _ = step(lab);
        if settled(lab, &died)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until the agent has died (then `true`), or both nodes are in a state in which they stay.
fn settled(lab: &Lab, died: &dyn Fn() -> bool) -> Result<bool> {
    let rests = |number| {
        let name = lab.state(number, MODULE).map(|state| state.name()).unwrap_or_default();
        ["PRIM Ready", "SECOND Ready", "ALONE Ready", "STOP NotReady"].contains(&name.as_str())
    };
    wait_until("the agent's death, or both nodes at rest", PATIENCE, || Ok(died() || (rests(1) && rests(2))))?;
    Ok(died())
}

fn known(_: &mut Bench) -> Result<()> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path)?;
            let named = text.split("crash::point(\"").skip(1).filter_map(|rest| rest.split_once('"'));
            found.extend(named.map(|(name, _)| name.to_owned()));
        }
    }
    let known: BTreeSet<String> = POINTS.into_iter().chain([TAKEN_OVER]).map(str::to_owned).collect();
    ensure!(found == known, "points of the agent: {found:?}, killed at: {known:?}");
    let each: BTreeSet<String> = KILLS.iter().map(|(_, point, _)| (*point).to_owned()).collect();
    ensure!(each == known, "every run kills at {each:?}");
    Ok(())
}
