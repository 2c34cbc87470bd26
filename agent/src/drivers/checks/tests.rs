//! Tests of the checkers as a whole: real sockets, processes and programs.

use super::{Checks, Order, Setting, Switches};
use crate::drivers::script;
use crate::logs::{LogFile, ModuleLog};
use crate::report::Reports;
use holdfast_api::resource::ResourceValue;
use holdfast_api::userconfig::{Check, CheckAction, Checker, Errd, Probe, Proc, ProcAction, User, When};
use holdfast_core::input::Input;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

/// A module's checkers and what they say.
struct Bench {
    dir: TempDir,
    checks: Checks,
    inputs: mpsc::Receiver<Input>,
}

fn checker(ident: &str, when: When, probe: Probe) -> Checker {
    Checker { ident: ident.to_owned(), when, action: CheckAction::Restart, probe }
}

fn tcp(ident: &str, when: When, port: u16) -> Checker {
    checker(ident, when, Probe::Tcp { addr: "127.0.0.1".to_owned(), port, interval_ms: 100, timeout_ms: 20_000 })
}

fn proc(name: &str, class: &str, action: ProcAction) -> Proc {
    Proc {
        name: name.to_owned(),
        service: false,
        nameregex: None,
        argregex: None,
        atleast: Some(1),
        atmax: None,
        action,
        class: class.to_owned(),
        start_after: 0,
        restart_services: Vec::new(),
    }
}

impl Bench {
    fn new(checkers: Vec<Checker>, procs: Vec<Proc>, switches: Switches) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, inputs) = mpsc::channel(100);
        let user = User {
            nicestop_timeout_ms: 60_000,
            forcestop_timeout_ms: 60_000,
            logging: true,
            log_size_bytes: 100_000,
            vars: Vec::new(),
        };
        let log = LogFile::new(dir.path(), "application", 100_000);
        let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let setting = Setting {
            module: "m".to_owned(),
            check: Check { checkers },
            errd: Errd { polltimer_ms: 100, procs },
            programs: Some(script::Setting { bin: dir.path().to_owned(), env, user, log, runs: None }),
            reports: Reports::new("node1"),
            run_dir: dir.path().to_owned(),
            log: ModuleLog::start(LogFile::new(dir.path(), "module", 100_000), "m", "node1").unwrap(),
        };
        Self { checks: Checks::new(setting, switches, inbox), dir, inputs }
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }

    async fn next(&mut self) -> Input {
        tokio::time::timeout(PATIENCE, self.inputs.recv()).await.expect("nothing is said").unwrap()
    }

    /// The next thing said of a resource.
    async fn said(&mut self, resource: &str) -> ResourceValue {
        loop {
            match self.next().await {
                Input::ResourceSet { name, value, .. } if name == resource => return value,
                _ => {}
            }
        }
    }

    /// Waits for a text in a log.
    async fn logged(&self, log: &str, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(self.dir.path().join(log)).unwrap_or_default();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < end, "{text:?} is not in {log}");
            tokio::task::yield_now().await;
        }
    }
}

/// A process with a name and arguments of its own; ended when dropped.
struct Sleeper(Child);

impl Sleeper {
    /// The process shows as `sleep` with this argument.
    fn start(seconds: &str) -> Self {
        Self(Command::new("sleep").arg(seconds).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn checkers_look_from_their_start_to_their_stop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let checkers = vec![tcp("web", When::Prim, port), tcp("early", When::Pre, port)];
    let mut bench = Bench::new(checkers, Vec::new(), Switches::default());
    bench.checks.start(When::Pre);
    assert_eq!(bench.said("tcp.early").await, ResourceValue::Up);
    bench.checks.start(When::Prim);
    assert_eq!(bench.said("tcp.web").await, ResourceValue::Up);
    drop(listener);
    assert_eq!(bench.said("tcp.web").await, ResourceValue::Down);
    bench.checks.stop(When::Prim);
    assert_eq!(bench.said("tcp.web").await, ResourceValue::Init);
    bench.checks.stop(When::Pre);
    assert_eq!(bench.said("tcp.early").await, ResourceValue::Init);
}

#[tokio::test]
async fn loopback_checkers_of_every_kind_say_up() {
    let ms = 20_000;
    let checkers = vec![
        checker("p", When::Pre, Probe::Ping { addr: "127.0.0.1".to_owned(), interval_ms: ms, timeout_ms: ms }),
        checker("i", When::Pre, Probe::Intf { local_addr: Some("127.0.0.1".to_owned()), interface: None }),
        checker("a", When::Pre, Probe::Ip { addr: "127.0.0.1".to_owned(), interval_ms: ms }),
    ];
    let mut bench = Bench::new(checkers, Vec::new(), Switches::default());
    bench.checks.start(When::Pre);
    let mut said = std::collections::BTreeMap::new();
    while said.len() < 3 {
        if let Input::ResourceSet { name, value, .. } = bench.next().await
            && !name.starts_with("usersetting")
        {
            said.insert(name, value);
        }
    }
    assert!(said.values().all(|value| *value == ResourceValue::Up), "{said:?}");
}

#[tokio::test]
async fn checkers_switched_off_say_unknown_until_they_are_on_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let off = Switches { checkers: false, errd: true };
    let mut bench = Bench::new(vec![tcp("web", When::Prim, port)], Vec::new(), off);
    assert_eq!(bench.said("usersetting.checker").await, ResourceValue::Other("off".to_owned()));
    bench.checks.start(When::Prim);
    assert_eq!(bench.said("tcp.web").await, ResourceValue::Unknown);
    bench.checks.order(&Order::Checkers(true), "admin").unwrap();
    assert_eq!(bench.said("tcp.web").await, ResourceValue::Init);
    assert_eq!(bench.said("tcp.web").await, ResourceValue::Up);
}

#[tokio::test]
async fn custom_checker_is_told_its_resource_and_ends_with_all_it_started() {
    let probe = Probe::Custom { exec: "look".to_owned(), arg: "one two".to_owned() };
    let mut bench = Bench::new(vec![checker("c", When::Prim, probe)], Vec::new(), Switches::default());
    bench.program("look", "#!/bin/sh\necho \"got $*\"\nsleep 303 &\necho $! > pid.new\nmv pid.new pid\nwait\n");
    bench.checks.start(When::Prim);
    bench.logged("application.log", "\ngot m custom.c one two\n").await;
    let pid = bench.logged("pid", "\n").await;
    assert!(alive(&pid));
    bench.checks.stop(When::Prim);
    assert_eq!(bench.said("custom.c").await, ResourceValue::Init);
    let end = Instant::now() + PATIENCE;
    while alive(&pid) {
        assert!(Instant::now() < end, "the child of the checker lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn custom_checker_that_ends_is_started_again_and_told_of() {
    let probe = Probe::Custom { exec: "look".to_owned(), arg: String::new() };
    let mut bench = Bench::new(vec![checker("c", When::Prim, probe)], Vec::new(), Switches::default());
    bench.program("look", "#!/bin/sh\necho again >> runs\n[ $(wc -l < runs) -ge 2 ] && exec sleep 304\nexit 3\n");
    bench.checks.start(When::Prim);
    bench.logged("runs", "again\nagain\n").await;
    bench.logged("module.log", "the checker of custom.c ended by itself").await;
    bench.checks.stop(When::Prim);
    assert_eq!(bench.said("custom.c").await, ResourceValue::Init);
}

#[tokio::test]
async fn program_left_by_a_former_agent_is_ended_before_another_is_started() {
    let probe = Probe::Custom { exec: "look".to_owned(), arg: String::new() };
    let mut bench = Bench::new(vec![checker("c", When::Prim, probe)], Vec::new(), Switches::default());
    bench.program("look", "#!/bin/sh\necho started >> runs\nexec sleep 305\n");
    let mark = format!("m custom.c {}", bench.dir.path().display());
    let mut left = Command::new("sleep").arg("306").env("HOLDFAST_PROGRAM", mark).spawn().unwrap();
    bench.checks.start(When::Prim);
    bench.logged("runs", "started").await;
    assert!(!left.wait().unwrap().success());
    bench.checks.stop(When::Prim);
    assert_eq!(bench.said("custom.c").await, ResourceValue::Init);
}

#[tokio::test]
async fn process_resource_follows_the_process_and_its_lack_is_reported_with_the_action() {
    let mut watched = proc("sleep", "prim", ProcAction::Restart);
    watched.argregex = Some("^sleep 307\\.5$".to_owned());
    let mut bench = Bench::new(Vec::new(), vec![watched], Switches::default());
    let sleeper = Sleeper::start("307.5");
    bench.checks.start(When::Prim);
    assert_eq!(bench.said("proc.sleep").await, ResourceValue::Up);
    drop(sleeper);
    assert_eq!(bench.said("proc.sleep").await, ResourceValue::Down);
    let input = bench.next().await;
    assert!(
        matches!(&input, Input::ProcessMissing { name, problem, action: CheckAction::Restart, .. }
            if name == "sleep" && problem == "process sleep is missing"),
        "{input:?}"
    );
    bench.checks.stop(When::Prim);
    assert_eq!(bench.said("proc.sleep").await, ResourceValue::Init);
}

#[tokio::test]
async fn too_many_processes_are_reported_by_name_expression() {
    let mut watched = proc("naps", "prim", ProcAction::StopStart);
    watched.nameregex = Some("^slee".to_owned());
    watched.argregex = Some("308\\.5".to_owned());
    (watched.atleast, watched.atmax) = (None, Some(1));
    let mut bench = Bench::new(Vec::new(), vec![watched], Switches::default());
    let _first = Sleeper::start("308.5");
    bench.checks.start(When::Prim);
    assert_eq!(bench.said("proc.naps").await, ResourceValue::Up);
    let _second = Sleeper::start("308.5");
    assert_eq!(bench.said("proc.naps").await, ResourceValue::Down);
    assert!(matches!(bench.next().await, Input::ProcessMissing { action: CheckAction::StopStart, .. }));
}

#[tokio::test]
async fn process_without_action_is_reported_once() {
    let mut bench =
        Bench::new(Vec::new(), vec![proc("no-such-process", "prim", ProcAction::NoAction)], Switches::default());
    bench.checks.start(When::Prim);
    assert_eq!(bench.said("proc.no-such-process").await, ResourceValue::Down);
    assert!(matches!(bench.next().await, Input::ProcessMissing { action: CheckAction::NoAction, .. }));
    // Three further looks say nothing.
    let silence = tokio::time::timeout(Duration::from_millis(400), bench.inputs.recv()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn own_classes_are_watched_from_enable_to_disable() {
    let procs = vec![proc("no-such-process", "mine", ProcAction::Stop)];
    let mut bench = Bench::new(Vec::new(), procs, Switches::default());
    let refused = bench.checks.order(&Order::Enable("other".to_owned()), "admin").unwrap_err();
    assert!(refused.contains("its classes: mine"), "{refused}");
    bench.checks.start(When::Prim);
    assert!(
        bench.checks.order(&Order::List, "admin").unwrap().contains("class=mine atleast=1 action=stop not watched")
    );
    bench.checks.order(&Order::Enable("mine".to_owned()), "start_prim").unwrap();
    assert!(bench.checks.order(&Order::List, "admin").unwrap().contains("action=stop watched"));
    assert_eq!(bench.said("proc.no-such-process").await, ResourceValue::Down);
    bench.checks.order(&Order::Disable("mine".to_owned()), "stop_prim").unwrap();
    assert_eq!(bench.said("proc.no-such-process").await, ResourceValue::Init);
    bench.checks.order(&Order::Enable("mine".to_owned()), "start_prim").unwrap();
    assert_eq!(bench.said("proc.no-such-process").await, ResourceValue::Down);
    bench.checks.stop(When::Prim);
    assert_eq!(bench.said("proc.no-such-process").await, ResourceValue::Init, "a stopped module watches nothing");
}

#[tokio::test]
async fn process_checker_that_is_off_watches_nothing() {
    let off = Switches { checkers: true, errd: false };
    let mut bench = Bench::new(Vec::new(), vec![proc("no-such-process", "prim", ProcAction::Stop)], off);
    assert_eq!(bench.said("usersetting.errd").await, ResourceValue::Other("off".to_owned()));
    bench.checks.start(When::Prim);
    assert!(bench.checks.order(&Order::List, "admin").unwrap().contains("process checker: off"));
    bench.checks.order(&Order::Errd(true), "admin").unwrap();
    assert_eq!(bench.said("proc.no-such-process").await, ResourceValue::Down);
}

#[tokio::test]
async fn handler_decides_whether_a_missing_process_matters() {
    let procs = vec![proc("no-such-process", "mine", ProcAction::Handler("handler".to_owned()))];
    let mut bench = Bench::new(Vec::new(), procs, Switches::default());
    bench.program("handler", "#!/bin/sh\necho \"handler of $*\" >> runs\n[ $(wc -l < runs) -lt 3 ]\n");
    bench.checks.start(When::Prim);
    bench.checks.order(&Order::Enable("mine".to_owned()), "start_prim").unwrap();
    let input = loop {
        match bench.next().await {
            Input::ResourceSet { .. } => {}
            other => break other,
        }
    };
    let Input::ProcessMissing { problem, action: CheckAction::StopStart, .. } = input else { panic!("{input:?}") };
    assert!(problem.contains("handler"), "{problem}");
    let runs = std::fs::read_to_string(bench.dir.path().join("runs")).unwrap();
    assert!(runs.starts_with("handler of m proc.no-such-process\n") && runs.lines().count() >= 3, "{runs}");
}

#[tokio::test]
async fn new_configuration_is_looked_at_while_the_module_runs() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::new(vec![tcp("old", When::Prim, port)], Vec::new(), Switches::default());
    bench.checks.start(When::Prim);
    assert_eq!(bench.said("tcp.old").await, ResourceValue::Up);
    let check = Check { checkers: vec![tcp("new", When::Prim, port)] };
    bench.checks.set(check, Errd::default(), None);
    let mut said = Vec::new();
    while said.len() < 2 {
        if let Input::ResourceSet { name, value, .. } = bench.next().await
            && name.starts_with("tcp")
        {
            said.push(format!("{name} {value}"));
        }
    }
    said.sort();
    assert_eq!(said, ["tcp.new up", "tcp.old init"]);
}
