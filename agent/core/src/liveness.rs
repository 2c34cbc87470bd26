//! When the peer was last heard on each link, and what may be concluded from silence.

use crate::time::Instant;

/// Per link, when the peer was last heard. Silence is three-valued: heard, silent, or not known yet.
#[derive(Clone, Debug)]
pub struct Liveness {
    heard_at: Vec<Option<Instant>>,
    /// Silence is counted from here at the earliest: the start of the node, or the end of a suspension.
    counted_from: Instant,
    /// Per link.
    timeouts_ms: Vec<u64>,
}

impl Liveness {
    /// Nothing heard yet on any link; each is lost after its own timeout in milliseconds.
    pub fn new(timeouts_ms: Vec<u64>, now: Instant) -> Self {
        Self { heard_at: vec![None; timeouts_ms.len()], counted_from: now, timeouts_ms }
    }

    /// The peer was heard on `link`.
    pub fn heard_on(&mut self, link: usize, now: Instant) {
        if let Some(at) = self.heard_at.get_mut(link) {
            *at = Some(now);
        }
    }

    /// This node was suspended until now: the silence before says nothing.
    pub fn count_anew(&mut self, now: Instant) {
        self.counted_from = now;
    }

    /// The peer was heard on `link` within the link's timeout.
    pub fn link_heard(&self, link: usize, now: Instant) -> bool {
        let timeout_ms = self.timeouts_ms.get(link).copied().unwrap_or_default();
        self.heard_at.get(link).copied().flatten().is_some_and(|at| now.since(at) < timeout_ms)
    }

    /// The peer was heard on some link within that link's timeout.
    pub fn heard(&self, now: Instant) -> bool {
        (0..self.heard_at.len()).any(|link| self.link_heard(link, now))
    }

    /// When it was last heard on any link.
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard_at.iter().copied().flatten().max()
    }

    /// When every link will have been silent for its timeout if nothing is heard until then.
    pub fn silent_from(&self) -> Instant {
        let links = self.heard_at.iter().zip(&self.timeouts_ms);
        let ends = links.map(|(at, timeout_ms)| at.unwrap_or_default().max(self.counted_from).after(*timeout_ms));
        ends.max().unwrap_or(self.counted_from)
    }

    /// Every link has been silent for its timeout, while this node was awake.
    pub fn silent(&self, now: Instant) -> bool {
        now >= self.silent_from()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_live_link_is_enough_and_silence_takes_a_whole_timeout() {
        let mut links = Liveness::new(vec![1000; 2], Instant(0));
        assert!(!links.heard(Instant(0)) && !links.silent(Instant(999)) && links.silent(Instant(1000)));
        links.heard_on(0, Instant(500));
        links.heard_on(1, Instant(900));
        assert!(links.heard(Instant(1600)) && !links.link_heard(0, Instant(1600)));
        assert!(!links.silent(Instant(1899)) && links.silent(Instant(1900)) && !links.heard(Instant(1900)));
    }

    #[test]
    fn a_suspended_node_neither_hears_nor_calls_the_peer_silent_at_once() {
        let mut links = Liveness::new(vec![1000], Instant(0));
        links.heard_on(0, Instant(100));
        links.count_anew(Instant(9000));
        assert!(!links.heard(Instant(9000)) && !links.silent(Instant(9999)) && links.silent(Instant(10_000)));
    }

    #[test]
    fn a_link_that_does_not_exist_is_ignored() {
        let mut links = Liveness::new(vec![1000], Instant(0));
        links.heard_on(5, Instant(1));
        assert!(!links.heard(Instant(2)));
    }

    #[test]
    fn each_link_is_lost_after_its_own_timeout_and_the_last_of_them_decides() {
        let mut links = Liveness::new(vec![1000, 4000], Instant(0));
        assert!(!links.silent(Instant(3999)) && links.silent(Instant(4000)), "nothing heard on either");
        links.heard_on(0, Instant(5000));
        links.heard_on(1, Instant(5000));
        assert!(!links.link_heard(0, Instant(6000)) && links.link_heard(1, Instant(6000)), "the quick link is lost");
        assert!(links.heard(Instant(8999)) && !links.silent(Instant(8999)) && links.silent(Instant(9000)));
        // Only the quick link passes: its own timeout decides from then on.
        links.heard_on(0, Instant(20_000));
        assert!(!links.silent(Instant(20_999)) && links.silent(Instant(21_000)));
    }
}
