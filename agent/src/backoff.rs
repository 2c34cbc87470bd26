//! The wait before something far away is tried again: doubled after each failure, with jitter.

use crate::clock;
use std::time::Duration;

/// How long the next wait is.
#[derive(Debug)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
    next_ms: u64,
}

impl Backoff {
    /// Waits of about `min_ms` (not 0) at first and about `max_ms` at most.
    pub fn new(min_ms: u64, max_ms: u64) -> Self {
        Self { min_ms, max_ms, next_ms: min_ms }
    }

    /// It went well: the next wait is short again.
    pub fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }

    /// Waits; the next wait is longer.
    pub async fn wait(&mut self) {
        let wait = self.step(clock::random_u64());
        tokio::time::sleep(wait).await;
    }

    /// Half to one and a half of what is due: after an outage of what is dialled not every node comes at the same moment.
    fn step(&mut self, random: u64) -> Duration {
        let wait_ms = self.next_ms / 2 + random % self.next_ms;
        self.next_ms = (self.next_ms * 2).min(self.max_ms);
        Duration::from_millis(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(200, 1_000);
        let waits: Vec<_> = (0..4).map(|_| backoff.step(0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 500]);
        assert_eq!(backoff.step(999).as_millis(), 1_499, "the random part");
        backoff.reset();
        assert_eq!(backoff.step(199).as_millis(), 299);
    }
}
