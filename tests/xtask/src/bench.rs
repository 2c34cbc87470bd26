//! `cargo xtask bench`: builds the bench program and what it measures, and hands over.

use crate::{command, demo, install, modules};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Which benchmark, and where to put its figures.
#[derive(Args)]
pub struct BenchArguments {
    /// Its name; without one, lists those that exist.
    #[arg(value_enum)]
    name: Option<Name>,
    /// Faults of each kind.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Write `[{"name","value","unit","baseline","ratio","target","met"}]` there.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// From a fault to an answer on the virtual address, beside keepalived; swap and stop.
    Failover,
    /// What the agents of 32 modules cost while nothing happens.
    Idle,
}

impl Name {
    /// As typed.
    fn word(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Idle => "idle",
        }
    }

    /// Packages of what it measures Holdfast beside.
    fn peers(self) -> &'static [&'static str] {
        match self {
            Self::Failover => install::PEERS,
            Self::Idle => &[],
        }
    }
}

/// Runs the benchmark; its exit code is ours. A missed target is told in the table and is no failure.
///
/// # Errors
/// Not root, or something cannot be installed or built.
pub fn run(root: &Path, arguments: &BenchArguments) -> Result<ExitCode> {
    let Some(name) = arguments.name else {
        println!("failover   from a fault to an answer on the virtual address, beside keepalived; swap and stop");
        println!("idle       what the agents of 32 modules cost while nothing happens");
        return Ok(ExitCode::SUCCESS);
    };
    let word = name.word();
    if !command::is_root() {
        let line = command::with_sudo(&format!("xtask bench {word}"));
        bail!("the benches make network and mount namespaces, which needs root. Run:\n    {line}");
    }
    install::packages(install::LAB, "The bench")?;
    install::packages(name.peers(), "The bench")?;
    demo::build(root)?;
    let program = modules::target_directory(root).join("debug/holdfast-bench");
    let mut bench = Command::new(&program);
    bench.args([word, "--runs", &arguments.runs.to_string()]);
    if let Some(json) = &arguments.json {
        bench.arg("--json").arg(json);
    }
    let status = bench.status().with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
