//! The retry budget: how many restarts the checkers may ask for within an interval.

use crate::time::Instant;
use std::collections::VecDeque;

/// `maxloop` restarts within `loop_interval_ms`; one more is too many.
#[derive(Clone, Debug)]
pub struct Budget {
    max: u32,
    interval_ms: u64,
    spent: VecDeque<Instant>,
}

impl Budget {
    /// Nothing spent yet.
    pub fn new(max: u32, interval_ms: u64) -> Self {
        Self { max, interval_ms, spent: VecDeque::new() }
    }

    /// New limits; what was spent stays spent.
    pub fn limit(&mut self, max: u32, interval_ms: u64) {
        self.max = max;
        self.interval_ms = interval_ms;
    }

    /// Spends one restart; false if the budget was used up already (nothing is spent then).
    #[must_use]
    pub fn spend(&mut self, now: Instant) -> bool {
        while self.spent.front().is_some_and(|at| now.since(*at) >= self.interval_ms) {
            self.spent.pop_front();
        }
        if self.spent.len() >= self.max as usize {
            return false;
        }
        self.spent.push_back(now);
        true
    }

    /// An operator stepped in: start counting anew.
    pub fn reset(&mut self) {
        self.spent.clear();
    }

    /// Restarts spent, for messages.
    pub fn count(&self) -> usize {
        self.spent.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_within_the_interval_is_too_many() {
        let mut budget = Budget::new(3, 1000);
        assert!(budget.spend(Instant(0)) && budget.spend(Instant(10)) && budget.spend(Instant(20)));
        assert!(!budget.spend(Instant(999)));
        assert!(budget.spend(Instant(1000)), "the first one has aged out");
        budget.reset();
        assert_eq!(budget.count(), 0);
    }
}
