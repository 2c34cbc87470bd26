//! The simulator's ring: seeds that must hold, and broken rules that must be found.

use holdfast_core::settings::BrokenRules;
use holdfast_sim as sim;
use std::time::Instant;

/// Seeds that must hold, and within which a broken rule must show.
const SEEDS: u64 = 2000;

#[test]
fn no_seed_loses_an_acknowledged_write_or_fails_to_recover() {
    let begun = Instant::now();
    let (totals, failures) = sim::run_many(1, SEEDS, BrokenRules::default(), 5);
    println!("{totals}; {:.0} seeds/s", totals.seeds as f64 / begun.elapsed().as_secs_f64());
    let lines: Vec<String> = failures
        .iter()
        .map(|report| {
            let violation = report.violation.as_deref().unwrap_or("");
            format!("{violation}\n  replay: cargo xtask sim --seed {}", report.seed)
        })
        .collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
    assert!(totals.acknowledged > 0 && totals.grants > totals.seeds, "idle: {totals}");
    assert!(totals.register_grants > totals.seeds, "the register is not asked: {totals}");
    assert!(totals.modules > totals.seeds * 2, "too few modules: {totals}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (once, again) = (sim::run_seed(7, true), sim::run_seed(7, true));
    assert_eq!(once.log, again.log);
    assert_eq!(once.steps, again.steps);
}

fn is_found(what: &str, broken: BrokenRules) {
    let (totals, failures) = sim::run_many(1, SEEDS, broken, 1);
    assert!(!failures.is_empty(), "{what} is not found: {totals}");
    println!("{what}: found by seed {}: {}", failures[0].seed, failures[0].violation.as_deref().unwrap_or(""));
}

#[test]
fn a_primary_that_goes_on_alone_without_asking_is_found() {
    is_found("going on without asking", BrokenRules { continue_without_asking: true, ..BrokenRules::default() });
}

#[test]
fn a_resync_completed_while_solo_is_found() {
    is_found("completing while solo", BrokenRules { complete_while_solo: true, ..BrokenRules::default() });
}

#[test]
fn a_node_that_ignores_its_own_suspension_is_found() {
    is_found("ignoring suspension", BrokenRules { ignore_suspension: true, ..BrokenRules::default() });
}

#[test]
fn an_inconsistent_copy_that_is_promoted_is_found() {
    is_found("promoting an inconsistent copy", BrokenRules { promote_inconsistent: true, ..BrokenRules::default() });
}

#[test]
fn a_promise_that_is_not_saved_is_found() {
    is_found("promising without saving", BrokenRules { promise_without_saving: true, ..BrokenRules::default() });
}

#[test]
fn a_restarted_node_that_starts_alone_though_not_solo_is_found() {
    let broken = BrokenRules { start_alone_when_not_solo: true, ..BrokenRules::default() };
    is_found("starting alone when not solo", broken);
}

#[test]
fn a_diverged_copy_that_is_overwritten_unasked_is_found() {
    is_found("overwriting a diverged copy", BrokenRules { overwrite_diverged: true, ..BrokenRules::default() });
}

#[test]
fn files_that_a_new_configuration_covers_and_are_overwritten_unasked_are_found() {
    is_found("overwriting what was not covered", BrokenRules { overwrite_uncovered: true, ..BrokenRules::default() });
}

#[test]
fn a_peer_that_is_never_heard_again_once_it_counts_its_starts_lower_is_found() {
    let broken = BrokenRules { refuse_older_for_good: true, ..BrokenRules::default() };
    is_found("refusing a restored peer for good", broken);
}

#[test]
fn a_node_that_acts_before_it_saves_is_found() {
    is_found("acting before saving", BrokenRules { act_before_saving: true, ..BrokenRules::default() });
}

#[test]
fn an_old_answer_of_the_witness_that_is_believed_is_found() {
    is_found("believing old answers", BrokenRules { believe_old_answers: true, ..BrokenRules::default() });
}

#[test]
fn a_node_that_goes_on_in_silence_despite_its_register_is_found() {
    is_found("silence despite a register", BrokenRules { silence_despite_register: true, ..BrokenRules::default() });
}

#[test]
fn nodes_that_pair_with_unequal_configurations_are_found() {
    is_found("ignoring unequal configurations", BrokenRules { ignore_signature: true, ..BrokenRules::default() });
}

#[test]
fn a_node_that_goes_on_across_a_restart_as_if_in_sync_is_found() {
    is_found("resuming across a reboot", BrokenRules { resume_across_reboot: true, ..BrokenRules::default() });
}

#[test]
fn a_register_asked_for_whatever_number_is_free_is_found() {
    is_found("asking beyond the next number", BrokenRules { ask_beyond: true, ..BrokenRules::default() });
}

#[test]
fn a_restored_register_that_grants_before_the_nodes_have_reported_is_found() {
    is_found("granting unarmed", BrokenRules { grant_unarmed: true, ..BrokenRules::default() });
}

#[test]
fn a_node_that_believes_done_what_could_not_be_begun_is_found() {
    let broken = BrokenRules { dropped_counts_as_done: true, ..BrokenRules::default() };
    is_found("believing done what could not be begun", broken);
}

#[test]
fn a_restarted_agent_that_takes_no_notice_of_how_long_it_was_away_is_found() {
    is_found("adopting as if never away", BrokenRules { adopt_as_if_never_away: true, ..BrokenRules::default() });
}

#[test]
fn a_restarted_agent_that_believes_what_was_written_down_long_before_is_found() {
    is_found("adopting what was left", BrokenRules { adopt_what_was_left: true, ..BrokenRules::default() });
}

#[test]
fn a_restarted_agent_that_counts_silence_anew_is_found() {
    let broken = BrokenRules { adopt_counting_silence_anew: true, ..BrokenRules::default() };
    is_found("counting silence anew", broken);
}

#[test]
fn a_module_that_starts_again_on_a_ledger_nobody_knows_is_found() {
    let broken = BrokenRules { start_without_saving_again: true, ..BrokenRules::default() };
    is_found("starting without saving again", broken);
}

#[test]
fn a_node_that_says_it_lives_after_a_sleep_in_the_midst_of_a_save_is_found() {
    is_found("sleeping while saving", BrokenRules { sleep_while_saving: true, ..BrokenRules::default() });
}

#[test]
fn a_save_that_is_waited_for_whoever_else_waits_is_found() {
    is_found("saving for ever", BrokenRules { save_for_ever: true, ..BrokenRules::default() });
}
