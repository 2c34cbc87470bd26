//! Runs the simulator: one seed with one legible line per step, or many with one line of counts.

use clap::Parser;
use holdfast_sim as sim;
use sim::{Campaign, Totals};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Simulates modules on two or three nodes under faults and checks that no acknowledged write is ever lost.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Arguments {
    /// Replay one seed, with every step.
    #[arg(long, conflicts_with_all = ["seeds", "for_minutes", "from", "resume", "depth"])]
    seed: Option<u64>,
    /// Run this many seeds (500 unless a time is given).
    #[arg(long)]
    seeds: Option<u64>,
    /// Run seeds for this long.
    #[arg(long)]
    for_minutes: Option<u64>,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Go on after the seeds that this file says are done (if it is there), and note there what is done.
    #[arg(long, conflicts_with = "from")]
    resume: Option<PathBuf>,
    /// Instead, check every sequence of this many events with the model checker.
    #[arg(long, conflicts_with_all = ["seeds", "for_minutes", "from", "resume"])]
    depth: Option<usize>,
}

/// Failures after which no more seeds are begun.
const FAILURES_MAX: usize = 10;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.seed, arguments.depth) {
        (Some(seed), _) => replay(seed),
        (None, Some(depth)) => {
            println!("{}", sim::model::check(depth));
            Ok(())
        }
        (None, None) => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn replay(seed: u64) -> Result<(), String> {
    let report = sim::run_seed(seed, true);
    for line in &report.log {
        println!("{line}");
    }
    report.violation.map_or(Ok(()), |violation| Err(format!("seed {seed}: {violation}")))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let from = match &arguments.resume {
        Some(file) if file.exists() => next_seed(file)?,
        _ => arguments.from,
    };
    let (begun, limit) = (Instant::now(), arguments.for_minutes.map(|minutes| Duration::from_secs(minutes * 60)));
    let seeds = arguments.seeds.unwrap_or(if limit.is_some() { u64::MAX } else { 500 });
    let wanted = |seed: u64| seed - from < seeds && limit.is_none_or(|limit| begun.elapsed() < limit);
    let line = |totals: &Totals| {
        let pace = totals.seeds as f64 / begun.elapsed().as_secs_f64();
        format!("{totals}; {pace:.1} seeds/s")
    };
    let note = |totals: &Totals| arguments.resume.as_ref().map_or(Ok(()), |file| note_next(file, totals.next));
    let told = |totals: &Totals| {
        println!("{:>4} min: seeds {from} to {}: {}", begun.elapsed().as_secs() / 60, totals.next - 1, line(totals));
        if let Err(why) = note(totals) {
            println!("{why}");
        }
    };
    let every = Duration::from_secs(60);
    let campaign =
        Campaign { from, broken: Default::default(), failures_max: FAILURES_MAX, wanted: &wanted, told: &told, every };
    let (totals, failures) = campaign.run();
    for report in &failures {
        println!("{}\n  replay: cargo xtask sim --seed {}", report.violation.as_deref().unwrap_or(""), report.seed);
    }
    note(&totals)?;
    println!("{}", line(&totals));
    if failures.is_empty() { Ok(()) } else { Err(format!("{} seeds failed", totals.failed)) }
}

/// Reads the first seed that was not run.
fn next_seed(file: &Path) -> Result<u64, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {shown}: {error}"))?;
    text.trim().parse().map_err(|_| format!("{shown} holds no seed: remove it to begin with the first"))
}

fn note_next(file: &Path, next: u64) -> Result<(), String> {
    let new = file.with_extension("new");
    let saved = std::fs::write(&new, format!("{next}\n")).and_then(|()| std::fs::rename(&new, file));
    saved.map_err(|error| format!("cannot note in {} how far this run is: {error}", file.display()))
}
