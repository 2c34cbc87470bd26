//! The namespaces ring: the real programs on hosts made of namespaces, through crashes, cuts and operators' commands.
//!
//! A runner of its own (one lab at a time, reused by scenarios while it is healthy); its lines are those of `cargo test`.
//! `cargo test --test namespaces -- swap kill` runs the scenarios whose names hold one of the words.

#[path = "namespaces/acceptance.rs"]
mod acceptance;
#[path = "namespaces/bench.rs"]
mod bench;
#[path = "namespaces/boots.rs"]
mod boots;
#[path = "namespaces/caller.rs"]
mod caller;
#[path = "namespaces/checks.rs"]
mod checks;
#[path = "namespaces/cluster.rs"]
mod cluster;
#[path = "namespaces/commands.rs"]
mod commands;
#[path = "namespaces/console.rs"]
mod console;
#[path = "namespaces/covers.rs"]
mod covers;
#[path = "namespaces/crashes.rs"]
mod crashes;
#[path = "namespaces/curl.rs"]
mod curl;
#[path = "namespaces/data.rs"]
mod data;
#[path = "namespaces/disks.rs"]
mod disks;
#[path = "namespaces/faults.rs"]
mod faults;
#[path = "namespaces/journal.rs"]
mod journal;
#[path = "namespaces/kills.rs"]
mod kills;
#[path = "namespaces/ledger.rs"]
mod ledger;
#[path = "namespaces/leftovers.rs"]
mod leftovers;
#[path = "namespaces/links.rs"]
mod links;
#[path = "namespaces/plumbing.rs"]
mod plumbing;
#[path = "namespaces/repeated.rs"]
mod repeated;
#[path = "namespaces/rfs.rs"]
mod rfs;
#[path = "namespaces/serverless.rs"]
mod serverless;
#[path = "namespaces/suites.rs"]
mod suites;
#[path = "namespaces/unheld.rs"]
mod unheld;
#[path = "namespaces/upgrades.rs"]
mod upgrades;
#[path = "namespaces/vip.rs"]
mod vip;
#[path = "namespaces/witness.rs"]
mod witness;

use bench::{Bench, Scenario};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(plumbing::HANG) => return plumbing::hang(),
        Some(ledger::FAULTY_DISK) => return ledger::faulty_disk(&arguments[1..]),
        Some(caller::TIME_CALLS) => return caller::time_calls(&arguments[1..]),
        Some(disks::SHUT_DOWN) => return disks::shut_down(&arguments[1..]),
        Some(data::WRITE_MAPPED) => return data::write_mapped(&arguments[1..]),
        _ => {}
    }
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let all: Vec<Scenario> = [
        plumbing::SCENARIOS,
        checks::SCENARIOS,
        repeated::SCENARIOS,
        acceptance::SCENARIOS,
        commands::SCENARIOS,
        crashes::SCENARIOS,
        kills::SCENARIOS,
        links::SCENARIOS,
        serverless::SCENARIOS,
        console::SCENARIOS,
        curl::SCENARIOS,
        boots::SCENARIOS,
        leftovers::SCENARIOS,
        journal::SCENARIOS,
        data::SCENARIOS,
        suites::SCENARIOS,
        upgrades::SCENARIOS,
        unheld::SCENARIOS,
        faults::SCENARIOS,
        disks::SCENARIOS,
        rfs::SCENARIOS,
        covers::SCENARIOS,
        ledger::SCENARIOS,
        vip::SCENARIOS,
        witness::SCENARIOS,
        cluster::SCENARIOS,
    ]
    .concat();
    let wanted: Vec<&Scenario> = all
        .iter()
        .filter(|scenario| words.is_empty() || words.iter().any(|word| scenario.name.contains(word.as_str())))
        .collect();
    if arguments.iter().any(|word| word == "--list") {
        wanted.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let began = Instant::now();
    let failures = run(&wanted);
    let word = if failures.is_empty() { "ok" } else { "FAILED" };
    for name in &failures {
        println!("failed: {name}");
    }
    println!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        wanted.len() - failures.len(),
        failures.len(),
        all.len() - wanted.len(),
        began.elapsed().as_secs_f64()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the scenarios one after another; names of those that failed.
fn run(scenarios: &[&Scenario]) -> Vec<&'static str> {
    let mut bench = Bench::default();
    let mut failures = Vec::new();
    for scenario in scenarios {
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut bench)));
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("it panicked; see above".to_owned()),
        };
        let word = if failure.is_none() { "ok" } else { "FAILED" };
        println!("test {} ... {word} <{:.1}s>", scenario.name, began.elapsed().as_secs_f64());
        if let Some(reason) = failure {
            println!("{reason}{}", bench.diagnosis());
            // What a failed scenario left is nothing to build on.
            bench = Bench::default();
            failures.push(scenario.name);
        }
    }
    failures
}
