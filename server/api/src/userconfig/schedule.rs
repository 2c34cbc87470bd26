//! When something is to be done by itself: a cron expression, checked, and the next time it names.

/// Longest expression, in bytes.
const BYTES_MAX: usize = 256;

/// What is wrong with an expression. Without the feature `schedule` (the console) only its length is looked at.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    #[cfg(feature = "schedule")]
    cron::parse(text)?;
    Ok(())
}

#[cfg(feature = "schedule")]
pub use cron::next_after;

#[cfg(feature = "schedule")]
mod cron {
    use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};

    pub(super) fn parse(text: &str) -> Result<Crontab, String> {
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::System;
        cronexpr::parse_crontab_with(text, options).map_err(|error| {
            let line = |line: &str| line.trim().to_owned();
            error.to_string().lines().map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
        })
    }

    /// The first time after this (Unix milliseconds) that a cron expression names; `None`: there is none, or it is wrong.
    /// Hours are those of the time zone written behind the fields, or else of this machine.
    pub fn next_after(text: &str, unix_ms: u64) -> Option<u64> {
        let after = MakeTimestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
        let next = parse(text).ok()?.find_next(after).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok()
    }
}

#[cfg(all(test, feature = "schedule"))]
mod tests {
    use super::{check, next_after};

    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn the_next_time_is_after_the_last_and_in_the_zone_that_is_written() {
        assert_eq!(next_after("* * * * * UTC", 0), Some(60_000));
        assert_eq!(next_after("* * * * * UTC", 60_000), Some(120_000));
        // 1 January 1970 was a Thursday.
        assert_eq!(next_after("30 3 * * SUN UTC", 0), Some(3 * DAY_MS + 12_600_000));
        assert_eq!(next_after("0 3 * * * Europe/Paris", 0), Some(2 * 3_600_000));
    }

    #[test]
    fn what_is_no_schedule_is_refused_and_what_never_comes_has_no_next_time() {
        for wrong in ["", "daily", "* * * *", "61 * * * *", "0 0 * * * Mars/Olympus", &"1,".repeat(200)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert_eq!(next_after("0 0 30 2 * UTC", 0), None);
    }
}
