//! Runs the simulator: one seed with one legible line per step, or many with one line of counts.

use clap::Parser;
use holdfast_sim as sim;
use std::process::ExitCode;
use std::time::Instant;

/// Simulates two nodes under faults and checks that no acknowledged write is ever lost.
#[derive(Parser)]
struct Arguments {
    /// Replay one seed, with every step.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run this many seeds.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let report = sim::run_seed(seed, true);
        for line in &report.log {
            println!("{line}");
        }
        return match report.violation {
            None => ExitCode::SUCCESS,
            Some(violation) => {
                println!("seed {seed}: {violation}");
                ExitCode::FAILURE
            }
        };
    }
    let begun = Instant::now();
    let (totals, failures) = sim::run_many(arguments.from, arguments.seeds, Default::default(), 10);
    for report in &failures {
        println!("{}\n  replay: cargo xtask sim --seed {}", report.violation.as_deref().unwrap_or(""), report.seed);
    }
    let pace = totals.seeds as f64 / begun.elapsed().as_secs_f64();
    println!("{totals}; {} failed; {pace:.0} seeds/s", failures.len());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
