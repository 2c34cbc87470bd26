//! What is told of modules that work: figures that move with every report, a checker that changes its mind, logs that grow.

use holdfast_api::agent::{LogLine, LogPage, LogWanted, NodeModuleReport, ReplicationReport, ResourceReport};
use holdfast_api::resource::ResourceValue;

/// Time between two reports of a node, so that consoles always have news.
pub(super) const NEWS_MS: u64 = 500;
/// Between two lines of a log.
const LINE_MS: u64 = 100;
/// Every so many lines one is worth telling in a timeline.
const TOLD_EVERY: u64 = 20;
/// Lines of a log that are kept.
const KEPT: u64 = 100_000;
/// Modules of which each second another one's checker says something new.
const TURNS: u64 = 100;
/// Since when they are in their states, Unix milliseconds.
const SINCE: u64 = 1_764_000_000_000;

/// Fills in what a module that works has to tell at this moment.
pub(super) fn liven(report: &mut NodeModuleReport, unix_ms: u64) {
    let id = u64::from(report.id.0);
    let kib = 1 + unix_ms / NEWS_MS * id % 4096;
    let figures = ReplicationReport { bytes_per_s: kib * 1024, ops_per_s: kib, ack_p99_us: 300 + kib, held_back: 0 };
    report.replication = Some(figures);
    report.since_unix_ms = SINCE;
    // Each module's checker speaks once in that many seconds.
    let turn = (unix_ms / 1000 + id) / TURNS;
    let value = |value: u64| ResourceValue::Other(value.to_string());
    report.resources = vec![
        told("heartbeat.default", ResourceValue::Up, SINCE),
        told("ip.service", ResourceValue::Up, SINCE),
        told("proc.application", ResourceValue::Up, SINCE),
        told("custom.customers", value(turn), (turn * TURNS).saturating_sub(id) * 1000),
        told("rfs.rep_bandwidth", value(kib), unix_ms),
        told("rfs.netin_bandwidth", value(kib / 8), unix_ms),
        told("rfs.netout_bandwidth", value(kib), unix_ms),
    ];
}

fn told(name: &str, value: ResourceValue, since_unix_ms: u64) -> ResourceReport {
    ResourceReport { name: name.to_owned(), value, since_unix_ms, by: "a checker".to_owned() }
}

/// A page of the log of any module. A line's position is its number since 1970, ten in a second.
pub(super) fn page(wanted: &LogWanted, unix_ms: u64) -> LogPage {
    let end = unix_ms / LINE_MS;
    let first = end - KEPT;
    let limit = wanted.limit as usize;
    let passes = |at: &u64| wanted.holds(&line(*at));
    let (start, next, lines) = match wanted.from {
        Some(from) => {
            let from = from.max(first);
            let found: Vec<LogLine> = (from..end).filter(passes).take(limit).map(line).collect();
            let next = if found.len() < limit { end } else { found.last().map_or(end, |line| line.at + 1) };
            (from, next, found)
        }
        None => {
            let before = wanted.before.unwrap_or(end).min(end);
            let mut found: Vec<LogLine> = (first..before).rev().filter(passes).take(limit).map(line).collect();
            found.reverse();
            (found.first().filter(|_| found.len() == limit).map_or(first, |line| line.at), before, found)
        }
    };
    LogPage { first, start, next, end, lines }
}

fn line(at: u64) -> LogLine {
    let (level, text) = if at.is_multiple_of(TOLD_EVERY) {
        ("W", format!("PRIM Ready | the application answered late: request {at} took 1.2 s"))
    } else {
        ("I", format!("PRIM Ready | line {at} of a log in which somebody tells at length what is being done"))
    };
    LogLine { at, unix_ms: at * LINE_MS, level: level.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::{LINE_MS, LogWanted, page};

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let now = 1_800_000_000_000;
        let last = page(&LogWanted::last(400), now);
        assert_eq!((last.lines.len(), last.end), (400, now / LINE_MS));
        let older = page(&LogWanted { before: Some(last.start), ..LogWanted::last(10) }, now);
        assert_eq!(older.lines.last().map(|line| line.at + 1), Some(last.start));
        let newer = page(&LogWanted { from: Some(last.next), ..LogWanted::last(400) }, now + 1000);
        assert_eq!((newer.lines.len(), newer.next), (10, newer.end));
        assert_eq!(newer.lines[0].at, last.end);
    }
}
