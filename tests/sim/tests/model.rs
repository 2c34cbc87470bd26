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
