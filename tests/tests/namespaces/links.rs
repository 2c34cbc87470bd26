//! Cuts: link, one way, stream; reunion of two nodes that both served.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress};
use anyhow::{Context, Result, ensure};
use holdfast_tests::bank::client::Bank;
use holdfast_tests::bank::ledger::Ledger;
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::{HealthWatch, demand_single_but_between, demand_turns};
use holdfast_tests::lab::network::second_address;
use holdfast_tests::lab::wait::wait_until;
use std::collections::BTreeSet;
use std::time::Duration;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "cut_stream_with_live_heartbeats_never_fails_over", run: cut_stream },
    Scenario { name: "cut_link_and_reunion_set_aside_what_diverged", run: cut_and_reunion },
    Scenario { name: "frozen_writer_cannot_keep_a_losing_node_from_letting_go", run: frozen_writer },
    Scenario { name: "one_way_cut_never_lets_two_nodes_serve_at_once", run: one_way },
    Scenario { name: "each_network_is_lost_after_its_own_time_and_only_the_last_of_them_fails_over", run: own_times },
];

fn cut_stream(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    bench.lab()?.cut_stream(1, 2)?;
    bench.lab()?.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    progress(&load, 50)?;
    bench.lab()?.heal()?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    progress(&load, 50)?;
    let report = bench.finish(load)?;
    println!("  writes were held back for {} ms (timeout {TIMEOUT_MS} ms)", report.longest_outage_ms);
    demand_turns(&watch.finish(), &[1])?;
    bench.demand_equal_copies(1)
}

/// Only the door of one node: clients that are cut off from the other as well.
fn only(bank: &Bank, number: u8) -> Bank {
    Bank { doors: vec![bank.doors[usize::from(number) - 1].clone()], ..bank.clone() }
}

/// Two nodes that both serve and cannot know of each other.
struct Split {
    watch: HealthWatch,
    cut_ms: u64,
    /// Ids acknowledged by node 2 alone.
    diverged: BTreeSet<String>,
}

impl Split {
    /// The links are healed and node 2 has given up: from now on, as before the cut, no two nodes answered 200 at once.
    fn settle(&self) -> u64 {
        self.watch.now_ms()
    }

    fn demand_single(self, settled_ms: u64) -> Result<()> {
        demand_single_but_between(&self.watch.finish(), self.cut_ms, settled_ms)
    }
}

/// Cuts the link, lets both nodes serve and write.
fn split(bench: &mut Bench) -> Result<Split> {
    let lab = bench.pair()?;
    let (bank, watch) = (lab.bank(MODULE), lab.watch_health(MODULE));
    let load = bench.load()?;
    progress(&load, 20)?;
    bench.finish(load)?;
    let lab = bench.lab()?;
    let cut_ms = watch.now_ms();
    lab.cut_link(1, 2)?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    let (left, right) = (bench.load_on(&only(&bank, 1)), bench.load_on(&only(&bank, 2)));
    progress(&left, 20)?;
    progress(&right, 20)?;
    let diverged = right.finish().acknowledged;
    let left = left.finish().acknowledged;
    // Node 1 was primary before: what it acknowledged must stay.
    bench.keep(left);
    Ok(Split { watch, cut_ms, diverged })
}

fn cut_and_reunion(bench: &mut Bench) -> Result<()> {
    let split = split(bench)?;
    let lab = bench.lab()?;
    lab.heal()?;
    // By itself: what node 2 wrote is set aside, then it follows.
    lab.wait_pair(MODULE, 1)?;
    let settled_ms = split.settle();
    ensure!(!lab.health(2, MODULE), "node2 still answers 200");
    ensure!(lab.host(2).named("holdfast-bank").is_empty(), "the application still runs on node2");
    let present = transfers_set_aside(lab, 2)?;
    let lost: Vec<&String> = split.diverged.iter().filter(|id| !present.contains(*id)).collect();
    ensure!(lost.is_empty(), "{} transfers of the diverged copy were overwritten: {:?}", lost.len(), lost.first());
    bench.demand_acknowledged()?;
    split.demand_single(settled_ms)?;
    bench.demand_equal_copies(1)
}

/// The ids in the ledger that a node has set aside last.
fn transfers_set_aside(lab: &Lab, number: u8) -> Result<BTreeSet<String>> {
    let told: serde_json::Value = serde_json::from_str(&lab.cli(number, &["diverged", "-m", MODULE, "--json"])?)?;
    let last = told.as_array().and_then(|copies| copies.last()).context("nothing is set aside")?;
    let folder = last["folder"].as_str().context("no folder is told")?;
    let copy = lab.folder().join("copy");
    std::fs::create_dir_all(&copy)?;
    lab.host(number).shell(&format!("cp {folder}/files/srv/bank/ledger.db* {}", copy.display()))?;
    let ids = Ledger::open(&copy.join("ledger.db"))?.transfers()?;
    std::fs::remove_dir_all(&copy)?;
    Ok(ids.into_iter().collect())
}

fn frozen_writer(bench: &mut Bench) -> Result<()> {
    let split = split(bench)?;
    let lab = bench.lab()?;
    lab.host(2).spawn("writer", "sh", &["-c", "exec 9>/srv/bank/frozen; exec sleep 1000"])?;
    wait_until("the writer's file", Duration::from_secs(10), || Ok(lab.backing(2, "/srv/bank/frozen").exists()))?;
    lab.host(2).stop_process("sleep")?;
    lab.host(2).stop_process("holdfast-bank")?;
    lab.heal()?;
    // Its mount is aborted, what it wrote set aside, and it follows on a new one.
    lab.wait_pair(MODULE, 1)?;
    let settled_ms = split.settle();
    ensure!(!lab.health(2, MODULE), "node2 still answers 200");
    bench.demand_acknowledged()?;
    let lab = bench.lab()?;
    lab.host(2).signal("sleep", rustix::process::Signal::KILL)?;
    split.demand_single(settled_ms)?;
    bench.demand_equal_copies(1)
}

fn one_way(bench: &mut Bench) -> Result<()> {
    let watch = bench.pair()?.watch_health(MODULE);
    let load = bench.load()?;
    progress(&load, 50)?;
    // Node 2 no longer hears node 1, and tells it so.
    bench.lab()?.cut_one_way(1, 2)?;
    progress(&load, 200)?;
    bench.lab()?.heal()?;
    progress(&load, 50)?;
    let report = bench.finish(load)?;
    println!("  outage {} ms", report.longest_outage_ms);
    let lab = bench.lab()?;
    wait_until("one node to serve", PATIENCE, || Ok(lab.serving(MODULE)?.is_some()))?;
    // One of them always hears the other: never two.
    let now_ms = watch.now_ms();
    demand_single_but_between(&watch.finish(), now_ms, now_ms)
}

/// A pair that hears each other on a second, slow network too.
fn pair_on_two_networks() -> Result<Lab> {
    const FLOW: &str = r#"<heartbeat name="default" ident="flow"/>"#;
    const FAR: &str = r#"<heartbeat name="far" pulse="1s" timeout="8s"/>"#;
    let plan = ModulePlan::bank(TIMEOUT_MS).edited(FLOW, &format!("{FLOW}{FAR}"));
    let lab = Lab::new("networks")?;
    lab.numbers().into_iter().try_for_each(|number| lab.host(number).join_second_network())?;
    lab.make_directory(&plan)?;
    lab.form_cluster_with(&[("far", &second_address)])?;
    lab.install_package(&plan.name, &plan.package()?)?;
    lab.start_pair(MODULE)?;
    Ok(lab)
}

fn own_times(_: &mut Bench) -> Result<()> {
    let mut lab = pair_on_two_networks()?;
    let result = lost_one_by_one(&mut lab);
    result.with_context(|| lab.diagnosis(MODULE))
}

fn lost_one_by_one(lab: &mut Lab) -> Result<()> {
    let log = |lab: &Lab| lab.module_log(2, MODULE, 1000);
    let at = |text: &str, what: &str| text.rfind(what).with_context(|| format!("the log does not say {what:?}"));
    lab.cut_link(1, 2)?;
    wait_until("the quick network to be lost", PATIENCE, || Ok(log(lab).contains("heartbeat.flow is down")))?;
    // The other network is heard: node1 goes on alone because node2 has recorded that it is out of date.
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.heal()?;
    lab.wait_pair(MODULE, 1)?;
    let text = log(lab);
    ensure!(!text.contains("take over") && !text.contains("heartbeat.far is down"), "{text}");

    lab.kill_node(1)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    let text = log(lab);
    let lost = (at(&text, "heartbeat.flow is down")?, at(&text, "heartbeat.far is down")?, at(&text, "take over")?);
    ensure!(lost.0 < lost.1 && lost.1 < lost.2, "lost and taken over in another order: {text}");
    Ok(())
}
