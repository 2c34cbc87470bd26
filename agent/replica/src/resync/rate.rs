//! How fast a resync is and when it will have ended, as a value: from the last seconds, smoothed.

use holdfast_core::replica::ResyncProgress;

/// Time over which the rate is taken, in milliseconds.
const STRETCH_MS: u64 = 1000;
/// An entry weighs as much as so many bytes: small files are not free.
const ENTRY: u64 = 8 << 10;
/// How much of the rate before is kept at each new stretch, in parts of four.
const KEPT: u64 = 3;

/// What the rate is taken from.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// The present stretch: when it began, bytes and work done by then.
    began: (u64, u64, u64),
    bytes_per_s: u64,
    work_per_s: u64,
}

impl Rate {
    /// Sets rate and time left.
    pub(super) fn tell(&mut self, progress: &mut ResyncProgress) {
        let work = progress.bytes_done + progress.entries_done * ENTRY;
        let (since, bytes, done) = self.began;
        let passed = progress.elapsed_ms.saturating_sub(since);
        if passed >= STRETCH_MS {
            let rate = |grown: u64, before: u64| {
                let now = grown.saturating_mul(1000) / passed;
                if before == 0 { now } else { (before * KEPT + now) / (KEPT + 1) }
            };
            self.bytes_per_s = rate(progress.bytes_done.saturating_sub(bytes), self.bytes_per_s);
            self.work_per_s = rate(work.saturating_sub(done), self.work_per_s);
            self.began = (progress.elapsed_ms, progress.bytes_done, work);
        }
        progress.bytes_per_s = self.bytes_per_s;
        let total = progress.bytes_total + progress.entries_total * ENTRY;
        progress.left_ms = total.saturating_sub(work).saturating_mul(1000).checked_div(self.work_per_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_comes_from_what_is_left_and_how_fast_it_goes() {
        let mut rate = Rate::default();
        let mut progress = ResyncProgress { bytes_total: 100 << 20, entries_total: 10, ..ResyncProgress::default() };
        rate.tell(&mut progress);
        assert_eq!((progress.bytes_per_s, progress.left_ms), (0, None), "nobody knows yet");
        for second in 1..=5 {
            progress.elapsed_ms = second * 1000;
            progress.bytes_done = second * (10 << 20);
            progress.entries_done = second;
            rate.tell(&mut progress);
        }
        assert_eq!(progress.bytes_per_s, 10 << 20);
        assert_eq!(progress.left_ms, Some(5000));
        // It stands still: the time left grows.
        progress.elapsed_ms = 10_000;
        rate.tell(&mut progress);
        assert!(progress.left_ms.is_some_and(|left| left > 6000), "{progress:?}");
    }
}
