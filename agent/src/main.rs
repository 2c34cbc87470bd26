//! `holdfast-agent`: flags → tracing → the agent.

use anyhow::Result;
use clap::Parser;
use holdfast_agent::agent::Agent;
use holdfast_agent::cgroup::divide_unit;
use holdfast_agent::enrol::join;
use holdfast_agent::options::{Action, Cli};
use holdfast_agent::priority::{lift_session, real_time_workers};
use std::process::ExitCode;

/// Threads that decide and keep the heartbeats going.
const WORKERS: usize = 2;

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
    lift_session();
    if cli.action.is_none() {
        divide_unit();
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().worker_threads(WORKERS).on_thread_start(real_time_workers(WORKERS));
    let runtime = runtime.build()?;
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
