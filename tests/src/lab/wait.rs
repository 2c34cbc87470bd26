//! Waiting: a condition is polled until it holds or its deadline has passed.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Polls `condition` until it gives something; at the deadline, an error with what was waited for and the last error.
///
/// # Errors
/// The deadline has passed.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        let last = match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => String::new(),
            Err(error) => format!("; last: {error:#}"),
        };
        if began.elapsed() >= deadline {
            bail!("waited {:.1} s in vain for {what}{last}", began.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Polls `condition` until it is true.
///
/// # Errors
/// The deadline has passed.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, deadline, || Ok(condition()?.then_some(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_is_named_with_its_last_error() {
        let error = wait_until("the moon", Duration::ZERO, || bail!("cloudy")).unwrap_err().to_string();
        assert!(error.contains("the moon") && error.contains("cloudy"), "{error}");
        assert_eq!(wait_for("a number", Duration::ZERO, || Ok(Some(7))).unwrap(), 7);
    }
}
