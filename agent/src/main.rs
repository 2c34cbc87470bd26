//! `holdfast-agent`: flags → tracing → the agent.

use anyhow::Result;
use clap::Parser;
use holdfast_agent::agent::Agent;
use holdfast_agent::enrol::join;
use holdfast_agent::options::{Action, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()?;
    match cli.action {
        Some(Action::Join(arguments)) => runtime.block_on(join::join(&cli.options, &arguments)),
        None => {
            let result = runtime.block_on(async { Agent::open(cli.options)?.run().await });
            // What still runs (the agent was hurried): replicas end within their limit, scripts go on.
            runtime.shutdown_background();
            result
        }
    }
}
