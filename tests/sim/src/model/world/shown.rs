//! When two worlds count as one: what they show, without absolute times and sequence numbers.

use super::World;
use std::hash::{Hash, Hasher};

impl World {
    /// What it shows of itself, with times relative to the machine's own and without sequence numbers.
    fn shown(&self) -> String {
        let rest = (&self.wires, &self.stream, &self.record, &self.past, &self.arming, &self.asks, &self.answers);
        let mut shown = relative(&format!("{rest:?} {} {}", self.faults_left, self.served_twice), 0, FAR_MS);
        for machine in &self.machines {
            let own = format!("{:?} {:?} {:?}", machine.node, machine.ledger, machine.plane);
            shown.push_str(&relative(&own, machine.now, FAR_MS));
        }
        shown
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.shown() == other.shown()
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(self.shown().as_bytes());
    }
}

/// Longer ago than three timeouts is long ago; so is what lies further ahead.
const FAR_MS: i64 = 24;

/// Replaces what only counts: instants by how long ago they are (`far_ms` at most), sequence numbers by nothing.
pub(in crate::model) fn relative(shown: &str, now: u64, far_ms: i64) -> String {
    let mut out = String::with_capacity(shown.len());
    let mut rest = shown;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        out.push_str(before);
        if before.ends_with("Instant(") {
            let ago = now as i64 - digits.parse::<i64>().unwrap_or(i64::MAX);
            out.push_str(&ago.clamp(-far_ms, far_ms).to_string());
        } else if !["sequence: ", "newest: ", "on_link: ["].iter().any(|name| before.ends_with(name)) {
            out.push_str(digits);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
