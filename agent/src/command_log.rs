//! The command log of the node: who asked for what, and what came of it; bounded, kept across restarts.
//!
//! Each command has a START line (its words and, after `-u`, who gave it) and an END line (return code and what came of
//! it) with the same number. Questions (state, logs, lists) are not in it:
//! a script that waits for a state asks ten times a second.

use crate::clock;
use crate::logs::{LogFile, MODULE_LOG_MAX, ModuleLog};
use anyhow::Result;
use holdfast_core::output::EventLevel;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The log.
#[derive(Debug)]
pub struct CommandLog {
    file: LogFile,
    writer: ModuleLog,
    next: AtomicU64,
}

/// A command under way.
#[derive(Debug)]
pub struct Entry<'a> {
    log: &'a CommandLog,
    number: u64,
}

impl CommandLog {
    /// The log in `dir`; numbers go on from the clock, so that those of an earlier start are not met again.
    pub fn open(dir: &Path, node: &str) -> Result<Self> {
        let file = LogFile::new(dir, "commands", MODULE_LOG_MAX);
        let writer = ModuleLog::start(file.clone(), "commands", node)?;
        Ok(Self { file, writer, next: AtomicU64::new(clock::unix_ms() / 1000) })
    }

    /// The file, for reading.
    pub fn file(&self) -> LogFile {
        self.file.clone()
    }

    /// A command begins.
    pub fn start(&self, actor: &str, command: &str) -> Entry<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.writer.write(EventLevel::User, &format!("START {number}"), &format!("{command} -u {actor}"));
        Entry { log: self, number }
    }
}

impl Entry<'_> {
    /// It was done, or refused for a reason.
    pub fn end(self, result: Result<&str, &str>) {
        let (level, text) = match result {
            Ok(text) => (EventLevel::User, format!("0 | {text}")),
            Err(reason) => (EventLevel::Warning, format!("1 | {reason}")),
        };
        self.log.writer.write(level, &format!("END {}", self.number), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::CommandLog;
    use holdfast_api::agent::LogWanted;
    use std::time::{Duration, Instant};

    #[test]
    fn every_start_has_an_end_with_its_number_and_result() {
        let dir = tempfile::tempdir().unwrap();
        let log = CommandLog::open(dir.path(), "node1").unwrap();
        let (one, two) = (log.start("admin@node2", "stop -m web"), log.start("root", "swap -m web"));
        let numbers = (one.number, two.number);
        two.end(Err("no peer"));
        one.end(Ok("web stops"));
        let wanted = LogWanted::last(9);
        let end = Instant::now() + Duration::from_secs(20);
        while log.file().page(&wanted).unwrap().lines.len() < 4 {
            assert!(Instant::now() < end, "the lines did not arrive");
            std::thread::yield_now();
        }
        let lines: Vec<String> = log.file().page(&wanted).unwrap().lines.into_iter().map(|line| line.text).collect();
        let expected = [
            format!("START {} | stop -m web -u admin@node2", numbers.0),
            format!("START {} | swap -m web -u root", numbers.1),
            format!("END {} | 1 | no peer", numbers.1),
            format!("END {} | 0 | web stops", numbers.0),
        ];
        assert_eq!(lines, expected);
    }
}
