//! The bandwidth a resync may use, as a value: what was sent is paid for by waiting before more is sent.

use std::time::{Duration, Instant};

/// What was spent and not yet waited for.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes per second; 0: any.
    rate: u64,
    /// When everything spent so far is paid for.
    paid: Instant,
}

impl Budget {
    /// A budget of `rate` bytes per second; 0: no limit.
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, paid: now }
    }

    /// Some bytes went out.
    pub(super) fn spend(&mut self, bytes: u64, now: Instant) {
        if self.rate > 0 {
            // What was not used earlier is not saved up.
            let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
            self.paid = self.paid.max(now) + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX / 4));
        }
    }

    /// How long nothing more may go out.
    pub(super) fn rest(&self, now: Instant) -> Duration {
        self.paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_sizes_the_rate_is_kept() {
        let mut now = Instant::now();
        let began = now;
        let mut budget = Budget::new(1 << 20, now);
        let mut sent = 0;
        for size in [100, 1 << 20, 64 << 10, 5, 3 << 20].into_iter().cycle().take(50) {
            now += budget.rest(now);
            budget.spend(size, now);
            sent += size;
        }
        now += budget.rest(now);
        let rate = sent as f64 / (now - began).as_secs_f64();
        assert!((rate - 1_048_576.0).abs() < 1000.0, "{rate}");
    }

    #[test]
    fn time_without_sending_is_not_saved_up() {
        let now = Instant::now();
        let mut budget = Budget::new(1000, now);
        let later = now + Duration::from_secs(60);
        budget.spend(500, later);
        assert_eq!(budget.rest(later), Duration::from_millis(500));
        let mut free = Budget::new(0, now);
        free.spend(u64::MAX, now);
        assert_eq!(free.rest(now), Duration::ZERO);
    }
}
