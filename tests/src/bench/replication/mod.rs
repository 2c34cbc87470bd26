//! The speed of replicated files, each figure beside its floor or baseline of the same run.
//!
//! Everything runs on this machine, in a mount and network namespace of the bench's own: two real `holdfast-replica`
//! processes over loopback (`replica`, `pair`), with TLS and without; one that serves alone; an ext4 directory; the
//! `floor`; libfuse's pass-through example. `stage` sets them up, `slices` measures them in turns and keeps the best of
//! each, since whatever else the machine does only ever adds. Each other file is some rows of the table.

mod commits;
mod crowd;
pub mod floor;
mod helper;
mod memory;
mod pair;
mod passthrough;
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
use anyhow::{Context, Result};
use clap::ValueEnum;
use stage::Stage;

/// Some rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// 4 KiB random and 1 MiB sequential writes.
    Writes,
    /// Cached reads, stat, cold reads.
    Reads,
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
}

/// Measures.
///
/// # Errors
/// A program was not built or does not start, or something fails while it is measured.
pub fn run(options: &Options) -> Result<Vec<Row>> {
    stage::own_namespaces().context("cannot make namespaces of its own: run the bench as root")?;
    println!(
        "profile: development (the data plane and its cryptography optimised, opt-level 2); both replicas on this \
         machine over loopback; best of {} turns; GlusterFS is not measured",
        options.rounds
    );
    let stage = Stage::set_up()?;
    let wanted = |part| options.only.contains(&part) || (options.only.is_empty() && part != Part::Crowd);
    let idle = memory::resident(&stage)?;
    let mut rows = Vec::new();
    type Measure = fn(&Stage, &Options) -> Result<Vec<Row>>;
    let parts: [(Part, Measure); 7] = [
        (Part::Writes, writes::measure),
        (Part::Reads, reads::measure),
        (Part::Trees, trees::measure),
        (Part::Commits, commits::measure),
        (Part::Resyncs, resyncs::measure),
        (Part::Yielding, yielding::measure),
        (Part::Crowd, crowd::measure),
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
