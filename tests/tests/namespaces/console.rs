//! The management server protected by its own module: lost with its node, it is back on the other at the same address.

use crate::bench::{Bench, Scenario, TIMEOUT_MS};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::demo::server::{Server, random_password};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "console_lost_with_its_node_is_back_on_the_other_at_its_address", run: lost }];

const MODULE: &str = "console";
const DATA: &str = "/srv/console";
/// Three questions without an answer, and a server that does not end when it is asked to.
const HUNG: Duration = Duration::from_secs(120);

/// The shipped module with this lab's address, folder and program.
fn plan(address: Ipv4Addr) -> ModulePlan {
    ModulePlan {
        name: MODULE.into(),
        source: Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/modules/console.safe"),
        pulse_ms: 500,
        timeout_ms: TIMEOUT_MS,
        directory: DATA.into(),
        edits: Vec::new(),
    }
    .edited("192.0.2.10", &address.to_string())
    .edited("/var/lib/holdfast-server", DATA)
    .edited("/usr/bin/", "/opt/holdfast/bin/")
}

/// What an administrator would miss: users, modules with their versions, and the cluster.
fn known(server: &Server) -> Result<Value> {
    let modules = server.get("/modules")?;
    Ok(json!({ "users": server.get("/users")?, "modules": modules, "cluster": server.get("/cluster")? }))
}

/// Waits until the server is in session with these nodes, and with no other.
fn wait_connected(server: &Server, wanted: &[bool]) -> Result<()> {
    wait_until("the agents to be connected by themselves", PATIENCE, || {
        let nodes = server.get("/nodes")?;
        let connected: Vec<bool> =
            nodes.as_array().context("no list")?.iter().map(|node| node["connected"] == true).collect();
        if connected == wanted { Ok(true) } else { bail!("{nodes}") }
    })
}

fn lost(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::new("console")?;
    let result = story(&mut lab);
    result.with_context(|| {
        let output = lab.cli(lab.numbers()[1], &["log", "-m", MODULE, "--app"]);
        format!("{}\n{}", lab.diagnosis(MODULE), output.unwrap_or_else(|error| format!("{error:#}")))
    })
}

/// A server that runs alone on node 1, with everything set up in it.
fn alone(lab: &Lab, plan: &ModulePlan, password: &str) -> Result<()> {
    let file = lab.folder().join("password");
    std::fs::write(&file, format!("{password}\n"))?;
    lab.make_directory(plan)?;
    let file = file.display().to_string();
    let arguments = ["--data-dir", DATA, "--admin-password-file", &file];
    lab.host(1).spawn("server", "/opt/holdfast/bin/holdfast-server", &arguments)?;
    let outside = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let authority = lab.backing(1, DATA).join("pki/ca.pem");
    let server = Server::attach(lab, outside, lab.network().address(1), &authority, password)?;
    server.form_cluster(lab)?;
    server.send("POST", "/users", &json!({ "name": "night", "password": password, "role": "control" }))?;
    server.configure_from("console.safe", plan)?;
    Ok(())
}

/// The one server on node1; those that only ask whether it answers do not count.
fn running(lab: &Lab) -> Result<i32> {
    let mut found = lab.host(1).named("holdfast-server");
    found.retain(|process| !process.words.iter().any(|word| word == "--ask"));
    match found.as_slice() {
        [one] => Ok(one.pid),
        others => bail!("node1 runs {others:?}"),
    }
}

/// A server whose process is there and does not answer is started anew, on the same node.
fn hung(lab: &Lab, server: &Server) -> Result<()> {
    let before = running(lab)?;
    lab.host(1).signal("holdfast-server", Signal::STOP)?;
    wait_until("another server on node1", HUNG, || Ok(running(lab)? != before))?;
    lab.wait_pair(MODULE, 1)?;
    wait_connected(server, &[true, true])?;
    let log = lab.module_log(1, MODULE, 200);
    ensure!(log.contains("custom.answers"), "{log}");
    Ok(())
}

fn story(lab: &mut Lab) -> Result<()> {
    let address = lab.network().address(50);
    let (plan, password) = (plan(address), random_password()?);
    alone(lab, &plan, &password)?;
    let authority = lab.folder().join("ca.pem");
    std::fs::copy(lab.backing(1, DATA).join("pki/ca.pem"), &authority)?;
    // From here on the module has it: the server that ran alone is ended by prestart, and one at the address follows.
    lab.start_pair(MODULE)?;
    running(lab)?;
    ensure!(lab.host(2).named("holdfast-server").is_empty(), "a second server runs on node2");
    let outside = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::attach(lab, outside, address, &authority, &password)?;
    wait_connected(&server, &[true, true])?;
    let (before, certificate) = (known(&server)?, server.certificate()?);

    lab.power_off(1)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    // The session lives on, too: it is in what was replicated.
    wait_connected(&server, &[false, true])?;
    ensure!(known(&server)? == before, "{}\nwas\n{before}", known(&server)?);
    ensure!(server.certificate()? == certificate, "the server shows another certificate");
    // What is changed there is taken home.
    server.send("POST", "/users", &json!({ "name": "day", "password": password, "role": "monitor" }))?;

    lab.power_on(1)?;
    lab.start_agent(1)?;
    wait_connected(&server, &[true, true])?;
    lab.cli(1, &["start", "-m", MODULE])?;
    lab.wait_pair(MODULE, 2)?;
    lab.cli(2, &["swap", "-m", MODULE])?;
    lab.wait_pair(MODULE, 1)?;
    wait_connected(&server, &[true, true])?;
    hung(lab, &server)?;
    let users = server.get("/users")?;
    ensure!(users.as_array().is_some_and(|users| users.len() == 3), "{users}");
    ensure!(server.certificate()? == certificate, "the server shows another certificate");
    Ok(())
}
