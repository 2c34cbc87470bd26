//! The process checker (`<errd>`): are the processes of the application there?

use super::Inbox;
use holdfast_api::userconfig::{Errd, Proc, ProcAction};
use holdfast_core::input::{CheckAction, Input};
use regex::bytes::{Regex, RegexBuilder};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Most bytes of a command line that are looked at.
const ARGUMENTS_MAX: usize = 64 * 1024;

/// One process, as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
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
    pids.filter_map(|pid| read(&proc.join(pid.to_string()), pid)).collect()
}

fn read(dir: &Path, pid: u32) -> Option<Process> {
    let name = std::fs::read(dir.join("comm")).ok()?;
    let stat = std::fs::read(dir.join("stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    if stat.get(after_name + 2).is_some_and(|state| matches!(state, b'Z' | b'X')) {
        return None;
    }
    let mut arguments = std::fs::read(dir.join("cmdline")).ok()?;
    arguments.truncate(ARGUMENTS_MAX);
    while arguments.last() == Some(&0) {
        arguments.pop();
    }
    arguments.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    let name = String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned();
    Some(Process { pid, name, arguments })
}

/// How many processes answer to a check.
fn count(processes: &[Process], name: &str, regex: Option<&Regex>) -> usize {
    let matches =
        |process: &&Process| process.name == name && regex.is_none_or(|regex| regex.is_match(&process.arguments));
    processes.iter().filter(matches).count()
}

/// The checker of one module while it watches; stops when dropped.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn action(proc: &Proc) -> CheckAction {
    match &proc.action {
        ProcAction::Restart => CheckAction::Restart,
        ProcAction::StopStart => CheckAction::StopStart,
        ProcAction::Stop => CheckAction::Stop,
        ProcAction::NoAction | ProcAction::Handler(_) => CheckAction::NoAction,
    }
}

impl Watch {
    /// Begins to look every `polltimer`; the first look comes after one `polltimer`, so that the application is up.
    pub fn start(errd: &Errd, inbox: &Inbox) -> Self {
        let (errd, inbox) = (errd.clone(), inbox.clone());
        Self(tokio::spawn(async move {
            let checks: Vec<(Proc, Option<Regex>)> = errd
                .procs
                .into_iter()
                .map(|proc| {
                    let regex = proc.argregex.as_deref().and_then(|text| pattern(text).ok());
                    (proc, regex)
                })
                .collect();
            if checks.is_empty() {
                return;
            }
            let period = Duration::from_millis(errd.polltimer_ms.max(100));
            for look in 1u64.. {
                tokio::time::sleep(period).await;
                let Ok(processes) = tokio::task::spawn_blocking(|| list(Path::new("/proc"))).await else {
                    return;
                };
                for (proc, regex) in &checks {
                    let due = look > u64::from(proc.start_after.saturating_sub(1));
                    let missing = count(&processes, &proc.name, regex.as_ref()) < proc.atleast.unwrap_or(0) as usize;
                    if due && missing {
                        let input = Input::ProcessMissing { name: proc.name.clone(), action: action(proc) };
                        if inbox.send(input).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Process, Watch, count, list, pattern};
    use holdfast_api::userconfig::{Errd, Proc, ProcAction};
    use holdfast_core::input::{CheckAction, Input};
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn this_process_is_found_with_name_and_arguments() {
        let mine = list(Path::new("/proc")).into_iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(!mine.name.is_empty() && mine.name.len() <= 15);
        assert!(!mine.arguments.is_empty());
    }

    #[test]
    fn name_and_arguments_must_both_match() {
        let process = |name: &str, arguments: &str| Process {
            pid: 1,
            name: name.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
        };
        let all = [process("java", "java -jar a.jar"), process("java", "java -jar b.jar"), process("sh", "a.jar")];
        assert_eq!(count(&all, "java", None), 2);
        assert_eq!(count(&all, "java", Some(&pattern("a\\.jar$").unwrap())), 1);
        assert_eq!(count(&all, "jav", None), 0);
        assert!(pattern("(").is_err());
    }

    #[tokio::test]
    async fn missing_process_is_reported_with_its_action() {
        let (inbox, mut inputs) = tokio::sync::mpsc::channel(10);
        let proc = |name: &str| Proc {
            name: name.to_owned(),
            service: false,
            nameregex: None,
            argregex: None,
            atleast: Some(1),
            atmax: None,
            action: ProcAction::Restart,
            class: "prim".to_owned(),
            start_after: 0,
            restart_services: Vec::new(),
        };
        let mine = std::fs::read_to_string("/proc/self/comm").unwrap();
        let errd = Errd { polltimer_ms: 100, procs: vec![proc(mine.trim()), proc("no-such-process")] };
        let _watch = Watch::start(&errd, &inbox);
        let input = tokio::time::timeout(Duration::from_secs(30), inputs.recv()).await.unwrap().unwrap();
        let expected = Input::ProcessMissing { name: "no-such-process".to_owned(), action: CheckAction::Restart };
        assert_eq!(input, expected);
    }
}
