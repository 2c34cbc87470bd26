//! `holdfast-floor`: both ends of the floor that `cargo xtask bench replication` holds Holdfast against.

use anyhow::Result;
use clap::{Parser, Subcommand};
use holdfast_tests::bench::replication::floor::{peer, single, whole};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

/// The least that synchronous replication over FUSE can do. Ends when its input does.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Answers frames on a port it prints.
    Peer {
        /// Where copies of written files are kept and synced.
        #[arg(long)]
        copy: Option<PathBuf>,
    },
    /// Serves the one file of a directory.
    Single {
        /// The directory.
        directory: PathBuf,
        /// The peer.
        peer: SocketAddr,
    },
    /// Serves a whole directory.
    Whole {
        /// The directory.
        directory: PathBuf,
        /// The peer.
        peer: SocketAddr,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().part {
        Part::Peer { copy } => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            println!("{}", listener.local_addr()?);
            std::thread::spawn(|| {
                wait_for_end();
                std::process::exit(0);
            });
            peer::serve(&listener, copy.as_deref())
        }
        Part::Single { directory, peer } => {
            let mounted = directory.clone();
            std::thread::spawn(move || {
                wait_for_end();
                single::unmount(&mounted);
                std::process::exit(0);
            });
            single::serve(&directory, TcpStream::connect(peer)?)
        }
        Part::Whole { directory, peer } => {
            let _front = whole::serve(&directory, TcpStream::connect(peer)?)?;
            wait_for_end();
            Ok(())
        }
    }
}

fn wait_for_end() {
    // However the input ends, it is the end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
