//! The speed of replicated files, each figure beside its floor or baseline of the same run.
//!
//! Everything runs on this machine, in a mount and network namespace of the bench's own: two real `holdfast-replica`
//! processes over loopback (`replica`, `pair`), with TLS and without; one that serves alone; an ext4 directory; the
//! `floor`; libfuse's pass-through example; GlusterFS on hosts of the lab if it is wanted (`gluster`, `peers`). `stage` sets
//! them up, `slices` measures them in turns and keeps the best of each, since whatever else the machine does only ever adds.
//! Each other file is some rows of the table.

mod commits;
mod crowd;
pub mod floor;
mod gluster;
mod helper;
mod intents;
mod mapped;
mod memory;
mod pair;
mod passthrough;
mod peers;
mod postgres;
mod reads;
mod replica;
mod resyncs;
mod slices;
mod stage;
mod trees;
mod wire;
mod writes;
mod yielding;

use super::Row;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use stage::Stage;

/// Some rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 4 KiB random and 1 MiB sequential writes.
    Writes,
    /// Cached reads, stat, cold reads.
    Reads,
    /// What it costs that each change is written down first.
    Intents,
    /// How long mapped writes take to the peer.
    Mapped,
    /// Untar and rm -rf.
    Trees,
    /// SQLite's and PostgreSQL's commits.
    Commits,
    /// Resync of few changes and of none.
    Resyncs,
    /// Writes beside a resync.
    Yielding,
    /// Memory of the replicas.
    Memory,
    /// Memory with a million files and 100 GiB; minutes, so only by name.
    Crowd,
    /// The same on GlusterFS; minutes, so only if peers are wanted.
    Peers,
}

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Turns of each measurement.
    pub rounds: usize,
    /// Unchanged files of the resync that has nothing to copy.
    pub files: usize,
    /// Files of the one directory that holds many.
    pub crowd: u64,
    /// Only these; empty: all.
    pub only: Vec<Part>,
    /// GlusterFS is measured, too.
    pub peers: bool,
}

/// Measures.
///
/// # Errors
/// A program was not built or does not start, or something fails while it is measured.
pub fn run(options: &Options) -> Result<Vec<Row>> {
    stage::own_namespaces().context("cannot make namespaces of its own: run the bench as root")?;
    println!(
        "profile: development (the data plane and its cryptography optimised, opt-level 2); both replicas on this \
         machine over loopback; best of {} turns; GlusterFS is {}measured",
        options.rounds,
        if options.peers { "" } else { "not " }
    );
    ensure!(options.peers || !options.only.contains(&Part::Peers), "add --peers to have GlusterFS measured");
    let stage = Stage::set_up()?;
    let unnamed = |part| part != Part::Crowd && (part != Part::Peers || options.peers);
    let wanted = |part| options.only.contains(&part) || (options.only.is_empty() && unnamed(part));
    let idle = memory::resident(&stage)?;
    let mut rows = Vec::new();
    type Measure = fn(&Stage, &Options) -> Result<Vec<Row>>;
    let parts: [(Part, Measure); 10] = [
        (Part::Writes, writes::measure),
        (Part::Intents, intents::measure),
        (Part::Mapped, mapped::measure),
        (Part::Reads, reads::measure),
        (Part::Trees, trees::measure),
        (Part::Commits, commits::measure),
        (Part::Resyncs, resyncs::measure),
        (Part::Yielding, yielding::measure),
        (Part::Crowd, crowd::measure),
        (Part::Peers, peers::measure),
    ];
    for (part, measure) in parts.into_iter().filter(|(part, _)| wanted(*part)) {
        println!("measuring {part:?} ...");
        rows.extend(measure(&stage, options).with_context(|| format!("{part:?}"))?);
    }
    if wanted(Part::Memory) {
        rows.extend(memory::rows(idle, memory::peak(&stage)?));
    }
    Ok(rows)
}
