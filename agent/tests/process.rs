//! A real agent process on loopback addresses: command line, configuration, refusals, restart. No data plane.
#![allow(clippy::unwrap_used)] // its helpers are test code too

#[path = "process/checks.rs"]
mod checks;
#[path = "process/words.rs"]
mod words;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const AGENT: &str = env!("CARGO_BIN_EXE_holdfast-agent");
const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// One agent; ended by number when dropped.
struct Agent {
    data: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Agent {
    fn new(root: &Path, number: u8, last: u8) -> Self {
        let data = root.join(format!("node{number}"));
        let mut agent = Self { data, address: format!("127.0.{last}.{number}"), child: None };
        agent.start();
        agent
    }

    fn start(&mut self) {
        let mut command = Command::new(AGENT);
        command.arg("--data-dir").arg(&self.data);
        command.args(["--health-listen", &format!("{}:19010", self.address)]);
        command.args(["--enrol-listen", &format!("{}:19001", self.address)]);
        command.args(["--cluster-listen", &format!("{}:14801", self.address)]);
        command.args(["--replica-bin", "/nonexistent/holdfast-replica"]);
        self.child = Some(command.stderr(Stdio::null()).spawn().unwrap());
        wait("the agent answers", || self.run(&["key"]).status.success());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let socket = self.data.join("agent.sock");
        Command::new(HOLDFAST).arg("--socket").arg(socket).args(arguments).output().unwrap()
    }

    /// Standard output of a command that succeeds.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Standard error of a command that is refused.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A package without replication, so that no data plane is needed.
fn package(root: &Path, userconfig: &str) -> PathBuf {
    package_with(root, userconfig, &[])
}

/// The same with further programs in its `bin`.
fn package_with(root: &Path, userconfig: &str, programs: &[(&str, &str)]) -> PathBuf {
    let path = root.join("test.safe");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    let script = "#!/bin/sh\necho \"$(basename \"$0\") $*\"\n\"$SAFE/safekit\" printi \"hello from $SAFEMODULE\"\n";
    let scripts = [("start_prim", script), ("stop_prim", script)];
    let programs = scripts.iter().chain(programs).map(|(name, text)| (format!("bin/{name}"), *text));
    for (name, text) in std::iter::once(("conf/userconfig.xml".to_owned(), userconfig)).chain(programs) {
        writer.start_file(name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    path
}

fn userconfig(timeout: &str) -> String {
    format!(
        "<safe><service mode=\"mirror\"><heart pulse=\"100\" timeout=\"{timeout}\"><heartbeat name=\"default\"/></heart>\
         <user/></service></safe>"
    )
}

fn cluster(root: &Path, agents: &[&Agent], version: u64) -> PathBuf {
    let nodes: Vec<_> = agents
        .iter()
        .enumerate()
        .map(|(index, agent)| {
            serde_json::json!({
                "id": index + 1,
                "name": format!("node{}", index + 1),
                "addresses": { "default": agent.address },
                "fingerprint": agent.ok(&["key"]),
            })
        })
        .collect();
    let config = serde_json::json!({
        "version": version, "name": "test", "secret": "ab".repeat(32), "lans": ["default"], "nodes": nodes,
    });
    let path = root.join("cluster.json");
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn configuration_is_taken_checked_and_kept_across_a_kill() {
    let root = tempfile::tempdir().unwrap();
    let mut one = Agent::new(root.path(), 1, 41);
    let two = Agent::new(root.path(), 2, 41);
    let safe = package(root.path(), &userconfig("2000"));
    let installed = one.ok(&["module", "install", "-m", "m1", "-M", "7", text(&safe)]);
    assert!(installed.contains("module 7"), "{installed}");
    assert!(one.ok(&["config", "-m", "m1"]).contains("configuration 1"));
    assert!(one.ok(&["state"]).contains("no cluster configuration yet"));
    assert!(one.refused(&["start", "-m", "m1"]).contains("no cluster configuration yet"));

    let file = cluster(root.path(), &[&one, &two], 3);
    assert!(one.ok(&["cluster", "confcheck", text(&file)]).contains("can be held"));
    assert!(one.run(&["cluster", "state"]).status.code() == Some(1), "a check holds nothing");
    assert!(one.ok(&["cluster", "config", text(&file)]).contains("version 3"));
    let older = cluster(root.path(), &[&one, &two], 2);
    assert!(one.refused(&["cluster", "config", text(&older)]).contains("older"));
    let foreign = cluster(root.path(), &[&two], 4);
    assert!(one.refused(&["cluster", "confcheck", text(&foreign)]).contains("fingerprint"));
    assert!(one.refused(&["cluster", "config", text(&foreign)]).contains("fingerprint"));

    let state = one.ok(&["state", "-m", "m1", "--json"]);
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(
        (state["state"].as_str(), state["node"].as_str(), state["id"].as_u64()),
        (Some("STOP"), Some("node1"), Some(7))
    );
    assert!(one.refused(&["state", "-m", "none"]).contains("not configured"));

    one.ok(&["printe", "-m", "m1", "a", "message"]);
    wait("the line is in the log", || one.ok(&["log", "-m", "m1"]).contains(" E STOP NotReady | a message"));
    one.ok(&["boot", "-m", "m1", "on"]);

    one.kill();
    let socket = text(&one.data).to_owned() + "/agent.sock";
    assert_eq!(one.run(&["state"]).status.code(), Some(3), "{socket}");
    one.start();
    let state: serde_json::Value = serde_json::from_str(&one.ok(&["state", "-m", "m1", "--json"])).unwrap();
    assert_eq!((state["version"].as_u64(), state["boot_start"].as_bool()), (Some(1), Some(true)));
    assert!(one.ok(&["log", "-m", "m1"]).contains("a message"));

    assert!(!one.ok(&["confinfo", "-m", "m1"]).contains("not in use"));
    let script = one.data.join("safe/modules/m1/bin/start_prim");
    std::fs::write(script, "#!/bin/sh\nexit 0\n").unwrap();
    assert!(one.ok(&["confinfo", "-m", "m1"]).contains("the edited files are not in use"));
    assert!(one.ok(&["cluster", "deconfig"]).contains("left its cluster"));
    assert!(one.refused(&["state", "-m", "m1"]).contains("not configured"));
}

#[test]
fn bad_packages_and_configurations_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 42);
    let broken = root.path().join("broken.safe");
    std::fs::write(&broken, "no zip").unwrap();
    assert!(one.refused(&["module", "install", "-m", "m1", text(&broken)]).contains("not a zip"));
    let curly = package(root.path(), &userconfig("2000").replace("\"mirror\"", "\u{201d}mirror\u{201d}"));
    one.ok(&["module", "install", "-m", "m1", text(&curly)]);
    let error = one.refused(&["config", "-m", "m1"]);
    assert!(error.contains("line 1, column 21") && error.contains("typographic quote"), "{error}");
    assert!(one.refused(&["confcheck", "-m", "m1"]).contains("typographic"));
    let good = package(root.path(), &userconfig("2000"));
    one.ok(&["module", "install", "-m", "m2", text(&good)]);
    assert!(one.refused(&["module", "install", "-m", "m3", "-M", "2", text(&good)]).contains("choose another number"));
    assert!(one.refused(&["module", "install", "-m", "../x", text(&good)]).contains("module name"));
    assert!(one.refused(&["config", "-m", "m9"]).contains("not installed"));
    let listed = one.ok(&["module", "list", "--json"]);
    assert!(listed.contains("\"m1\"") && !listed.contains("m3"), "{listed}");
}

#[test]
fn second_agent_on_the_same_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 43);
    let output = Command::new(AGENT).arg("--data-dir").arg(&one.data).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another agent runs"));
}

#[test]
fn snapshot_holds_states_and_logs_but_no_secret() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 44);
    let two = Agent::new(root.path(), 2, 44);
    one.ok(&["cluster", "config", text(&cluster(root.path(), &[&one, &two], 1))]);
    one.ok(&["module", "install", "-m", "m1", text(&package(root.path(), &userconfig("2000")))]);
    one.ok(&["config", "-m", "m1"]);
    let file = root.path().join("snapshot.zip");
    one.ok(&["snapshot", text(&file)]);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&file).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    for name in [
        "states.json",
        "cluster.json",
        "members.json",
        "commands.log",
        "system.txt",
        "modules/m1/state.ledger",
        "modules/m1/conf/userconfig.xml",
    ] {
        assert!(names.iter().any(|other| other == name), "{name} in {names:?}");
    }
    let mut cluster = String::new();
    std::io::Read::read_to_string(&mut archive.by_name("cluster.json").unwrap(), &mut cluster).unwrap();
    assert!(cluster.contains("(masked)") && !cluster.contains("abababab"));
}

#[test]
fn pairing_code_is_shown_and_changes_when_reopened() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 45);
    let first = one.ok(&["pairing"]);
    assert!(first.contains("pairing code: ") && first.contains(&one.ok(&["key"])), "{first}");
    assert_eq!(first, one.ok(&["pairing"]));
    assert_ne!(first, one.ok(&["pairing", "--reopen"]));
}

#[test]
fn module_without_replication_starts_follows_and_survives_a_kill_of_its_primary() {
    let root = tempfile::tempdir().unwrap();
    let mut one = Agent::new(root.path(), 1, 46);
    let two = Agent::new(root.path(), 2, 46);
    let file = cluster(root.path(), &[&one, &two], 1);
    let safe = package(root.path(), &userconfig("2000"));
    for agent in [&one, &two] {
        agent.ok(&["cluster", "config", text(&file)]);
        agent.ok(&["module", "install", "-m", "m1", text(&safe)]);
        agent.ok(&["config", "-m", "m1"]);
    }
    one.ok(&["prim", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "ALONE"]);
    two.ok(&["start", "-m", "m1"]);
    two.ok(&["waitstate", "-m", "m1", "SECOND"]);
    one.ok(&["waitstate", "-m", "m1", "PRIM"]);
    assert!(one.ok(&["log", "-m", "m1", "-A"]).contains("hello from m1"));
    assert!(one.ok(&["log", "-m", "m1", "--app"]).contains("start_prim WAIT ALONE start"));
    one.kill();
    two.ok(&["waitstate", "-m", "m1", "ALONE"]);
    one.start();
    one.ok(&["waitstate", "-m", "m1", "SECOND"]);
    two.ok(&["waitstate", "-m", "m1", "PRIM"]);
    two.ok(&["swap", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "PRIM"]);
    two.ok(&["waitstate", "-m", "m1", "SECOND"]);
    two.ok(&["stop", "-m", "m1"]);
    two.ok(&["waitstate", "-m", "m1", "STOP"]);
    one.ok(&["waitstate", "-m", "m1", "ALONE"]);
}

#[test]
fn killed_agent_goes_on_with_the_application_it_finds_running() {
    let root = tempfile::tempdir().unwrap();
    let mut one = Agent::new(root.path(), 1, 49);
    let two = Agent::new(root.path(), 2, 49);
    let file = cluster(root.path(), &[&one, &two], 1);
    let safe = package(root.path(), &userconfig("20000"));
    one.ok(&["cluster", "config", text(&file)]);
    one.ok(&["module", "install", "-m", "m1", text(&safe)]);
    one.ok(&["config", "-m", "m1"]);
    one.ok(&["prim", "-m", "m1"]);
    let ready = |agent: &Agent| agent.ok(&["state", "-m", "m1", "--json"]).contains("\"Ready\"");
    wait("the application runs", || ready(&one));
    one.kill();
    one.start();
    // Far within the timeout: a start from the beginning would have to wait for the other node.
    wait("the next agent goes on", || ready(&one));
    let starts = one.ok(&["log", "-m", "m1", "--app"]).matches("start_prim WAIT ALONE start").count();
    // Each run is in the log twice: what was run, and what it printed.
    assert!(starts <= 2, "start_prim was run again");
    assert!(one.ok(&["log", "-m", "m1"]).contains("goes on with what runs here"));
    one.ok(&["stop", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "STOP"]);
}

/// Waits until a node reaches another over the cluster link.
fn wait_reachable(from: &Agent, node: &str) {
    wait("the nodes reach each other", || {
        let members: serde_json::Value = serde_json::from_str(&from.ok(&["cluster", "state", "--json"])).unwrap();
        let mut members = members.as_array().unwrap().iter();
        members.any(|member| member["node"] == node && member["reachable"] == true)
    });
}

#[test]
fn module_is_exported_run_and_stopped_on_all_nodes_from_one_and_the_command_logs_say_who() {
    let root = tempfile::tempdir().unwrap();
    let one = Agent::new(root.path(), 1, 47);
    let mut two = Agent::new(root.path(), 2, 47);
    let file = cluster(root.path(), &[&one, &two], 1);
    assert!(one.refused(&["-H", "*", "state"]).contains("in no cluster"));
    one.ok(&["cluster", "config", text(&file)]);
    two.ok(&["cluster", "config", text(&file)]);
    wait_reachable(&one, "node2");
    wait_reachable(&two, "node1");
    one.ok(&["module", "install", "-m", "m1", "-M", "9", text(&package(root.path(), &userconfig("2000")))]);
    one.ok(&["-H", "node2", "-E", "m1"]);
    assert!(two.ok(&["module", "list"]).contains("m1"), "installed there, not configured, as here");
    one.ok(&["config", "-m", "m1"]);
    assert!(one.ok(&["-H", "*", "-E", "m1"]).contains("== node2\nm1 has configuration 1 now"));
    assert!(one.ok(&["-H", "*", "-G"]).contains("version 1 already"));
    let info = one.ok(&["cluster", "confinfo"]);
    assert!(info.contains("m1") && info.contains("node2") && !info.contains("differ"), "{info}");

    one.ok(&["prim", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "ALONE"]);
    one.ok(&["-H", "node2", "start", "-m", "m1"]);
    one.ok(&["waitstate", "-m", "m1", "SECOND", "-H", "node2"]);
    one.ok(&["waitstate", "-m", "m1", "PRIM"]);
    let states = two.ok(&["-H", "*", "state", "-m", "m1", "--json"]);
    let states: Vec<serde_json::Value> = states.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((states[0]["node"].as_str(), states[1]["state"].as_str()), (Some("node1"), Some("SECOND")));
    wait("the table shows both", || {
        let table = two.ok(&["cluster", "state"]);
        table.contains("PRIM Ready") && table.contains("SECOND Ready")
    });

    // Everywhere at once: nothing fails over on the way.
    one.ok(&["-H", "*", "stop", "-m", "m1"]);
    for node in ["node1", "node2"] {
        two.ok(&["-H", node, "waitstate", "-m", "m1", "STOP"]);
    }
    let was_alone = |node: &str| one.ok(&["-H", node, "log", "-m", "m1"]).contains(" ALONE Ready | ");
    assert!(was_alone("node1") && !was_alone("node2"), "the secondary stopped first");
    wait("node 2 knows who it was", || two.ok(&["cmdlog"]).contains("stop -m m1 -u "));
    assert!(two.ok(&["cmdlog", "-s", "1000"]).lines().any(|line| line.contains("END") && line.contains(" | 0 | ")));

    assert!(one.refused(&["-H", "node2", "pairing"]).contains("on the node itself"));
    assert!(one.refused(&["-H", "node7", "state"]).contains("node1, node2"));
    two.kill();
    wait("the loss is noticed", || one.run(&["-H", "*", "state"]).status.code() == Some(3));
    assert!(one.ok(&["cluster", "state"]).contains("lost, last heard"));
}
