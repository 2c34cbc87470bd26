//! How long a thread that waits for the peer keeps looking for its next bytes before it sleeps.
//!
//! A core that sleeps takes 10 to 20 µs to wake (on a virtual machine, where it has to be given back first): as long as
//! everything else a small change costs, and there are two such waits in each. So while bytes come in quick succession
//! the reader looks again and again, for [`LOOKING`] at most, and gives its core to whoever else wants it. Where bytes
//! come seldom, or others want the core, it sleeps at once.

use std::time::{Duration, Instant};

/// Longest time of looking in one wait, and the longest usual wait that is worth looking.
pub(super) const LOOKING: Duration = Duration::from_micros(100);

/// Giving the core away for longer than this between two looks means that others want it.
const CROWDED: Duration = Duration::from_micros(200);

/// How long nobody looks then.
const REST: Duration = Duration::from_millis(200);

/// A wait counts as this at most, so that a pause is forgotten after a few quick ones.
const WAIT_MAX: Duration = Duration::from_micros(400);

/// One wait counts as this part of what is usual.
const WEIGHT: u32 = 8;

/// What one reader has seen of its waits.
#[derive(Debug)]
pub(super) struct Patience {
    usual: Duration,
    rests_until: Option<Instant>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { usual: WAIT_MAX, rests_until: None }
    }
}

impl Patience {
    /// Whether looking is worth it now.
    pub(super) fn looks(&self, now: Instant) -> bool {
        self.usual <= LOOKING && self.rests_until.is_none_or(|until| now >= until)
    }

    /// Whether to look once more in a wait that began at `began`; the look before this one was at `before`.
    pub(super) fn looks_again(&mut self, began: Instant, before: Instant, now: Instant) -> bool {
        if now.duration_since(before) > CROWDED {
            self.rests_until = Some(now + REST);
            return false;
        }
        now.duration_since(began) < LOOKING
    }

    /// A wait took this long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.usual = (self.usual * (WEIGHT - 1) + time.min(WAIT_MAX)) / WEIGHT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eager() -> Patience {
        let mut patience = Patience::default();
        (0..30).for_each(|_| patience.waited(Duration::from_micros(20)));
        patience
    }

    #[test]
    fn only_quick_succession_is_worth_looking() {
        let now = Instant::now();
        assert!(!Patience::default().looks(now));
        let mut patience = eager();
        assert!(patience.looks(now));
        patience.waited(Duration::from_secs(60));
        assert!(patience.looks(now), "one pause changes nothing");
        (0..3).for_each(|_| patience.waited(Duration::from_secs(1)));
        assert!(!patience.looks(now), "several do");
    }

    #[test]
    fn looking_ends_in_time() {
        let began = Instant::now();
        let mut patience = eager();
        assert!(patience.looks_again(began, began, began + LOOKING / 2));
        assert!(!patience.looks_again(began, began + LOOKING / 2, began + LOOKING));
        assert!(patience.looks(began + LOOKING));
    }

    #[test]
    fn a_core_that_others_want_is_left_to_them_for_a_while() {
        let began = Instant::now();
        let mut patience = eager();
        let back = began + CROWDED + Duration::from_micros(1);
        assert!(!patience.looks_again(began, began, back));
        assert!(!patience.looks(back));
        assert!(patience.looks(back + REST));
    }
}
