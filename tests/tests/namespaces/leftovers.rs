//! What programs of a module leave running, below a real systemd: it is ended with the control group that it is in, by the
//! stop, by the limit of its time, and by the agent that follows one that was killed.

use crate::bench::{Bench, Scenario};
use crate::boots::KILL;
use anyhow::{Context, Result, ensure};
use holdfast_tests::lab::cluster::PATIENCE;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, LabOptions, package};
use std::collections::BTreeSet;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "forced_stop_ends_what_start_prim_left_and_nothing_of_another_module", run: left_behind },
    Scenario { name: "checker_ends_with_its_control_group_by_a_stop_and_by_the_next_agent", run: checkers },
    Scenario { name: "late_hook_ends_with_its_control_group_and_that_of_a_killed_agent_by_the_next", run: hooks },
    Scenario {
        name: "script_of_a_killed_agent_is_ended_and_what_was_left_is_stopped_before_it_starts_again",
        run: scripts,
    },
    Scenario { name: "stop_that_a_killed_agent_had_begun_is_brought_to_its_end_by_the_next", run: unfinished },
];

/// How long each `sleep` of node 1 sleeps.
fn sleeps(lab: &Lab) -> BTreeSet<String> {
    lab.host(1).named("sleep").iter().filter_map(|process| process.words.get(1).cloned()).collect()
}

/// Waits until of the times that begin with this digit exactly these are slept.
fn demand_long(lab: &Lab, module: &str, first: char, wanted: &[&str]) -> Result<()> {
    let wanted: BTreeSet<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
    let ours = |text: &String| text.starts_with(first);
    let what = format!("exactly {wanted:?} to sleep");
    wait_until(&what, PATIENCE, || Ok(sleeps(lab).into_iter().filter(ours).collect::<BTreeSet<_>>() == wanted))
        .with_context(|| format!("{:?}{}", sleeps(lab), lab.diagnosis(module)))
}

/// Counts the starts of a program in `SAFEUSERVAR`, and lets something sleep that keeps neither its session nor its parent
/// nor its environment: a second longer with each start.
fn leaves_asleep(seconds: u32) -> String {
    format!(
        "#!/bin/sh\nrun=$(cat \"$SAFEUSERVAR/{seconds}\" 2>/dev/null || echo 0)\n\
         echo $((run + 1)) > \"$SAFEUSERVAR/{seconds}\"\n\
         env -i /usr/bin/setsid --fork sleep \"{seconds}$run\" </dev/null >/dev/null 2>&1\n"
    )
}

/// A host below systemd with a light module of these programs, not started.
fn light(module: &str, programs: &[(&str, &str)]) -> Result<Lab> {
    let lab = Lab::with(module, &LabOptions { systemd: true, ..LabOptions::default() })?;
    lab.form_cluster()?;
    let xml = "<!DOCTYPE safe>\n<safe><service mode=\"light\"><user nicestoptimeout=\"60\" forcestoptimeout=\"60\"/>\
               </service></safe>\n";
    let source = lab.folder().join(format!("{module}.module"));
    let names: Vec<String> = programs.iter().map(|(name, _)| format!("bin/{name}")).collect();
    let bodies = programs.iter().map(|(_, body)| *body);
    let files: Vec<(&str, &str)> =
        std::iter::once(("conf/userconfig.xml", xml)).chain(names.iter().map(String::as_str).zip(bodies)).collect();
    package::write_folder(&source, &files)?;
    lab.install_package(module, &package::pack(&source)?)?;
    Ok(lab)
}

/// How often a program that [`leaves_asleep`] has been started.
fn starts(lab: &Lab, module: &str, seconds: u32) -> Result<u32> {
    let file = lab.host(1).folder().join(format!("data/var/modules/{module}/{seconds}"));
    std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?.trim().parse().context("no number")
}

/// A hook that does not come to its end is ended after its limit, and one of a killed agent by the next agent, each with
/// what has got away from it.
fn hooks(_: &mut Bench) -> Result<()> {
    let level = leaves_asleep(910) + "while :; do sleep 1; done\n";
    // What a hook that has ended leaves is the application's.
    let confcheck = leaves_asleep(930);
    let lab = light("hook", &[("level", &level), ("confcheck", &confcheck)])?;
    lab.cli(1, &["confcheck", "-m", "hook"])?;
    demand_long(&lab, "hook", '9', &["9300"])?;
    lab.cli(1, &["level", "-m", "hook"])?;
    ensure!(starts(&lab, "hook", 910)? == 1, "the hook did not run");
    demand_long(&lab, "hook", '9', &["9300"])?;
    lab.host(1).spawn("level.log", "/opt/holdfast/bin/holdfast", &["level", "-m", "hook"])?;
    demand_long(&lab, "hook", '9', &["9101", "9300"])?;
    lab.host(1).shell(KILL)?;
    demand_long(&lab, "hook", '9', &["9300"])?;
    let hooks = || {
        lab.host(1)
            .processes()
            .iter()
            .filter(|process| process.words.iter().any(|word| word.ends_with("/level")))
            .count()
    };
    wait_until("the hook itself to end", PATIENCE, || Ok(hooks() == 0))
}

/// The next agent ends the start script that goes on, and the stop scripts what it has started, before it starts anew:
/// nothing runs twice.
fn scripts(_: &mut Bench) -> Result<()> {
    let start = leaves_asleep(920) + "while [ ! -e \"$SAFEUSERVAR/enough\" ]; do sleep 1; done\n";
    let stop = "#!/bin/sh\necho \"$@\" >> \"$SAFEUSERVAR/stops\"\n";
    let lab = light("twice", &[("start_both", &start), ("stop_both", stop)])?;
    let folder = lab.host(1).folder().join("data/var/modules/twice");
    lab.cli(1, &["start", "-m", "twice"])?;
    demand_long(&lab, "twice", '9', &["9200"])?;
    lab.host(1).shell(KILL)?;
    demand_long(&lab, "twice", '9', &["9201"])?;
    let running = || {
        let all = lab.host(1).processes();
        all.iter().filter(|process| process.words.iter().any(|word| word.ends_with("/start_both"))).count()
    };
    ensure!(running() == 1, "{} start scripts run{}", running(), lab.diagnosis("twice"));
    std::fs::write(folder.join("enough"), "")?;
    lab.wait_state(1, "twice", "UP Ready", PATIENCE)?;
    ensure!(std::fs::read_to_string(folder.join("stops"))? == "force WAIT STOP stop\n");
    lab.cli(1, &["stop", "-m", "twice"])?;
    demand_long(&lab, "twice", '9', &[])
}

/// An operator ordered a stop, and the agent is killed while the stop script runs: the application does not stay.
fn unfinished(_: &mut Bench) -> Result<()> {
    let start = leaves_asleep(940);
    let stop = "#!/bin/sh\n[ \"$1\" = force ] && exit 0\ntouch \"$SAFEUSERVAR/stopping\"\nwhile :; do sleep 1; done\n";
    let post = "#!/bin/sh\ntouch \"$SAFEUSERVAR/over\"\n";
    let lab = light("half", &[("start_both", &start), ("stop_both", stop), ("poststop", post)])?;
    let folder = lab.host(1).folder().join("data/var/modules/half");
    lab.cli(1, &["start", "-m", "half"])?;
    lab.wait_state(1, "half", "UP Ready", PATIENCE)?;
    demand_long(&lab, "half", '9', &["9400"])?;
    lab.cli(1, &["stop", "-m", "half"])?;
    wait_until("the stop script to run", PATIENCE, || Ok(folder.join("stopping").exists()))?;
    lab.host(1).shell(KILL)?;
    demand_long(&lab, "half", '9', &[])?;
    wait_until("poststop to run", PATIENCE, || Ok(folder.join("over").exists()))?;
    lab.wait_state(1, "half", "STOP NotReady", PATIENCE)?;
    Ok(())
}

/// What left the script's process group is the module's all the same: it goes with the forced stop, if no stop script has
/// ended it. What another module and a unit of its own have started stays.
fn left_behind(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("left", &LabOptions { systemd: true, ..LabOptions::default() })?;
    let light = |name: &str, seconds: u32| -> Result<()> {
        let source = lab.folder().join(format!("{name}.module"));
        let start = format!(
            "#!/bin/sh\nsetsid --fork sleep {seconds} </dev/null >/dev/null 2>&1\n\
             systemd-run --unit={name}-own sleep {}\n",
            seconds + 1000
        );
        let xml = "<!DOCTYPE safe>\n<safe><service mode=\"light\"><user nicestoptimeout=\"5\" forcestoptimeout=\"5\"/>\
                   </service></safe>\n";
        let stop = "#!/bin/sh\nexit 0\n";
        let files = [("conf/userconfig.xml", xml), ("bin/start_both", start.as_str()), ("bin/stop_both", stop)];
        package::write_folder(&source, &files)?;
        lab.install_package(name, &package::pack(&source)?)
    };
    lab.form_cluster()?;
    light("one", 70_001)?;
    light("two", 70_002)?;
    let sleeps = || sleeps(&lab);
    let run = |seconds: &[&str]| seconds.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<String>>();
    for name in ["one", "two"] {
        lab.cli(1, &["start", "-m", name])?;
        lab.wait_state(1, name, "UP Ready", PATIENCE)?;
    }
    let all = run(&["70001", "70002", "71001", "71002"]);
    wait_until("everything to run", PATIENCE, || Ok(sleeps() == all))?;
    lab.cli(1, &["stop", "-m", "one"])?;
    lab.wait_state(1, "one", "STOP NotReady", PATIENCE)?;
    let rest = run(&["70002", "71001", "71002"]);
    wait_until("what start_both left to end", PATIENCE, || Ok(sleeps() == rest))
        .with_context(|| format!("{:?}{}", sleeps(), lab.diagnosis("one")))
}

/// What a checker has started is in its control group, though it has left its session, lost its parent and has an empty
/// environment: it goes when the checker is told to end, and when a former agent's is found. Another checker stays.
fn checkers(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("look", &LabOptions { systemd: true, ..LabOptions::default() })?;
    lab.form_cluster()?;
    let xml = "<!DOCTYPE safe>\n<safe><service mode=\"light\"><user nicestoptimeout=\"5\" forcestoptimeout=\"5\"/>\
               <check><custom ident=\"one\" when=\"pre\" exec=\"look\" arg=\"81\"/>\
               <custom ident=\"two\" when=\"pre\" exec=\"look\" arg=\"82\"/></check></service></safe>\n";
    // Each start of the program sleeps a second longer than the one before.
    let look = "#!/bin/sh\nrun=$(cat \"$SAFEUSERVAR/$3\" 2>/dev/null || echo 0)\necho $((run + 1)) > \"$SAFEUSERVAR/$3\"\n\
                env -i /usr/bin/setsid --fork sleep \"${3}00$run\" </dev/null >/dev/null 2>&1\nwhile :; do sleep 1; done\n";
    let source = lab.folder().join("look.module");
    package::write_folder(&source, &[("conf/userconfig.xml", xml), ("bin/look", look)])?;
    lab.install_package("look", &package::pack(&source)?)?;
    lab.cli(1, &["start", "-m", "look"])?;
    lab.wait_state(1, "look", "UP Ready", PATIENCE)?;
    let long = |wanted: &[&str]| demand_long(&lab, "look", '8', wanted);
    long(&["81000", "82000"])?;
    lab.host(1).shell(KILL)?;
    long(&["81001", "82001"])?;
    lab.wait_state(1, "look", "UP Ready", PATIENCE)?;
    lab.cli(1, &["stop", "-m", "look"])?;
    long(&[])
}
