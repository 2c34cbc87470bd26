//! How much of a resync may be on its way, as a value: less while the application's changes wait longer than they need.
//!
//! The rule is that of background transfers that yield to others by delay: the shortest median of the last seconds is
//! what an acknowledgement takes while nothing is in its way; once the median of the latest changes is more than twice
//! that, the resync's window is halved and its senders rest; otherwise both recover. Without changes of the application
//! there is nobody to yield to.

use std::time::{Duration, Instant};

/// Bytes of a resync on the way at most, so that it never fills the way of the application's changes; and at least.
const WINDOW_MAX: usize = 4 << 20;
const WINDOW_MIN: usize = 128 << 10;
/// What the window grows by.
const STEP: usize = 128 << 10;
/// Acknowledgements that make one median.
const BATCH: usize = 16;
/// An application that has changed nothing for so long is yielded to no more.
const QUIET: Duration = Duration::from_millis(250);
/// A shortest median counts for between one and two of these times: what is slow for good is not yielded to for ever.
const MEMORY: Duration = Duration::from_secs(10);
/// Differences below this are noise.
const NOISE_US: u32 = 50;
/// Longest rest before a step of the resync, and the first one: however busy the application, a resync comes to its end.
const REST_MAX: Duration = Duration::from_millis(1);
const REST_MIN: Duration = Duration::from_micros(100);

/// The window and what it was found by.
#[derive(Debug)]
pub(super) struct Pace {
    window: usize,
    rest: Duration,
    batch: Vec<u32>,
    latest: Option<Instant>,
    /// Shortest medians of the present and of the last stretch, in microseconds.
    shortest: [u32; 2],
    stretch: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        let shortest = [u32::MAX; 2];
        Self { window: STEP, rest: Duration::ZERO, batch: Vec::new(), latest: None, shortest, stretch: None }
    }
}

impl Pace {
    /// A change of the application was acknowledged after so many microseconds.
    pub(super) fn acknowledged(&mut self, waited_us: u32, now: Instant) {
        self.latest = Some(now);
        self.batch.push(waited_us);
        if self.batch.len() < BATCH {
            return;
        }
        self.batch.sort_unstable();
        let median = self.batch[BATCH / 2];
        self.batch.clear();
        if self.stretch.is_none_or(|began| now.duration_since(began) >= MEMORY) {
            self.shortest = [median, self.shortest[0]];
            self.stretch = Some(now);
            // What comes next is measured with hardly anything in its way: the shortest does not creep upwards.
            self.window = WINDOW_MIN;
        }
        self.shortest[0] = self.shortest[0].min(median);
        let least = self.shortest[0].min(self.shortest[1]);
        if median > least.saturating_mul(2).saturating_add(NOISE_US) {
            self.window = (self.window / 2).max(WINDOW_MIN);
            self.rest = (self.rest * 2).clamp(REST_MIN, REST_MAX);
        } else {
            self.window = (self.window + STEP).min(WINDOW_MAX);
            self.rest = if self.rest <= REST_MIN { Duration::ZERO } else { self.rest / 2 };
        }
    }

    /// Bytes of the resync that may be on their way now.
    pub(super) fn window(&self, now: Instant) -> usize {
        if self.is_quiet(now) { WINDOW_MAX } else { self.window }
    }

    /// How long a sender of the resync rests before its next step.
    pub(super) fn rest(&self, now: Instant) -> Duration {
        if self.is_quiet(now) { Duration::ZERO } else { self.rest }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.latest.is_none_or(|latest| now.duration_since(latest) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An application whose changes are acknowledged after `base` and what the resync on its way adds.
    fn settle(pace: &mut Pace, now: &mut Instant, base: u32, per_mib: u32, changes: usize) {
        for _ in 0..changes {
            let window = pace.window(*now);
            let waited = base + (window as u64 * u64::from(per_mib) / (1 << 20)) as u32;
            *now += Duration::from_millis(1);
            pace.acknowledged(waited, *now);
        }
    }

    #[test]
    fn the_window_shrinks_until_changes_wait_at_most_about_twice_as_long() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        settle(&mut pace, &mut now, 100, 400, 5000);
        let waited = 100 + pace.window(now) * 400 / (1 << 20);
        assert!(waited <= 2 * 150 + 150, "{waited} us, window {}", pace.window(now));
        // Beyond what a window can help: the resync rests, too.
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        settle(&mut pace, &mut now, 100, 0, 100);
        settle(&mut pace, &mut now, 5000, 0, 200);
        assert_eq!((pace.window(now), pace.rest(now)), (WINDOW_MIN, REST_MAX));
    }

    #[test]
    fn a_resync_that_hurts_nobody_takes_the_whole_window() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        assert_eq!(pace.window(now), WINDOW_MAX, "there is no application");
        settle(&mut pace, &mut now, 100, 1, 1000);
        assert_eq!((pace.window(now), pace.rest(now)), (WINDOW_MAX, Duration::ZERO));
        settle(&mut pace, &mut now, 5000, 0, 200);
        assert!(pace.window(now) < WINDOW_MAX);
        assert_eq!(pace.window(now + QUIET), WINDOW_MAX, "the application has paused");
    }

    #[test]
    fn what_is_slow_for_good_is_not_yielded_to_for_ever() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        settle(&mut pace, &mut now, 100, 0, 100);
        // A slow network from now on.
        settle(&mut pace, &mut now, 5000, 0, 25_000);
        assert_eq!((pace.window(now), pace.rest(now)), (WINDOW_MAX, Duration::ZERO));
    }
}
