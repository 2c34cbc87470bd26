//! The module log (dated events) and the application log (output of scripts): bounded on disk, read by position.
//!
//! A log is `<name>.log`, at most one older piece `<name>.old.log`, and `<name>.base`, the position of the first byte of
//! each, so that positions rise for ever. It is rotated by copying and cutting, because a daemon started by a script
//! keeps the file open for appending.

mod page;

pub use page::SCAN_MAX;

use crate::clock;
use crate::files;
use crate::journal::{Journal, Line};
use anyhow::{Context, Result};
use holdfast_api::agent::LogLine;
use holdfast_core::output::EventLevel;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Size from which the module log is rotated, in bytes.
pub const MODULE_LOG_MAX: u64 = 2 * 1024 * 1024;
const LINE_MAX: usize = 4096;
const QUEUE: usize = 1024;

/// One log on disk.
#[derive(Clone, Debug)]
pub struct LogFile {
    dir: PathBuf,
    name: &'static str,
    max: u64,
    /// Readers and the rotation take turns, so that positions and content belong together.
    turn: Arc<Mutex<()>>,
}

/// The turn of a log, the same for all who name it: its writer and its readers come by it apart from each other.
fn turn_of(log: PathBuf) -> Arc<Mutex<()>> {
    static TURNS: Mutex<BTreeMap<PathBuf, Weak<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&log).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::default();
    turns.insert(log, Arc::downgrade(&turn));
    turn
}

/// Positions of the first bytes of the older and the newer piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Base {
    old: u64,
    new: u64,
}

impl LogFile {
    /// The log `name` in `dir`.
    pub fn new(dir: &Path, name: &'static str, max: u64) -> Self {
        Self { dir: dir.to_owned(), name, max, turn: turn_of(dir.join(name)) }
    }

    /// The file that is appended to.
    pub fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// The older piece.
    pub fn old_path(&self) -> PathBuf {
        self.dir.join(format!("{}.old.log", self.name))
    }

    fn base(&self) -> Base {
        let text = std::fs::read_to_string(self.dir.join(format!("{}.base", self.name))).unwrap_or_default();
        let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
        Base { old: numbers.next().unwrap_or(0), new: numbers.next().unwrap_or(0) }
    }

    /// The file, opened for appending.
    pub fn append(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path())
    }

    /// Rotates the log if it is over its size.
    pub fn rotate_if_large(&self) -> Result<()> {
        let length = std::fs::metadata(self.path()).map(|meta| meta.len()).unwrap_or(0);
        if length <= self.max {
            return Ok(());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.base();
        let mut from = File::open(self.path())?;
        // A flood may have grown it far beyond the limit: only its end is kept.
        let skip = length.saturating_sub(self.max);
        from.seek(SeekFrom::Start(skip))?;
        let temporary = self.dir.join(format!(".{}.old.new", self.name));
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let copied = io::copy(&mut from.take(length - skip), &mut to)?;
        std::fs::rename(&temporary, self.old_path())?;
        let old = base.new + skip;
        let text = format!("{old} {}\n", old + copied);
        files::write_atomically(&self.dir.join(format!("{}.base", self.name)), text.as_bytes(), 0o600)?;
        OpenOptions::new().write(true).open(self.path())?.set_len(0)?;
        Ok(())
    }

    /// Empties the log; positions go on.
    pub fn clear(&self) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let length = std::fs::metadata(self.path()).map_or(0, |meta| meta.len());
        let end = self.base().new + length;
        let text = format!("{end} {end}\n");
        files::write_atomically(&self.dir.join(format!("{}.base", self.name)), text.as_bytes(), 0o600)?;
        for path in [self.path(), self.old_path()] {
            match OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot empty {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A line of a module log is `<date> <level> <node> <text>`; any other line is text.
fn parse_line(at: u64, line: &[u8]) -> LogLine {
    let text = String::from_utf8_lossy(line);
    let text: String = text.trim_end_matches(['\n', '\r']).chars().take(LINE_MAX).collect();
    let mut parts = text.splitn(4, ' ');
    if let (Some(date), Some(level), Some(_node), Some(rest)) = (parts.next(), parts.next(), parts.next(), parts.next())
        && let ("C" | "W" | "E" | "U" | "S" | "I" | "D", Ok(date)) = (level, date.parse::<jiff::Timestamp>())
    {
        let unix_ms = u64::try_from(date.as_millisecond()).unwrap_or(0);
        return LogLine { at, unix_ms, level: level.to_owned(), text: rest.to_owned() };
    }
    LogLine { at, unix_ms: 0, level: String::new(), text }
}

/// The letter of a level.
pub fn letter(level: EventLevel) -> char {
    match level {
        EventLevel::Debug => 'D',
        EventLevel::Info => 'I',
        EventLevel::Script => 'S',
        EventLevel::User => 'U',
        EventLevel::Event => 'E',
        EventLevel::Warning => 'W',
        EventLevel::Error => 'C',
    }
}

/// Letters of the levels that are shown where no detail is asked for.
pub const SHOWN_LEVELS: &str = "CWEUS";

/// Whether lines with this letter are shown only where detail is asked for.
pub fn is_verbose(letter: &str) -> bool {
    matches!(letter, "I" | "D")
}

/// Writer of a module log, on its own thread: a slow disk costs lines, never the engine's time.
#[derive(Clone, Debug)]
pub struct ModuleLog {
    lines: SyncSender<String>,
    module: String,
    node: String,
    journal: Option<Journal>,
}

impl ModuleLog {
    /// Starts the thread.
    pub fn start(log: LogFile, module: &str, node: &str) -> Result<Self> {
        let (lines, inbox) = sync_channel(QUEUE);
        let run = move || write_lines(&log, &inbox);
        std::thread::Builder::new().name(format!("log-{module}")).spawn(run).context("cannot start a thread")?;
        Ok(Self { lines, module: module.to_owned(), node: node.to_owned(), journal: None })
    }

    /// The same log, of which each shown line also goes to the machine's journal.
    pub fn also_to(self, journal: Journal) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// Writes one event; `state` is shown in front of the text.
    pub fn write(&self, level: EventLevel, state: &str, text: &str) {
        let date = jiff::Timestamp::from_millisecond(clock::unix_ms() as i64).unwrap_or_default();
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX / 2).collect();
        let line = format!("{date:.3} {} {} {state} | {text}\n", letter(level), self.node);
        if let Some(journal) = &self.journal {
            journal.write(&Line { level, module: &self.module, node: &self.node, state, text: &text });
        }
        if let Err(TrySendError::Full(line)) = self.lines.try_send(line) {
            tracing::warn!(line, "the module log's disk is too slow; a line was lost");
        }
    }
}

fn write_lines(log: &LogFile, inbox: &Receiver<String>) {
    let mut failing = false;
    for line in inbox {
        let write = || -> Result<()> {
            log.rotate_if_large()?;
            log.append()?.write_all(line.as_bytes())?;
            Ok(())
        };
        if let Err(error) = write() {
            if !failing {
                tracing::error!("cannot write the module log: {error:#}");
            }
            failing = true;
        } else {
            failing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFile, ModuleLog};
    use holdfast_api::agent::{LogPage, LogWanted};
    use holdfast_core::output::EventLevel;
    use std::io::Write;
    use std::time::{Duration, Instant};

    fn last(log: &LogFile, limit: u32) -> LogPage {
        log.page(&LogWanted::last(limit)).unwrap()
    }

    #[test]
    fn positions_rise_through_rotations_and_the_size_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::new(dir.path(), "x", 1000);
        let mut seen = Vec::new();
        let mut next = 0;
        for number in 0..500 {
            log.rotate_if_large().unwrap();
            writeln!(log.append().unwrap(), "line {number}").unwrap();
            let page = log.page(&LogWanted { from: Some(next), limit: 100, ..LogWanted::default() }).unwrap();
            assert!(page.next > next && page.next == page.end);
            next = page.next;
            seen.extend(page.lines.into_iter().map(|line| line.text));
        }
        let expected: Vec<_> = (0..500).map(|number| format!("line {number}")).collect();
        assert_eq!(seen, expected);
        let size = |path| std::fs::metadata(path).unwrap().len();
        assert!(size(log.path()) + size(log.old_path()) < 2100);
        let page = last(&log, 3);
        assert_eq!(page.lines.last().unwrap().text, "line 499");
        assert_eq!(page.lines.len(), 3);
        assert!(page.first > 0);
    }

    #[test]
    fn a_daemon_that_keeps_the_file_goes_on_at_the_new_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::new(dir.path(), "x", 100);
        let mut daemon = log.append().unwrap();
        daemon.write_all(&[b'x'; 300]).unwrap();
        daemon.write_all(b"\n").unwrap();
        log.rotate_if_large().unwrap();
        daemon.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read(log.path()).unwrap(), b"after\n");
        assert_eq!(last(&log, 1).lines[0].text, "after");
    }

    #[test]
    fn events_are_read_back_with_date_and_level() {
        let dir = tempfile::tempdir().unwrap();
        let file = LogFile::new(dir.path(), "module", 1000);
        let log = ModuleLog::start(file.clone(), "m", "node1").unwrap();
        log.write(EventLevel::Event, "PRIM Ready", "two\nlines");
        let end = Instant::now() + Duration::from_secs(20);
        while last(&file, 1).lines.is_empty() {
            assert!(Instant::now() < end, "the line did not arrive");
            std::thread::yield_now();
        }
        let line = last(&file, 1).lines.remove(0);
        assert_eq!((line.level.as_str(), line.text.as_str()), ("E", "PRIM Ready | two lines"));
        assert!(line.unix_ms > 0);
    }
}
