//! Checkers on real hosts: each kind finds its failure, each action is taken, and the fourth failure stops the module.

use crate::bench::{Bench, Scenario};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::{wait_for, wait_until};
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions, package};
use rustix::process::Signal;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "errd_restarts_a_killed_process_and_the_fourth_time_stops_the_module", run: errd_restart },
    Scenario { name: "errd_stopstart_fails_over_each_time_and_the_fourth_time_stops_the_module", run: errd_stopstart },
    Scenario { name: "errd_that_is_off_lets_a_killed_process_be", run: errd_off },
    Scenario { name: "tcp_checker_restarts_an_application_that_does_not_answer_up_to_maxloop", run: tcp_restart },
    Scenario { name: "ping_checker_makes_a_node_without_its_router_wait_and_wakes_it_up", run: ping_wait },
    Scenario { name: "custom_checker_restarts_the_application_up_to_maxloop", run: custom_restart },
    Scenario { name: "custom_checker_makes_a_node_wait_and_wakes_it_up", run: custom_wait },
    Scenario { name: "interface_checker_makes_a_node_wait_while_its_link_is_down", run: interface_wait },
    Scenario { name: "ip_checker_finds_a_machine_that_has_the_same_address", run: ip_conflict },
    Scenario { name: "module_checker_makes_a_module_wait_for_another_and_start_again_with_it", run: module_wait },
];

const MODULE: &str = "app";
/// The application, as its processes are named.
const PROCESS: &str = "holdfast-bank";
/// Failures of which the fourth is too many.
const MAXLOOP: usize = 3;

const START: &str = r#"#!/bin/sh
bank=/opt/holdfast/bin/holdfast-bank
setsid "$bank" --database "/srv/$SAFEMODULE/ledger.db" --listen 0.0.0.0:8080 >>"$SAFEUSERVAR/app.log" 2>&1 </dev/null &
exec "$bank" --check 127.0.0.1:8080
"#;

const STOP: &str = r#"#!/bin/sh
pkill -KILL -x holdfast-bank
while pgrep -x holdfast-bank >/dev/null; do sleep 0.05; done
"#;

/// Down from the moment there is a file, until it is started again or the file is gone.
const LOOK: &str = r#"#!/bin/sh
last=
while :; do
    state=up
    [ -e "$3" ] && state=down
    [ "$state" = "$last" ] || "$SAFE/safekit" set -r "$2" -v "$state" -i look
    last=$state
    sleep 0.1
done
"#;

/// Rules are looked at often and act soon.
const FAILOVER: &str = r#"<failover period="500ms" handle_time="1s"/>"#;

/// Two nodes with a module that has no data, and what it is watched by.
fn configured(inner: &str) -> Result<Lab> {
    let lab = Lab::with("checks", &LabOptions { console: true, ..LabOptions::default() })?;
    lab.configure(&plan(&lab, MODULE, inner, START, STOP)?)?;
    Ok(lab)
}

/// The same as a pair with node 1 as primary.
fn pair(inner: &str) -> Result<Lab> {
    start_pair(configured(inner)?)
}

fn start_pair(lab: Lab) -> Result<Lab> {
    lab.start_pair(MODULE)?;
    Ok(lab)
}

fn plan(lab: &Lab, name: &str, inner: &str, start: &str, stop: &str) -> Result<ModulePlan> {
    let source = lab.folder().join(format!("{name}.module"));
    let xml = format!(
        "<!DOCTYPE safe>\n<safe>\n<service mode=\"mirror\" maxloop=\"{MAXLOOP}\" loop_interval=\"24\">\n\
         <heart pulse=\"700\" timeout=\"5000\"><heartbeat name=\"default\"/></heart>\n\
         <user nicestoptimeout=\"10\" forcestoptimeout=\"10\"/>\n{inner}\n</service>\n</safe>\n"
    );
    let files =
        [("conf/userconfig.xml", xml.as_str()), ("bin/start_prim", start), ("bin/stop_prim", stop), ("bin/look", LOOK)];
    package::write_folder(&source, &files)?;
    let directory = format!("/srv/{name}");
    Ok(ModulePlan { name: name.to_owned(), source, pulse_ms: 500, timeout_ms: 2500, directory, edits: Vec::new() })
}

fn application(lab: &Lab, number: u8) -> Vec<i32> {
    lab.host(number).named(PROCESS).iter().map(|process| process.pid).collect()
}

/// Waits until the application runs again on node 1 under another number.
fn wait_restarted(lab: &Lab, before: &[i32]) -> Result<()> {
    let again = wait_until("the application to be restarted", PATIENCE, || {
        let after = application(lab, 1);
        Ok(after.len() == 1 && after != before && serves(lab, 1)?)
    });
    again.with_context(|| lab.diagnosis(MODULE))
}

fn serves(lab: &Lab, number: u8) -> Result<bool> {
    Ok(["PRIM Ready", "ALONE Ready"].contains(&lab.state(number, MODULE)?.name().as_str()))
}

/// Node 1 has given up because of maxloop, and node 2 serves.
fn demand_given_up(lab: &Lab) -> Result<()> {
    lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    let log = lab.module_log(1, MODULE, 300);
    ensure!(log.contains("maxloop"), "the log of node1 does not name maxloop:\n{log}");
    ensure!(application(lab, 1).is_empty(), "the application still runs on node1");
    Ok(())
}

fn resource(lab: &Lab, number: u8, name: &str) -> Result<String> {
    Ok(lab.cli(number, &["get", "-m", MODULE, "-r", name])?.trim().to_owned())
}

fn wait_resource(lab: &Lab, number: u8, name: &str, wanted: &str) -> Result<()> {
    let reached = wait_for(&format!("{name} to be {wanted} on node{number}"), PATIENCE, || {
        let value = resource(lab, number, name)?;
        if value == wanted { Ok(Some(())) } else { bail!("it is {value}") }
    });
    reached.with_context(|| lab.diagnosis(MODULE))
}

/// Waits until a node waits because of a rule, and says so.
fn wait_blocked(lab: &Lab, number: u8, name: &str) -> Result<()> {
    let state = lab.wait_state(number, MODULE, "WAIT NotReady", PATIENCE)?;
    let why = state.waiting_for.unwrap_or_default();
    ensure!(why.contains(name), "node{number} does not say that it waits for {name}: {why:?}");
    Ok(())
}

fn errd(action: &str) -> String {
    format!(r#"<errd polltimer="1"><proc name="{PROCESS}" atleast="1" action="{action}" class="prim"/></errd>"#)
}

fn errd_restart(_: &mut Bench) -> Result<()> {
    let lab = pair(&errd("restart"))?;
    wait_resource(&lab, 1, "proc.holdfast-bank", "up")?;
    for _ in 0..MAXLOOP {
        let before = application(&lab, 1);
        lab.host(1).signal(PROCESS, Signal::KILL)?;
        wait_restarted(&lab, &before)?;
    }
    lab.host(1).signal(PROCESS, Signal::KILL)?;
    demand_given_up(&lab)
}

fn errd_stopstart(_: &mut Bench) -> Result<()> {
    let lab = pair(&errd("stopstart"))?;
    for _ in 0..MAXLOOP {
        lab.host(1).signal(PROCESS, Signal::KILL)?;
        lab.wait_pair(MODULE, 2)?;
        // An order at node 2: it counts anew there, not on node 1.
        lab.cli(2, &["swap", "-m", MODULE])?;
        lab.wait_pair(MODULE, 1)?;
    }
    lab.host(1).signal(PROCESS, Signal::KILL)?;
    demand_given_up(&lab)
}

fn errd_off(_: &mut Bench) -> Result<()> {
    let lab = pair(&errd("restart"))?;
    lab.cli(1, &["errd", "off", "-m", MODULE])?;
    // The next agent goes on with the module, and with what was switched.
    lab.restart_agent(1)?;
    lab.wait_pair(MODULE, 1)?;
    lab.host(1).signal(PROCESS, Signal::KILL)?;
    ensure!(lab.cli(1, &["errd", "list", "-m", MODULE])?.contains("not watched"), "errd is on again");
    lab.cli(1, &["errd", "on", "-m", MODULE])?;
    // Had it been on all the time, this would not be its first detection.
    wait_restarted(&lab, &[])?;
    let log = lab.module_log(1, MODULE, 300);
    let found = log.matches(" | process holdfast-bank is missing").count();
    ensure!(found == 1, "{found} detections:\n{log}");
    Ok(())
}

fn tcp_restart(_: &mut Bench) -> Result<()> {
    let tcp = r#"<check><tcp ident="bank" when="prim" action="restart">
        <to addr="127.0.0.1" port="8080" interval="1s" timeout="1s"/></tcp></check>"#;
    let lab = pair(&format!("{tcp}{FAILOVER}"))?;
    wait_resource(&lab, 1, "tcp.bank", "up")?;
    for _ in 0..MAXLOOP {
        let before = application(&lab, 1);
        lab.host(1).signal(PROCESS, Signal::KILL)?;
        wait_restarted(&lab, &before)?;
    }
    wait_resource(&lab, 1, "tcp.bank", "up")?;
    lab.host(1).signal(PROCESS, Signal::KILL)?;
    demand_given_up(&lab)
}

fn ping_wait(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("checks", &LabOptions { console: true, ..LabOptions::default() })?;
    let router = lab.network().address(CONSOLE);
    let ping = format!(
        r#"<check><ping ident="router" when="pre" action="wait"><to addr="{router}" interval="1s" timeout="1s"/></ping></check>{FAILOVER}"#
    );
    lab.configure(&plan(&lab, MODULE, &ping, START, STOP)?)?;
    let mut lab = start_pair(lab)?;
    lab.cut_link(1, CONSOLE)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    wait_blocked(&lab, 1, "ping.router")?;
    ensure!(resource(&lab, 1, "ping.router")? == "down" && resource(&lab, 2, "ping.router")? == "up");
    lab.heal()?;
    lab.wait_pair(MODULE, 2)
}

fn custom(when: &str, action: &str) -> String {
    format!(
        r#"<check><custom ident="look" when="{when}" action="{action}" exec="look" arg="/srv/app/broken"/></check>{FAILOVER}"#
    )
}

fn broken(lab: &Lab, number: u8) -> std::path::PathBuf {
    lab.backing(number, "/srv/app/broken")
}

fn custom_restart(_: &mut Bench) -> Result<()> {
    let lab = pair(&custom("prim", "restart"))?;
    for _ in 0..MAXLOOP {
        wait_resource(&lab, 1, "custom.look", "up")?;
        let before = application(&lab, 1);
        std::fs::write(broken(&lab, 1), "")?;
        wait_until("the restart to begin", PATIENCE, || Ok(application(&lab, 1) != before))?;
        std::fs::remove_file(broken(&lab, 1))?;
        wait_restarted(&lab, &before)?;
    }
    wait_resource(&lab, 1, "custom.look", "up")?;
    std::fs::write(broken(&lab, 1), "")?;
    demand_given_up(&lab)?;
    ensure!(lab.host(1).named("look").is_empty(), "the checker outlives its module");
    Ok(())
}

fn custom_wait(_: &mut Bench) -> Result<()> {
    let lab = pair(&custom("pre", "wait"))?;
    lab.cli(1, &["checker", "off", "-m", MODULE])?;
    wait_resource(&lab, 1, "custom.look", "unknown")?;
    ensure!(lab.host(1).named("look").is_empty(), "a checker that is off looks");
    std::fs::write(broken(&lab, 1), "")?;
    lab.cli(1, &["checker", "on", "-m", MODULE])?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    wait_blocked(&lab, 1, "custom.look")?;
    std::fs::remove_file(broken(&lab, 1))?;
    lab.wait_pair(MODULE, 2)
}

fn interface_wait(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("checks", &LabOptions::default())?;
    for number in lab.numbers() {
        for line in [
            "ip link add eth1 type veth peer name plug",
            // The same on both nodes, which do not see each other's: one configuration serves both.
            "ip address add 10.97.0.1/24 dev eth1",
            "ip link set eth1 up",
            "ip link set plug up",
        ] {
            lab.host(number).shell(line)?;
        }
    }
    let intf = format!(r#"<check><intf ident="net"><to local_addr="10.97.0.1"/></intf></check>{FAILOVER}"#);
    lab.configure(&plan(&lab, MODULE, &intf, START, STOP)?)?;
    let lab = start_pair(lab)?;
    lab.host(1).shell("ip link set plug down")?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    wait_blocked(&lab, 1, "intf.net")?;
    lab.host(1).shell("ip link set plug up")?;
    lab.wait_pair(MODULE, 2)
}

fn ip_conflict(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("checks", &LabOptions { console: true, ..LabOptions::default() })?;
    let addr = lab.network().address(77);
    let take = format!("ip address add {addr}/24 dev eth0");
    lab.host(1).shell(&take)?;
    let ip =
        format!(r#"<check><ip ident="extra" when="prim"><to addr="{addr}" interval="1s"/></ip></check>{FAILOVER}"#);
    lab.configure(&plan(&lab, MODULE, &ip, START, STOP)?)?;
    let lab = start_pair(lab)?;
    wait_resource(&lab, 1, "ip.extra", "up")?;
    lab.host(CONSOLE).shell(&take)?;
    // The default rule: node 1 stops and starts, so node 2 takes over (and lacks the address, which is its own matter).
    let told = wait_until("the conflict to be told and acted on", PATIENCE, || {
        let log = lab.module_log(1, MODULE, 300);
        Ok(log.contains(&format!("another machine has {addr}")) && log.contains("ip_failure"))
    });
    told.with_context(|| lab.diagnosis(MODULE))
}

const NOTE: &str = "#!/bin/sh\ndate +%s.%N >>/srv/follower/starts\n";

fn module_wait(_: &mut Bench) -> Result<()> {
    let lab = configured("")?;
    let check = format!(r#"<check><module name="{MODULE}"/></check>{FAILOVER}"#);
    let follower = plan(&lab, "follower", &check, NOTE, "#!/bin/sh\nexit 0\n")?;
    lab.make_directory(&follower)?;
    lab.install_package(&follower.name, &follower.package()?)?;
    lab.cli(1, &["prim", "-m", "follower"])?;
    let blocked = lab.wait_state(1, "follower", "WAIT NotReady", PATIENCE)?;
    ensure!(blocked.waiting_for.unwrap_or_default().contains("module.app"), "it does not say what it waits for");
    lab.cli(1, &["prim", "-m", MODULE])?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.wait_state(1, "follower", "ALONE Ready", PATIENCE)?;
    let starts =
        || -> Result<usize> { Ok(std::fs::read_to_string(lab.backing(1, "/srv/follower/starts"))?.lines().count()) };
    ensure!(starts()? == 1);
    lab.cli(1, &["restart", "-m", MODULE])?;
    let again = wait_until("the follower to start again", PATIENCE, || {
        Ok(starts()? == 2 && lab.state(1, "follower")?.name() == "ALONE Ready")
    });
    again.with_context(|| lab.diagnosis("follower"))
}
