//! `cargo xtask bench`: builds the bench program and what it measures, and hands over.

#[path = "../../src/bench/name.rs"]
mod name;

use crate::{build_console, command, demo, install, modules};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use name::Name;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Which benchmark, and where to put its figures.
#[derive(Args)]
pub struct BenchArguments {
    /// Its name; without one, lists those that exist.
    #[arg(value_enum)]
    name: Option<Name>,
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
    /// Unchanged files of the resync that replication measures; 100000 takes minutes more.
    #[arg(long)]
    files: Option<usize>,
    /// Folder into which page writes how the time of each screen was spent (`.cpuprofile`).
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Only these parts of replication, separated by commas: writes, intents, mapped, reads, trees, commits, resyncs,
    /// yielding, memory, crowd (a million files: minutes, only by name), peers (with --peers).
    #[arg(long)]
    only: Option<String>,
    /// Have replication do the same on GlusterFS, from Debian's package: minutes more.
    #[arg(long)]
    peers: bool,
    /// Write `[{"name","value","unit","baseline","ratio","target","met"}]` there.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Packages of what a bench measures Holdfast beside.
fn peers(name: Name, more: bool) -> Vec<&'static str> {
    match name {
        Name::Failover => install::PEERS.to_vec(),
        Name::Replication if more => [install::PASSTHROUGH, install::POSTGRESQL, install::GLUSTERFS].concat(),
        Name::Replication => [install::PASSTHROUGH, install::POSTGRESQL].concat(),
        Name::Page => install::BROWSER.to_vec(),
        Name::Idle | Name::FalseFailover | Name::Console => Vec::new(),
    }
}

/// The benches that exist, each with what it measures.
fn list() {
    for value in Name::value_variants().iter().filter_map(|name| name.to_possible_value()) {
        let help = value.get_help().map(|help| help.to_string()).unwrap_or_default();
        println!("{:<15} {help}", value.get_name());
    }
}

/// Half an hour without a false failover, of what is built already.
///
/// # Errors
/// There was one, or the modules did not come to their states.
pub fn steady(root: &Path) -> Result<()> {
    let word = Name::FalseFailover.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    command::run(Command::new(modules::target_directory(root).join("debug/holdfast-bench")).arg(word))
}

/// Runs the benchmark; its exit code is ours. A missed target is told in the table and is no failure.
///
/// # Errors
/// Not root, or something cannot be installed or built.
pub fn run(root: &Path, arguments: &BenchArguments) -> Result<ExitCode> {
    let Some(name) = arguments.name else {
        list();
        return Ok(ExitCode::SUCCESS);
    };
    let word = name.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    if !command::is_root() {
        let line = command::with_sudo(&format!("xtask bench {word}"));
        bail!("the benches make network and mount namespaces, which needs root. Run:\n    {line}");
    }
    install::packages(&[install::LAB, &peers(name, arguments.peers)].concat(), "The bench")?;
    demo::build(root)?;
    if name == Name::Page {
        return page(root, arguments);
    }
    let program = modules::target_directory(root).join("debug/holdfast-bench");
    let mut bench = Command::new(&program);
    bench.args([word.as_str(), "--runs", &arguments.runs.to_string(), "--minutes", &arguments.minutes.to_string()]);
    for (option, value) in [("--pulse", arguments.pulse), ("--timeout", arguments.timeout)] {
        if let Some(value) = value {
            bench.args([option, &value.to_string()]);
        }
    }
    if let Some(files) = arguments.files {
        bench.args(["--files", &files.to_string()]);
    }
    if let Some(only) = &arguments.only {
        bench.args(["--only", only]);
    }
    if arguments.peers {
        bench.arg("--peers");
    }
    if let Some(json) = &arguments.json {
        bench.arg("--json").arg(json);
    }
    ended(&mut bench)
}

/// Measures the console as it is served, in a browser.
fn page(root: &Path, arguments: &BenchArguments) -> Result<ExitCode> {
    build_console(root, true)?;
    command::run(&mut command::cargo(root, &["build", "--bin", "holdfast-page"]))?;
    let mut bench = Command::new(modules::target_directory(root).join("debug/holdfast-page"));
    for (option, file) in [("--json", &arguments.json), ("--profile", &arguments.profile)] {
        if let Some(file) = file {
            bench.arg(option).arg(file);
        }
    }
    ended(&mut bench)
}

/// Runs it; its exit code.
fn ended(bench: &mut Command) -> Result<ExitCode> {
    let status = bench.status().with_context(|| format!("cannot run {}", command::shown(bench)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
