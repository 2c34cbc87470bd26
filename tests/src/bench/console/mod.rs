//! The management server at size: 500 simulated nodes in session with the real program, all its 200 modules on the 16 nodes
//! that one cluster may have, reconfigured at once, and the server killed and started again.
//!
//! The nodes are simulated, the protocol is not: each has its own key and certificate, a WebSocket over mutual TLS, and
//! the back-off of the real agent. One process plays all of them on the machine of the server, so that the figures are
//! those of both together.

mod agent;
mod api;
mod crowd;
mod lively;
mod program;

pub use crowd::Crowd;

use super::row::Row;
use agent::{Fleet, Node};
use anyhow::{Context, Result, bail, ensure};
use api::Api;
use program::Program;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Simulated nodes.
const NODES: usize = 500;
/// Nodes of the one cluster that a server manages: the most there may be.
const MEMBERS: usize = holdfast_api::config::NODES_MAX;
/// Modules configured on all members: the most there may be.
const MODULES: usize = holdfast_api::config::MODULE_ID_MAX as usize;
/// Modules that each other node reports by itself, so that more than 1,000 are known in all.
const FOREIGN: u16 = 2;
/// How long the server is watched at rest.
const WATCHED: Duration = Duration::from_secs(20);
/// Longest wait for any step.
const PATIENCE: Duration = Duration::from_secs(180);
/// What a read of the interface may take, 99 times in 100.
const READ_TARGET_MS: f64 = 50.0;

/// Sets everything up and measures.
///
/// # Errors
/// The server does not start or refuses a step.
pub fn run() -> Result<Vec<Row>> {
    let folder = tempfile::Builder::new().prefix("holdfast-bench-").tempdir()?;
    let mut program = Program::start(folder.path(), None)?;
    let api = Api::log_in(&program)?;
    println!("enrolling {NODES} nodes");
    let own = |number| if number <= MEMBERS { 0 } else { FOREIGN };
    let nodes: Vec<Node> = (1..=NODES).map(|number| Node::join(&api, number, own(number))).collect::<Result<_>>()?;
    save_cluster(&api, &nodes)?;
    let fleet = Fleet::start(nodes, program.address)?;
    let mut rows = Vec::new();
    let connected = wait_connected(&fleet)?;
    println!("{NODES} sessions after {:.1} s", connected.as_secs_f64());
    let ids = make_modules(&api, MODULES)?;
    println!("configuring {MODULES} modules on {MEMBERS} nodes");
    let (took, reads) = during(&program, || configure(&api, &fleet, &ids, MEMBERS))?;
    rows.push(Row::told(&format!("{MODULES} modules × {MEMBERS} nodes configured at once"), took, "s"));
    rows.push(Row::at_most("a read meanwhile, 99th percentile", reads.p99_ms, "ms", READ_TARGET_MS));
    let console = api.watch()?;
    let before = program.cpu_seconds()?;
    let ((), reads) = during(&program, || {
        std::thread::sleep(WATCHED);
        Ok(())
    })?;
    let share = 100.0 * (program.cpu_seconds()? - before) / WATCHED.as_secs_f64();
    rows.push(Row::at_most("a read at rest, 99th percentile", reads.p99_ms, "ms", READ_TARGET_MS));
    rows.push(Row::told("the same, median", reads.p50_ms, "ms"));
    rows.push(Row::told("reads in that time", reads.count as f64, ""));
    rows.push(Row::told("the server meanwhile, one console open, share of a core", share, "%"));
    let (messages, bytes) = console.seen();
    rows.push(Row::told("one message to a console", bytes as f64 / 1e6 / messages.max(1) as f64, "MB"));
    rows.push(Row::told("messages to a console", messages as f64 / WATCHED.as_secs_f64(), "/s"));
    drop(console);
    println!("the server is killed and started again");
    fleet.forget_dials();
    program.restart()?;
    let back = wait_connected(&fleet)?;
    rows.push(Row::at_most("all nodes in session after a restart of the server", back.as_secs_f64(), "s", 30.0));
    let (most, each) = fleet.dials();
    rows.push(Row::told("most dials within one second", most as f64, ""));
    rows.push(Row::told("dials of one node on average", each, ""));
    rows.push(Row::told("the server's memory, most at any time", program.peak_mb()?, "MB"));
    Ok(rows)
}

fn wait_connected(fleet: &Fleet) -> Result<Duration> {
    let began = Instant::now();
    while fleet.connected() < fleet.nodes() {
        let (connected, nodes) = (fleet.connected(), fleet.nodes());
        ensure!(began.elapsed() < PATIENCE, "only {connected} of {nodes} nodes are in session");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed())
}

fn save_cluster(api: &Api, nodes: &[Node]) -> Result<()> {
    let form = |node: &Node| {
        let address = format!("10.9.{}.{}", node.id / 250, node.id % 250 + 1);
        json!({ "id": node.id, "name": node.name, "addresses": { "default": address } })
    };
    let nodes: Vec<Value> = nodes.iter().take(MEMBERS).map(form).collect();
    let form = json!({ "expected_version": 0, "name": "bench", "lans": ["default"], "nodes": nodes });
    api.send("PUT", "/cluster", &form).map(drop)
}

fn make_modules(api: &Api, count: usize) -> Result<Vec<u64>> {
    let make = |number: usize| {
        let form = json!({ "template": "mirror.safe", "name": format!("m{number}") });
        api.send("POST", "/modules", &form)?["id"].as_u64().context("a module without number")
    };
    (1..=count).map(make).collect()
}

/// Configures every module at once; seconds until each of so many members holds every one.
fn configure(api: &Api, fleet: &Fleet, ids: &[u64], members: usize) -> Result<f64> {
    let began = Instant::now();
    for id in ids {
        api.send("POST", &format!("/modules/{id}/configure"), &json!({}))?;
    }
    while fleet.pushed() < ids.len() * members {
        if began.elapsed() > PATIENCE {
            bail!("{} of {} pushes were made", fleet.pushed(), ids.len() * members);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed().as_secs_f64())
}

/// What clients of the interface waited for answers.
struct Reads {
    count: usize,
    p50_ms: f64,
    p99_ms: f64,
}

/// Does something while two clients read the interface.
fn during<T>(program: &Program, work: impl FnOnce() -> Result<T>) -> Result<(T, Reads)> {
    let readers: Vec<_> = (0..2).map(|_| Api::log_in(program).map(Api::keep_reading)).collect::<Result<_>>()?;
    let outcome = work();
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.finish()?);
    }
    let outcome = outcome?;
    ensure!(!times.is_empty(), "nothing was read");
    times.sort_by_key(|(_, took)| *took);
    let place = |share: f64| ((times.len() - 1) as f64 * share) as usize;
    let at = |share: f64| times[place(share)].1.as_secs_f64() * 1000.0;
    let mut slow: Vec<&str> = times[place(0.99)..].iter().map(|(path, _)| *path).collect();
    slow.sort_unstable();
    slow.dedup();
    println!("{} reads; among the slowest of a hundred: {}", times.len(), slow.join(" "));
    Ok((outcome, Reads { count: times.len(), p50_ms: at(0.5), p99_ms: at(0.99) }))
}
