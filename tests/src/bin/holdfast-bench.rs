//! `holdfast-bench`: what `cargo xtask bench` runs once everything is built.

use anyhow::Result;
use clap::Parser;
use holdfast_tests::bench::{self, Name, failover, idle};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures Holdfast beside a baseline on this machine.
#[derive(Parser)]
struct Arguments {
    /// Which.
    name: Name,
    /// Faults of each kind that failover measures.
    #[arg(long, default_value_t = 5)]
    runs: usize,
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
        Name::Idle => idle::run()?,
    };
    bench::print(&rows);
    match &arguments.json {
        Some(file) => bench::write_json(&rows, file),
        None => Ok(()),
    }
}
