//! Two people edited the same settings: what each changed, put together.

use holdfast_api::config::ModuleSettings;

/// `theirs` with what `mine` changes of `base`, and the fields that both changed differently (mine are taken).
pub fn merge(
    base: &ModuleSettings,
    mine: &ModuleSettings,
    theirs: &ModuleSettings,
) -> (ModuleSettings, Vec<&'static str>) {
    let mut merged = theirs.clone();
    let mut both = Vec::new();
    macro_rules! fields {
        ($($field:ident),*) => {$(
            if mine.$field != base.$field {
                if theirs.$field != base.$field && theirs.$field != mine.$field {
                    both.push(stringify!($field));
                }
                merged.$field.clone_from(&mine.$field);
            }
        )*};
    }
    fields!(
        pulse_ms,
        timeout_ms,
        networks,
        flow,
        maxloop,
        loop_interval_h,
        directories,
        addresses,
        polltimer_s,
        processes,
        checkers,
        witness,
        macros,
        scripts
    );
    (merged, both)
}

#[cfg(test)]
mod tests {
    use super::merge;
    use holdfast_api::config::ModuleSettings;

    #[test]
    fn changes_of_both_are_kept_and_what_both_changed_is_named() {
        let base = ModuleSettings { maxloop: 3, timeout_ms: 5000, ..ModuleSettings::default() };
        let mine = ModuleSettings { maxloop: 4, pulse_ms: 100, ..base.clone() };
        let theirs = ModuleSettings { maxloop: 5, timeout_ms: 9000, pulse_ms: 100, ..base.clone() };
        let (merged, both) = merge(&base, &mine, &theirs);
        assert_eq!((merged.maxloop, merged.timeout_ms, merged.pulse_ms), (4, 9000, 100));
        assert_eq!(both, ["maxloop"]);
    }
}
