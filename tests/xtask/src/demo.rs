//! `cargo demo`: builds everything, then becomes the demo program.

use crate::{build_console, command, install, modules};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the demo shows.
#[derive(Args)]
pub struct DemoArguments {
    /// Nothing enrolled or configured: do the wizard yourself with the pairing codes it prints.
    #[arg(long, conflicts_with_all = ["exercise"])]
    blank: bool,
    /// The application to protect.
    #[arg(long, value_enum, default_value_t = App::Bank)]
    app: App,
    /// Unattended: load, kill of the primary node, failover, restart, resync, swap, comparison of both copies; prints
    /// the figures as one JSON line last and exits 0 only if everything held.
    #[arg(long)]
    exercise: bool,
    /// Without the management server and its console: agents and command line only.
    #[arg(long)]
    serverless: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum App {
    /// A bank ledger over HTTP on SQLite.
    Bank,
    /// Debian's PostgreSQL 15.
    Postgresql,
}

impl DemoArguments {
    /// As typed, for the demo program and for the hint with sudo.
    fn as_words(&self) -> Vec<&'static str> {
        let app = match self.app {
            App::Bank => &[][..],
            App::Postgresql => &["--app", "postgresql"][..],
        };
        let flags = [(self.blank, "--blank"), (self.exercise, "--exercise"), (self.serverless, "--serverless")];
        flags.iter().filter(|(given, _)| *given).map(|(_, word)| *word).chain(app.iter().copied()).collect()
    }
}

/// Builds and runs the demo; its exit code is ours.
///
/// # Errors
/// Not root, or something cannot be installed or built.
pub fn run(root: &Path, arguments: &DemoArguments) -> Result<ExitCode> {
    let words = arguments.as_words();
    if !command::is_root() {
        let line = std::iter::once("demo").chain(words.iter().copied()).collect::<Vec<_>>().join(" ");
        bail!("the demo makes network and mount namespaces, which needs root. Run:\n    {}", command::with_sudo(&line));
    }
    install::packages(install::LAB, "The demo")?;
    if matches!(arguments.app, App::Postgresql) {
        install::packages(install::POSTGRESQL, "The demo with PostgreSQL")?;
    }
    if !arguments.serverless {
        build_console(root, false)?;
    }
    build(root)?;
    let program = modules::target_directory(root).join("debug/holdfast-demo");
    let status =
        Command::new(&program).args(&words).status().with_context(|| format!("cannot run {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the demo, the labs and the benches start. Named as programs and not as packages: see the workspace's members.
const PROGRAMS: [&str; 8] = [
    "holdfast",
    "holdfast-agent",
    "holdfast-replica",
    "holdfast-server",
    "holdfast-bank",
    "holdfast-bench",
    "holdfast-demo",
    "holdfast-floor",
];

/// Builds every native program once.
///
/// # Errors
/// The build failed.
pub fn build(root: &Path) -> Result<()> {
    modules::package_all(root)
        .map(|_| ())
        .or_else(|error| if root.join("assets/modules").exists() { Err(error) } else { Ok(()) })?;
    let programs = PROGRAMS.into_iter().flat_map(|name| ["--bin", name]);
    command::run(command::cargo(root, &["build"]).args(programs))
}
