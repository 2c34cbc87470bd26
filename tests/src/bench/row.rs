//! A figure beside its baseline and target, as a table for people and as JSON.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The same thing of the baseline, in the same run and unit.
    pub baseline: Option<f64>,
    /// `value / baseline`.
    pub ratio: Option<f64>,
    /// What it should be at most (at least, for [`Row::at_least`]): the ratio where there is a baseline, else the value.
    pub target: Option<f64>,
    /// Whether it is.
    pub met: Option<bool>,
    /// Whether more is better.
    #[serde(skip)]
    pub more_is_better: bool,
}

impl Row {
    /// A figure that should be at most `target` times `baseline`.
    pub fn against(name: &str, value: f64, unit: &'static str, baseline: f64, target: f64) -> Self {
        let ratio = value / baseline;
        Self { target: Some(target), met: Some(ratio <= target), ..Self::beside(name, value, unit, baseline) }
    }

    /// A figure that should be at least `target` times `baseline`.
    pub fn at_least(name: &str, value: f64, unit: &'static str, baseline: f64, target: f64) -> Self {
        let met = Some(value / baseline >= target);
        Self { target: Some(target), met, more_is_better: true, ..Self::beside(name, value, unit, baseline) }
    }

    /// A figure shown beside `baseline`, without a target.
    pub fn beside(name: &str, value: f64, unit: &'static str, baseline: f64) -> Self {
        let (baseline, ratio) = (Some(baseline), Some(value / baseline));
        Self { name: name.to_owned(), value, unit, baseline, ratio, target: None, met: None, more_is_better: false }
    }

    /// A figure on its own.
    pub fn plain(name: &str, value: f64, unit: &'static str) -> Self {
        let (baseline, ratio, target, met) = (None, None, None, None);
        Self { name: name.to_owned(), value, unit, baseline, ratio, target, met, more_is_better: false }
    }

    /// A figure that should be at most `target`.
    pub fn at_most(name: &str, value: f64, unit: &'static str, target: f64) -> Self {
        Self { target: Some(target), met: Some(value <= target), ..Self::plain(name, value, unit) }
    }
}

/// Prints a table.
pub fn print(rows: &[Row]) {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(58);
    println!("{:<width$}{:>10} {:<6}{:>10}{:>8}{:>9}  met", "figure", "value", "unit", "baseline", "ratio", "target");
    for row in rows {
        let met = row.met.map_or("-", |met| if met { "yes" } else { "NO" });
        println!(
            "{:<width$}{:>10.2} {:<6}{:>10}{:>8}{:>9}  {met}",
            row.name,
            row.value,
            row.unit,
            number(row.baseline),
            number(row.ratio),
            row.target.map_or_else(
                || "-".to_owned(),
                |target| { format!("{} {target:.2}", if row.more_is_better { "≥" } else { "≤" }) }
            )
        );
    }
}

/// Writes the rows as a JSON list.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(rows: &[Row], file: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(rows)?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn a_target_is_a_ratio_where_there_is_a_baseline() {
        assert_eq!(Row::against("a", 300.0, "ms", 320.0, 1.0).met, Some(true));
        assert_eq!(Row::against("a", 330.0, "ms", 320.0, 1.0).met, Some(false));
        assert_eq!(Row::at_most("a", 101.0, "ms", 100.0).met, Some(false));
        assert_eq!(Row::at_least("a", 90.0, "op/s", 100.0, 0.85).met, Some(true));
        assert_eq!(Row::at_least("a", 80.0, "op/s", 100.0, 0.85).met, Some(false));
        assert_eq!(Row::beside("a", 80.0, "op/s", 100.0).met, None);
    }
}
