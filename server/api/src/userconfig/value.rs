//! One attribute value of `userconfig.xml`: numbers, times, names, paths; errors know their place.

use super::read::{HOUR, SECOND, error_at};
use super::{ProcAction, UserConfigError};
use roxmltree::TextPos;

type Parsed<T> = Result<T, UserConfigError>;

/// An attribute while it is read.
pub(super) struct Value<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) pos: TextPos,
}

impl Value<'_> {
    pub(super) fn error(&self, problem: impl Into<String>, cure: impl Into<String>) -> UserConfigError {
        error_at(self.pos.row, self.pos.col, problem, cure)
    }

    pub(super) fn wrong(&self, cure: impl Into<String>) -> UserConfigError {
        self.error(format!("{}=\"{}\" is not accepted", self.name, shorten(self.text)), cure)
    }

    pub(super) fn number(&self, min: u64, max: u64) -> Parsed<u64> {
        let number = self.text.trim().parse::<u64>().ok().filter(|n| (min..=max).contains(n));
        number.ok_or_else(|| self.wrong(format!("write a whole number from {min} to {max}")))
    }

    /// A time in milliseconds: a number with a unit, or a plain number in `unit_ms`.
    pub(super) fn time_ms(&self, unit_ms: u64, min_ms: u64, max_ms: u64) -> Parsed<u64> {
        let text = self.text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, suffix) = text.split_at(digits);
        let factor_us = match suffix.trim() {
            "" => unit_ms.saturating_mul(1000),
            "d" => 24 * HOUR * 1000,
            "h" => HOUR * 1000,
            "m" => 60 * SECOND * 1000,
            "s" => SECOND * 1000,
            "ms" => 1000,
            "us" => 1,
            _ => return Err(self.wrong("write a number with d, h, m, s, ms or us")),
        };
        let number: u64 = number.parse().map_err(|_| self.wrong("write a number with d, h, m, s, ms or us"))?;
        let ms = number.checked_mul(factor_us).map(|us| us / 1000);
        if number > 0 && ms == Some(0) {
            return Err(self.wrong("the value rounds to 0: write a longer time"));
        }
        ms.filter(|ms| (min_ms..=max_ms).contains(ms))
            .ok_or_else(|| self.wrong(format!("write a time from {min_ms}ms to {max_ms}ms")))
    }

    pub(super) fn on_off(&self) -> Parsed<bool> {
        match self.text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.wrong("write \"on\" or \"off\"")),
        }
    }

    pub(super) fn only(&self, accepted: &str) -> Parsed<()> {
        if self.text == accepted {
            return Ok(());
        }
        Err(self.error(
            format!("{}=\"{}\" is not available in this version", self.name, shorten(self.text)),
            format!("write {}=\"{accepted}\" or leave the attribute out", self.name),
        ))
    }

    /// A name for logs, environment and file names.
    pub(super) fn plain(&self) -> Parsed<String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if self.text.is_empty() || self.text.len() > 64 || !self.text.chars().all(good) {
            return Err(self.wrong("use 1 to 64 letters, digits, dots, dashes or underscores"));
        }
        Ok(self.text.to_owned())
    }
}

pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

pub(super) fn proc_action(value: &Value<'_>) -> Parsed<ProcAction> {
    match value.text {
        "restart" => Ok(ProcAction::Restart),
        "stopstart" => Ok(ProcAction::StopStart),
        "stop" => Ok(ProcAction::Stop),
        "noaction" => Ok(ProcAction::NoAction),
        _ => Err(value.wrong("write restart, stopstart, stop or noaction")),
    }
}

pub(super) fn directory(value: &Value<'_>) -> Parsed<String> {
    let text = value.text;
    if !text.starts_with('/') {
        return Err(value.wrong("write an absolute path, beginning with /"));
    }
    let path = text.trim_end_matches('/');
    let bad = path.split('/').skip(1).any(|part| part.is_empty() || part == "." || part == ".." || part.len() > 255);
    if path.is_empty() || path.len() > 1024 || bad || path.chars().any(char::is_control) {
        return Err(value.wrong("write a plain absolute path below /, without \".\", \"..\" or empty parts"));
    }
    Ok(path.to_owned())
}
