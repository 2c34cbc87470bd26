//! The same work on GlusterFS replica 2, as Debian ships it, in turns with ours: both copies on the same disk, each figure of
//! ours beside its own. It encrypts nothing; we do.

use super::gluster::Gluster;
use super::slices::{Best, in_turns};
use super::stage::{Stage, fill};
use super::{Options, commits, reads, resyncs, trees, writes};
use crate::bench::Row;
use anyhow::Result;
use std::path::Path;
use std::time::Instant;

/// Measures.
///
/// # Errors
/// GlusterFS is not installed or fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let mut gluster = Gluster::start(&stage.folder().join("gluster"))?;
    let (ours, theirs) = (stage.replicated(), gluster.mount());
    fill(&theirs)?;
    let mut rows = in_place((&ours, &theirs), options.rounds)?;
    // Each write is on both bricks before the application hears of it, as with us.
    gluster.set_write_behind(false)?;
    let contenders = [writes::one_writer_at(&ours)?, writes::one_writer_at(&theirs)?];
    let [ours_us, theirs_us] = in_turns(3 * options.rounds, Best::Least, contenders)?;
    gluster.set_write_behind(true)?;
    let name = "4 KiB random write, 1 writer, p50 / GlusterFS without write-behind";
    rows.push(Row::beside(name, ours_us, "us", theirs_us));
    rows.extend(files(stage, (&ours, &theirs))?);
    rows.push(heal(stage, &mut gluster)?);
    Ok(rows)
}

fn in_place((ours, theirs): (&Path, &Path), rounds: usize) -> Result<Vec<Row>> {
    let row =
        |name: &str, unit, [ours, theirs]: [f64; 2]| Row::beside(&format!("{name} / GlusterFS"), ours, unit, theirs);
    let one = [writes::one_writer_at(ours)?, writes::one_writer_at(theirs)?];
    let many = [writes::many_writers_at(ours)?, writes::many_writers_at(theirs)?];
    let sequence = [writes::sequence_at(ours), writes::sequence_at(theirs)];
    let cached = [reads::cached(ours)?, reads::cached(theirs)?];
    let stat = [reads::stat(ours)?, reads::stat(theirs)?];
    let sqlite = [commits::sqlite_at(ours, "peers.db")?, commits::sqlite_at(theirs, "peers.db")?];
    Ok(vec![
        row("4 KiB random write, 1 writer, p50", "us", in_turns(3 * rounds, Best::Least, one)?),
        row("4 KiB random write, 16 writers", "op/s", in_turns(2 * rounds, Best::Most, many)?),
        row("1 MiB sequential write incl. fsync", "MiB/s", in_turns(rounds, Best::Most, sequence)?),
        row("cached 4 KiB read, p50", "us", in_turns(2 * rounds, Best::Least, cached)?),
        row("stat, p50", "us", in_turns(2 * rounds, Best::Least, stat)?),
        row("SQLite WAL FULL commits", "1/s", in_turns(4 * rounds, Best::Most, sqlite)?),
    ])
}

/// Once: theirs takes minutes.
fn files(stage: &Stage, (ours, theirs): (&Path, &Path)) -> Result<Vec<Row>> {
    let archive = stage.folder().join("peers.tar");
    trees::make_archive(stage.folder(), &archive)?;
    let [ours, theirs] = [ours, theirs].map(|place| -> Result<_> {
        let folder = place.join("peers");
        Ok((trees::unpack(&folder, &archive)?, trees::remove(&folder)?))
    });
    let (ours, theirs) = (ours?, theirs?);
    Ok(vec![
        Row::beside("untar of 5,000 files / GlusterFS", ours.0, "s", theirs.0),
        Row::beside("rm -rf of 5,000 files / GlusterFS", ours.1, "s", theirs.1),
    ])
}

fn heal(stage: &Stage, gluster: &mut Gluster) -> Result<Row> {
    let (took, _) = resyncs::few_changes(stage)?;
    let mount = gluster.mount();
    resyncs::lay(&mount)?;
    gluster.part()?;
    resyncs::change(&mount)?;
    let began = Instant::now();
    gluster.join()?;
    let theirs = began.elapsed().as_secs_f64();
    let name = "resync of 100 blocks in 1 GiB and 2,000 new files / GlusterFS's, its start included";
    Ok(Row::against(name, took.as_secs_f64(), "s", theirs, 0.05))
}
