//! Processes of a host, seen from outside through /proc.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// One process, by its number in the lab's own process namespace.
#[derive(Clone, Debug)]
pub struct Process {
    /// Number.
    pub pid: i32,
    /// Command name, as in /proc/PID/comm (15 bytes at most).
    pub name: String,
    /// Words of its command line.
    pub words: Vec<String>,
}

impl Process {
    /// Sends a signal; no error if it is gone already.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid).context("process number 0")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal {} ({})", self.name, self.pid)),
        }
    }
}

/// All processes of this machine whose process namespace is that of `init`, without `init` itself.
pub fn in_namespace_of(init: i32) -> Vec<Process> {
    let Some(wanted) = namespace(init) else {
        return Vec::new();
    };
    all()
        .into_iter()
        .filter(|pid| *pid != init && namespace(*pid).as_ref() == Some(&wanted))
        .filter_map(describe)
        .collect()
}

/// The children of `parent`.
pub fn children_of(parent: i32) -> Vec<Process> {
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything: what follows its last parenthesis is "state ppid …".
        let after = stat.rsplit(')').next().unwrap_or_default();
        after.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    all().into_iter().filter(is_child).filter_map(describe).collect()
}

fn all() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn namespace(pid: i32) -> Option<OsString> {
    Some(std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?.into_os_string())
}

fn describe(pid: i32) -> Option<Process> {
    let folder = format!("/proc/{pid}");
    let folder = Path::new(&folder);
    let name = std::fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned();
    let line = std::fs::read(folder.join("cmdline")).ok()?;
    let words = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| OsString::from_vec(word.to_vec()).to_string_lossy().into_owned())
        .collect();
    Some(Process { pid, name, words })
}
