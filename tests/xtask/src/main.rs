//! The task runner: parses what is wanted and calls the task.

mod bench;
mod command;
mod console;
mod counts;
mod demo;
mod editor;
mod install;
mod modules;
mod rings;
mod sim;
mod watch;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Holdfast's developer tool. It installs what a fresh Debian 12 machine lacks (and says so) and needs no other tool.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Two nodes, a management server and a protected application on this machine (needs root).
    Demo(demo::DemoArguments),
    /// Every test ring, as CI runs them; ends with one line of counts.
    Test(rings::TestArguments),
    /// The simulator: one seed step by step, or many with one line of counts.
    #[command(disable_help_flag = true)]
    Sim(sim::SimArguments),
    /// A benchmark; without a name, lists those that exist.
    Bench(bench::BenchArguments),
    /// Rebuilds the console whenever its sources change.
    Watch,
    /// Zips assets/modules/* into target/modules/*.safe.
    PackageModules,
    /// Builds the console for wasm.
    Console {
        /// As it is served: optimised for size.
        #[arg(long)]
        release: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let root = command::root();
    match task {
        Task::Demo(arguments) => demo::run(&root, &arguments),
        Task::Test(arguments) => rings::run(&root, &arguments),
        Task::Sim(arguments) => sim::run(&root, &arguments),
        Task::Bench(arguments) => bench::run(&root, &arguments),
        Task::Watch => watch::run(&root),
        Task::PackageModules => {
            for package in modules::package_all(&root)? {
                println!("{}", package.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Console { release } => {
            println!("{}", build_console(&root, release)?.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Builds the console after making sure that the wasm target is there; the folder to serve.
fn build_console(root: &std::path::Path, release: bool) -> Result<PathBuf> {
    install::wasm_target()?;
    console::build(root, release)
}
