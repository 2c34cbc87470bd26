//! The unit file below a real systemd: start at boot, a killed agent, an orderly shutdown.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, load, progress};
use crate::vip::{Watch, listed};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::bank::client::LoadReport;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, LabOptions, trees};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "systemd_boots_a_marked_module_after_a_power_cut_of_both_nodes", run: booted },
    Scenario { name: "killed_agent_of_the_primary_goes_on_with_its_application_and_its_mount", run: killed_of_primary },
    Scenario {
        name: "killed_agent_of_the_secondary_goes_on_and_the_primary_waits_for_nothing",
        run: killed_of_secondary,
    },
    Scenario { name: "systemctl_restart_of_the_agents_touches_neither_application_nor_mount", run: restarted },
    Scenario { name: "killed_agent_and_data_plane_of_the_primary_are_a_pause_without_an_error", run: killed_both },
    Scenario { name: "agent_that_stays_away_loses_its_role_and_its_writers_are_refused", run: stays_away },
    Scenario { name: "shutdown_of_the_primary_machine_hands_over_after_stop_prim", run: shut_down },
];

/// What a restart of the agent must leave alone on a node: the application's and the data plane's processes with their
/// control groups, the mount, the virtual address, and every change of state that the module log tells.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    processes: BTreeSet<(String, i32, String)>,
    device: String,
    address: bool,
    changes: Vec<String>,
}

fn untouched(lab: &Lab, number: u8) -> Result<Untouched> {
    let host = lab.host(number);
    let programs = ["holdfast-bank", "holdfast-replica"].into_iter();
    let processes = programs
        .flat_map(|name| host.named(name))
        .map(|process| (process.name, process.pid, group(process.pid)))
        .collect();
    let log = lab.module_log(number, MODULE, 500);
    Ok(Untouched {
        processes,
        device: host.shell("stat --format=%d /srv/bank")?,
        address: listed(host.init()?)?.contains(&address(lab)),
        changes: log.lines().filter(|line| line.contains(" -> ")).map(str::to_owned).collect(),
    })
}

/// The control group of a process below the agent's unit.
fn group(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    own.split_once("holdfast-agent.service/").map_or(own, |(_, below)| below).to_owned()
}

/// The module's virtual address.
fn address(lab: &Lab) -> IpAddr {
    lab.network().address(50).into()
}

/// The agent, the application and the data plane are in control groups of their own, and what they take can be read.
fn demand_groups(lab: &Lab, number: u8) -> Result<()> {
    let host = lab.host(number);
    for (program, wanted) in [
        ("holdfast-agent", "agent"),
        ("holdfast-bank", "module-bank.scripts/start_prim.1"),
        ("holdfast-replica", "module-bank.replica"),
    ] {
        let groups: BTreeSet<String> = host.named(program).iter().map(|process| group(process.pid)).collect();
        ensure!(groups == BTreeSet::from([wanted.to_owned()]), "{program} is in {groups:?}, not in {wanted}");
    }
    let unit = host.control_group()?.join("system.slice/holdfast-agent.service");
    let used = std::fs::read_to_string(unit.join("module-bank.scripts/cpu.stat"))?;
    let taken =
        used.lines().find_map(|line| line.strip_prefix("usage_usec ")).and_then(|text| text.parse::<u64>().ok());
    ensure!(taken.is_some_and(|taken| taken > 0), "no processor time is told: {used}");
    Ok(())
}

/// Under load, `restart` is done to the agent of each of these nodes; nobody notices.
fn goes_on(restart: &[(u8, &str)]) -> Result<()> {
    let lab = pair()?;
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    let before = [untouched(&lab, 1)?, untouched(&lab, 2)?];
    let generation = lab.state(1, MODULE)?.generation;
    ensure!(before[0].processes.len() >= 2, "the bank does not run: {before:?}");
    ensure!(before[0].address && !before[1].address, "the virtual address is elsewhere: {before:?}");
    demand_groups(&lab, 1)?;
    let addresses = Watch::begin(&lab, vec![address(&lab)])?;
    for (number, command) in restart {
        let main = || lab.host(*number).shell("systemctl show --property=MainPID holdfast-agent");
        let old = main()?;
        lab.host(*number).shell(command)?;
        wait_until("systemd to restart the agent", PATIENCE, || {
            let now = main()?;
            Ok(now != old && now.trim() != "MainPID=0")
        })?;
        let story = lab.wait_pair(MODULE, 1).and_then(|()| progress(&load, 100));
        story.with_context(|| lab.diagnosis(MODULE))?;
    }
    addresses.finish()?;
    demand_groups(&lab, 1)?;
    let after = [untouched(&lab, 1)?, untouched(&lab, 2)?];
    ensure!(before == after, "not untouched:\n{before:#?}\n{after:#?}\n{}", lab.diagnosis(MODULE));
    ensure!(lab.state(1, MODULE)?.generation == generation, "a new generation was taken");
    let report = load.finish();
    println!("  longest outage {} ms, {} acknowledged", report.longest_outage_ms, report.acknowledged.len());
    ensure!(report.repeated == 0, "{} attempts failed, the last: {:?}", report.repeated, report.last_failure);
    demand_turns(&watch.finish(), &[1])?;
    settled(&lab, &report, 1)
}

/// Every acknowledged transfer is there, and both copies are the same.
fn settled(lab: &Lab, report: &LoadReport, primary: u8) -> Result<()> {
    lab.bank(MODULE).demand(&report.acknowledged)?;
    lab.host(primary).shell("sync -f /srv/bank")?;
    let (left, right) = (lab.backing(1, "/srv/bank"), lab.backing(2, "/srv/bank"));
    wait_until("both copies to be equal", PATIENCE, || {
        let found = trees::differences(&left, &right)?;
        if found.is_empty() { Ok(true) } else { bail!("{}", found.join("; ")) }
    })
}

/// Kills the agent and nothing else.
pub const KILL: &str = "systemctl kill --signal=KILL --kill-whom=main holdfast-agent";

fn killed_of_primary(_: &mut Bench) -> Result<()> {
    goes_on(&[(1, KILL), (1, KILL)])
}

fn killed_of_secondary(_: &mut Bench) -> Result<()> {
    goes_on(&[(2, KILL)])
}

/// Agent and data plane of the primary, in every order; as an upgrade of both does it one after the other.
fn killed_both(_: &mut Bench) -> Result<()> {
    let lab = pair()?;
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    let application = || -> Result<_> {
        let running: Vec<i32> = lab.host(1).named("holdfast-bank").iter().map(|process| process.pid).collect();
        Ok((running, lab.host(1).shell("stat --format=%d /srv/bank")?))
    };
    let before = application()?;
    let replica = || lab.host(1).signal("holdfast-replica", Signal::KILL).map(|_| ());
    let agent = || lab.host(1).signal("holdfast-agent", Signal::KILL).map(|_| ());
    let mended = || -> Result<()> {
        let story = lab.wait_pair(MODULE, 1).and_then(|()| progress(&load, 50));
        story.with_context(|| lab.diagnosis(MODULE))
    };
    for order in [[&replica as &dyn Fn() -> Result<()>, &agent], [&agent, &replica]] {
        for kill in order {
            kill()?;
        }
        mended()?;
        for kill in order {
            kill()?;
            mended()?;
        }
    }
    ensure!(before == application()?, "application or mount are not what they were: {before:?}");
    let report = load.finish();
    println!("  longest outage {} ms, {} acknowledged", report.longest_outage_ms, report.acknowledged.len());
    ensure!(report.repeated == 0, "{} attempts failed, the last: {:?}", report.repeated, report.last_failure);
    demand_turns(&watch.finish(), &[1])?;
    settled(&lab, &report, 1)
}

fn restarted(_: &mut Bench) -> Result<()> {
    let restart = "systemctl restart holdfast-agent";
    goes_on(&[(1, restart), (2, restart)])
}

fn stays_away(_: &mut Bench) -> Result<()> {
    let lab = pair()?;
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    let hold = "/run/systemd/system/holdfast-agent.service.d";
    let never =
        format!("mkdir -p {hold}; printf '[Service]\\nRestart=no\\n' >{hold}/never.conf; systemctl daemon-reload");
    lab.host(1).shell(&never)?;
    let addresses = Watch::begin(&lab, vec![address(&lab)])?;
    lab.host(1).shell(KILL)?;
    lab.wait_serves(2, MODULE, PATIENCE)?;
    wait_until("the peer to have the virtual address", PATIENCE, || {
        Ok(listed(lab.host(2).init()?)?.contains(&address(&lab)))
    })?;
    progress(&load, 100)?;
    wait_until("the data plane of node1 to end", PATIENCE, || Ok(lab.host(1).named("holdfast-replica").is_empty()))?;
    // What the application of node1 still writes is refused: its mount is dead or gone with the data plane.
    ensure!(
        lab.host(1).fuse_mounts().is_empty() || lab.host(1).shell("touch /srv/bank/late").is_err(),
        "it still writes"
    );
    lab.host(1).shell(&format!("rm {hold}/never.conf; systemctl daemon-reload; systemctl start holdfast-agent"))?;
    let story = lab.wait_pair(MODULE, 2).and_then(|()| progress(&load, 50));
    story.with_context(|| lab.diagnosis(MODULE))?;
    addresses.finish()?;
    ensure!(!listed(lab.host(1).init()?)?.contains(&address(&lab)), "node1 still has the virtual address");
    let report = load.finish();
    demand_turns(&watch.finish(), &[1, 2])?;
    settled(&lab, &report, 2)
}

/// Two hosts below systemd with the bank as PRIM and SECOND, started at boot.
fn pair() -> Result<Lab> {
    let lab = Lab::with("boots", &LabOptions { systemd: true, ..LabOptions::default() })?;
    let vip = format!(
        r#"<vip><interface_list><interface><real_interface><virtual_addr addr="{}" where="one_side_alias"/>
           </real_interface></interface></interface_list></vip>
           <rfs async"#,
        address(&lab)
    );
    let plan = ModulePlan::bank(TIMEOUT_MS).edited("<rfs async", &vip);
    lab.configure(&plan)?;
    for number in lab.numbers() {
        lab.cli(number, &["boot", "-m", MODULE, "on"])?;
    }
    lab.start_pair(MODULE)?;
    Ok(lab)
}

fn booted(_: &mut Bench) -> Result<()> {
    let mut lab = pair()?;
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    lab.power_off(2)?;
    lab.power_off(1)?;
    lab.power_on(1)?;
    lab.power_on(2)?;
    // Nobody orders anything: the unit is enabled and the module is marked.
    let story = lab.wait_pair(MODULE, 1).and_then(|()| progress(&load, 50));
    story.with_context(|| lab.diagnosis(MODULE))?;
    let report = load.finish();
    demand_turns(&watch.finish(), &[1])?;
    settled(&lab, &report, 1)
}

fn shut_down(_: &mut Bench) -> Result<()> {
    let mut lab = pair()?;
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "boots");
    progress(&load, 100)?;
    lab.host(1).shell("systemctl poweroff")?;
    lab.wait_serves(2, MODULE, PATIENCE)?;
    progress(&load, 100)?;
    let log = lab.module_log(2, MODULE, 40);
    ensure!(!log.contains("silent on every link"), "the peer waited for silence instead of the hand-over:\n{log}");
    wait_until("node1 to be off", PATIENCE, || Ok(lab.host(1).processes().is_empty()))?;
    let application = std::fs::read_to_string(lab.host(1).folder().join("data/var/modules/bank/application.log"))
        .context("node1's application log")?;
    ensure!(application.contains("stop_prim"), "stop_prim was not run before the shutdown");
    lab.power_off(1)?;
    lab.power_on(1)?;
    lab.wait_pair(MODULE, 2).with_context(|| lab.diagnosis(MODULE))?;
    progress(&load, 50)?;
    let report = load.finish();
    demand_turns(&watch.finish(), &[1, 2])?;
    lab.bank(MODULE).demand(&report.acknowledged).map(drop)
}
