//! The comparison of both copies by schedule, in words: that it goes on, when the next begins, how the last went.

use crate::language::{t, tf};
use crate::rules::text;
use crate::rules::tone::Tone;
use holdfast_api::agent::{ScrubReport, ScrubResult};
use holdfast_api::state::ModuleState;

/// What there is to say on a node in this state, each with its tone; `moment` writes a day and time of day.
pub fn said(scrub: &ScrubReport, state: ModuleState, moment: &dyn Fn(u64) -> String) -> Vec<(Tone, String)> {
    let mut found = Vec::new();
    if scrub.running {
        found.push((Tone::Busy, t!("Both copies are being compared.").to_owned()));
    } else if let (ModuleState::Prim | ModuleState::Alone, Some(next)) = (state, scrub.next_unix_ms) {
        let next = moment(next);
        found.push((
            Tone::Idle,
            match state {
                ModuleState::Prim => tf!("Both copies are compared next on {next}.", next),
                _ => tf!("Both copies are compared on {next}, if the secondary is back by then.", next),
            },
        ));
    }
    found.extend(scrub.last.as_ref().map(|last| of_last(last, moment)));
    found
}

fn of_last(last: &ScrubResult, moment: &dyn Fn(u64) -> String) -> (Tone, String) {
    let when = moment(last.ended_unix_ms);
    if let Some(why) = &last.failed {
        return (Tone::Bad, tf!("The comparison of {when} did not come to its end: {why}", when, why));
    }
    let compared =
        tf!("{0} in {1}", 0 = text::bytes(last.bytes), 1 = text::count(last.entries, t!("entry"), t!("entries")));
    if last.differences == 0 {
        return (Tone::Ok, tf!("Compared on {when}: {compared}, no difference.", when, compared));
    }
    let found = text::count(last.differences, t!("difference"), t!("differences"));
    let mut said = tf!("Compared on {when}: {found} in {compared}.", when, found, compared);
    for one in &last.named {
        said.push_str(&format!(" `{one}`"));
    }
    (Tone::Bad, said)
}

#[cfg(test)]
mod tests {
    use super::said;
    use crate::rules::tone::Tone;
    use holdfast_api::agent::{ScrubReport, ScrubResult};
    use holdfast_api::state::ModuleState;

    fn report(running: bool, last: Option<ScrubResult>) -> ScrubReport {
        ScrubReport { schedule: "30 3 * * SUN".into(), next_unix_ms: Some(7), running, last }
    }

    fn result(differences: u64, failed: Option<&str>) -> ScrubResult {
        let named = if differences == 0 { vec![] } else { vec!["a/b: size, 1 and 2".to_owned()] };
        let failed = failed.map(str::to_owned);
        ScrubResult { began_unix_ms: 1, ended_unix_ms: 2, entries: 3, bytes: 2048, differences, named, failed }
    }

    fn of(scrub: &ScrubReport, state: ModuleState) -> Vec<(Tone, String)> {
        said(scrub, state, &|at| format!("day {at}"))
    }

    #[test]
    fn only_a_node_that_would_begin_it_tells_of_the_next() {
        let scrub = report(false, None);
        assert_eq!(of(&scrub, ModuleState::Prim)[0].1, "Both copies are compared next on day 7.");
        assert!(of(&scrub, ModuleState::Alone)[0].1.contains("if the secondary is back"));
        assert_eq!(of(&scrub, ModuleState::Second), []);
        assert_eq!(of(&report(true, None), ModuleState::Prim)[0].0, Tone::Busy);
    }

    #[test]
    fn the_last_one_is_told_as_it_went() {
        let of_last = |result| of(&report(false, Some(result)), ModuleState::Second).remove(0);
        assert_eq!(
            of_last(result(0, None)),
            (Tone::Ok, "Compared on day 2: 2.0 KiB in 3 entries, no difference.".into())
        );
        let differs = of_last(result(1, None));
        assert_eq!(differs.0, Tone::Bad);
        assert!(differs.1.contains("1 difference in") && differs.1.ends_with("`a/b: size, 1 and 2`"), "{}", differs.1);
        let failed = of_last(result(0, Some("the secondary went away")));
        assert!(failed.0 == Tone::Bad && failed.1.contains("the secondary went away"), "{}", failed.1);
    }
}
