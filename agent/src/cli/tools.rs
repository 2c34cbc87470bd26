//! What needs no agent: processes with all they started, commands with a time limit, addresses that an agent left.

use super::{DONE, LATE_TOOL, REFUSED};
use crate::drivers::processes::{self, Process, Selection, lives, pattern, signal};
use crate::drivers::vip;
use crate::settled;
use anyhow::{Context, Result, anyhow};
use clap::{Subcommand, ValueEnum};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time between asking processes to end and forcing them.
const GRACE: Duration = Duration::from_secs(5);
const PROC: &str = "/proc";
/// As shells say that there is no such command.
const NOT_FOUND: u8 = 127;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List or end processes with everything they have started.
    ///
    /// `kill` asks them to end and forces what is left after 5 s; it spares itself and whoever called it. Exit code 1 if
    /// no process is meant.
    Processtree {
        /// list or kill.
        word: Tree,
        /// Command name (at most 15 characters), or all.
        name: String,
        /// Regular expression on the command line.
        arguments: Option<String>,
    },
    /// Find processes by name and command line, and end them (not what they have started).
    ///
    /// Exit code 1 if no process is meant. Spares itself and whoever called it.
    Kill {
        /// Command name (at most 15 characters).
        #[arg(long)]
        name: String,
        /// Regular expression on the command line.
        #[arg(long)]
        argregex: Option<String>,
        /// test: only list; terminate: ask, and force after 5 s; 15: ask; 9: force.
        #[arg(long)]
        level: Level,
    },
    /// Run a command for a limited time: its exit code, or 2 when it ran too long and was ended with its whole group.
    Boundcmd {
        /// Seconds.
        timeout: f64,
        /// The command and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Remove the virtual addresses that an agent which was killed has left on this machine.
    ReleaseAddresses {
        /// The agent's run folder.
        #[arg(long, default_value = "/run/holdfast")]
        run_dir: PathBuf,
        /// Those of this module, whatever of it lives on; else of every module of which nothing does.
        #[arg(long)]
        module: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Tree {
    List,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    Test,
    Terminate,
    #[value(name = "9")]
    Force,
    #[value(name = "15")]
    Ask,
}

/// Carries a tool out.
pub(super) fn run(verb: Verb) -> Result<u8> {
    match verb {
        Verb::Processtree { word, name, arguments } => {
            let name = (name != "all").then_some(name);
            let all = processes::list(Path::new(PROC));
            let tree = Forest::new(&all).below(&meant(&all, name, arguments.as_deref())?);
            let level = if word == Tree::Kill { Level::Terminate } else { Level::Test };
            end(tree, level)
        }
        Verb::Kill { name, argregex, level } => {
            let all = processes::list(Path::new(PROC));
            let found = meant(&all, Some(name), argregex.as_deref())?;
            end(found.into_iter().map(|process| (0, process)).collect(), level)
        }
        Verb::Boundcmd { timeout, command } => bounded(timeout, &command),
        Verb::ReleaseAddresses { run_dir, module } => release_addresses(&run_dir, module.as_deref()),
    }
}

fn release_addresses(run_dir: &Path, module: Option<&str>) -> Result<u8> {
    let socket = run_dir.join("agent.sock");
    if UnixStream::connect(&socket).is_ok() {
        return Err(anyhow!(
            "the agent of {} runs: stop the modules instead (`holdfast stop -m …`)",
            run_dir.display()
        ));
    }
    let released = match module {
        Some(module) => vip::release_of(run_dir, module)?,
        None => vip::release_left(run_dir, |module| settled::goes_on(run_dir, module))?,
    };
    for address in released {
        writeln!(std::io::stdout(), "{address}")?;
    }
    Ok(DONE)
}

/// The processes meant, without this one and those that have called it: a script that ends what looks like its
/// application has the application's name in its own command line.
fn meant<'a>(all: &'a [Process], name: Option<String>, arguments: Option<&str>) -> Result<Vec<&'a Process>> {
    let compile = |text: &str| pattern(text).with_context(|| format!("{text:?} is not a regular expression"));
    let arguments_pattern = arguments.map(compile).transpose()?;
    let selection = Selection { name, name_pattern: None, arguments_pattern };
    let mut spared = BTreeSet::new();
    let mut at = std::process::id();
    while spared.insert(at) {
        at = all.iter().find(|process| process.pid == at).map_or(0, |process| process.parent);
    }
    Ok(all.iter().filter(|process| !spared.contains(&process.pid) && selection.holds(process)).collect())
}

/// Who has started whom.
struct Forest<'a> {
    children: BTreeMap<u32, Vec<&'a Process>>,
}

impl<'a> Forest<'a> {
    fn new(all: &'a [Process]) -> Self {
        let mut children: BTreeMap<u32, Vec<&Process>> = BTreeMap::new();
        for process in all {
            children.entry(process.parent).or_default().push(process);
        }
        Self { children }
    }

    /// These and everything they have started, each once, with its depth.
    fn below(&self, roots: &[&'a Process]) -> Vec<(usize, &'a Process)> {
        // One that was started by another of them is shown below that.
        let inner: BTreeSet<u32> = roots.iter().flat_map(|root| self.descendants(root.pid)).collect();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<_> =
            roots.iter().rev().filter(|root| !inner.contains(&root.pid)).map(|root| (0, *root)).collect();
        while let Some((depth, process)) = open.pop() {
            if process.pid == std::process::id() || !seen.insert(process.pid) {
                continue;
            }
            found.push((depth, process));
            let children = self.children.get(&process.pid).into_iter().flatten();
            open.extend(children.map(|child| (depth + 1, *child)));
        }
        found
    }

    fn descendants(&self, pid: u32) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut open = vec![pid];
        while let Some(pid) = open.pop() {
            let children = self.children.get(&pid).into_iter().flatten().map(|child| child.pid);
            open.extend(children.filter(|child| found.insert(*child)));
        }
        found
    }
}

/// Lists processes, and ends them as far as wanted.
fn end(found: Vec<(usize, &Process)>, level: Level) -> Result<u8> {
    let mut out = std::io::stdout();
    for (depth, process) in &found {
        let arguments = String::from_utf8_lossy(&process.arguments);
        writeln!(
            out,
            "{:>8} {:>8} {:indent$}{} {arguments}",
            process.pid,
            process.parent,
            "",
            process.name,
            indent = 2 * depth
        )?;
    }
    if found.is_empty() {
        eprintln!("holdfast: no process is meant");
        return Ok(REFUSED);
    }
    let send = |kind| found.iter().try_for_each(|(_, process)| signal(process, kind));
    match level {
        Level::Test => {}
        Level::Ask => send(Signal::TERM)?,
        Level::Force => send(Signal::KILL)?,
        Level::Terminate => {
            send(Signal::TERM)?;
            let until = Instant::now() + GRACE;
            while found.iter().any(|(_, process)| lives(process)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            send(Signal::KILL)?;
        }
    }
    Ok(DONE)
}

fn bounded(seconds: f64, words: &[OsString]) -> Result<u8> {
    let limit = Duration::try_from_secs_f64(seconds).context("the time limit is not a time")?;
    let (program, arguments) = words.split_first().context("no command")?;
    let mut child = match Command::new(program).args(arguments).process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("holdfast: {} cannot be run: {error}", program.display());
            return Ok(NOT_FOUND);
        }
    };
    let group = Pid::from_child(&child);
    let (ended, status) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait()));
    if let Ok(status) = status.recv_timeout(limit) {
        return Ok(code(status?));
    }
    eprintln!("holdfast: {} ran longer than {seconds} s and is ended", program.display());
    let _ = kill_process_group(group, Signal::TERM);
    let _ = status.recv_timeout(GRACE);
    // Also when the command itself is gone: what it started in its group goes with it.
    let _ = kill_process_group(group, Signal::KILL);
    Ok(LATE_TOOL)
}

/// The exit code, as shells give it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Forest, Level, bounded, end, lives, meant};
    use crate::drivers::processes::{self, Process};
    use std::ffi::OsString;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    fn process(pid: u32, parent: u32) -> Process {
        Process { pid, parent, session: 0, started: 1, name: format!("p{pid}"), arguments: Vec::new() }
    }

    #[test]
    fn a_tree_holds_everything_started_once() {
        let all: Vec<Process> =
            [(10, 1), (11, 10), (12, 11), (13, 10), (20, 1)].map(|(pid, parent)| process(pid, parent)).into();
        let forest = Forest::new(&all);
        let below = |roots: &[usize]| -> Vec<(usize, u32)> {
            let roots: Vec<&Process> = roots.iter().map(|index| &all[*index]).collect();
            forest.below(&roots).iter().map(|(depth, process)| (*depth, process.pid)).collect()
        };
        assert_eq!(below(&[0]), [(0, 10), (1, 13), (1, 11), (2, 12)]);
        assert_eq!(below(&[2, 0]).len(), 4, "one that is below another is not listed twice");
        assert_eq!(below(&[4]), [(0, 20)]);
    }

    #[test]
    fn caller_of_the_tool_is_spared() {
        let all = processes::list(Path::new("/proc"));
        let found = meant(&all, None, None).unwrap();
        let own = [std::process::id(), std::os::unix::process::parent_id()];
        assert!(found.iter().all(|process| !own.contains(&process.pid)));
        assert!(meant(&all, None, Some("(")).is_err());
    }

    fn sleeper(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().unwrap()
    }

    fn ended(child: &mut Child) {
        let end = Instant::now() + Duration::from_secs(20);
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn process_that_ignores_the_asking_is_forced_with_what_it_started() {
        let mut child = sleeper("trap '' TERM; sleep 301.25 & wait; wait");
        let begun = Instant::now();
        let (all, tree) = loop {
            let all = processes::list(Path::new("/proc"));
            let own = all.iter().find(|process| process.pid == child.id()).cloned();
            let count = own.as_ref().map_or(0, |own| Forest::new(&all).below(&[own]).len());
            if count == 2 {
                break (all, own.unwrap());
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no child");
        };
        let found = Forest::new(&all).below(&[&tree]);
        end(found.clone(), Level::Test).unwrap();
        assert!(found.iter().all(|(_, process)| lives(process)), "a test ends nothing");
        end(found.clone(), Level::Terminate).unwrap();
        ended(&mut child);
        let until = Instant::now() + Duration::from_secs(20);
        while found.iter().any(|(_, process)| lives(process)) {
            assert!(Instant::now() < until, "its child lives on");
        }
    }

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    #[test]
    fn bounded_command_gives_its_code_or_two() {
        let run = |seconds, line: &[&str]| bounded(seconds, &words(line)).unwrap();

        assert_eq!(run(60.0, &["sh", "-c", "exit 7"]), 7);
        assert_eq!(run(60.0, &["sh", "-c", "kill -9 $$"]), 137);
        assert_eq!(run(0.1, &["sleep", "302"]), 2);
        assert_eq!(run(60.0, &["/no/such/program"]), 127);
        assert!(bounded(-1.0, &words(&["true"])).is_err());
    }
}
