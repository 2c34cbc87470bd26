//! The model checker's part of the simulation ring: every order of events to the bound, and broken rules that it finds.

use holdfast_core::settings::BrokenRules;
use holdfast_sim::model;

#[test]
fn with_a_register_at_most_one_node_serves_whatever_the_order_of_events() {
    println!("{}", model::check(model::DEPTH));
}

fn is_found(what: &str, broken: BrokenRules) {
    let events = model::two_serve(broken).unwrap_or_else(|| panic!("{what} is not found"));
    println!("{what}: {events:?}");
}

#[test]
fn a_node_that_goes_on_in_silence_despite_its_register_is_found() {
    is_found("silence despite a register", BrokenRules { silence_despite_register: true, ..BrokenRules::default() });
}

#[test]
fn a_grant_of_an_earlier_life_of_the_register_that_is_kept_is_found() {
    is_found("keeping old grants", BrokenRules { keep_old_grants: true, ..BrokenRules::default() });
}

#[test]
fn of_three_contenders_the_register_lets_one_serve_whatever_is_lost_repeated_or_restored() {
    println!("{}", model::three::check());
}

#[test]
fn rules_without_which_two_of_three_contenders_could_serve_are_found() {
    let obeyed = BrokenRules::default();
    for (what, broken) in [
        ("starting in silence", BrokenRules { start_alone_when_not_solo: true, ..obeyed }),
        ("asking for whatever is free", BrokenRules { ask_beyond: true, ..obeyed }),
        ("granting before all have reported", BrokenRules { grant_unarmed: true, ..obeyed }),
        ("believing a stranger", BrokenRules { believe_strangers: true, ..obeyed }),
    ] {
        let (property, events) = model::three::breaks(broken).unwrap_or_else(|| panic!("{what} is not found"));
        println!("{what}: not \"{property}\" after {events} events");
    }
}
