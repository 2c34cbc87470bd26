//! `holdfast-machines`: tests on emulated machines with Debian's stock kernel; what `cargo xtask test --only machines` runs.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use holdfast_tests::machine::{kernel, power};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Emulated machines with Debian's stock kernel.
#[derive(Parser)]
struct Arguments {
    /// Where disks and notes are kept.
    #[arg(long)]
    folder: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The data plane's own tests.
    Kernel {
        /// The test program that cargo has built.
        tests: PathBuf,
    },
    /// Power cuts under load; goes on where the last run was.
    Power {
        /// So many rounds.
        #[arg(long, default_value_t = 4)]
        rounds: u64,
        /// Then go on for this long.
        #[arg(long, default_value_t = 0)]
        for_minutes: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let name = match arguments.what {
        What::Kernel { .. } => "data_plane_works_on_the_stock_kernel",
        What::Power { .. } => "power_cuts_of_one_and_of_both_lose_no_acknowledged_transfer",
    };
    println!("running 1 test");
    let result = run(&arguments);
    let (word, passed) = if result.is_ok() { ("ok", 1) } else { ("FAILED", 0) };
    println!("test {name} ... {word}");
    if let Err(error) = &result {
        println!("{error:#}");
    }
    println!("\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out", 1 - passed);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Result<()> {
    let folder = arguments.folder.join(match arguments.what {
        What::Kernel { .. } => "kernel",
        What::Power { .. } => "power",
    });
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    match &arguments.what {
        What::Kernel { tests } => {
            // Each run begins with an empty disk.
            let _ = std::fs::remove_file(folder.join("machine1.disk"));
            let printed = kernel::run(&folder, tests)?;
            println!("{}", printed.lines().last().unwrap_or_default());
            Ok(())
        }
        What::Power { rounds, for_minutes } => {
            let end = Instant::now() + Duration::from_secs(for_minutes * 60);
            power::run(&folder, |done| done >= *rounds && Instant::now() >= end).map(drop)
        }
    }
}
