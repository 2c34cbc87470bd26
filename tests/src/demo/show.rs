//! The demo for a person: everything set up (or nothing, with `--blank`), a client at work, and what to try next.

use crate::bank::client::{Load, LoadPlan};
use crate::demo::application::Application;
use crate::demo::interrupt::Interrupt;
use crate::demo::server::{Server, USER};
use crate::lab::Lab;
use crate::lab::cluster::{ModulePlan, PATIENCE};
use crate::lab::wait::wait_until;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// A status line of the client at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// A node that somebody killed boots again after this time.
const BOOT_AFTER: Duration = Duration::from_secs(20);

/// Sets everything up and keeps a client working until interrupted.
///
/// # Errors
/// A step failed; the error says which and what the programs said.
pub fn full(lab: &mut Lab, server: &Server, application: Application, interrupt: &Interrupt) -> Result<()> {
    deploy(lab, server, application, &application.plan(), interrupt)?;
    let bank = application.bank(lab);
    wait_until("the ledger's tables", PATIENCE, || bank.set_up().map(|()| true))?;
    let load = Load::start(&bank, gentle());
    invite(lab, server, application);
    watch(lab, &application.plan().name, &load, interrupt);
    println!("── {} transfers were acknowledged; ending the demo", load.finish().acknowledged.len());
    Ok(())
}

/// Enrols both nodes, deploys the application's module and starts it: node 1 PRIM, node 2 SECOND.
///
/// # Errors
/// As [`full`].
pub fn deploy(
    lab: &Lab,
    server: &Server,
    application: Application,
    plan: &ModulePlan,
    interrupt: &Interrupt,
) -> Result<()> {
    lab.make_directory(plan)?;
    for number in lab.numbers() {
        lab.start_agent(number)?;
    }
    application.prepare(lab)?;
    println!("── enrolling node1 and node2 with their pairing codes");
    let mut nodes = Vec::new();
    for number in lab.numbers() {
        nodes.push((server.enrol(lab, number)?, number));
        interrupt.check()?;
    }
    server.save_cluster(lab, &nodes)?;
    println!("── configuring the module {} on both", plan.name);
    let module = server.configure(plan)?;
    interrupt.check()?;
    println!("── starting it on node1, then on node2");
    start(lab, server, module, &plan.name, &nodes)
}

fn start(lab: &Lab, server: &Server, module: u64, name: &str, nodes: &[(u64, u8)]) -> Result<()> {
    let [first, second] = nodes else { bail!("two nodes are needed") };
    for (id, _) in nodes {
        server.command(module, "booton", *id)?;
    }
    server.command(module, "prim", first.0)?;
    lab.wait_state(1, name, "ALONE Ready", PATIENCE)?;
    server.command(module, "start", second.0)?;
    lab.wait_pair(name, 1)
}

/// A client that a person can follow: a few transfers a second, for ever.
fn gentle() -> LoadPlan {
    LoadPlan {
        run: "demo".into(),
        writers: 1,
        transfers_max: 2_000_000,
        time_max: Duration::from_secs(7 * 24 * 3600),
        pause: Duration::from_millis(200),
    }
}

fn invite(lab: &Lab, server: &Server, application: Application) {
    let socket = |number| lab.host(number).folder().join("run/agent.sock").display().to_string();
    let module = application.plan().name;
    println!(
        "
══ The demo is up ══
  console   {}   (its certificate is signed by the demo's own authority: accept it)
  login     {USER} / {}
  data      {} on both nodes, replicated while it is written
  nodes     node1 {}, node2 {} (reached through the console)

  Try next:
  · Control: watch node1 PRIM and node2 SECOND; Stop node1 and see node2 take over; Start it again
  · Swap exchanges the roles while the client below goes on
  · kill the application: it is restarted where it was
        pkill -KILL -x {}
  · kill everything on node1 at once and watch the failover (it boots again by itself after a while)
        kill -9 {}
  · the same by command line
        HOLDFAST_SOCKET={} {} state -m {module}
  Ctrl-C ends the demo and leaves nothing behind.
",
        server.url(),
        server.password(),
        application.plan().directory,
        lab.network().address(1),
        lab.network().address(2),
        application.process_name(),
        lab.host(1).init().map(|pid| pid.to_string()).unwrap_or_default(),
        socket(1),
        crate::lab::program_path("holdfast").map(|path| path.display().to_string()).unwrap_or_default(),
    );
}

/// Prints a line now and then, and whenever another node serves; boots a node again that somebody killed.
fn watch(lab: &mut Lab, module: &str, load: &Load, interrupt: &Interrupt) {
    let mut served = None;
    let mut said = Instant::now();
    let mut boots: Vec<(u8, Instant)> = Vec::new();
    while !interrupt.asked() {
        let serving = lab.serving(module);
        if let Err(violation) = &serving {
            println!("   {violation:#}");
        }
        let now = serving.ok().flatten();
        if (now != served && now.is_some()) || said.elapsed() >= STATUS_EVERY {
            let node = now.map_or_else(|| "no node".to_owned(), |number| format!("node{number}"));
            let (count, wait) = (load.acknowledged(), load.longest_outage_ms());
            println!("   client: {count} transfers acknowledged, served by {node}, longest wait {wait} ms");
            said = Instant::now();
            served = now.or(served);
        }
        boot_dead(lab, &mut boots);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Notices nodes whose processes were all killed and powers them on again a while later.
fn boot_dead(lab: &mut Lab, boots: &mut Vec<(u8, Instant)>) {
    for number in lab.numbers() {
        if lab.host_mut(number).has_died() && !boots.iter().any(|(waiting, _)| *waiting == number) {
            println!("   node{number} is dead; it boots again in {} s", BOOT_AFTER.as_secs());
            boots.push((number, Instant::now() + BOOT_AFTER));
        }
    }
    let (due, later) = boots.drain(..).partition(|(_, at)| *at <= Instant::now());
    *boots = later;
    for (number, _) in due {
        let booted = lab.kill_node(number).and_then(|()| lab.power_on(number)).and_then(|()| lab.start_agent(number));
        match booted {
            Ok(()) => println!("   node{number} has booted"),
            Err(error) => println!("   node{number} does not boot: {error:#}"),
        }
    }
}

/// Two nodes that nobody has enrolled and a server with nothing configured, until interrupted.
///
/// # Errors
/// An agent does not start.
pub fn blank(lab: &mut Lab, server: &Server, application: Application, interrupt: &Interrupt) -> Result<()> {
    let plan = application.plan();
    println!("\n══ The demo is up, and blank: walk the wizard yourself ══");
    println!("  console   {}   (its certificate is signed by the demo's own authority: accept it)", server.url());
    println!("  login     {USER} / {}", server.password());
    lab.make_directory(&plan)?;
    for number in lab.numbers() {
        lab.start_agent(number)?;
        println!("  node{number}     address {}", lab.network().address(number));
        lab.cli(number, &["pairing"])?.trim().lines().for_each(|line| println!("            {line}"));
    }
    application.prepare(lab)?;
    println!("  Replicate {} and watch the process {}.", plan.directory, application.process_name());
    println!("  Scripts to paste: start_prim and stop_prim in {}/bin", plan.source.display());
    println!("  Ctrl-C ends the demo and leaves nothing behind.");
    let mut boots = Vec::new();
    while !interrupt.asked() {
        boot_dead(lab, &mut boots);
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
