//! The words of the command table on a real agent: what they print, and their exit codes.

use super::{Agent, cluster, package_with, text, userconfig, wait};
use std::path::Path;

const LIGHT: &str = "<safe><service mode=\"light\"><user/></service></safe>";

/// A light module `m1` on one node, configured and stopped.
fn light(root: &Path, last: u8, programs: &[(&str, &str)]) -> Agent {
    let one = Agent::new(root, 1, last);
    one.ok(&["cluster", "config", text(&cluster(root, &[&one], 1))]);
    one.ok(&["module", "install", "-m", "m1", "-M", "5", text(&package_with(root, LIGHT, programs))]);
    one.ok(&["config", "-m", "m1"]);
    one
}

fn code(agent: &Agent, arguments: &[&str]) -> Option<i32> {
    agent.run(arguments).status.code()
}

#[test]
fn state_is_an_exit_code_and_waits_have_a_limit() {
    let root = tempfile::tempdir().unwrap();
    let mut one = light(root.path(), 60, &[]);
    assert_eq!(code(&one, &["state", "-m", "m1", "-lq"]), Some(0));
    assert_eq!(code(&one, &["waitstart", "-m", "m1", "--timeout", "0.2"]), Some(4));
    assert_eq!(code(&one, &["waitstop", "-m", "m1", "--timeout", "20"]), Some(0));
    one.ok(&["start", "-m", "m1"]);
    one.ok(&["waitstart", "-m", "m1"]);
    let output = one.run(&["state", "-m", "m1", "-lq"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), b"UP\n".as_slice()));
    assert_eq!(code(&one, &["waitstop", "-m", "m1", "--timeout", "0.2"]), Some(4));
    assert_eq!(code(&one, &["state", "-m", "none", "-lq"]), Some(5));
    assert_eq!(code(&one, &["state", "-lq"]), Some(5));
    assert_eq!(code(&one, &["shutdown"]), Some(0));
    assert_eq!(code(&one, &["state", "-m", "m1", "-lq"]), Some(0));
    assert!(one.ok(&["shutdown"]).contains("every module"));
    one.kill();
    assert_eq!(code(&one, &["state", "-m", "m1", "-lq"]), Some(5));
}

#[test]
fn level_places_and_numbers_are_told() {
    let root = tempfile::tempdir().unwrap();
    let level = ("level", "#!/bin/sh\necho \"application 7.2 of $SAFEMODULE\"\n");
    let one = light(root.path(), 61, &[level]);
    assert!(one.ok(&["level"]).contains(env!("CARGO_PKG_VERSION")));
    let said = one.ok(&["level", "-m", "m1"]);
    assert!(said.contains("application 7.2 of m1") && said.contains("node1"), "{said}");
    let places = one.ok(&["-p"]);
    let safe = places.lines().find_map(|line| line.strip_prefix("SAFE=")).unwrap();
    assert!(Path::new(safe).join("safekit").exists(), "{places}");
    assert!(one.ok(&["places", "-m", "m1"]).contains("SAFEUSERBIN="));
    assert!(one.ok(&["module", "listid"]).contains("5   m1"));
    for ports in [one.ok(&["module", "getports", "-m", "m1"]), one.ok(&["module", "getports", "-i", "5"])] {
        assert!(ports.contains("8892") && ports.contains("5616"), "{ports}");
    }
    assert!(one.ok(&["boot", "status"]).contains("off"));
    one.ok(&["boot", "-m", "m1", "on"]);
    wait("boot is on", || one.ok(&["boot", "status", "-m", "m1"]).contains("on"));
}

#[test]
fn health_is_told_test_by_test_and_by_the_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let alone = Agent::new(root.path(), 2, 71);
    let output = alone.run(&["healthcheck"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("TEST  cluster\nERROR this node is in no cluster"));
    let one = light(root.path(), 71, &[]);
    let said = one.ok(&["-r", "healthcheck.sh"]);
    assert!(said.contains("TEST  module m1\nOK    STOP NotReady, as ordered"), "{said}");
    one.ok(&["start", "-m", "m1"]);
    one.ok(&["waitstart", "-m", "m1"]);
    one.ok(&["set", "-m", "m1", "-r", "custom.web", "-v", "down", "-i", "me"]);
    wait("what is down is told", || {
        one.ok(&["healthcheck"]).contains("OK    UP Ready\nWARN  custom.web is down, says me")
    });
}

#[test]
fn words_of_other_products_are_answered_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 62);
    for words in [["webserver", "restart"], ["module", "genkey"], ["boot", "snmpon"]] {
        let output = one.run(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("holdfast: "), "{words:?}");
    }
    let xml = root.path().join("cluster.xml");
    std::fs::write(&xml, "<cluster/>").unwrap();
    assert!(one.refused(&["cluster", "config", text(&xml)]).contains("cluster show"));
}

#[test]
fn logs_are_shown_by_level_followed_and_saved() {
    let root = tempfile::tempdir().unwrap();
    let one = light(root.path(), 63, &[("start_both", "#!/bin/sh\nexit 0\n")]);
    one.ok(&["printi", "-m", "m1", "a", "detail"]);
    one.ok(&["printe", "-m", "m1", "an", "event"]);
    one.ok(&["start", "-m", "m1"]);
    one.ok(&["waitstart", "-m", "m1"]);
    wait("the last line is written", || one.ok(&["log", "-m", "m1"]).contains("UP Ready"));
    let (shown, all) = (one.ok(&["log", "-m", "m1"]), one.ok(&["log", "-m", "m1", "-A"]));
    assert!(shown.contains(" E STOP NotReady | an event") && !shown.contains("a detail"), "{shown}");
    assert!(
        shown.contains(" U STOP NotReady | start by ") && shown.contains(" S UP Transient | run start_both"),
        "{shown}"
    );
    assert!(all.contains(" I STOP NotReady | a detail"), "{all}");
    assert_eq!(one.ok(&["log", "-m", "m1", "-s", "2"]).lines().count(), 2);
    let file = root.path().join("log.txt");
    one.ok(&["logsave", "-m", "m1", text(&file)]);
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.contains("an event") && !saved.contains("a detail"), "{saved}");
    let cmdlog = one.ok(&["cmdlog"]);
    let start = cmdlog.lines().find(|line| line.contains("| start -m m1 -u ")).unwrap();
    let number = start.split("START ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(cmdlog.contains(&format!("END {number} | 0 | ")), "{cmdlog}");
}

#[test]
fn a_module_is_packed_cleaned_dumped_updated_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let update = ("update", "#!/bin/sh\necho \"updated $*\"\n");
    let left = ("start_both", "#!/bin/sh\nsleep 304 &\necho $! > \"$SAFEUSERVAR/pid\"\n");
    let check = ("confcheck", "#!/bin/sh\necho checked by itself\n");
    let one = light(root.path(), 64, &[update, left, check]);
    assert!(one.ok(&["confcheck", "-m", "m1"]).contains("checked by itself"));
    let packed = root.path().join("packed.safe");
    one.ok(&["module", "package", "-m", "m1", text(&packed)]);
    one.ok(&["module", "install", "-m", "m2", text(&packed)]);
    assert!(one.refused(&["update", "-m", "m1"]).contains("ALONE or UP"));
    one.ok(&["start", "-m", "m1"]);
    one.ok(&["waitstart", "-m", "m1"]);
    one.ok(&["update", "-m", "m1"]);
    wait("the script ran", || one.ok(&["log", "-m", "m1", "--app"]).contains("updated UP UP update"));
    assert!(one.refused(&["clean", "process", "-m", "m1"]).contains("stop it first"));
    one.ok(&["stop", "-m", "m1"]);
    one.ok(&["waitstop", "-m", "m1"]);
    let pid = std::fs::read_to_string(one.data.join("var/modules/m1/pid")).unwrap();
    assert!(one.ok(&["clean", "-m", "m1"]).contains("1 processes"));
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    assert!(stat.is_ok_and(|stat| stat.contains(") Z ")) || !Path::new(&format!("/proc/{}", pid.trim())).exists());
    assert!(!one.ok(&["log", "-m", "m1"]).contains("UP Ready"));
    for _ in 0..2 {
        one.ok(&["dump", "-m", "m1"]);
    }
    let snapshot = root.path().join("s.zip");
    one.ok(&["snapshot", "-m", "m1", text(&snapshot)]);
    let archive = zip::ZipArchive::new(std::fs::File::open(&snapshot).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("modules/m1/dumps/dump_")), "{names:?}");
    assert!(one.ok(&["module", "uninstall", "-m", "m1"]).contains("backup/m1.safe"));
    let listed = one.ok(&["module", "list"]);
    assert!(!listed.contains("m1") && listed.contains("m2"), "{listed}");
    assert!(one.refused(&["module", "install", "-m", "m9"]).contains("no m9.safe"));
    assert!(one.ok(&["module", "install", "-m", "m1"]).contains("is installed"));
}

#[test]
fn a_module_prepares_for_its_configuration_may_refuse_it_and_is_told_what_counts() {
    let root = tempfile::tempdir().unwrap();
    let note = |name: &str, more: &str| format!("#!/bin/sh\necho {name} >> \"$SAFEUSERVAR/told\"\n{more}\n");
    let config = note(
        "config",
        "echo prepared\ngrep -q agreed \"$SAFEUSERCONF/userconfig.xml\" && test -x \"$SAFEUSERBIN/state\"",
    );
    let postconfig =
        note("postconfig", "grep -q 'name=\"M\" value=\"17\"' \"$SAFEUSERCONF/safeconf.xml\" || echo no macros");
    let deconfig = note("deconfig", "test -e \"$SAFEUSERBIN/deconfig\" && exit 3");
    let state = "#!/bin/sh\necho \"17 customers of $SAFEMODULE\"\n";
    let programs =
        [("config", config.as_str()), ("postconfig", &postconfig), ("deconfig", &deconfig), ("state", state)];
    let one = Agent::new(root.path(), 1, 70);
    one.ok(&["cluster", "config", text(&cluster(root.path(), &[&one], 1))]);
    let xml = LIGHT.replace("<user/>", "<user><var name=\"M\" value=\"%m%\"/></user>");
    let xml = xml.replace("<safe>", "<safe><macro name=\"m\" value=\"17\"/>");
    let install =
        |xml: &str| one.ok(&["module", "install", "-m", "m1", text(&package_with(root.path(), xml, &programs))]);
    let told = || std::fs::read_to_string(one.data.join("var/modules/m1/told")).unwrap();
    install(&xml);
    assert!(one.refused(&["config", "-m", "m1"]).contains("says no (exit code 1): prepared"));
    assert_eq!(told(), "config\n");
    assert!(one.ok(&["state"]).contains("no module is configured"));
    assert!(!one.data.join("modules/m1").exists());
    let agreed = xml.replace("<safe>", "<safe><!-- agreed -->");
    install(&agreed);
    let said = one.ok(&["config", "-m", "m1"]);
    assert!(said.ends_with("prepared") && !said.contains("however"), "{said}");
    assert_eq!(told(), "config\nconfig\npostconfig\n");
    one.ok(&["config", "-m", "m1"]);
    assert_eq!(told(), "config\nconfig\npostconfig\n", "nothing new is nothing to prepare for");
    assert!(one.ok(&["state", "-v"]).contains("m1: 17 customers of m1"));
    assert!(!one.ok(&["state"]).contains("customers"));
    let said = one.ok(&["deconfig", "-m", "m1"]);
    assert!(said.contains("is forgotten") && said.contains("says no (exit code 3)"), "{said}");
    assert!(told().ends_with("deconfig\n") && !one.data.join("modules/m1").exists());
    let folders = std::fs::read_dir(one.data.join("modules")).unwrap();
    assert_eq!(folders.count(), 0, "what was only prepared is gone");
}

#[test]
fn a_module_whose_ledger_cannot_be_removed_stays_configured_and_one_made_again_inherits_nothing() {
    let root = tempfile::tempdir().unwrap();
    let one = light(root.path(), 67, &[]);
    let ledger = one.data.join("ledger/m1.ledger");
    let kept = root.path().join("kept");
    std::fs::rename(&ledger, &kept).unwrap();
    std::fs::create_dir_all(ledger.join("in the way")).unwrap();
    let said = one.refused(&["module", "uninstall", "-m", "m1"]);
    assert!(said.contains("still configured") && said.contains("m1.ledger") && said.contains("by hand"), "{said}");
    assert!(one.ok(&["module", "list"]).contains("m1"));
    std::fs::remove_dir_all(&ledger).unwrap();
    std::fs::rename(&kept, &ledger).unwrap();
    one.ok(&["module", "uninstall", "-m", "m1"]);
    assert!(!ledger.exists());
}

/// Whether the process whose number is in this file still runs.
fn runs(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    !pid.trim().is_empty() && stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_hook_that_runs_when_its_agent_is_killed_is_ended_and_what_an_earlier_one_started_is_not() {
    let root = tempfile::tempdir().unwrap();
    let hook = "#!/bin/sh\ncd \"$SAFEUSERVAR\"\nif [ ! -e daemon ]; then setsid sleep 310 & echo $! > daemon; exit; fi\n\
                env -i sleep 311 & echo $! > below; echo $$ > hook; wait\n";
    let mut one = light(root.path(), 68, &[("update", hook)]);
    one.ok(&["start", "-m", "m1"]);
    one.ok(&["waitstart", "-m", "m1"]);
    let file = |name: &str| one.data.join("var/modules/m1").join(name);
    let (daemon, hook, below) = (file("daemon"), file("hook"), file("below"));
    one.ok(&["update", "-m", "m1"]);
    wait("what the first hook has started runs", || runs(&daemon));
    wait("the first hook has ended", || one.ok(&["log", "-m", "m1", "--app"]).contains("update ended"));
    one.ok(&["update", "-m", "m1"]);
    wait("the second hook runs", || runs(&hook) && runs(&below));
    one.kill();
    assert!(runs(&hook) && runs(&below));
    one.start();
    wait("the hook is ended", || !runs(&hook) && !runs(&below));
    assert!(runs(&daemon), "a daemon that a hook has started is the application's");
    let daemon = std::fs::read_to_string(daemon).unwrap();
    std::process::Command::new("kill").args(["-9", daemon.trim()]).status().unwrap();
}

#[test]
fn a_script_of_a_killed_agent_is_ended_and_a_stop_that_it_had_begun_is_finished() {
    let root = tempfile::tempdir().unwrap();
    let start = "#!/bin/sh\ncd \"$SAFEUSERVAR\"\necho start >> told\necho $$ > start.new\nmv start.new start\n\
                 while [ ! -e enough ]; do sleep 0.1; done\n";
    let stop = "#!/bin/sh\ncd \"$SAFEUSERVAR\"\necho \"stop $*\" >> told\n[ \"$1\" = force ] && exit\n\
                while [ -e slow ]; do sleep 0.1; done\n";
    let mut one = light(root.path(), 72, &[("start_both", start), ("stop_both", stop)]);
    let folder = one.data.join("var/modules/m1");
    let file = |name: &str| folder.join(name);
    let told = || std::fs::read_to_string(file("told")).unwrap_or_default();
    one.ok(&["start", "-m", "m1"]);
    wait("the start script runs", || runs(&file("start")));
    std::fs::copy(file("start"), file("first")).unwrap();
    one.kill();
    one.start();
    let again = "start\nstop force WAIT STOP stop\nstart\n";
    wait("it is started anew", || told() == again);
    assert!(!runs(&file("first")), "two start scripts run");
    std::fs::write(file("enough"), "").unwrap();
    one.ok(&["waitstart", "-m", "m1"]);
    std::fs::write(file("slow"), "").unwrap();
    one.ok(&["stop", "-m", "m1"]);
    let stopping = format!("{again}stop UP WAIT stop\n");
    wait("the stop script runs", || told() == stopping);
    one.kill();
    one.start();
    wait("the stop is finished", || told() == format!("{stopping}stop force WAIT STOP stop\n"));
    wait("it is stopped", || code(&one, &["state", "-m", "m1", "-lq"]) == Some(0));
    std::fs::remove_file(file("slow")).unwrap();
}

#[test]
fn scripts_that_a_running_module_gets_take_effect() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 65);
    one.ok(&["cluster", "config", text(&cluster(root.path(), &[&one], 1))]);
    let bare = LIGHT.replace("<user/>", "");
    one.ok(&["module", "install", "-m", "m1", text(&package_with(root.path(), &bare, &[]))]);
    one.ok(&["config", "-m", "m1"]);
    one.ok(&["start", "-m", "m1"]);
    one.ok(&["waitstart", "-m", "m1"]);
    let both = ("stop_both", "#!/bin/sh\necho stopped by its new script\n");
    one.ok(&["module", "install", "-m", "m1", text(&package_with(root.path(), LIGHT, &[both]))]);
    one.ok(&["config", "-m", "m1"]);
    one.ok(&["stop", "-m", "m1"]);
    one.ok(&["waitstop", "-m", "m1"]);
    let log = one.ok(&["log", "-m", "m1", "--app"]);
    assert!(log.contains("stopped by its new script"), "{log}");
}

#[test]
fn a_mirror_module_tells_its_own_port() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 66);
    let xml = userconfig("2000").replace("<heart ", "<heart port=\"9999\" ");
    one.ok(&["module", "install", "-m", "m1", text(&package_with(root.path(), &xml, &[]))]);
    one.ok(&["config", "-m", "m1"]);
    assert!(one.ok(&["module", "getports", "-m", "m1"]).contains("9999"));
}
