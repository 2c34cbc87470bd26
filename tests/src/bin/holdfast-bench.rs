//! `holdfast-bench`: what `cargo xtask bench` runs once everything is built.

use anyhow::{Result, bail};
use clap::Parser;
use holdfast_tests::bench::{self, Heart, Name, console, failover, false_failover, idle, replication};
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
    /// How long false-failover watches, in minutes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Milliseconds between two heartbeats of false-failover and idle, instead of the mirror template's.
    #[arg(long)]
    pulse: Option<u64>,
    /// Heartbeat timeout of false-failover and idle in milliseconds, instead of the mirror template's.
    #[arg(long)]
    timeout: Option<u64>,
    /// Unchanged files of the resync that replication measures (issue: 100000).
    #[arg(long, default_value_t = 20_000)]
    files: usize,
    /// Files of the one directory that replication's crowd measures.
    #[arg(long, default_value_t = 1_000_000)]
    crowd: u64,
    /// Only these parts of replication.
    #[arg(long, value_delimiter = ',')]
    only: Vec<replication::Part>,
    /// Have replication measure GlusterFS, too.
    #[arg(long)]
    peers: bool,
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
    let heart = Heart::shipped_or(arguments.pulse, arguments.timeout)?;
    let rows = match arguments.name {
        Name::Failover => failover::run(arguments.runs)?,
        Name::Idle => idle::run(heart)?,
        Name::Console => console::run()?,
        Name::Page => bail!("the page is measured by holdfast-page: run `cargo xtask bench page`"),
        Name::FalseFailover => false_failover::run(arguments.minutes, heart)?,
        Name::Replication => replication::run(&replication::Options {
            rounds: arguments.runs,
            files: arguments.files,
            crowd: arguments.crowd,
            only: arguments.only.clone(),
            peers: arguments.peers,
        })?,
    };
    bench::print(&rows);
    if let Some(file) = &arguments.json {
        bench::write_json(&rows, file)?;
    }
    // A slow machine misses targets of time; a false failover is a fault on any.
    if arguments.name == Name::FalseFailover && rows.first().is_some_and(|row| row.met == Some(false)) {
        bail!("a node was taken for dead that was alive");
    }
    Ok(())
}
