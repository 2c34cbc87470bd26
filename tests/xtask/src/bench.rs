//! `cargo xtask bench`: says which benchmarks exist.

use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which benchmark, and where to put its figures.
#[derive(Args)]
pub struct BenchArguments {
    /// Its name.
    name: Option<String>,
    /// Write `[{"name","value","unit","baseline","ratio","target","met"}]` there.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// No benchmark exists yet: says so; asked for one by name, fails.
///
/// # Errors
/// A name was given.
pub fn run(arguments: &BenchArguments) -> Result<ExitCode> {
    if let Some(name) = &arguments.name {
        let file =
            arguments.json.as_ref().map(|file| format!(" ({} was not written)", file.display())).unwrap_or_default();
        bail!(
            "there is no benchmark `{name}`: none exists in this version{file}; `cargo demo --exercise` prints failover and resync times"
        );
    }
    println!(
        "No benchmark exists in this version. `cargo demo --exercise` prints failover, resync and swap times of one run."
    );
    Ok(ExitCode::SUCCESS)
}
