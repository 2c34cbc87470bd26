//! A program of the module's `bin` that is no script: custom checkers and handlers of `<proc>`.
//!
//! It runs in a process group of its own, with the scripts' environment, its output in the application log. What it is
//! for stands in its environment, so that a copy left behind by an agent that was killed is found and ended.

use super::processes::{Process, signal};
use super::script::{Setting, command, end_group, group_of, note};
use crate::cgroup::Group;
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tokio::process::{Child, Command};

/// Names what a program is for: module and resource.
const MARK: &str = "HOLDFAST_PROGRAM";
/// Begins the mark of a hook; no module has a blank in its name.
const HOOK: &str = "hook of ";

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    group: Option<Pid>,
    whole: Option<Group>,
}

/// The program `exec` of a module: below its `bin`, or absolute.
pub(super) fn path(setting: &Setting, exec: &str) -> PathBuf {
    setting.bin.join(exec)
}

impl Program {
    /// Starts a program on behalf of a resource of the module: its arguments are module, resource and `arguments`.
    pub(super) fn start(
        setting: &Setting,
        module: &str,
        resource: &str,
        exec: &str,
        arguments: &[&str],
    ) -> std::io::Result<Self> {
        let (mut command, whole) = command(setting, &path(setting, exec))?;
        command.args([module, resource]).args(arguments).kill_on_drop(true);
        command.env(MARK, mark(setting, module, resource));
        note(setting, format!("{exec} {module} {resource} {}", arguments.join(" ")).trim_end());
        let child = command.spawn()?;
        let group = group_of(&child);
        Ok(Self { child, group, whole })
    }

    /// Waits for its own end.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it with its whole group: asks, then forces.
    pub(super) async fn end(mut self) {
        end_group(&mut self.child, self.group, self.whole.as_ref()).await;
    }
}

/// The folder tells agents on one machine apart.
fn mark(setting: &Setting, module: &str, resource: &str) -> String {
    format!("{module} {resource} {}", setting.bin.display())
}

/// Marks a command as a hook of its folder: one that an agent leaves behind is ended by the next.
pub(super) fn mark_hook(setting: &Setting, command: &mut Command) {
    command.env(MARK, format!("{HOOK}{}", setting.bin.display()));
}

/// Ends every process that a former agent started on behalf of a resource with the program `exec`, and what those
/// started.
pub(super) fn end_left_behind(setting: &Setting, module: &str, resource: &str, exec: &str) {
    let wanted = format!("{MARK}={}", mark(setting, module, resource));
    end_marked(resource, |_, variable| variable == wanted.as_bytes());
    let file = path(setting, exec);
    if let (Some(runs), Some(name)) = (&setting.runs, file.file_name().and_then(|name| name.to_str())) {
        // What has left the session and cleared its environment, and has no parent any more.
        runs.end_left_of(name);
    }
}

/// Ends every hook, of any module with its programs below the folder `data`, that still runs though its agent is gone:
/// the program itself and what is below it. What one that has ended has started is the application's, and stays.
pub(super) fn end_left_hooks(data: &Path, names: &[&str]) {
    let wanted = format!("{MARK}={HOOK}{}/", data.display());
    end_marked("hook", |process, variable| {
        let bin = variable.strip_prefix(wanted.as_bytes()).map(String::from_utf8_lossy);
        bin.is_some_and(|bin| {
            let is_of = |name: &&str| runs_program(process, &data.join(bin.as_ref()).join(name));
            process.session == process.pid && names.iter().any(is_of)
        })
    });
}

/// Whether a process runs this program, or an interpreter with it.
fn runs_program(process: &Process, program: &Path) -> bool {
    let words = String::from_utf8_lossy(&process.arguments);
    words.split(' ').take(3).any(|word| Path::new(word) == program)
}

/// Ends the processes with such a variable in their environment, and whatever they have started that is still below them
/// or in a session that they began, whatever its own environment.
fn end_marked(what: &str, wanted: impl Fn(&Process, &[u8]) -> bool) {
    let all = super::processes::list(Path::new("/proc"));
    let is_marked = |process: &&Process| {
        let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| wanted(process, variable))
    };
    let marked: BTreeSet<u32> = all.iter().filter(is_marked).map(|process| process.pid).collect();
    for process in with_descendants(&all, marked) {
        tracing::info!(what, pid = process.pid, "ends what a former agent left behind");
        if let Err(error) = signal(process, Signal::KILL) {
            tracing::warn!(what, "{error:#}");
        }
    }
}

/// These processes, those of the sessions that they began, and all that descend from either. A session that somebody else
/// began is not theirs: everything that was started with it would go.
fn with_descendants(all: &[Process], mut found: BTreeSet<u32>) -> Vec<&Process> {
    let begun = |one: &&Process| found.contains(&one.pid) && one.session == one.pid;
    let sessions: BTreeSet<u32> = all.iter().filter(begun).map(|one| one.session).collect();
    found.extend(all.iter().filter(|one| sessions.contains(&one.session)).map(|one| one.pid));
    loop {
        let below = all.iter().filter(|one| found.contains(&one.parent)).map(|one| one.pid);
        let before = found.len();
        found = below.chain(found.iter().copied()).collect();
        if found.len() == before {
            return all.iter().filter(|one| found.contains(&one.pid)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_descends_from_a_marked_process_or_shares_its_session_is_ended_with_it() {
        let process = |pid, parent, session| Process {
            pid,
            parent,
            session,
            started: 0,
            name: String::new(),
            arguments: Vec::new(),
        };
        let all = [
            process(1, 0, 1),
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 1, 10),
            process(13, 11, 13),
            process(14, 13, 13),
            process(20, 1, 20),
            process(21, 20, 20),
        ];
        let found: Vec<u32> = with_descendants(&all, BTreeSet::from([10])).iter().map(|one| one.pid).collect();
        assert_eq!(found, [10, 11, 12, 13, 14]);
        assert!(with_descendants(&all, BTreeSet::new()).is_empty());
        let found: Vec<u32> = with_descendants(&all, BTreeSet::from([11, 12])).iter().map(|one| one.pid).collect();
        assert_eq!(found, [11, 12, 13, 14], "the session is another's");
        assert_eq!(with_descendants(&[process(1, 0, 0), process(5, 1, 0)], BTreeSet::from([5])).len(), 1);
    }
}
