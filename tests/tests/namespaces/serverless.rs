//! The management server is never in the failover path.

use crate::bench::{Bench, Scenario, TIMEOUT_MS, load, progress};
use anyhow::{Context, Result, bail};
use holdfast_tests::demo::application::Application;
use holdfast_tests::demo::interrupt::Interrupt;
use holdfast_tests::demo::server::Server;
use holdfast_tests::demo::show;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "server_killed_during_a_failover_is_not_missed_and_catches_up", run: server_killed }];

fn server_killed(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::with("server", &LabOptions { console: true, ..LabOptions::default() })?;
    let server = Server::start(&lab, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    show::deploy(&lab, &server, Application::Bank, &ModulePlan::bank(TIMEOUT_MS), &Interrupt::default())?;
    let result = story(&mut lab, &server);
    result.with_context(|| lab.diagnosis("bank"))
}

fn story(lab: &mut Lab, server: &Server) -> Result<()> {
    let watch = lab.watch_health("bank");
    let load = load(&lab.bank("bank"), "server");
    progress(&load, 100)?;
    lab.kill_node(1)?;
    lab.host(CONSOLE).signal("holdfast-server", Signal::KILL)?;
    lab.wait_serves(2, "bank", PATIENCE)?;
    progress(&load, 100)?;
    lab.power_on(1)?;
    lab.start_agent(1)?;
    lab.wait_pair("bank", 2)?;
    progress(&load, 50)?;
    let report = load.finish();
    lab.bank("bank").demand(&report.acknowledged)?;
    demand_turns(&watch.finish(), &[1, 2])?;
    server.start_again(lab)?;
    wait_until("both nodes to be connected to the server again", PATIENCE, || {
        let nodes = server.get("/nodes")?;
        let connected = nodes.as_array().context("no list")?.iter().filter(|node| node["connected"] == true).count();
        if connected == 2 { Ok(true) } else { bail!("{nodes}") }
    })
}
