//! Settings of the server: how long a certificate lasts, what was typed, and what a change deletes.

use crate::language::{t, tf};
use holdfast_api::console::Retention;
use holdfast_api::problem::FieldProblem;

/// Days before the end of a certificate from which on the console warns.
const WARN_DAYS: u64 = 30;
const DAY_MS: u64 = 86_400_000;

/// How long a certificate lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// Nothing to do yet.
    Long,
    /// Soon over, in whole days.
    Days(u64),
    /// It has expired.
    Over,
}

/// How long a certificate that ends at `end` lasts from `now` on (both Unix milliseconds).
pub fn lasts(end: u64, now: u64) -> Lasts {
    match end.checked_sub(now) {
        None => Lasts::Over,
        Some(left) if left / DAY_MS < WARN_DAYS => Lasts::Days(left / DAY_MS),
        Some(_) => Lasts::Long,
    }
}

/// What follows from switching the console over plain http on or off; `plain`: this page came over it.
pub fn plain_consequences(on: bool, plain: bool) -> Vec<String> {
    let said = match (on, plain) {
        (true, _) => vec![
            t!("Each node in contact serves the console on port 9010 without encryption."),
            t!(
                "Everybody on the way can read the passwords and use the sessions of those who log in there, and so command the modules."
            ),
            t!(
                "Users, passwords, tokens, pairing codes and certificates are refused there: for these the console is opened with https."
            ),
        ],
        (false, false) => vec![t!(
            "Sessions over plain http end at once. Health addresses and the page of each node stay on port 9010."
        )],
        (false, true) => vec![t!("Sessions over plain http end at once, this one too: log in again with https.")],
    };
    said.into_iter().map(str::to_owned).collect()
}

/// What was typed, or everything wrong with it.
///
/// # Errors
/// A number is none, or out of its range.
pub fn retention(snapshots: &str, snapshot_days: &str, audit_days: &str) -> Result<Retention, Vec<FieldProblem>> {
    let mut problems = Vec::new();
    let mut number = |field: &str, text: &str| {
        text.trim().parse().unwrap_or_else(|_| {
            problems.push(FieldProblem::new(field, t!("a whole number")));
            1
        })
    };
    let typed = Retention {
        snapshots: number("snapshots", snapshots),
        snapshot_days: number("snapshot_days", snapshot_days),
        audit_days: number("audit_days", audit_days),
    };
    problems.extend(typed.validate());
    if problems.is_empty() { Ok(typed) } else { Err(problems) }
}

/// What is deleted at once when `new` comes after `old`, in sentences; empty: nothing.
pub fn deleted_by(old: &Retention, new: &Retention) -> Vec<String> {
    let shorter = |old: u32, new: u32| new > 0 && (old == 0 || new < old);
    let mut gone = Vec::new();
    if shorter(old.snapshot_days, new.snapshot_days) {
        gone.push(tf!("Snapshots older than {0} days are deleted at once, and from now on.", 0 = new.snapshot_days));
    }
    if shorter(old.audit_days, new.audit_days) {
        gone.push(tf!(
            "What was done more than {0} days ago is forgotten at once, and from now on.",
            0 = new.audit_days
        ));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, Lasts, deleted_by, lasts, retention};
    use holdfast_api::console::Retention;

    #[test]
    fn a_certificate_is_told_of_a_month_before_its_end() {
        assert_eq!(lasts(40 * DAY_MS, DAY_MS), Lasts::Long);
        assert_eq!(lasts(31 * DAY_MS, DAY_MS), Lasts::Long);
        assert_eq!(lasts(31 * DAY_MS, DAY_MS + 1), Lasts::Days(29));
        assert_eq!(lasts(31 * DAY_MS, 31 * DAY_MS), Lasts::Days(0));
        assert_eq!(lasts(31 * DAY_MS, 31 * DAY_MS + 1), Lasts::Over);
    }

    #[test]
    fn what_is_no_number_or_too_much_is_named_by_its_field() {
        assert_eq!(retention(" 5", "0", "30 "), Ok(Retention { snapshots: 5, snapshot_days: 0, audit_days: 30 }));
        let fields = |typed: Result<Retention, Vec<_>>| -> Vec<String> {
            typed.err().into_iter().flatten().map(|problem: super::FieldProblem| problem.field).collect()
        };
        assert_eq!(fields(retention("many", "-1", "1")), ["snapshots", "snapshot_days"]);
        assert_eq!(fields(retention("0", "40000", "1")), ["snapshots", "snapshot_days"]);
    }

    #[test]
    fn only_a_shorter_time_deletes_something() {
        let keeps = |snapshot_days, audit_days| Retention { snapshots: 9, snapshot_days, audit_days };
        assert!(deleted_by(&keeps(10, 0), &keeps(0, 0)).is_empty());
        assert!(deleted_by(&keeps(10, 5), &keeps(20, 5)).is_empty());
        assert!(deleted_by(&keeps(10, 5), &keeps(9, 5))[0].contains("older than 9 days"));
        assert_eq!(deleted_by(&keeps(0, 0), &keeps(1, 1)).len(), 2);
    }
}
