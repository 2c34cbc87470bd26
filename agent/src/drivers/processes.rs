//! The processes of this machine, and which of them answer to a name and to regular expressions.

use anyhow::{Context, Result, anyhow};
use holdfast_api::userconfig::Proc;
use regex::bytes::{Regex, RegexBuilder};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::path::Path;

/// Most bytes of a command line that are looked at.
const ARGUMENTS_MAX: usize = 64 * 1024;
/// Bytes of a command name that the kernel keeps.
const NAME_MAX: usize = 15;

/// One process, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Number of the process that started it (1: that one has ended).
    pub parent: u32,
    /// Number of the process that began its session: each program of a module begins one.
    pub session: u32,
    /// When it started, in clock ticks after boot: with the number, this names it for good.
    pub started: u64,
    /// Command name, at most 15 bytes.
    pub name: String,
    /// Command line, arguments separated by blanks.
    pub arguments: Vec<u8>,
}

/// A checker's regular expression, bounded in memory.
pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(1 << 20).build()
}

/// All processes, except those that have ended and wait for their parent.
pub fn list(proc: &Path) -> Vec<Process> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| read(proc, pid)).collect()
}

/// One process, unless it has ended.
pub fn read(proc: &Path, pid: u32) -> Option<Process> {
    let dir = proc.join(pid.to_string());
    let name = std::fs::read(dir.join("comm")).ok()?;
    let stat = std::fs::read(dir.join("stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = String::from_utf8_lossy(&stat[after_name..]).into_owned();
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    let mut arguments = std::fs::read(dir.join("cmdline")).ok()?;
    arguments.truncate(ARGUMENTS_MAX);
    while arguments.last() == Some(&0) {
        arguments.pop();
    }
    arguments.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    let name = String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned();
    Some(Process { pid, parent, session, started, name, arguments })
}

/// Whether a process still runs, and not another under its number.
pub fn lives(process: &Process) -> bool {
    read(Path::new("/proc"), process.pid).is_some_and(|now| now.started == process.started)
}

/// Sends a signal to a process and to no other that has got its number since; one that has ended is fine.
pub fn signal(process: &Process, signal: Signal) -> Result<()> {
    let Some(pid) = Pid::from_raw(process.pid as i32) else {
        return Ok(());
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(());
    };
    if !lives(process) {
        return Ok(());
    }
    match pidfd_send_signal(&handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(anyhow!("process {} ({}) cannot be signalled: {error}", process.pid, process.name)),
    }
}

/// Which processes are meant: by command name or an expression on it, and by an expression on the command line.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Exactly this command name (its first 15 bytes count).
    pub name: Option<String>,
    /// On the command name.
    pub name_pattern: Option<Regex>,
    /// On the whole command line.
    pub arguments_pattern: Option<Regex>,
}

impl Selection {
    /// What a `<proc>` means.
    ///
    /// # Errors
    /// One of its expressions is none; it is named by its attribute.
    pub fn of(proc: &Proc) -> Result<Self> {
        let compile = |attribute, text: &Option<String>| {
            let compiled = text.as_deref().map(pattern).transpose();
            compiled.with_context(|| format!("{attribute} is no regular expression"))
        };
        Ok(Self {
            name: proc.nameregex.is_none().then(|| proc.name.clone()),
            name_pattern: compile("nameregex", &proc.nameregex)?,
            arguments_pattern: compile("argregex", &proc.argregex)?,
        })
    }

    /// Whether a process is meant.
    pub fn holds(&self, process: &Process) -> bool {
        self.name.as_ref().is_none_or(|name| {
            let name = name.as_bytes();
            process.name.as_bytes() == &name[..name.len().min(NAME_MAX)]
        }) && self.name_pattern.as_ref().is_none_or(|pattern| pattern.is_match(process.name.as_bytes()))
            && self.arguments_pattern.as_ref().is_none_or(|pattern| pattern.is_match(&process.arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, Selection, list, pattern};
    use std::path::Path;

    #[test]
    fn this_process_is_found_with_name_arguments_and_parent() {
        let mine = list(Path::new("/proc")).into_iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(!mine.name.is_empty() && mine.name.len() <= 15);
        assert!(!mine.arguments.is_empty());
        assert_eq!(mine.parent, std::os::unix::process::parent_id());
        assert!(mine.started > 0);
    }

    #[test]
    fn name_and_arguments_must_both_match() {
        let process = |name: &str, arguments: &str| Process {
            pid: 1,
            parent: 0,
            session: 0,
            started: 0,
            name: name.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
        };
        let all = [process("java", "java -jar a.jar"), process("java", "java -jar b.jar"), process("sh", "a.jar")];
        let count = |name: Option<&str>, name_pattern: Option<&str>, arguments: Option<&str>| {
            let compile = |text: &str| pattern(text).unwrap();
            let selection = Selection {
                name: name.map(str::to_owned),
                name_pattern: name_pattern.map(compile),
                arguments_pattern: arguments.map(compile),
            };
            all.iter().filter(|process| selection.holds(process)).count()
        };
        assert_eq!(count(Some("java"), None, None), 2);
        assert_eq!(count(Some("java"), None, Some("a\\.jar$")), 1);
        assert_eq!(count(Some("jav"), None, None), 0);
        assert_eq!(count(None, Some("^j.*a$"), None), 2);
        assert_eq!(count(None, Some("^(java|sh)$"), Some("a\\.jar")), 2);
        assert!(pattern("(").is_err());
    }

    #[test]
    fn long_names_are_compared_as_the_kernel_keeps_them() {
        let process = Process {
            pid: 1,
            parent: 0,
            session: 0,
            started: 0,
            name: "holdfast-replic".to_owned(),
            arguments: Vec::new(),
        };
        let selection = Selection { name: Some("holdfast-replica".to_owned()), ..Selection::default() };
        assert!(selection.holds(&process));
    }
}
