//! Pages of a log: whole lines from a position or before one, read in bounded pieces whatever the size of the log.
//!
//! One page costs at most [`SCAN_MAX`] bytes read and about 2 MiB of memory: one piece, and the lines answered.

use super::{LogFile, parse_line};
use anyhow::{Context, Result};
use holdfast_api::agent::{LOG_LINES_MAX, LogLine, LogPage, LogWanted};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::PoisonError;

/// Bytes of a log looked through for one page at most; where a filter finds less, the next page goes on.
pub const SCAN_MAX: u64 = 4 * 1024 * 1024;
/// Bytes read at once; a line longer than this is told in pieces of it.
const PIECE: usize = 64 * 1024;
/// First step of the search for the end of the last whole line, in bytes.
const TAIL: u64 = 4096;
/// Text of one page at most, in bytes (one line more may be in it).
const TEXT_MAX: usize = 1024 * 1024;

/// Both pieces of a log as one run of positions.
struct Span {
    old: Option<File>,
    new: Option<File>,
    /// Position of the oldest byte.
    first: u64,
    /// Position of the first byte of the newer piece.
    base: u64,
    /// Position after the newest byte.
    length: u64,
    /// Bytes read so far.
    read: u64,
    buffer: Vec<u8>,
}

/// What is collected for a page.
struct Collected<'a> {
    wanted: &'a LogWanted,
    limit: usize,
    text: usize,
    lines: Vec<LogLine>,
}

impl Collected<'_> {
    fn is_full(&self) -> bool {
        self.lines.len() >= self.limit || self.text >= TEXT_MAX
    }

    fn offer(&mut self, at: u64, bytes: &[u8]) {
        // Cheap first: most lines of a large log are of other levels than those asked for.
        let level = bytes.splitn(3, |byte| *byte == b' ').nth(1).unwrap_or_default();
        if !self.wanted.levels.is_empty() && !self.wanted.levels.bytes().any(|letter| level == [letter]) {
            return;
        }
        let line = parse_line(at, bytes);
        if self.wanted.holds(&line) {
            self.text += line.text.len();
            self.lines.push(line);
        }
    }
}

fn open(path: &Path) -> Result<(Option<File>, u64)> {
    match File::open(path) {
        Ok(file) => {
            let length = file.metadata()?.len();
            Ok((Some(file), length))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((None, 0)),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}

impl Span {
    fn open(log: &LogFile) -> Result<Self> {
        let base = log.base();
        let ((old, old_length), (new, new_length)) = (open(&log.old_path())?, open(&log.path())?);
        // The two pieces follow each other unless something was cut in between; then only the newer one counts.
        let follows = old_length > 0 && base.old + old_length == base.new;
        Ok(Self {
            old: old.filter(|_| follows),
            new,
            first: if follows { base.old } else { base.new },
            base: base.new,
            length: base.new + new_length,
            read: 0,
            buffer: Vec::new(),
        })
    }

    /// Reads the bytes from one position to another, at most a piece, into the buffer.
    fn fill(&mut self, from: u64, to: u64) -> io::Result<()> {
        self.buffer.resize((to - from) as usize, 0);
        let in_old = (self.base.clamp(from, to) - from) as usize;
        let (older, newer) = self.buffer.split_at_mut(in_old);
        if let (Some(file), false) = (&self.old, older.is_empty()) {
            file.read_exact_at(older, from - self.first)?;
        }
        if let (Some(file), false) = (&self.new, newer.is_empty()) {
            file.read_exact_at(newer, from + in_old as u64 - self.base)?;
        }
        self.read += to - from;
        Ok(())
    }

    /// Position after the last whole line.
    fn end(&mut self) -> io::Result<u64> {
        let mut step = TAIL;
        loop {
            let from = self.length.saturating_sub(step).max(self.first);
            self.fill(from, self.length)?;
            if let Some(at) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                return Ok(from + at as u64 + 1);
            }
            if step >= PIECE as u64 {
                return Ok(self.length);
            }
            if from == self.first {
                return Ok(self.first);
            }
            step *= 4;
        }
    }

    /// Collects from a position on; the position to go on from.
    fn forward(&mut self, from: u64, end: u64, collected: &mut Collected<'_>) -> io::Result<u64> {
        let mut at = from;
        while at < end && !collected.is_full() && self.may_read() {
            self.fill(at, end.min(at + PIECE as u64))?;
            let mut used = 0;
            for line in self.buffer.split_inclusive(|byte| *byte == b'\n') {
                // The beginning of a line is read again with its end, unless it fills the piece.
                let whole = line.ends_with(b"\n") || line.len() == self.buffer.len();
                if !whole || collected.is_full() {
                    break;
                }
                collected.offer(at + used, line);
                used += line.len() as u64;
            }
            at += used;
        }
        Ok(at)
    }

    /// Collects what stands before a position, newest first; the position from which everything was looked through.
    fn backward(&mut self, before: u64, collected: &mut Collected<'_>) -> io::Result<u64> {
        let mut at = before;
        while at > self.first && !collected.is_full() && self.may_read() {
            let from = at.saturating_sub(PIECE as u64).max(self.first);
            self.fill(from, at)?;
            let inner = &self.buffer[..self.buffer.len() - 1];
            let head = match inner.iter().position(|byte| *byte == b'\n') {
                Some(end) if from > self.first => end + 1,
                _ => 0,
            };
            for line in self.buffer[head..].split_inclusive(|byte| *byte == b'\n').rev() {
                if collected.is_full() {
                    break;
                }
                at -= line.len() as u64;
                collected.offer(at, line);
            }
        }
        Ok(at)
    }

    fn may_read(&self) -> bool {
        self.read + (PIECE as u64) <= SCAN_MAX
    }
}

impl LogFile {
    /// A page of the lines wanted: from a position on, before one, or the last ones.
    pub fn page(&self, wanted: &LogWanted) -> Result<LogPage> {
        self.page_and_cost(wanted).map(|(page, _)| page)
    }

    /// The page, and how many bytes of the log were read for it.
    pub(super) fn page_and_cost(&self, wanted: &LogWanted) -> Result<(LogPage, u64)> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut span = Span::open(self)?;
        let end = span.end()?;
        let limit = wanted.limit.min(LOG_LINES_MAX) as usize;
        let mut collected = Collected { wanted, limit, text: 0, lines: Vec::new() };
        let (start, next) = match wanted.from {
            Some(from) => {
                let from = from.clamp(span.first, end);
                (from, span.forward(from, end, &mut collected)?)
            }
            None => {
                let before = wanted.before.unwrap_or(end).clamp(span.first, end);
                let start = span.backward(before, &mut collected)?;
                collected.lines.reverse();
                (start, before)
            }
        };
        Ok((LogPage { first: span.first, start, next, end, lines: collected.lines }, span.read))
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFile, PIECE, SCAN_MAX};
    use holdfast_api::agent::{LOG_LINES_MAX, LogWanted};
    use std::io::{BufWriter, Write};
    use std::path::Path;

    const LINES: usize = 1_000_000;

    /// A module log of a million lines, a third of it in the older piece; one line in a thousand is a warning.
    fn million(dir: &Path) -> LogFile {
        let log = LogFile::new(dir, "module", 1 << 30);
        let mut length = 0;
        for (path, lines) in [(log.old_path(), 0..LINES / 3), (log.path(), LINES / 3..LINES)] {
            let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
            for number in lines {
                let level = if number % 1000 == 7 { 'W' } else { 'E' };
                let line = format!("2026-11-27T22:00:00.000Z {level} node1 PRIM Ready | number {number} of many\n");
                length += if number < LINES / 3 { line.len() } else { 0 };
                file.write_all(line.as_bytes()).unwrap();
            }
            file.flush().unwrap();
        }
        std::fs::write(dir.join("module.base"), format!("0 {length}\n")).unwrap();
        log
    }

    fn number(text: &str) -> usize {
        text.split(' ').rev().nth(2).unwrap().parse().unwrap()
    }

    #[test]
    fn a_log_of_a_million_lines_is_opened_filtered_and_followed_without_being_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let log = million(dir.path());
        let size = std::fs::metadata(log.path()).unwrap().len() + std::fs::metadata(log.old_path()).unwrap().len();
        assert!(size > 15 * SCAN_MAX);

        // Opened: the last lines, at the price of a few pieces.
        let (page, cost) = log.page_and_cost(&LogWanted::last(500)).unwrap();
        assert_eq!((page.lines.len(), number(&page.lines[0].text)), (500, LINES - 500));
        assert!(page.next == page.end && page.first == 0 && page.start == page.lines[0].at);
        assert!(cost < 3 * PIECE as u64, "{cost} bytes were read for the last 500 lines");

        // Read back, across both pieces: each line once.
        let boundary = std::fs::metadata(log.old_path()).unwrap().len();
        let (mut before, mut seen) = (boundary + 500_000, None);
        while before > boundary - 500_000 {
            let wanted = LogWanted { before: Some(before), ..LogWanted::last(LOG_LINES_MAX) };
            let (page, cost) = log.page_and_cost(&wanted).unwrap();
            let numbers: Vec<_> = page.lines.iter().map(|line| number(&line.text)).collect();
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && numbers.len() == LOG_LINES_MAX as usize);
            assert!(seen.is_none_or(|seen| numbers.last() == Some(&(seen - 1))));
            assert!(cost < 6 * PIECE as u64, "{cost} bytes were read for {} lines", numbers.len());
            (before, seen) = (page.start, numbers.first().copied());
        }
        assert!(seen.is_some_and(|seen| seen < LINES / 3));

        // Filtered by level and text: bounded steps, and every line that holds is found.
        for (levels, text, expected) in [("CW", "", LINES / 1000), ("W", "NUMBER 77", 11)] {
            let (mut from, mut found, mut steps) = (0, 0, 0);
            loop {
                let (levels, holding) = (levels.to_owned(), text.to_owned());
                let wanted = LogWanted { from: Some(from), before: None, limit: LOG_LINES_MAX, levels, holding };
                let (page, cost) = log.page_and_cost(&wanted).unwrap();
                assert!(cost <= SCAN_MAX, "{cost} bytes were read for one page");
                (from, found, steps) = (page.next, found + page.lines.len(), steps + 1);
                if page.next == page.end {
                    break;
                }
            }
            assert_eq!(found, expected, "{levels} {text}");
            assert!(steps > 10, "a page must not look through the whole log: {steps}");
        }

        // Followed: what is added costs what is added, and the search for its end.
        let mut file = log.append().unwrap();
        writeln!(file, "2026-11-27T22:00:01.000Z E node1 PRIM Ready | number {LINES} of many").unwrap();
        let wanted = LogWanted { from: Some(page.next), limit: LOG_LINES_MAX, ..LogWanted::default() };
        let (page, cost) = log.page_and_cost(&wanted).unwrap();
        assert_eq!((page.lines.len(), number(&page.lines[0].text), page.next), (1, LINES, page.end));
        assert!(cost < 5000, "{cost} bytes were read for one new line");
    }

    #[test]
    fn a_line_longer_than_a_piece_is_told_in_pieces_and_hinders_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::new(dir.path(), "application", 1 << 30);
        let mut file = log.append().unwrap();
        file.write_all(b"before\n").unwrap();
        file.write_all(&vec![b'x'; 3 * PIECE + 5]).unwrap();
        let wanted = LogWanted { from: Some(0), limit: 100, ..LogWanted::default() };
        let unfinished = log.page(&wanted).unwrap();
        assert!(unfinished.next == unfinished.end && unfinished.lines.len() == 5, "{}", unfinished.lines.len());
        file.write_all(b"\nafter\n").unwrap();
        let forward = log.page(&wanted).unwrap();
        let backward = log.page(&LogWanted::last(100)).unwrap();
        for page in [forward, backward] {
            assert_eq!((page.start, page.next), (0, page.end));
            assert_eq!(page.lines[0].text, "before");
            assert_eq!(page.lines.last().unwrap().text, "after");
        }
    }

    #[test]
    fn an_unfinished_line_is_told_once_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let log = LogFile::new(dir.path(), "application", 1 << 30);
        let mut file = log.append().unwrap();
        file.write_all(b"half").unwrap();
        let wanted = LogWanted::last(9);
        assert_eq!(log.page(&wanted).unwrap().lines, []);
        file.write_all(b" and half\n").unwrap();
        assert_eq!(log.page(&wanted).unwrap().lines[0].text, "half and half");
    }
}
