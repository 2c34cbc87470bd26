//! `holdfast-bench`: what `cargo xtask bench` runs once everything is built.

use anyhow::Result;
use clap::Parser;
use holdfast_tests::bench::{self, Name, failover, idle, replication};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures Holdfast beside a baseline on this machine.
#[derive(Parser)]
struct Arguments {
    /// Which.
    name: Name,
    /// Faults of each kind that failover measures; turns of each measurement of replication.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Unchanged files of the resync that replication measures (issue: 100000).
    #[arg(long, default_value_t = 20_000)]
    files: usize,
    /// Only these parts of replication.
    #[arg(long, value_delimiter = ',')]
    only: Vec<replication::Part>,
    /// Write the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let rows = match arguments.name {
        Name::Failover => failover::run(arguments.runs)?,
        Name::Replication => replication::run(&replication::Options {
            rounds: arguments.runs,
            files: arguments.files,
            only: arguments.only.clone(),
        })?,
        Name::Idle => idle::run()?,
    };
    bench::print(&rows);
    match &arguments.json {
        Some(file) => bench::write_json(&rows, file),
        None => Ok(()),
    }
}
