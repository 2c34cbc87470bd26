//! `holdfast`: the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_agent::cli::main(std::env::args_os())
}
