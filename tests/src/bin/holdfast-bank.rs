//! `holdfast-bank`: the bank ledger as a program.

use anyhow::{Context, Result};
use clap::Parser;
use holdfast_tests::bank::{ledger::Ledger, service};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

/// A bank ledger over HTTP on SQLite; answers a transfer only after its commit.
#[derive(Parser)]
struct Arguments {
    /// The database file; made if it does not exist.
    #[arg(long)]
    database: PathBuf,
    /// Address and port to listen on.
    #[arg(long)]
    listen: SocketAddr,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let ledger = Ledger::open(&arguments.database)
        .with_context(|| format!("cannot open the ledger at {}", arguments.database.display()))?;
    let listener = TcpListener::bind(arguments.listen)
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    println!(
        "bank ledger at {} listens on {}",
        arguments.database.display(),
        listener.local_addr()?
    );
    service::serve(&listener, ledger)?;
    Ok(())
}
