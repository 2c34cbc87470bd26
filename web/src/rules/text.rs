//! Numbers as people read them: bytes, durations, ages, progress.

use crate::language::{self, t, tf};
use holdfast_api::agent::{InventoryReport, ReplicationReport, ResyncReport};
use holdfast_api::state::{ModuleState, Readiness};

/// A number of bytes with a binary unit: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    let units = [t!("KiB"), t!("MiB"), t!("GiB"), t!("TiB"), t!("PiB")];
    if count < 1024 {
        return tf!("{count} B", count);
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", language::decimal(value), units[unit])
}

/// A duration by its two largest units: `2 h 5 min`.
pub fn duration_ms(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => tf!("{ms} ms", ms),
        1..60 => format!("{s} s"),
        60..3600 => tf!("{0} min {1} s", 0 = s / 60, 1 = s % 60),
        3600..86_400 => tf!("{0} h {1} min", 0 = s / 3600, 1 = s % 3600 / 60),
        _ => tf!("{0} d {1} h", 0 = s / 86_400, 1 = s % 86_400 / 3600),
    }
}

/// How long something has lasted; nobody wants to see its first second pass.
pub fn lasting_ms(ms: u64) -> String {
    duration_ms(ms.max(1000))
}

/// How far a node's clock is off, milliseconds; ahead of the server's if positive.
pub fn clock_offset(offset_ms: i64) -> String {
    let off = duration_ms(offset_ms.unsigned_abs());
    if offset_ms > 0 { tf!("Its clock is {off} ahead", off) } else { tf!("Its clock is {off} behind", off) }
}

/// How long ago `then` was at `now` (Unix milliseconds).
pub fn ago(then: u64, now: u64) -> String {
    match now.saturating_sub(then) {
        _ if then == 0 => t!("never").to_owned(),
        0..2000 => t!("just now").to_owned(),
        ms => tf!("{0} ago", 0 = duration_ms(ms)),
    }
}

/// A count with its noun, `one` for 1 and `many` otherwise.
pub fn count(n: u64, one: &str, many: &str) -> String {
    let mut digits = n.to_string();
    let mut at = digits.len();
    while at > 3 {
        at -= 3;
        digits.insert(at, '\u{202f}');
    }
    format!("{digits} {}", if language::is_singular(n) { one } else { many })
}

/// What the replicated directories hold, in one line without the date.
pub fn inventory(found: &InventoryReport) -> String {
    if found.entries == 0 {
        t!("empty").to_owned()
    } else {
        format!("{}, {}", count(found.entries, t!("entry"), t!("entries")), bytes(found.bytes))
    }
}

/// Whole percents of a resync; none while the total is not known.
pub fn resync_percent(resync: &ResyncReport) -> Option<u64> {
    let share =
        |done: u64, total: u64| (total > 0).then(|| (u128::from(done.min(total)) * 100 / u128::from(total)) as u64);
    share(resync.bytes_done, resync.bytes_total).or_else(|| share(resync.entries_done, resync.entries_total))
}

/// Progress of a resync in words: what is done, what travelled, rate, time left.
pub fn resync(resync: &ResyncReport) -> String {
    let mut parts = vec![
        tf!("{0} of {1} compared", 0 = bytes(resync.bytes_done), 1 = bytes(resync.bytes_total)),
        tf!("{0} copied", 0 = bytes(resync.bytes_sent)),
    ];
    if resync.elapsed_ms >= 1000 {
        parts.push(format!("{}/s", bytes(resync.bytes_per_s)));
    }
    if let Some(left_ms) = resync.left_ms {
        parts.push(tf!("{0} left", 0 = duration_ms(left_ms)));
    }
    parts.join(" · ")
}

/// What the replication does: bytes, operations and how long an acknowledgement takes.
pub fn rate(rate: &ReplicationReport) -> String {
    if rate.ops_per_s == 0 {
        return t!("quiet").to_owned();
    }
    let mut text =
        format!("{}/s, {}/s", bytes(rate.bytes_per_s), count(rate.ops_per_s, t!("operation"), t!("operations")));
    if rate.ack_p99_us > 0 {
        text.push_str(&tf!(", 99 % within {0} ms", 0 = language::decimal(rate.ack_p99_us as f64 / 1000.0)));
    }
    text
}

/// True if a node in this state has the module's virtual addresses.
pub fn holds_addresses(state: ModuleState, readiness: Readiness) -> bool {
    matches!(state, ModuleState::Prim | ModuleState::Alone) && readiness == Readiness::Ready
}

/// True for a resource that looks at something outside: a network or a checker, not the module's own state.
pub fn is_watched(resource: &str) -> bool {
    let own = ["state.", "usersetting.", "rfs.", "heart."];
    !own.iter().any(|class| resource.starts_with(class))
}

/// A key fingerprint in groups of four digits, for comparing by eye.
pub fn fingerprint(hex: &str) -> String {
    hex.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{ago, bytes, count, duration_ms, fingerprint, is_watched, lasting_ms, rate, resync, resync_percent};
    use holdfast_api::agent::{ReplicationReport, ResyncReport};

    #[test]
    fn bytes_and_durations_have_their_units() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(duration_ms(999), "999 ms");
        assert_eq!(duration_ms(61_000), "1 min 1 s");
        assert_eq!((lasting_ms(126).as_str(), lasting_ms(90_000).as_str()), ("1 s", "1 min 30 s"));
        assert_eq!(duration_ms(90_000_000), "1 d 1 h");
    }

    #[test]
    fn ages_and_counts_read_well() {
        assert_eq!(ago(0, 5), "never");
        assert_eq!(ago(10_000, 9_000), "just now");
        assert_eq!(ago(1_000, 11_000), "10 s ago");
        assert_eq!(count(1, "entry", "entries"), "1 entry");
        assert_eq!(count(1_234_567, "entry", "entries"), "1\u{202f}234\u{202f}567 entries");
    }

    #[test]
    fn a_resync_of_nothing_divides_by_nothing() {
        let none = ResyncReport::default();
        assert_eq!(resync_percent(&none), None);
        assert_eq!(resync(&ResyncReport { elapsed_ms: 5000, ..none }), "0 B of 0 B compared · 0 B copied · 0 B/s");
        let half = ResyncReport {
            bytes_done: 50,
            bytes_total: 100,
            elapsed_ms: 1000,
            bytes_per_s: 50,
            left_ms: Some(1000),
            ..none
        };
        assert_eq!(resync_percent(&half), Some(50));
        assert!(resync(&half).ends_with("50 B/s · 1 s left"));
    }

    #[test]
    fn the_rate_of_the_replication_is_short_when_nothing_is_written() {
        assert_eq!(rate(&ReplicationReport::default()), "quiet");
        let busy = ReplicationReport { bytes_per_s: 2048, ops_per_s: 1, ack_p99_us: 1500, held_back: 0 };
        assert_eq!(rate(&busy), "2.0 KiB/s, 1 operation/s, 99 % within 1.5 ms");
        assert!(is_watched("heartbeat.flow") && is_watched("tcp.web") && !is_watched("heart.maxloop"));
    }

    #[test]
    fn fingerprints_come_in_groups() {
        assert_eq!(fingerprint("0123456789"), "0123 4567 89");
    }
}
