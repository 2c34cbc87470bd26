//! Faults beside the data plane: what stands still, what is slow, half of a connection, packets that are lost. The
//! application sees nothing of them, and is never held longer than the heartbeat timeout. Those of disks are in `disks`.
//!
//! Not here: steps of the clock, which no namespace has (the simulator makes them).

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress};
use crate::caller::{Caller, Told};
use anyhow::{Result, ensure};
use holdfast_tests::bank::client::Load;
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::PATIENCE;
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use std::time::{Duration, Instant};

/// No call is held longer: the heartbeat timeout, and what a busy machine needs to notice, ask and answer.
pub const LIMIT: Duration = Duration::from_millis(TIMEOUT_MS as u64 + 3000);
pub const CALLS: &str = "/srv/bank/calls";
const REPLICA: &str = "holdfast-replica";
const AGENT: &str = "holdfast-agent";

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "frozen_data_plane_of_the_secondary_holds_no_call_longer_than_the_timeout", run: frozen_follower },
    Scenario {
        name: "frozen_data_plane_of_the_secondary_is_ended_and_the_next_one_catches_up",
        run: follower_frozen_for_good,
    },
    Scenario { name: "frozen_data_plane_of_the_primary_is_a_pause_without_an_error", run: frozen_server },
    Scenario { name: "frozen_agent_of_the_secondary_is_not_seen_by_the_application", run: frozen_agent },
    Scenario { name: "frozen_agent_of_the_primary_is_taken_over_by_the_peer", run: frozen_agent_of_the_primary },
    Scenario { name: "half_open_stream_holds_no_call_longer_than_the_timeout", run: half_open },
    Scenario { name: "slow_link_slows_the_application_and_breaks_nothing", run: slow_link },
    Scenario { name: "link_that_loses_packets_slows_the_application_and_breaks_nothing", run: lossy_link },
];

/// A story through all of which node 1 serves, and its application feels little.
pub fn unfelt(bench: &mut Bench, story: impl FnOnce(&mut Bench, &Load, &Caller) -> Result<()>) -> Result<Told> {
    let watch = bench.lab()?.watch_health(MODULE);
    let load = bench.load()?;
    let caller = Caller::start(bench.lab()?, 1, CALLS)?;
    progress(&load, 50)?;
    story(bench, &load, &caller)?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    goes_on(&load, &caller)?;
    let told = caller.finish()?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1])?;
    told.demand_smooth(LIMIT)?;
    Ok(told)
}

/// Node 1 serves on alone through a fault of node 2, which is mended then.
pub fn serves_on(
    bench: &mut Bench,
    fault: fn(&mut Lab) -> Result<()>,
    mend: fn(&mut Lab) -> Result<()>,
) -> Result<Told> {
    let before = data_planes(bench.lab()?, 1);
    let told = unfelt(bench, |bench, load, caller| {
        fault(bench.lab()?)?;
        bench.lab()?.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
        goes_on(load, caller)?;
        mend(bench.lab()?)
    })?;
    let now = data_planes(bench.lab()?, 1);
    ensure!(now == before, "the data plane of node1 was ended: a peer at fault is no reason");
    Ok(told)
}

/// Numbers of the processes of a node's data plane.
pub fn data_planes(lab: &Lab, number: u8) -> Vec<i32> {
    lab.host(number).named(REPLICA).iter().map(|process| process.pid).collect()
}

pub fn goes_on(load: &Load, caller: &Caller) -> Result<()> {
    progress(load, 50)?;
    caller.progress(1000)
}

/// After a story on hosts without disks of their own.
fn demand_copies(bench: &mut Bench, primary: u8, told: &Told) -> Result<()> {
    bench.demand_equal_copies(primary)?;
    let lab = bench.lab()?;
    [1, 2].into_iter().try_for_each(|number| told.demand_in(&lab.backing(number, CALLS)))
}

fn frozen_follower(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = serves_on(bench, |lab| lab.host(2).stop_process(REPLICA), |lab| lab.host(2).cont(REPLICA))?;
    demand_copies(bench, 1, &told)
}

/// Nobody lets it go on: its agent ends it and starts another, and says why.
fn follower_frozen_for_good(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = serves_on(
        bench,
        |lab| lab.host(2).stop_process(REPLICA),
        |lab| {
            let frozen = data_planes(lab, 2);
            wait_until("node2 to have another data plane", PATIENCE, || {
                let now = data_planes(lab, 2);
                Ok(!now.is_empty() && frozen.iter().all(|process| !now.contains(process)))
            })
        },
    )?;
    let log = bench.lab()?.module_log(2, MODULE, 40);
    ensure!(log.contains("it stands still: not a word in"), "nobody was told why: {log}");
    demand_copies(bench, 1, &told)
}

/// Its data plane goes on: it does not need its agent for every change.
fn frozen_agent(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = unfelt(bench, |bench, load, caller| {
        let lab = bench.lab()?;
        lab.host(2).stop_process(AGENT)?;
        wait_until("node1 to miss node2", PATIENCE, || {
            Ok(lab.module_log(1, MODULE, 20).contains("node2 is not heard any more"))
        })?;
        goes_on(load, caller)?;
        bench.lab()?.host(2).cont(AGENT)
    })?;
    demand_copies(bench, 1, &told)
}

fn half_open(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = serves_on(bench, |lab| lab.cut_stream_one_way(1, 2), Lab::heal)?;
    demand_copies(bench, 1, &told)?;
    bench.pair()?;
    let told = serves_on(bench, |lab| lab.cut_stream_one_way(2, 1), Lab::heal)?;
    demand_copies(bench, 1, &told)
}

/// The agent ends a data plane that serves and says nothing; another one takes its mount over.
fn frozen_server(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = unfelt(bench, |bench, load, caller| {
        bench.lab()?.host(1).stop_process(REPLICA)?;
        goes_on(load, caller)
    })?;
    demand_copies(bench, 1, &told)
}

/// Node 2 takes over; node 1 finds that out when it goes on.
fn frozen_agent_of_the_primary(bench: &mut Bench) -> Result<()> {
    let lab = bench.pair()?;
    // A node that was frozen itself, as in the story before, trusts what it hears a whole timeout later, and says nothing
    // of that.
    let began = Instant::now();
    wait_until("a timeout to pass on node2", PATIENCE, || {
        Ok(began.elapsed() > Duration::from_millis(u64::from(2 * TIMEOUT_MS)))
    })?;
    let watch = lab.watch_health(MODULE);
    let load = bench.load()?;
    let caller = Caller::start_to_the_first_error(bench.lab()?, 1, CALLS)?;
    progress(&load, 50)?;
    bench.lab()?.host(1).stop_process(AGENT)?;
    bench.lab()?.wait_serves(2, MODULE, PATIENCE)?;
    progress(&load, 50)?;
    bench.lab()?.host(1).cont(AGENT)?;
    bench.lab()?.wait_pair(MODULE, 2)?;
    progress(&load, 50)?;
    let told = caller.finish()?;
    println!("  the longest call took {} ms ({}), {:?}", told.longest_ms, told.longest, told.errors);
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1, 2])?;
    // Held back, then refused, not for as long as the agent stands still.
    ensure!(told.errors.keys().all(|told| told.ends_with("(os error 5)")), "{:?}", told.errors);
    told.demand_within(LIMIT)?;
    demand_copies(bench, 2, &told)
}

/// What a queue of this link does to everything on it: each packet waits up to a fifth of a second.
const SLOW: &str = "tc qdisc replace dev eth0 root tbf rate 3mbit burst 16kb latency 200ms";
/// One packet in twenty that comes to a host is lost there.
const LOSSY: &str = "nft -f - <<END
table inet loss { chain input { type filter hook input priority 0; meta iifname eth0 numgen random mod 20 0 drop; }; }
END";

fn slow_link(bench: &mut Bench) -> Result<()> {
    poor_link(bench, SLOW, "tc qdisc delete dev eth0 root")
}

fn lossy_link(bench: &mut Bench) -> Result<()> {
    poor_link(bench, LOSSY, "nft delete table inet loss")
}

fn poor_link(bench: &mut Bench, spoil: &str, mend: &str) -> Result<()> {
    let generation = bench.pair()?.state(1, MODULE)?.generation;
    let shell_on_both = |lab: &Lab, line| [1, 2].into_iter().try_for_each(|node| lab.host(node).shell(line).map(drop));
    let told = unfelt(bench, |bench, load, caller| {
        shell_on_both(bench.lab()?, spoil)?;
        goes_on(load, caller)?;
        shell_on_both(bench.lab()?, mend)
    })?;
    let lab = bench.lab()?;
    ensure!(lab.state(1, MODULE)?.generation == generation, "the pair broke over a poor link");
    demand_copies(bench, 1, &told)
}
