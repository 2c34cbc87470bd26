//! `holdfast-bank`: the bank ledger as a program.

use anyhow::{Context, Result, bail};
use clap::Parser;
use holdfast_tests::bank::http::Client;
use holdfast_tests::bank::{ledger::Ledger, service};
use holdfast_tests::lab::wait::wait_until;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bank ledger over HTTP on SQLite; answers a transfer only after its commit.
#[derive(Parser)]
struct Arguments {
    /// The database file; made if it does not exist.
    #[arg(long, requires = "listen", required_unless_present = "check")]
    database: Option<PathBuf>,
    /// Address and port to listen on.
    #[arg(long, requires = "database")]
    listen: Option<SocketAddr>,
    /// Wait until a ledger answers at this address (at most 20 s); exit code 0 if it does.
    #[arg(long, conflicts_with = "database")]
    check: Option<SocketAddr>,
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments { check: Some(address), .. } => check(address),
        Arguments { database: Some(database), listen: Some(listen), .. } => serve(&database, listen),
        _ => bail!("give --database and --listen, or --check"),
    }
}

fn serve(database: &Path, listen: SocketAddr) -> Result<()> {
    let ledger = Ledger::open(database).with_context(|| format!("cannot open the ledger at {}", database.display()))?;
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    println!("bank ledger at {} listens on {}", database.display(), listener.local_addr()?);
    service::serve(&listener, ledger)?;
    Ok(())
}

fn check(address: SocketAddr) -> Result<()> {
    let timeout = Duration::from_secs(5);
    wait_until("the ledger to answer", Duration::from_secs(20), || {
        let mut client = Client::new(TcpStream::connect_timeout(&address, timeout)?, timeout)?;
        Ok(client.request("GET", "/healthz", b"")?.status == 200)
    })
}
