//! One attribute value of `userconfig.xml`: numbers, times, names, paths; errors know their place.

use super::UserConfigError;
use super::define::{Attribute, Kind, Preset};
use super::schedule;
use roxmltree::TextPos;

pub(super) type Parsed<T> = Result<T, UserConfigError>;

pub(super) fn error_at(line: u32, column: u32, problem: impl Into<String>, cure: impl Into<String>) -> UserConfigError {
    UserConfigError { line, column, problem: problem.into(), cure: cure.into() }
}

pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

/// An attribute while it is read: as written, or its preset at the place of its element.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) attribute: &'static Attribute,
    /// With macros put in.
    pub(super) text: String,
    pub(super) pos: TextPos,
    pub(super) written: bool,
}

impl Value {
    pub(super) fn error(&self, problem: impl Into<String>, cure: impl Into<String>) -> UserConfigError {
        error_at(self.pos.row, self.pos.col, problem, cure)
    }

    pub(super) fn wrong(&self, cure: impl Into<String>) -> UserConfigError {
        self.error(format!("{}=\"{}\" is not accepted", self.attribute.name, shorten(&self.text)), cure)
    }

    fn mismatch(&self) -> UserConfigError {
        self.wrong(format!("write {}", self.attribute.kind.describe()))
    }

    /// Checks the text against its kind.
    pub(super) fn check(&self) -> Parsed<()> {
        let text = self.text.as_str();
        let good = match self.attribute.kind {
            Kind::Time { .. } => return self.time_ms().map(|_| ()),
            Kind::Number { .. } => return self.number().map(|_| ()),
            Kind::Count { .. } => return self.count().map(|_| ()),
            Kind::OneOf(words) => words.contains(&text),
            Kind::Only(words) if words.contains(&text) => true,
            Kind::Only(_) => {
                let problem = format!("{}=\"{}\" is not available in this version", self.attribute.name, shorten(text));
                let away = match self.attribute.preset {
                    Preset::Required(_) => "",
                    _ => ", or leave the attribute out",
                };
                return Err(self.error(problem, format!("write {}{away}", self.attribute.kind.describe())));
            }
            Kind::Name => {
                let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
                (1..=64).contains(&text.len()) && text.chars().all(good)
            }
            Kind::Address => {
                return crate::config::check_address(text)
                    .map_err(|problem| self.wrong(format!("correct it: {problem}")));
            }
            Kind::Directory => self.is_directory(),
            Kind::Schedule => {
                return schedule::check(text).map_err(|problem| self.wrong(format!("correct it: {problem}")));
            }
            Kind::Text { max } => (1..=max).contains(&text.len()) && !text.chars().any(char::is_control),
            Kind::Free { max } => text.len() <= max && !text.contains('\0'),
        };
        if good { Ok(()) } else { Err(self.mismatch()) }
    }

    pub(super) fn number(&self) -> Parsed<u64> {
        let (Kind::Number { min, max } | Kind::Count { min, max }) = self.attribute.kind else {
            return Err(self.mismatch());
        };
        let number = self.text.trim().parse::<u64>().ok().filter(|n| (min..=max).contains(n));
        number.ok_or_else(|| self.mismatch())
    }

    /// A number, or nothing for -1.
    pub(super) fn count(&self) -> Parsed<Option<u64>> {
        if self.text.trim() == "-1" { Ok(None) } else { self.number().map(Some) }
    }

    /// A time in milliseconds, rounded to them. What rounds to nothing in the attribute's own unit is an error.
    pub(super) fn time_ms(&self) -> Parsed<u64> {
        let Kind::Time { unit_ms, min_ms, max_ms } = self.attribute.kind else { return Err(self.mismatch()) };
        let text = self.text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, suffix) = text.split_at(digits);
        let factor_us = match suffix.trim() {
            "" => unit_ms.saturating_mul(1000),
            "d" => 24 * 3_600_000_000,
            "h" => 3_600_000_000,
            "m" => 60_000_000,
            "s" => 1_000_000,
            "ms" => 1000,
            "us" => 1,
            _ => return Err(self.mismatch()),
        };
        let number: u64 = number.parse().map_err(|_| self.mismatch())?;
        let us = number.checked_mul(factor_us).ok_or_else(|| self.mismatch())?;
        if us > 0 && us.saturating_mul(2) < unit_ms.saturating_mul(1000) {
            return Err(self.wrong("the value rounds to 0: write a longer time"));
        }
        let ms = us.saturating_add(500) / 1000;
        if (min_ms..=max_ms).contains(&ms) { Ok(ms) } else { Err(self.mismatch()) }
    }

    fn is_directory(&self) -> bool {
        let path = self.text.trim_end_matches('/');
        let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 255;
        path.starts_with('/')
            && path.len() <= 1024
            && !path.split('/').skip(1).any(bad)
            && !path.chars().any(char::is_control)
    }
}
