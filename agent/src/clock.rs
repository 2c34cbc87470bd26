//! The clocks: `CLOCK_BOOTTIME` for the core, the wall clock for people.

use holdfast_core::time::{Instant, Moment};
use rustix::time::{ClockId, clock_gettime};

/// Now, as the core sees it: goes on while the machine sleeps and never jumps.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::Boottime);
    Instant(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
}

/// Now, with a fresh random number.
pub fn moment() -> Moment {
    Moment { now: now(), nonce: random_u64() }
}

/// A random number from the kernel; never 0.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    // The kernel's generator fails only before it is seeded at early boot; another draw then is right.
    while getrandom::fill(&mut bytes).is_err() {}
    u64::from_le_bytes(bytes).max(1)
}

/// Wall clock in Unix milliseconds, for logs and reports only.
pub fn unix_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_does_not_go_back_and_random_numbers_differ() {
        let first = super::now();
        assert!(super::now() >= first);
        assert_ne!(super::random_u64(), super::random_u64());
        assert!(super::unix_ms() > 1_700_000_000_000);
    }
}
