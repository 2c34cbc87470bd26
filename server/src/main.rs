//! `holdfast-server`: reads the command line, starts the server, says where it is, and ends on a signal.

use anyhow::Context;
use clap::Parser;
use holdfast_server::{config::Config, start, url};
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut server = start(config.clone()).await?;
    let mut out = std::io::stdout();
    writeln!(out, "Holdfast server {}: {}", env!("CARGO_PKG_VERSION"), url(&config, server.listen))?;
    writeln!(out, "listening on {}", server.listen)?;
    if let Some(link) = &server.setup_link {
        writeln!(out, "Make the administrator with this link, which works once:\n  {link}")?;
    }
    out.flush()?;
    if let Some(file) = &config.ready_file {
        std::fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        () = server.ended() => anyhow::bail!("a part of the server ended by itself; see the log"),
    }
    tracing::info!("ending");
    Ok(())
}
