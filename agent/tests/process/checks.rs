//! Checkers, resources and tools through the real programs.

use crate::{Agent, cluster, package_with, text, wait};
use std::path::Path;
use std::process::Command;

/// A module without data, on two nodes of which one runs.
fn alone(root: &Path, last: u8, inner: &str, programs: &[(&str, &str)]) -> Agent {
    let one = Agent::new(root, 1, last);
    let two = Agent::new(root, 2, last);
    one.ok(&["cluster", "config", text(&cluster(root, &[&one, &two], 1))]);
    drop(two);
    let xml = format!(
        "<safe><service mode=\"mirror\"><heart pulse=\"100\" timeout=\"2000\"><heartbeat name=\"default\"/></heart>\
         <user nicestoptimeout=\"20\" forcestoptimeout=\"20\"/>{inner}</service></safe>"
    );
    one.ok(&["module", "install", "-m", "m1", text(&package_with(root, &xml, programs))]);
    one.ok(&["config", "-m", "m1"]);
    one
}

fn serve(one: &Agent) {
    one.ok(&["prim", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "ALONE"]);
}

fn is(one: &Agent, resource: &str, value: &str) -> bool {
    let output = one.run(&["get", "-m", "m1", "-r", resource]);
    String::from_utf8_lossy(&output.stdout).trim() == value
}

#[test]
fn custom_checker_sets_its_resource_for_everybody_to_see() {
    let root = tempfile::tempdir().unwrap();
    let look = "#!/bin/sh\n\"$SAFE/safekit\" set -r \"$2\" -v up -i look\nwhile :; do\n  if [ -e broken ]; then\n    \
                \"$SAFE/safekit\" set -r \"$2\" -v down -i look\n  fi\n  sleep 0.1\ndone\n";
    let custom = "<check><custom ident=\"c\" when=\"prim\" exec=\"look\"/></check>";
    let one = alone(root.path(), 47, custom, &[("look", look)]);
    serve(&one);
    wait("the checker says up", || is(&one, "custom.c", "up"));
    let table = one.ok(&["state", "-m", "m1", "-v"]);
    assert!(table.lines().any(|line| line.contains("custom.c") && line.ends_with("look")), "{table}");
    std::fs::write(one.data.join("modules/m1/bin/broken"), "").unwrap();
    wait("the checker says down", || is(&one, "custom.c", "down"));
    let state: serde_json::Value = serde_json::from_str(&one.ok(&["state", "-m", "m1", "--json"])).unwrap();
    let resources = state["resources"].as_array().unwrap();
    let custom = resources.iter().find(|resource| resource["name"] == "custom.c").unwrap();
    assert_eq!((custom["value"].as_str(), custom["by"].as_str()), (Some("down"), Some("look")));
    one.ok(&["stop", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "STOP"]);
    wait("the resource is init again", || is(&one, "custom.c", "init"));
}

#[test]
fn what_a_checker_has_started_is_ended_with_it_though_its_environment_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let look = "#!/bin/sh\nenv -i sleep 312 & echo $! > \"$SAFEUSERVAR/below.$$\"; wait\n";
    let custom = "<check><custom ident=\"c\" when=\"pre\" exec=\"look\"/></check>";
    let mut one = alone(root.path(), 54, custom, &[("look", look)]);
    serve(&one);
    let folder = one.data.join("var/modules/m1");
    let below = || -> Vec<String> {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let of_it = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("below."));
        of_it.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
    };
    let runs = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        !pid.trim().is_empty() && stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    wait("the checker has started something", || below().iter().any(|pid| runs(pid)));
    let first = below();
    one.kill();
    assert!(first.iter().any(|pid| runs(pid)));
    one.start();
    wait("what it has started is ended", || !first.iter().any(|pid| runs(pid)));
    // The next agent has started another, which would outlast this test.
    one.ok(&["stop", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "STOP"]);
    wait("the other is ended with its module", || !below().iter().any(|pid| runs(pid)));
}

#[test]
fn resources_are_set_by_hand_within_bounds() {
    let root = tempfile::tempdir().unwrap();
    let one = alone(root.path(), 48, "", &[]);
    one.ok(&["set", "-m", "m1", "-r", "custom.mine", "-v", "7"]);
    wait("the value is there", || is(&one, "custom.mine", "7"));
    assert!(one.refused(&["get", "-m", "m1", "-r", "custom.none"]).contains("state -m m1 -v"));
    assert!(one.refused(&["set", "-m", "m1", "-r", "rfs.uptodate", "-v", "up"]).contains("cannot be set"));
    assert!(one.refused(&["set", "-m", "m1", "-r", "nonsense", "-v", "up"]).contains("is no resource"));
    assert!(one.refused(&["set", "-m", "none", "-r", "custom.x", "-v", "up"]).contains("not configured"));
}

#[test]
fn scripts_count_restarts_up_to_the_limit() {
    let root = tempfile::tempdir().unwrap();
    let one = alone(root.path(), 49, "", &[]);
    for count in 1..=3 {
        assert!(one.ok(&["incloop", "-m", "m1", "-i", "handler"]).starts_with(&format!("{count} of 3")));
    }
    assert!(one.refused(&["incloop", "-m", "m1", "-i", "handler"]).contains("3 of 3"));
    assert!(one.refused(&["checkloop", "-m", "m1"]).contains("resetloop"));
    one.ok(&["resetloop", "-m", "m1"]);
    assert!(one.ok(&["checkloop", "-m", "m1"]).starts_with("0 of 3"));
    assert!(one.ok(&["log", "-m", "m1"]).contains("incloop by handler"));
}

#[test]
fn switches_survive_a_kill_of_the_agent() {
    let root = tempfile::tempdir().unwrap();
    let errd = "<errd polltimer=\"1\"><proc name=\"no-such\" class=\"mine\" action=\"noaction\"/></errd>";
    let mut one = alone(root.path(), 50, errd, &[]);
    wait("errd is on", || is(&one, "usersetting.errd", "on"));
    assert!(one.ok(&["errd", "off", "-m", "m1"]).contains("off"));
    assert!(one.ok(&["checker", "off", "-m", "m1"]).contains("off"));
    one.kill();
    one.start();
    wait("errd is off", || is(&one, "usersetting.errd", "off"));
    wait("the checkers are off", || is(&one, "usersetting.checker", "off"));
    assert!(one.ok(&["errd", "list", "-m", "m1"]).contains("proc.no-such class=mine atleast=1 action=noaction"));
    one.ok(&["errd", "on", "-m", "m1"]);
    wait("errd is on again", || is(&one, "usersetting.errd", "on"));
    assert!(one.refused(&["errd", "enable", "other", "-m", "m1"]).contains("its classes: mine"));
    assert!(one.refused(&["errd", "enable", "-m", "m1"]).contains("which class"));
}

#[test]
fn fourth_missing_process_stops_the_module() {
    let root = tempfile::tempdir().unwrap();
    let errd = "<errd polltimer=\"1\"><proc name=\"no-such\" action=\"restart\"/></errd>";
    let one = alone(root.path(), 51, errd, &[]);
    serve(&one);
    one.ok(&["waitstate", "-m", "m1", "STOP"]);
    let log = one.ok(&["log", "-m", "m1"]);
    assert_eq!(log.matches("| process no-such is missing\n").count(), 4, "{log}");
    assert_eq!(log.matches("run start_prim").count(), 4, "{log}");
    assert!(log.contains("used up (maxloop)"), "{log}");
}

#[test]
fn tools_work_without_an_agent_and_by_their_own_names() {
    let root = tempfile::tempdir().unwrap();
    let mut one = Agent::new(root.path(), 1, 52);
    one.kill();
    let safe = one.data.join("safe");
    let code =
        |name: &str, arguments: &[&str]| Command::new(safe.join(name)).args(arguments).output().unwrap().status.code();
    assert_eq!(code("boundcmd", &["60", "sh", "-c", "exit 5"]), Some(5));
    assert_eq!(code("boundcmd", &["0.1", "sleep", "300"]), Some(2));
    assert_eq!(code("safekit", &["-r", "boundcmd", "60", "true"]), Some(0));
    let mut child = Command::new("sleep").arg("311.5").spawn().unwrap();
    assert_eq!(code("processtree", &["list", "sleep", "311.5$"]), Some(0));
    assert_eq!(code("safekit", &["kill", "-name=sleep", "-argregex=^sleep 311.5", "-level=test"]), Some(0));
    assert!(child.try_wait().unwrap().is_none());
    assert_eq!(code("safekit", &["kill", "-name=sleep", "-argregex=^sleep 311.5", "-level=9"]), Some(0));
    assert!(!child.wait().unwrap().success());
    assert_eq!(code("processtree", &["kill", "sleep", "311.5$"]), Some(1));
}
