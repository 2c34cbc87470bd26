//! When the peer was last heard on each link, and what may be concluded from silence.

use crate::time::Instant;

/// Per link, when the peer was last heard. Silence is three-valued: heard, silent, or neither: not known yet, or the peer
/// gives signs of life and no word that counts, because its disk is slow (see [`crate::heartbeat::Heartbeat::saving`]).
#[derive(Clone, Debug)]
pub struct Liveness {
    /// A word of the peer.
    heard_at: Vec<Option<Instant>>,
    /// A word, or a mere sign of life.
    alive_at: Vec<Option<Instant>>,
    /// A mere sign of life, on any link.
    sign_at: Option<Instant>,
    /// Silence is counted from here at the earliest: the start of the node, or the end of a suspension.
    counted_from: Instant,
    /// Per link.
    timeouts_ms: Vec<u64>,
}

impl Liveness {
    /// Nothing heard yet on any link; each is lost after its own timeout in milliseconds.
    pub fn new(timeouts_ms: Vec<u64>, now: Instant) -> Self {
        let never = vec![None; timeouts_ms.len()];
        Self { heard_at: never.clone(), alive_at: never, sign_at: None, counted_from: now, timeouts_ms }
    }

    /// The peer was heard on `link`.
    pub fn heard_on(&mut self, link: usize, now: Instant) {
        for at in [&mut self.heard_at, &mut self.alive_at] {
            if let Some(at) = at.get_mut(link) {
                *at = (*at).max(Some(now));
            }
        }
    }

    /// The peer lives, as was heard on `link`; what it said does not count.
    pub fn alive_on(&mut self, link: usize, now: Instant) {
        if let Some(at) = self.alive_at.get_mut(link) {
            *at = (*at).max(Some(now));
            self.sign_at = self.sign_at.max(Some(now));
        }
    }

    /// What was heard meanwhile, by another that began as this one.
    pub fn learn(&mut self, other: &Self) {
        for (own, theirs) in [(&mut self.heard_at, &other.heard_at), (&mut self.alive_at, &other.alive_at)] {
            own.iter_mut().zip(theirs).for_each(|(own, theirs)| *own = (*own).max(*theirs));
        }
        self.sign_at = self.sign_at.max(other.sign_at);
        self.counted_from = self.counted_from.max(other.counted_from);
    }

    /// This node was suspended until now: the silence before says nothing.
    pub fn count_anew(&mut self, now: Instant) {
        self.counted_from = now;
    }

    /// Link `link` passes: a sign of the peer came within the link's timeout.
    pub fn link_passes(&self, link: usize, now: Instant) -> bool {
        self.within(&self.alive_at, link, now)
    }

    /// A word of the peer was heard on some link within that link's timeout.
    pub fn heard(&self, now: Instant) -> bool {
        (0..self.heard_at.len()).any(|link| self.within(&self.heard_at, link, now))
    }

    /// A word, or a mere sign of life, came on some link within that link's timeout.
    pub fn alive(&self, now: Instant) -> bool {
        (0..self.alive_at.len()).any(|link| self.link_passes(link, now))
    }

    fn within(&self, at: &[Option<Instant>], link: usize, now: Instant) -> bool {
        let timeout_ms = self.timeouts_ms.get(link).copied().unwrap_or_default();
        at.get(link).copied().flatten().is_some_and(|at| now.since(at) < timeout_ms)
    }

    /// When a sign of it last came on any link.
    pub fn last_alive(&self) -> Option<Instant> {
        self.alive_at.iter().copied().flatten().max()
    }

    /// When a mere sign of life last came.
    pub fn last_sign(&self) -> Option<Instant> {
        self.sign_at
    }

    /// When every link will have been silent for its timeout if nothing is heard until then.
    pub fn silent_from(&self) -> Instant {
        let links = self.alive_at.iter().zip(&self.timeouts_ms);
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
        assert!(links.heard(Instant(1600)) && !links.link_passes(0, Instant(1600)));
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
    fn a_peer_that_only_gives_signs_of_life_is_neither_heard_nor_silent() {
        let mut links = Liveness::new(vec![1000], Instant(0));
        links.heard_on(0, Instant(100));
        assert_eq!(links.last_sign(), None);
        links.alive_on(0, Instant(900));
        assert!(links.heard(Instant(1099)) && !links.heard(Instant(1100)));
        assert!(links.link_passes(0, Instant(1899)) && !links.silent(Instant(1899)) && links.silent(Instant(1900)));
        links.heard_on(0, Instant(2000));
        assert!(links.heard(Instant(2000)) && links.last_sign() == Some(Instant(900)));
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
        assert!(!links.link_passes(0, Instant(6000)) && links.link_passes(1, Instant(6000)), "the quick link is lost");
        assert!(links.heard(Instant(8999)) && !links.silent(Instant(8999)) && links.silent(Instant(9000)));
        // Only the quick link passes: its own timeout decides from then on.
        links.heard_on(0, Instant(20_000));
        assert!(!links.silent(Instant(20_999)) && links.silent(Instant(21_000)));
    }
}
