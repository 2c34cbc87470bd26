//! What an agent that was killed has left running: found by what stands in its environment, and ended by the next agent.
//!
//! Programs of a module live on when their agent dies (its unit has `KillMode=process`), and nobody waits for them any
//! more. What they have started shares their environment, or has them for parents, or is in their session; what has shed
//! all three is found in the control group of the run.

use super::processes::{self, Process, lives, signal};
use super::script::{GRACE, Setting};
use crate::cgroup;
use holdfast_api::checker::When;
use holdfast_core::output::Script;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Says what a program was started for.
const MARK: &str = "HOLDFAST_PROGRAM";
const PROC: &str = "/proc";
/// Time between two looks at whether a script has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What a program is started for. The folder in its mark tells agents on one machine apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose<'a> {
    /// It looks, or acts, for this resource of this module.
    Resource(&'a str, &'a str),
    /// It is a hook.
    Hook,
    /// It is a script.
    Script,
}

impl Purpose<'_> {
    /// No module has a blank in its name, so that no resource is taken for a hook or a script.
    fn mark(self, bin: &Path) -> String {
        let bin = bin.display();
        match self {
            Self::Resource(module, resource) => format!("{module} {resource} {bin}"),
            Self::Hook => format!("hook of {bin}"),
            Self::Script => format!("script of {bin}"),
        }
    }
}

/// The command will say what it is for, and so will whatever it starts.
pub(super) fn mark(setting: &Setting, purpose: Purpose<'_>, command: &mut Command) {
    command.env(MARK, purpose.mark(&setting.bin));
}

/// Ends every process that a former agent started on behalf of a resource with the program `file`, and what those
/// started.
pub(super) fn end_of_resource(setting: &Setting, module: &str, resource: &str, file: &Path) {
    let wanted = Purpose::Resource(module, resource).mark(&setting.bin);
    let all = processes::list(Path::new(PROC));
    let marked = all.iter().filter(|process| mark_of(process).as_deref() == Some(wanted.as_str()));
    end_with_descendants(resource, &all, marked.map(|process| process.pid).collect());
    if let (Some(runs), Some(name)) = (&setting.runs, file.file_name().and_then(|name| name.to_str())) {
        // What has left the session and cleared its environment, and has no parent any more.
        runs.end_left_of(name);
    }
}

/// Ends every hook with one of these names, of any module with its programs below the folder `data`, that still runs
/// though its agent is gone: the program itself and all it has started. What one that has ended has started is the
/// application's, and stays.
pub(super) fn end_hooks(data: &Path, names: &[&str]) {
    let before = Purpose::Hook.mark(data) + "/";
    let all = processes::list(Path::new(PROC));
    end_running("hook", &all, |process| is_hook(process, data, &before, names));
}

/// Ends the handler `file` of a process's resource, if it still runs though its agent is gone, with all it has started.
/// What one that has ended has started is the application's, and stays.
pub(super) fn end_handler(setting: &Setting, module: &str, resource: &str, file: &Path) {
    let wanted = Purpose::Resource(module, resource).mark(&setting.bin);
    let of_it = |process: &Process| leads(process, file) && mark_of(process).as_deref() == Some(wanted.as_str());
    end_running(resource, &processes::list(Path::new(PROC)), of_it);
}

/// Ends the programs that these processes are, with the control groups of their runs.
fn end_running(what: &str, all: &[Process], is_one: impl Fn(&Process) -> bool) {
    let found: BTreeSet<u32> = all.iter().filter(|process| is_one(process)).map(|process| process.pid).collect();
    let groups: Vec<_> = found.iter().filter_map(|pid| cgroup::left_run(*pid)).collect();
    end_with_descendants(what, all, found);
    groups.iter().for_each(cgroup::LeftRun::end);
}

fn is_hook(process: &Process, data: &Path, before: &str, names: &[&str]) -> bool {
    let mark = mark_of(process);
    let bin = mark.as_deref().and_then(|mark| mark.strip_prefix(before));
    bin.is_some_and(|bin| names.iter().any(|name| leads(process, &data.join(bin).join(name))))
}

/// Ends the scripts of a module that still run though their agent is gone, as one that runs too long is ended: asks, then
/// forces. What a start script has started outside its process group is the application's, which the stop scripts end;
/// so is whatever a script that has ended has started. Gives their names.
pub(super) fn end_scripts(setting: &Setting) -> Vec<&'static str> {
    let wanted = Purpose::Script.mark(&setting.bin);
    let all = processes::list(Path::new(PROC));
    let script_of = |process: &Process| {
        Script::ALL.into_iter().find(|script| leads(process, &setting.bin.join(script.file_name())))
    };
    let marked = all.iter().filter(|process| mark_of(process).as_deref() == Some(wanted.as_str()));
    let running: Vec<(&Process, Script)> = marked.filter_map(|process| Some((process, script_of(process)?))).collect();
    let groups: Vec<_> = running.iter().map(|(process, _)| cgroup::left_run(process.pid)).collect();
    for (process, script) in &running {
        tracing::info!(
            script = script.file_name(),
            pid = process.pid,
            "ends a script that a former agent left running"
        );
        signal_group(process, Signal::TERM);
    }
    let until = Instant::now() + GRACE;
    while running.iter().any(|(process, _)| lives(process)) && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
    for ((process, script), group) in running.iter().zip(&groups) {
        // Its number is its group's: while anybody is left in that, no other process gets it.
        signal_group(process, Signal::KILL);
        if let Some(group) = group.as_ref().filter(|_| !starts(*script)) {
            group.end();
        }
    }
    running.iter().map(|(_, script)| script.file_name()).collect()
}

/// Starts what is to go on when the script has ended.
pub(super) fn starts(script: Script) -> bool {
    matches!(script, Script::Start(level) if level != When::Pre)
}

fn signal_group(process: &Process, signal: Signal) {
    if let Some(group) = Pid::from_raw(process.pid as i32) {
        let _ = kill_process_group(group, signal);
    }
}

/// Whether a process was started as this program and still runs it, maybe by an interpreter: each leads a session.
fn leads(process: &Process, program: &Path) -> bool {
    let words = String::from_utf8_lossy(&process.arguments);
    process.session == process.pid && words.split(' ').take(3).any(|word| Path::new(word) == program)
}

/// What a process says it was started for.
fn mark_of(process: &Process) -> Option<String> {
    let environment = std::fs::read(format!("{PROC}/{}/environ", process.pid)).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let mark = variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(mark).into_owned())
}

/// Ends these processes, and whatever they have started that is still below them or in a session that they began, whatever
/// its own environment.
fn end_with_descendants(what: &str, all: &[Process], found: BTreeSet<u32>) {
    for process in with_descendants(all, found) {
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
    use super::{Process, with_descendants};
    use std::collections::BTreeSet;

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
