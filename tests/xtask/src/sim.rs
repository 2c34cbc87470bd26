//! `cargo xtask sim`: builds the simulator and hands its arguments over.

use crate::{command, modules};
use anyhow::Result;
use clap::Args;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Everything after `sim`; `holdfast-sim` knows what it means (`cargo xtask sim --help` asks it).
#[derive(Args)]
pub struct SimArguments {
    /// As `holdfast-sim` takes them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the simulator; its exit code is ours.
///
/// # Errors
/// It cannot be built or started.
pub fn run(root: &Path, arguments: &SimArguments) -> Result<ExitCode> {
    let status = program(root, "holdfast-sim")?.args(&arguments.arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A program of the workspace, built.
///
/// # Errors
/// It cannot be built.
pub fn program(root: &Path, name: &str) -> Result<Command> {
    command::run(&mut command::cargo(root, &["build", "-q", "--bin", name]))?;
    Ok(Command::new(modules::target_directory(root).join("debug").join(name)))
}
