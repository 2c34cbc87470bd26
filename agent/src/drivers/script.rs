//! Runs the module's scripts: each in its own process group, with a time limit, its output in the application log.
//!
//! Output goes straight into the log file, so a daemon that keeps a script's stdout holds nothing of the agent's and
//! lives on when the agent ends.

use super::Inbox;
use super::left::{self, Purpose};
use crate::cgroup::{Group, Runs};
use crate::clock;
use crate::logs::LogFile;
use crate::priority::as_usual;
use holdfast_api::checker::When;
use holdfast_api::userconfig::User;
use holdfast_core::input::{Input, ScriptOutcome};
use holdfast_core::output::{Script, ScriptAction};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::HashMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// Time between the polite and the hard end of a process group.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// One run, as the core asks for it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Number of the run.
    pub run: u64,
    /// Which script.
    pub script: Script,
    /// First argument is `force`.
    pub force: bool,
    /// Arguments: state before, state after.
    pub states: [String; 2],
    /// Third argument.
    pub action: ScriptAction,
    /// What a restart is about, passed as `-Services "a, b"`; none: all of the application.
    pub services: Vec<String>,
}

/// What all runs of a module share.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Folder of the scripts, also their working directory.
    pub bin: PathBuf,
    /// Environment, complete.
    pub env: Vec<(String, String)>,
    /// `<user>`: limits and logging.
    pub user: User,
    /// The application log.
    pub log: LogFile,
    /// Control groups of the runs; `None`: there are none here.
    pub runs: Option<Runs>,
}

/// The scripts of one module.
#[derive(Debug)]
pub struct Scripts {
    setting: Setting,
    inbox: Inbox,
    running: HashMap<u64, oneshot::Sender<()>>,
}

fn action_word(action: ScriptAction) -> &'static str {
    match action {
        ScriptAction::Start => "start",
        ScriptAction::Stop => "stop",
        ScriptAction::StopStart => "stopstart",
        ScriptAction::StopWait => "stopwait",
    }
}

impl Run {
    /// The arguments as passed.
    pub fn arguments(&self) -> Vec<String> {
        let force = self.force.then(|| "force".to_owned());
        let mut all: Vec<String> = force.into_iter().chain(self.states.clone()).collect();
        all.push(action_word(self.action).to_owned());
        if !self.services.is_empty() {
            all.extend(["-Services".to_owned(), self.services.join(", ")]);
        }
        all
    }
}

impl Setting {
    /// Time limit of a run; a start script has none: a database may recover for long, and an operator's stop ends it.
    fn limit(&self, run: &Run) -> Option<Duration> {
        let nice = Duration::from_millis(self.user.nicestop_timeout_ms);
        let force = Duration::from_millis(self.user.forcestop_timeout_ms);
        match run.script {
            // It stops what is left of the application, gracefully and by force.
            Script::Start(When::Pre) => Some(nice + force),
            Script::Start(_) => None,
            Script::Stop(_) if run.force => Some(force),
            Script::Stop(_) | Script::Transition => Some(nice),
        }
    }
}

impl Scripts {
    /// Scripts of a module; ends of runs go to `inbox`.
    pub fn new(setting: Setting, inbox: Inbox) -> Self {
        Self { setting, inbox, running: HashMap::new() }
    }

    /// From the next run on, use this.
    pub fn set(&mut self, setting: Setting) {
        self.setting = setting;
    }

    /// Starts a run.
    pub fn run(&mut self, run: Run) {
        self.running.retain(|_, end| !end.is_closed());
        let (end, ended) = oneshot::channel();
        self.running.insert(run.run, end);
        let (setting, inbox) = (self.setting.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let number = run.run;
            let outcome = run_script(&setting, &run, ended).await;
            let _ = inbox.send(Input::ScriptExited { run: number, outcome }).await;
        });
    }

    /// Ends the scripts that a former agent has left running, before this one runs any; gives their names.
    pub async fn end_left(&self) -> Vec<&'static str> {
        let setting = self.setting.clone();
        tokio::task::spawn_blocking(move || left::end_scripts(&setting)).await.unwrap_or_default()
    }

    /// Ends the process group of a run.
    pub fn end(&mut self, run: u64) {
        if let Some(end) = self.running.remove(&run) {
            let _ = end.send(());
        }
    }
}

async fn run_script(setting: &Setting, run: &Run, ended: oneshot::Receiver<()>) -> ScriptOutcome {
    let path = setting.bin.join(run.script.file_name());
    if !path.is_file() {
        return ScriptOutcome::Absent;
    }
    let (mut child, whole) = match spawn(setting, run, &path) {
        Ok(started) => started,
        Err(error) => {
            note(setting, &format!("{} could not be started: {error}", path.display()));
            return ScriptOutcome::NotStarted;
        }
    };
    let group = group_of(&child);
    let limit = setting.limit(run);
    let late = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let (timed_out, status) = tokio::select! {
        status = child.wait() => (false, Some(status)),
        () = late => (true, None),
        Ok(()) = ended => (false, None),
    };
    let outcome = match status {
        Some(Ok(status)) => {
            status.code().map_or(ScriptOutcome::Signalled(status.signal().unwrap_or(0)), ScriptOutcome::Exited)
        }
        Some(Err(_)) => ScriptOutcome::Signalled(0),
        None => {
            // What has left the group of a start script is the application: the stop scripts end it gracefully.
            let whole = whole.as_ref().filter(|_| !left::starts(run.script));
            let signal = end_group(&mut child, group, whole).await;
            if timed_out { ScriptOutcome::TimedOut } else { ScriptOutcome::Signalled(signal) }
        }
    };
    note(setting, &format!("{} ended: {outcome:?} (run {})", run.script.file_name(), run.run));
    end_left(setting, run);
    outcome
}

/// After the forced stop, what the start script of the same role has left and nobody ended is ended.
fn end_left(setting: &Setting, run: &Run) {
    let (Script::Stop(when), Some(runs)) = (run.script, &setting.runs) else { return };
    // A stop of some services leaves the others alone.
    if !run.force || !run.services.is_empty() {
        return;
    }
    let start = Script::Start(when).file_name();
    let found = runs.end_left_of(start);
    if found > 0 {
        note(setting, &format!("ended {found} processes that {start} had started and no stop script had ended"));
    }
}

fn spawn(setting: &Setting, run: &Run, path: &std::path::Path) -> std::io::Result<(Child, Option<Group>)> {
    let name = run.script.file_name();
    note(setting, &format!("{name} {} (run {})", run.arguments().join(" "), run.run));
    let (mut command, whole) = command(setting, path)?;
    left::mark(setting, Purpose::Script, &mut command);
    Ok((command.args(run.arguments()).spawn()?, whole))
}

/// A program of the module, not yet started: in a process group of its own and in the module's `bin`, with its
/// environment, the output in the application log. The control group is there for as long as its end is waited for.
pub(super) fn command(setting: &Setting, path: &std::path::Path) -> std::io::Result<(Command, Option<Group>)> {
    let output = || -> std::io::Result<Stdio> {
        Ok(if setting.user.logging { setting.log.append()?.into() } else { Stdio::null() })
    };
    let mut command = Command::new(path);
    command.env_clear().envs(setting.env.iter().cloned()).current_dir(&setting.bin);
    command.stdin(Stdio::null()).stdout(output()?).stderr(output()?);
    as_usual(&mut command);
    let whole = control_group(setting, path, &mut command);
    Ok((command, whole))
}

/// Gives the program a control group of its own where there are any.
fn control_group(setting: &Setting, path: &std::path::Path, command: &mut Command) -> Option<Group> {
    let name = path.file_name()?.to_str()?;
    let entered = |group: Group| group.enter(command).map(|()| group);
    match setting.runs.as_ref()?.group(name).and_then(entered) {
        Ok(group) => Some(group),
        Err(error) => {
            tracing::warn!("{name} runs in the agent's control group: {error}");
            None
        }
    }
}

/// The process group of a child started from [`command`].
pub(super) fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id as i32))
}

/// Asks, then forces every process of the group to end, and of the control group if one is given; gives the signal that
/// was needed.
pub(super) async fn end_group(child: &mut Child, group: Option<Pid>, whole: Option<&Group>) -> i32 {
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    signal(Signal::TERM);
    whole.inspect(|whole| whole.ask());
    let polite = tokio::time::timeout(GRACE, child.wait()).await.is_ok();
    // Also when the script itself is gone: what it started in its group goes with it.
    signal(Signal::KILL);
    whole.inspect(|whole| whole.end());
    if !polite {
        let _ = child.wait().await;
    }
    if polite { Signal::TERM.as_raw() } else { Signal::KILL.as_raw() }
}

/// One marker line in the application log.
pub(super) fn note(setting: &Setting, text: &str) {
    let date = jiff::Timestamp::from_millisecond(clock::unix_ms() as i64).unwrap_or_default();
    let write = || setting.log.append()?.write_all(format!("--- {date:.3} {text}\n").as_bytes());
    if let Err(error) = write() {
        tracing::warn!("cannot write the application log: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, Scripts, Setting, When};
    use crate::logs::LogFile;
    use holdfast_api::userconfig::User;
    use holdfast_core::input::{Input, ScriptOutcome};
    use holdfast_core::output::{Script, ScriptAction};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Duration;
    use tokio::sync::mpsc;

    fn setting(dir: &Path, script: &str, limit_ms: u64) -> Setting {
        let path = dir.join("stop_prim");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let user = User {
            nicestop_timeout_ms: limit_ms,
            forcestop_timeout_ms: limit_ms,
            logging: true,
            log_size_bytes: 100_000,
            vars: Vec::new(),
        };
        let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("SAFEMODULE".to_owned(), "m".to_owned())];
        Setting { bin: dir.to_owned(), env, user, log: LogFile::new(dir, "application", 100_000), runs: None }
    }

    fn stop(run: u64, force: bool) -> Run {
        let states = ["PRIM".to_owned(), "WAIT".to_owned()];
        Run { run, script: Script::Stop(When::Prim), force, states, action: ScriptAction::Stop, services: Vec::new() }
    }

    async fn outcome(inbox: &mut mpsc::Receiver<Input>) -> (u64, ScriptOutcome) {
        match tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await.unwrap() {
            Some(Input::ScriptExited { run, outcome }) => (run, outcome),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn script_gets_arguments_and_environment_and_its_output_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, mut ends) = mpsc::channel(10);
        let setting = setting(dir.path(), "#!/bin/sh\necho \"$SAFEMODULE: $*\"\necho oops >&2\nexit 3\n", 60_000);
        let log = setting.log.clone();
        let mut scripts = Scripts::new(setting, inbox);
        scripts.run(stop(7, true));
        assert_eq!(outcome(&mut ends).await, (7, ScriptOutcome::Exited(3)));
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert!(text.contains("\nm: force PRIM WAIT stop\noops\n"), "{text}");
        scripts.run(Run { script: Script::Stop(When::Pre), ..stop(8, false) });
        assert_eq!(outcome(&mut ends).await, (8, ScriptOutcome::Absent));
    }

    #[test]
    fn a_restart_of_some_services_names_them_in_one_argument() {
        let run = Run { services: vec!["web".to_owned(), "db".to_owned()], ..stop(1, true) };
        assert_eq!(run.arguments(), ["force", "PRIM", "WAIT", "stop", "-Services", "web, db"]);
    }

    #[tokio::test]
    async fn daemon_that_keeps_the_output_does_not_hold_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, mut ends) = mpsc::channel(10);
        let script = "#!/bin/sh\nsleep 300 &\necho $! > pid\nexit 0\n";
        let mut scripts = Scripts::new(setting(dir.path(), script, 60_000), inbox);
        scripts.run(stop(1, false));
        assert_eq!(outcome(&mut ends).await, (1, ScriptOutcome::Exited(0)));
        let pid: i32 = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn late_script_is_ended_with_its_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, mut ends) = mpsc::channel(10);
        let script = "#!/bin/sh\ntrap '' TERM\nsleep 301 &\necho $! > pid.new\nmv pid.new pid\nwait\nwait\n";
        let mut scripts = Scripts::new(setting(dir.path(), script, 1500), inbox);
        scripts.run(stop(1, false));
        assert_eq!(outcome(&mut ends).await, (1, ScriptOutcome::TimedOut));
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < end, "the child of the script lives on");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn endless_script_is_ended_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, mut ends) = mpsc::channel(10);
        let mut scripts = Scripts::new(setting(dir.path(), "#!/bin/sh\nexec sleep 302\n", 600_000), inbox);
        scripts.run(stop(1, false));
        scripts.end(1);
        assert_eq!(outcome(&mut ends).await, (1, ScriptOutcome::Signalled(15)));
    }
}
