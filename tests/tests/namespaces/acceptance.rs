//! The acceptance list of the product whose job we do, item by item, and the scenarios of it that stand nowhere else.
//!
//! | item of the list | scenario |
//! |---|---|
//! | package, service, module list, start at boot | `module_that_is_not_marked_stays_stopped_after_a_boot`, `systemd_boots_a_marked_module_after_a_power_cut_of_both_nodes` |
//! | mirror: first start | `first_start_waits_on_both_nodes_for_an_operators_prim` |
//! | mirror: later start | `later_start_waits_for_the_newer_copy_and_takes_up_the_roles` |
//! | mirror: stop of PRIM, start of its peer | `stopped_primary_hands_over_and_comes_back_as_secondary` |
//! | mirror: restart | `restart_of_the_application_does_not_fail_over` |
//! | mirror: virtual address moves (ARP) | `vip_is_reached_after_start_moves_with_a_swap_and_goes_with_a_stop` |
//! | mirror: file created, read-only, resync | `files_are_read_only_on_the_secondary_and_brought_up_to_date_when_it_comes_back` |
//! | mirror: shutdown of the machine | `shutdown_of_the_primary_machine_hands_over_after_stop_prim` |
//! | mirror: power-off | `power_cut_of_the_primary_loses_no_acknowledged_transfer` |
//! | mirror: split brain, no witness | `cut_link_and_reunion_set_aside_what_diverged` |
//! | mirror: split brain, ping witness | `isolated_primary_waits_when_its_ping_witness_is_hidden_from_it` |
//! | errd: restart; stopstart | `errd_restarts_a_killed_process_and_the_fourth_time_stops_the_module`, `errd_stopstart_fails_over_each_time_and_the_fourth_time_stops_the_module` |
//! | tcp of the application: restart | `tcp_checker_restarts_an_application_that_does_not_answer_up_to_maxloop` |
//! | tcp of another machine: wait | `tcp_checker_of_another_machine_makes_a_node_wait_up_to_maxloop` |
//! | interface unplugged: wait | `interface_checker_makes_a_node_wait_while_its_link_is_down`, `interface_checker_makes_a_node_wait_up_to_maxloop` |
//! | note on interfaces that also carry the heartbeat | `node_whose_heartbeat_interface_is_down_says_so_and_comes_back` (it waits and comes back where the other product ends in STOP) |
//! | ping: wait | `ping_checker_makes_a_node_without_its_router_wait_and_wakes_it_up`, `ping_checker_makes_a_node_wait_up_to_maxloop` |
//! | module: wait; stopstart | `module_checker_makes_a_module_wait_up_to_maxloop`, `module_checker_makes_a_module_wait_for_another_and_start_again_with_it` |
//! | note on a stopstart by the module checker during SECOND→ALONE | `module_that_depends_on_another_comes_up_when_both_fail_over_together` |
//! | custom: wait; restart; command of its own | `custom_checker_makes_a_node_wait_up_to_maxloop`, `custom_checker_restarts_the_application_up_to_maxloop`, `custom_checker_that_orders_a_restart_itself_does_so_up_to_maxloop` |

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, load, progress};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions, package};

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "first_start_waits_on_both_nodes_for_an_operators_prim", run: first_start },
    Scenario { name: "later_start_waits_for_the_newer_copy_and_takes_up_the_roles", run: later_start },
    Scenario { name: "files_are_read_only_on_the_secondary_and_brought_up_to_date_when_it_comes_back", run: files },
    Scenario { name: "module_that_is_not_marked_stays_stopped_after_a_boot", run: not_marked },
    Scenario { name: "isolated_primary_waits_when_its_ping_witness_is_hidden_from_it", run: ping_witness },
    Scenario { name: "node_whose_heartbeat_interface_is_down_says_so_and_comes_back", run: interface_of_heartbeat },
    Scenario { name: "module_that_depends_on_another_comes_up_when_both_fail_over_together", run: together },
];

fn first_start(_: &mut Bench) -> Result<()> {
    let lab = Lab::new("first")?;
    lab.configure(&ModulePlan::bank(TIMEOUT_MS))?;
    lab.host(1).shell("echo newest > /srv/bank/file")?;
    lab.host(2).shell("echo old > /srv/bank/other")?;
    for number in lab.numbers() {
        lab.cli(number, &["start", "-m", MODULE])?;
    }
    for number in lab.numbers() {
        let state = lab.wait_state(number, MODULE, "WAIT NotReady", PATIENCE)?;
        ensure!(state.data != "UpToDate", "node{number} takes its copy for the newest");
        ensure!(state.waiting_for.is_some(), "node{number} does not say what it waits for");
    }
    lab.cli(1, &["stop", "-m", MODULE])?;
    lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
    lab.cli(1, &["prim", "-m", MODULE])?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    // Node 2 was started for any role its copy allows; that it is overwritten may have to be said once more.
    lab.cli(2, &["stop", "-m", MODULE])?;
    lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
    lab.cli(2, &["second", "-m", MODULE])?;
    lab.wait_pair(MODULE, 1)?;
    ensure!(lab.host(2).shell("ls /srv/bank")?.contains("file"), "the newest data did not get to node2");
    ensure!(!lab.backing(2, "/srv/bank/other").exists(), "the old data is still on node2");
    Ok(())
}

fn stop(lab: &Lab, number: u8) -> Result<()> {
    lab.cli(number, &["stop", "-m", MODULE])?;
    lab.wait_state(number, MODULE, "STOP NotReady", PATIENCE).map(drop)
}

fn later_start(bench: &mut Bench) -> Result<()> {
    let lab = bench.pair()?;
    stop(lab, 2)?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.host(1).shell("echo later > /srv/bank/later")?;
    stop(lab, 1)?;
    // Its copy is the older one: it does not serve it, and says whom it waits for.
    lab.cli(2, &["start", "-m", MODULE])?;
    let state = lab.wait_state(2, MODULE, "WAIT NotReady", PATIENCE)?;
    let why = state.waiting_for.unwrap_or_default();
    ensure!(why.contains("node1"), "node2 does not say that it waits for node1: {why:?}");
    lab.cli(1, &["start", "-m", MODULE])?;
    lab.wait_pair(MODULE, 1)?;
    ensure!(lab.host(2).shell("cat /srv/bank/later")?.trim() == "later");
    bench.demand_acknowledged()
}

fn files(bench: &mut Bench) -> Result<()> {
    let lab = bench.pair()?;
    lab.host(1).shell("echo created > /srv/bank/created")?;
    ensure!(lab.host(2).shell("cat /srv/bank/created")?.trim() == "created", "a new file is not on the secondary");
    for line in
        ["touch /srv/bank/mine", "rm /srv/bank/created", "echo x >> /srv/bank/created", "mkdir /srv/bank/folder"]
    {
        let output = lab.host(2).output(10, "sh", &["-c", line])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("Read-only file system"), "`{line}` on node2 said {said:?}");
    }
    stop(lab, 2)?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.host(1).shell("rm /srv/bank/created; seq 200000 > /srv/bank/numbers; mkdir /srv/bank/folder")?;
    lab.cli(2, &["start", "-m", MODULE])?;
    lab.wait_pair(MODULE, 1)?;
    bench.demand_equal_copies(1)?;
    bench.lab()?.host(1).shell("rm -r /srv/bank/numbers /srv/bank/folder /srv/bank/later || :").map(drop)
}

fn not_marked(bench: &mut Bench) -> Result<()> {
    let lab = bench.pair()?;
    for number in lab.numbers() {
        ensure!(lab.cli(number, &["module", "list"])?.contains(MODULE), "node{number} does not list the module");
        ensure!(lab.cli(number, &["--version"])?.contains("holdfast"), "node{number} does not say its version");
    }
    lab.cli(2, &["boot", "-m", MODULE, "off"])?;
    ensure!(lab.cli(2, &["get", "-m", MODULE, "-r", "usersetting.boot"])?.trim() == "off");
    lab.reboot(2)?;
    // Its agent runs and is heard: had it been going to start the module, it would have by the time it says so.
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    let log = lab.module_log(2, MODULE, 5);
    let state = lab.state(2, MODULE)?;
    ensure!(state.name() == "STOP NotReady", "the module is started though it is not marked: {state:?}\n{log}");
    lab.cli(2, &["boot", "-m", MODULE, "on"])?;
    lab.reboot(2)?;
    lab.wait_pair(MODULE, 1)
}

/// The witness is reached by one side only: that one serves, the other waits until the nodes hear each other again.
fn ping_witness(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::with("ping", &LabOptions { console: true, ..LabOptions::default() })?;
    let check = format!(
        "<check><splitbrain ident=\"witness\" exec=\"ping\" arg=\"{}\"/></check></service>",
        lab.network().address(CONSOLE)
    );
    lab.configure(&ModulePlan::bank(TIMEOUT_MS).edited("</service>", &check))?;
    lab.start_pair(MODULE)?;
    let result = hidden(&mut lab);
    result.with_context(|| lab.diagnosis(MODULE))
}

fn hidden(lab: &mut Lab) -> Result<()> {
    let watch = lab.watch_health(MODULE);
    let load = load(&lab.bank(MODULE), "hidden");
    progress(&load, 50)?;
    lab.cut_link(1, 2)?;
    lab.cut_link(1, CONSOLE)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    let state = lab.wait_state(1, MODULE, "WAIT NotReady", PATIENCE)?;
    ensure!(state.waiting_for.is_some(), "node1 does not say what it waits for");
    ensure!(lab.host(1).named("holdfast-bank").is_empty(), "the application still runs on the isolated node");
    progress(&load, 50)?;
    lab.heal()?;
    lab.wait_pair(MODULE, 2)?;
    let report = load.finish();
    lab.bank(MODULE).demand(&report.acknowledged)?;
    let turns = watch.finish();
    let mut served: Vec<u8> = turns.iter().filter_map(|turn| turn.nodes.last().copied()).collect();
    served.dedup();
    ensure!(served == [1, 2], "expected node 1, then node 2: {turns:?}");
    Ok(())
}

/// A virtual address whose interface is checked, on the one interface there is.
fn addressed(lab: &Lab, number: u8) -> String {
    format!(
        "<vip><interface_list><interface check=\"on\"><real_interface><virtual_addr addr=\"{}\" \
         where=\"one_side_alias\"/></real_interface></interface></interface_list></vip>",
        lab.network().address(number)
    )
}

/// A module without data of its own, or with.
fn small(lab: &Lab, name: &str, inner: &str) -> Result<ModulePlan> {
    let source = lab.folder().join(format!("{name}.module"));
    let xml = format!(
        "<safe><service mode=\"mirror\" maxloop=\"3\"><heart pulse=\"700\" timeout=\"5000\">\
         <heartbeat name=\"default\" ident=\"flow\"/></heart>{inner}<user nicestoptimeout=\"5\" \
         forcestoptimeout=\"5\"/><failover period=\"500ms\" handle_time=\"1s\"/></service></safe>\n"
    );
    let script = "#!/bin/sh\nexit 0\n";
    let files = [("conf/userconfig.xml", xml.as_str()), ("bin/start_prim", script), ("bin/stop_prim", script)];
    package::write_folder(&source, &files)?;
    let (name, directory) = (name.to_owned(), format!("/srv/{name}"));
    Ok(ModulePlan { name, source, pulse_ms: 500, timeout_ms: 2500, directory, edits: Vec::new() })
}

fn interface_of_heartbeat(_: &mut Bench) -> Result<()> {
    let lab = Lab::new("nic")?;
    let plan = small(&lab, "web", &addressed(&lab, 50))?;
    lab.configure(&plan)?;
    lab.start_pair("web")?;
    lab.host(1).shell("ip link set eth0 down")?;
    lab.wait_state(2, "web", "ALONE Ready", PATIENCE)?;
    let state = lab.wait_state(1, "web", "WAIT NotReady", PATIENCE)?;
    let why = state.waiting_for.unwrap_or_default();
    ensure!(why.contains("intf."), "node1 does not say that it waits for its interface: {why:?}");
    lab.host(1).shell("ip link set eth0 up")?;
    wait_until("the nodes to be a pair again", PATIENCE, || {
        let names = [lab.state(1, "web")?.name(), lab.state(2, "web")?.name()];
        match [names[0].as_str(), names[1].as_str()] {
            ["SECOND Ready", "PRIM Ready"] => Ok(true),
            other => bail!("{other:?}"),
        }
    })
    .with_context(|| lab.diagnosis("web"))
}

/// `follower` replicates data and depends on `leader` by its virtual address: killed with node 1, both come up on node 2,
/// though the address was away meanwhile.
fn together(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::new("together")?;
    let leader = small(&lab, "leader", &addressed(&lab, 60))?;
    let check = format!(
        "<rfs><replicated dir=\"/srv/follower\"/></rfs><check><module name=\"leader\"><to addr=\"{}\" port=\"9010\" \
         interval=\"1s\" timeout=\"1s\"/></module></check>",
        lab.network().address(60)
    );
    let follower = small(&lab, "follower", &check)?;
    lab.make_directory(&follower)?;
    lab.configure(&leader)?;
    lab.start_pair("leader")?;
    lab.install_package("follower", &follower.package()?)?;
    lab.start_pair("follower")?;
    lab.host(1).shell("echo kept > /srv/follower/file")?;
    lab.kill_node(1)?;
    let up = || {
        let names = [lab.state(2, "leader")?.name(), lab.state(2, "follower")?.name()];
        if names == ["ALONE Ready", "ALONE Ready"] { Ok(true) } else { bail!("leader and follower are {names:?}") }
    };
    let both = wait_until("leader and follower to serve on node2", PATIENCE, up);
    both.with_context(|| format!("{}{}", lab.diagnosis("leader"), lab.diagnosis("follower")))?;
    ensure!(lab.host(2).shell("cat /srv/follower/file")?.trim() == "kept");
    Ok(())
}
