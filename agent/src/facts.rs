//! Facts about the machine: paths for the wizard, processes, memory and processors.

use crate::drivers::processes;
use holdfast_api::agent::{PATHS_MAX, PathFacts, ProcessFacts};
use rustix::fs::statvfs;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ENTRIES_MAX: u64 = 10_000;
const WALK_MAX: Duration = Duration::from_millis(500);
const PROCESSES_MAX: usize = 5000;
const ARGUMENTS_MAX: usize = 1024;

/// One line of the mount table.
struct Mount {
    point: PathBuf,
    kind: String,
}

fn mounts() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        Some(Mount { point: point.into(), kind: right.split(' ').next()?.to_owned() })
    };
    text.lines().filter_map(parse).collect()
}

/// What is at each path; at most [`PATHS_MAX`].
pub fn inspect(paths: &[String]) -> Vec<PathFacts> {
    let mounts = mounts();
    paths.iter().take(PATHS_MAX).map(|path| inspect_one(path, &mounts)).collect()
}

fn inspect_one(text: &str, mounts: &[Mount]) -> PathFacts {
    let mut facts = PathFacts { path: text.to_owned(), ..PathFacts::default() };
    if let Err(problem) = holdfast_api::config::check_directory(text) {
        facts.warnings.push(problem);
        return facts;
    }
    let path = Path::new(text.trim_end_matches('/'));
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            facts.exists = true;
            facts.directory = meta.is_dir();
            if meta.is_symlink() {
                facts.warnings.push("it is a symbolic link: name the directory itself".to_owned());
            } else if meta.is_dir() {
                facts.entries =
                    fs::read_dir(path).map_or(0, |entries| entries.take(ENTRIES_MAX as usize).count() as u64);
                facts.bytes = bytes_below(path);
            } else {
                facts.warnings.push("it is not a directory".to_owned());
            }
        }
        Err(_) => facts.warnings.push("it does not exist yet: make it on both nodes".to_owned()),
    }
    // The mount that holds it: the longest mount point that it lies below; of equal ones the last covers the others.
    let holding = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    if let Some(mount) = holding.max_by_key(|mount| mount.point.as_os_str().len()) {
        facts.mount_point = mount.point.to_string_lossy().into_owned();
        facts.file_system = mount.kind.clone();
        if ["tmpfs", "ramfs", "proc", "sysfs", "devtmpfs"].contains(&mount.kind.as_str()) {
            facts.warnings.push(format!("it lies on {}, which does not survive a reboot", mount.kind));
        }
    }
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    facts.free_bytes = statvfs(existing).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    facts
}

/// Bytes in files below a folder, without leaving its file system; none if it takes too long.
fn bytes_below(root: &Path) -> Option<u64> {
    let end = Instant::now() + WALK_MAX;
    let device = fs::metadata(root).ok()?.dev();
    let mut sum = 0;
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if Instant::now() > end {
                return None;
            }
            let Ok(meta) = entry.path().symlink_metadata() else {
                continue;
            };
            if meta.is_dir() && meta.dev() == device {
                open.push(entry.path());
            } else if meta.is_file() {
                sum += meta.len();
            }
        }
    }
    Some(sum)
}

/// The running processes, by name.
pub fn list_processes() -> Vec<ProcessFacts> {
    let of = |process: processes::Process| {
        let uid = fs::metadata(format!("/proc/{}", process.pid)).map_or(0, |meta| meta.uid());
        let end = process.arguments.len().min(ARGUMENTS_MAX);
        let arguments = String::from_utf8_lossy(&process.arguments[..end]).into_owned();
        ProcessFacts { pid: process.pid, name: process.name, arguments, uid }
    };
    let mut all: Vec<_> = processes::list(Path::new("/proc")).into_iter().map(of).collect();
    all.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
    all.truncate(PROCESSES_MAX);
    all
}

/// Load of the machine, measured between two calls.
#[derive(Debug, Default)]
pub struct Load {
    busy: u64,
    total: u64,
}

impl Load {
    /// Busy share of all processors since the last call, in percent.
    pub fn cpu_percent(&mut self) -> f32 {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or("");
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
        let total: u64 = ticks.iter().take(8).sum();
        let busy = total - ticks.iter().skip(3).take(2).sum::<u64>().min(total);
        let (span, used) = (total.saturating_sub(self.total), busy.saturating_sub(self.busy));
        (self.busy, self.total) = (busy, total);
        if span == 0 { 0.0 } else { used as f32 * 100.0 / span as f32 }
    }
}

/// Used memory in percent.
pub fn memory_percent() -> f32 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |key: &str| -> Option<f32> {
        text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    match (value("MemTotal:"), value("MemAvailable:")) {
        (Some(total), Some(free)) if total > 0.0 => (total - free) * 100.0 / total,
        _ => 0.0,
    }
}

/// System facts as text, for the support zip.
pub fn system() -> String {
    let mut out = String::new();
    for file in
        ["/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/self/mountinfo"]
    {
        let text = crate::files::read_bounded(Path::new(file), 256 * 1024).ok().flatten().unwrap_or_default();
        out.push_str(&format!("=== {file}\n{}\n", String::from_utf8_lossy(&text)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Load, inspect, list_processes, memory_percent, system};

    #[test]
    fn paths_are_described_and_bad_ones_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "12345").unwrap();
        let text = dir.path().to_str().unwrap().to_owned();
        let facts = inspect(&[text.clone(), format!("{text}/missing"), "relative".to_owned(), "/".to_owned()]);
        assert!(facts[0].exists && facts[0].directory);
        assert_eq!((facts[0].entries, facts[0].bytes), (1, Some(5)));
        assert!(facts[0].free_bytes > 0 && !facts[0].mount_point.is_empty());
        assert!(!facts[1].exists && !facts[1].warnings.is_empty());
        assert!(!facts[2].warnings.is_empty() && !facts[3].warnings.is_empty());
    }

    #[test]
    fn machine_can_be_read() {
        assert!(!list_processes().is_empty());
        assert!((0.0..=100.0).contains(&memory_percent()));
        assert!((0.0..=100.0).contains(&Load::default().cpu_percent()));
        assert!(system().contains("/proc/version"));
    }
}
