//! Register witnesses: real etcd and the real management server decide who goes on when the nodes are cut off.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, load, progress};
use anyhow::{Context, Result, bail, ensure};
use holdfast_agent::drivers::witness::{Setting, Witness, etcd_key};
use holdfast_agent::logs::{LogFile, ModuleLog};
use holdfast_agent::report::Reports;
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::userconfig;
use holdfast_core::input::{Input, WitnessAnswer};
use holdfast_tests::demo::server::Server;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::{Turn, demand_single_but_between, demand_turns};
use holdfast_tests::lab::relay::Relay;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::mpsc;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "etcd_grants_each_generation_to_exactly_one_of_two_contenders", run: contenders },
    Scenario { name: "isolated_primary_gives_up_when_etcd_is_the_witness", run: isolated_with_etcd },
    Scenario { name: "cut_link_with_etcd_as_witness_leaves_exactly_one_serving", run: cut_with_etcd },
    Scenario { name: "isolated_primary_gives_up_when_the_server_is_the_witness", run: isolated_with_server },
    Scenario { name: "nobody_serves_while_the_register_is_away_and_the_links_are_cut", run: register_away },
];

/// The driver of one node, as its engine uses it.
struct Contender {
    witness: Witness,
    inputs: mpsc::Receiver<Input>,
    asks: u64,
}

impl Contender {
    fn new(node: u16, etcd: SocketAddr, folder: &std::path::Path) -> Result<Self> {
        let (inbox, inputs) = mpsc::channel(64);
        let name = if node == 1 { "node1" } else { "node2" };
        let setting = Setting {
            module: MODULE.into(),
            id: ModuleId(1),
            node: NodeId(node),
            etcd_key: etcd_key(b"the cluster's secret", MODULE, 1),
            witness: userconfig::Witness::Etcd {
                ident: "witness".into(),
                endpoints: vec!["http://127.0.0.1:1".into(), format!("http://{etcd}")],
            },
            limit: Duration::from_secs(10),
            register: Default::default(),
            log: ModuleLog::start(LogFile::new(folder, name, 1 << 20), MODULE, name)?,
            reports: Reports::new(name),
        };
        Ok(Self { witness: Witness::start(setting, inbox)?, inputs, asks: 0 })
    }

    async fn ask(&mut self, number: u64, nonce: u64) -> Result<WitnessAnswer> {
        self.asks += 1;
        self.witness.ask(self.asks, number, nonce);
        loop {
            let input = tokio::time::timeout(PATIENCE, self.inputs.recv()).await?;
            if let Input::WitnessAnswered { ask, answer } = input.context("the driver has ended")?
                && ask == self.asks
            {
                return Ok(answer);
            }
        }
    }
}

fn contenders(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("etcd", &LabOptions { hosts: 0, console: true, ..LabOptions::default() })?;
    lab.start_etcd(CONSOLE)?;
    let door =
        Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), lab.etcd_address(CONSOLE), lab.network().connector())?;
    tokio::runtime::Runtime::new()?.block_on(contend(&lab, door.address()))
}

async fn contend(lab: &Lab, etcd: SocketAddr) -> Result<()> {
    let mut one = Contender::new(1, etcd, lab.folder())?;
    let mut two = Contender::new(2, etcd, lab.folder())?;
    let mut wins = [0, 0];
    for number in 1..=40 {
        let (a, b) = tokio::try_join!(one.ask(number, 100 + number), two.ask(number, 200 + number))?;
        let winner = match (&a, &b) {
            (WitnessAnswer::Granted, WitnessAnswer::Refused { number: taken, .. }) if *taken == number => 0,
            (WitnessAnswer::Refused { number: taken, .. }, WitnessAnswer::Granted) if *taken == number => 1,
            _ => bail!("generation {number}: node 1 was told {a:?}, node 2 {b:?}"),
        };
        wins[winner] += 1;
        // As after a lost reply: the winner's very ask stands, the loser's does not.
        let again = [one.ask(number, 100 + number).await?, two.ask(number, 200 + number).await?];
        ensure!(again[winner] == WitnessAnswer::Granted && again[1 - winner] != WitnessAnswer::Granted, "{again:?}");
    }
    println!("  node 1 won {}, node 2 won {}", wins[0], wins[1]);
    ensure!(one.ask(41, 1).await? == WitnessAnswer::Granted);
    lab.kill_etcd(CONSOLE)?;
    let away = two.ask(42, 2).await?;
    ensure!(matches!(away, WitnessAnswer::Unreachable { .. }), "etcd is dead: {away:?}");
    lab.start_etcd(CONSOLE)?;
    // What was granted is on its disk.
    let after = two.ask(41, 2).await?;
    ensure!(matches!(after, WitnessAnswer::Refused { number: 41, .. }), "{after:?}");
    ensure!(one.ask(41, 1).await? == WitnessAnswer::Granted);
    ensure!(two.ask(42, 2).await? == WitnessAnswer::Granted);
    Ok(())
}

/// The bank with a witness: attributes of its `<splitbrain>`.
fn bank(splitbrain: &str) -> ModulePlan {
    let check = format!("<check>\n    <splitbrain ident=\"witness\" {splitbrain}/>\n  </check>\n</service>");
    ModulePlan::bank(TIMEOUT_MS).edited("</service>", &check)
}

/// A lab with a third machine, and a bank whose witness is the etcd on it.
fn with_etcd() -> Result<Lab> {
    let lab = Lab::with("witness", &LabOptions { console: true, ..LabOptions::default() })?;
    lab.start_etcd(CONSOLE)?;
    let plan = bank(&format!(r#"exec="etcd" arg="http://{}""#, lab.etcd_address(CONSOLE)));
    lab.configure(&plan)?;
    lab.start_pair(MODULE)?;
    Ok(lab)
}

/// The same with the register at the management server; the module is deployed from there.
fn with_server() -> Result<(Lab, Server, u64)> {
    let lab = Lab::with("witness", &LabOptions { console: true, ..LabOptions::default() })?;
    let server = Server::start(&lab, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let plan = bank(r#"exec="register""#);
    lab.make_directory(&plan)?;
    server.form_cluster(&lab)?;
    let module = server.configure(&plan)?;
    wait_armed(&server, module)?;
    lab.start_pair(MODULE)?;
    Ok((lab, server, module))
}

/// Waits until the server's register grants.
fn wait_armed(server: &Server, module: u64) -> Result<()> {
    wait_until("the register to be armed by the nodes' reports", PATIENCE, || {
        let view = server.get(&format!("/modules/{module}/register"))?;
        if view["armed"] == true { Ok(true) } else { bail!("{view}") }
    })
}

/// Node 1 is cut off from node 2 and from the register while clients write; node 2 goes on alone, and node 1 lets go.
fn isolate_primary(lab: &mut Lab) -> Result<()> {
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "isolated");
    progress(&load, 50)?;
    let cut_ms = watch.now_ms();
    lab.cut_link(1, 2)?;
    lab.cut_link(1, CONSOLE)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    lab.wait_state(1, MODULE, "WAIT NotReady", PATIENCE)?;
    let settled_ms = watch.now_ms();
    ensure!(lab.host(1).named("holdfast-bank").is_empty(), "the application still runs on the isolated node");
    progress(&load, 50)?;
    lab.heal()?;
    lab.wait_pair(MODULE, 2)?;
    progress(&load, 20)?;
    let report = load.finish();
    lab.bank(MODULE).demand(&report.acknowledged)?;
    demand_hand_over(&watch.finish(), cut_ms, settled_ms)
}

/// Node 1 served, then node 2, and never node 1 again. In between both may answer 200 for as long as node 1, whose clients'
/// writes are held, waits for the register that it cannot reach (from the cut until it has let go): what it cannot do is
/// acknowledge one.
fn demand_hand_over(turns: &[Turn], cut_ms: u64, settled_ms: u64) -> Result<()> {
    demand_single_but_between(turns, cut_ms, settled_ms)?;
    let mut seen: Vec<&[u8]> =
        turns.iter().map(|turn| turn.nodes.as_slice()).filter(|nodes| !nodes.is_empty()).collect();
    seen.dedup();
    seen.retain(|nodes| *nodes != [1, 2]);
    ensure!(seen == [[1].as_slice(), &[2]], "expected node 1, then node 2: {turns:?}");
    Ok(())
}

fn isolated_with_etcd(_: &mut Bench) -> Result<()> {
    let mut lab = with_etcd()?;
    let result = isolate_primary(&mut lab);
    result.with_context(|| lab.diagnosis(MODULE))
}

fn isolated_with_server(_: &mut Bench) -> Result<()> {
    let (mut lab, server, module) = with_server()?;
    let result = isolate_primary(&mut lab).and_then(|()| {
        let view = server.get(&format!("/modules/{module}/register"))?;
        ensure!(view["record"]["owner"] == 2 && view["record"]["granted"] == true, "{view}");
        // A new life of the register: the nodes arm it by themselves.
        lab.host(CONSOLE).signal("holdfast-server", Signal::KILL)?;
        server.start_again(&lab)?;
        wait_armed(&server, module)
    });
    result.with_context(|| lab.diagnosis(MODULE))
}

fn cut_with_etcd(_: &mut Bench) -> Result<()> {
    let mut lab = with_etcd()?;
    let result = cut_between(&mut lab);
    result.with_context(|| lab.diagnosis(MODULE))
}

/// Only the link between the nodes is cut: both reach the register, and one of them is refused.
fn cut_between(lab: &mut Lab) -> Result<()> {
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "cut");
    progress(&load, 50)?;
    lab.cut_link(1, 2)?;
    let mut winner = 0;
    wait_until("one node to go on alone and the other to give up", PATIENCE, || {
        let states = [lab.state(1, MODULE)?, lab.state(2, MODULE)?];
        let names = states.each_ref().map(|state| state.name());
        match [names[0].as_str(), names[1].as_str()] {
            ["ALONE Ready", "WAIT NotReady"] => winner = 1,
            ["WAIT NotReady", "ALONE Ready"] => winner = 2,
            _ => bail!("{names:?}"),
        }
        Ok(true)
    })?;
    progress(&load, 50)?;
    lab.heal()?;
    lab.wait_pair(MODULE, winner)?;
    let report = load.finish();
    lab.bank(MODULE).demand(&report.acknowledged)?;
    demand_turns(&watch.finish(), if winner == 1 { &[1] } else { &[1, 2] })
}

fn register_away(_: &mut Bench) -> Result<()> {
    let mut lab = with_etcd()?;
    let result = away(&mut lab);
    result.with_context(|| lab.diagnosis(MODULE))
}

/// Without its register no node goes on alone, no client is told that a write was made, and both say why; back comes the
/// pair by itself.
fn away(lab: &mut Lab) -> Result<()> {
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "away");
    progress(&load, 50)?;
    lab.kill_etcd(CONSOLE)?;
    wait_until("the loss of the register to be in the module log", PATIENCE, || {
        Ok(lab.module_log(1, MODULE, 50).contains("register grants nothing"))
    })?;
    // Not needed yet: the pair goes on.
    lab.wait_pair(MODULE, 1)?;
    progress(&load, 20)?;
    lab.cut_link(1, 2)?;
    for number in lab.numbers() {
        wait_until("a node that cannot ask to serve no longer, and to name the register", PATIENCE, || {
            let state = lab.state(number, MODULE)?;
            let waits = state.waiting_for.as_deref().unwrap_or_default();
            let ready = state.readiness == "Ready";
            if !ready && (waits.contains("register") || waits.contains("etcd")) { Ok(true) } else { bail!("{state:?}") }
        })?;
        ensure!(!lab.health(number, MODULE), "node{number} still answers 200");
    }
    let held = load.acknowledged();
    // A whole round of attempts later nothing more was acknowledged.
    wait_until("clients to be turned away", PATIENCE, || Ok(load.last_failure().is_some()))?;
    lab.cli(1, &["state", "-m", MODULE])?;
    ensure!(load.acknowledged() == held, "a node acknowledged a write that no register had granted");
    lab.start_etcd(CONSOLE)?;
    wait_until("one node to serve again", PATIENCE, || Ok(lab.serving(MODULE)?.is_some()))?;
    lab.heal()?;
    let serving = lab.serving(MODULE)?.context("nobody serves")?;
    lab.wait_pair(MODULE, serving)?;
    progress(&load, 20)?;
    let report = load.finish();
    lab.bank(MODULE).demand(&report.acknowledged)?;
    demand_turns(&watch.finish(), if serving == 1 { &[1] } else { &[1, 2] })
}
