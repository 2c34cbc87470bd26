//! `cargo xtask sim`: builds the simulator and hands the seeds over.

use crate::{command, modules};
use anyhow::Result;
use clap::Args;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Which seeds.
#[derive(Args)]
pub struct SimArguments {
    /// Replay this seed, one legible line per step.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Run this many seeds; ends with one line of counts.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first of many seeds.
    #[arg(long, default_value_t = 1, requires = "seeds")]
    from: u64,
}

/// Runs the simulator; its exit code is ours.
///
/// # Errors
/// It cannot be built or started.
pub fn run(root: &Path, arguments: &SimArguments) -> Result<ExitCode> {
    let build = ["build", "-q", "-p", "holdfast-sim", "--bin", "holdfast-sim"];
    command::run(&mut command::cargo(root, &build))?;
    let mut simulator = Command::new(modules::target_directory(root).join("debug/holdfast-sim"));
    if let Some(seed) = arguments.seed {
        simulator.args(["--seed", &seed.to_string()]);
    }
    if let Some(seeds) = arguments.seeds {
        simulator.args(["--seeds", &seeds.to_string(), "--from", &arguments.from.to_string()]);
    }
    let status = simulator.status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
