//! The cost of the intent log: that whatever may differ is written down, durably, before it is changed. Writes into cold
//! extents (4 MiB of a file, not yet written down) and hot ones, and a flood of small files.
//!
//! A replica that was never paired has nothing to write down: everything would be compared. It is the baseline; beside it
//! one whose secondary has just left, and a pair. That the one notes and the other does not is checked in its journal.

use super::Options;
use super::pair::Pair;
use super::slices::{Best, Contender, Random, in_turns, median, median_us};
use super::stage::Stage;
use crate::bench::Row;
use crate::lab::wait::wait_until;
use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
const EXTENT: u64 = 4 << 20;
/// Sparse files, and extents of each.
const FILES: u64 = 8;
const EXTENTS: u64 = 1024;
/// Cold extents written to in one slice.
const COLD: usize = 64;
/// Bytes of the file that is hot.
const HOT_LENGTH: u64 = 4 * EXTENT;
/// Small files of one flood, and directories for as many floods.
const FLOOD: usize = 500;
const FLOODS: usize = 100;
const SMALL: usize = 1024;
/// A record of the journal.
const RECORD: usize = 512;

/// Measures.
///
/// # Errors
/// A write fails, or a replica notes what it should not or does not note what it should.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let folder = stage.folder().join("intents");
    let unnoted = Pair::alone(&folder.join("unnoted"), true, prepare)?;
    let mut noted = Pair::new(&folder.join("noted"), true, prepare)?;
    await_notes(&noted)?;
    noted.part()?;
    let replicated = Pair::new(&folder.join("replicated"), true, prepare)?;
    await_notes(&replicated)?;
    let pairs = [&unnoted, &noted, &replicated];
    let before = [journal(&unnoted)?, journal(&noted)?];
    let rows = measure_in(pairs, &folder, options.rounds)?;
    ensure!(journal(&unnoted)? == before[0], "the baseline has noted something");
    ensure!(journal(&noted)? != before[1], "nothing was noted");
    drop((unnoted, noted, replicated));
    std::fs::remove_dir_all(folder)?;
    Ok(rows)
}

fn measure_in(pairs: [&Pair; 3], folder: &Path, rounds: usize) -> Result<Vec<Row>> {
    let cold = [cold(pairs[0])?, cold(pairs[1])?, cold(pairs[2])?, durable(folder)?];
    let [unnoted, noted, replicated, durable] = in_turns(3 * rounds, Best::Least, cold)?;
    let mut rows = rows("4 KiB write into a cold extent, p50", "us", [unnoted, noted, replicated]);
    rows.push(Row::told("durable write of 512 bytes to that disk, p50", durable, "us"));
    let hot = [hot(pairs[0])?, hot(pairs[1])?, hot(pairs[2])?];
    rows.extend(self::rows("4 KiB write into a hot extent, p50", "us", in_turns(3 * rounds, Best::Least, hot)?));
    let floods = pairs.map(flood);
    rows.extend(self::rows("500 small files into one directory", "s", in_turns(2 * rounds, Best::Least, floods)?));
    Ok(rows)
}

fn rows(name: &str, unit: &'static str, [unnoted, noted, replicated]: [f64; 3]) -> Vec<Row> {
    vec![
        Row::beside(&format!("{name}: alone, noted / without a note"), noted, unit, unnoted),
        Row::beside(&format!("{name}: replicated, noted / alone without a note"), replicated, unit, unnoted),
    ]
}

/// What is there before anything is watched: what is made later needs no note of its own.
fn prepare(directory: &Path) -> Result<()> {
    for number in 0..FILES {
        File::create(directory.join(format!("cold{number}")))?.set_len(EXTENTS * EXTENT)?;
    }
    let hot = File::create(directory.join("hot"))?;
    hot.write_all_at(&vec![1; HOT_LENGTH as usize], 0)?;
    File::create(directory.join("probe"))?.set_len(EXTENTS * EXTENT)?;
    for number in 0..FLOODS {
        std::fs::create_dir(directory.join(format!("flood{number}")))?;
    }
    Ok(hot.sync_all()?)
}

/// The journal of what may differ.
fn journal(pair: &Pair) -> Result<[Vec<u8>; 2]> {
    let read = |name| std::fs::read(pair.state().join(name)).context("a replica keeps no journal");
    Ok([read("track.0")?, read("track.1")?])
}

/// Waits until the pairing is saved and changes are written down again, one by one.
fn await_notes(pair: &Pair) -> Result<()> {
    let probe = File::options().write(true).open(pair.mount().join("probe"))?;
    let (mut at, mut in_a_row) = (0, 0);
    wait_until("changes to be noted", Duration::from_secs(30), || {
        let before = journal(pair)?;
        at += 1;
        probe.write_all_at(&[1; BLOCK], (at % EXTENTS) * EXTENT)?;
        in_a_row = if journal(pair)? == before { 0 } else { in_a_row + 1 };
        // Once may have been the saving of the pairing itself.
        Ok(in_a_row >= 3)
    })
}

/// Writes into extents that nothing was written to before.
fn cold(pair: &Pair) -> Result<Contender<'static>> {
    let open = |number| File::options().write(true).open(pair.mount().join(format!("cold{number}")));
    let files = (0..FILES).map(open).collect::<Result<Vec<File>, _>>()?;
    let block = Random::new(21).bytes(BLOCK);
    let mut places = files.into_iter().flat_map(|file| {
        let file = std::sync::Arc::new(file);
        (0..EXTENTS).map(move |extent| (file.clone(), extent * EXTENT))
    });
    Ok(Box::new(move || {
        let mut times = Vec::with_capacity(COLD);
        for (file, at) in places.by_ref().take(COLD) {
            let began = Instant::now();
            file.write_all_at(&block, at)?;
            times.push(began.elapsed());
        }
        ensure!(times.len() == COLD, "no cold extent is left: measure fewer turns");
        Ok(median(times))
    }))
}

/// What the disk takes for one durable write as long as a record, appended to room that is there already.
fn durable(folder: &Path) -> Result<Contender<'static>> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(OFlags::DSYNC.bits().cast_signed());
    let file = options.open(folder.join("durable"))?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    let mut next = 0;
    Ok(Box::new(move || {
        median_us(|| {
            next = (next + RECORD as u64) % (1 << 20);
            Ok(file.write_all_at(&[7; RECORD], next)?)
        })
    }))
}

fn hot(pair: &Pair) -> Result<Contender<'static>> {
    let file = File::options().write(true).open(pair.mount().join("hot"))?;
    let mut random = Random::new(22);
    let block = random.bytes(BLOCK);
    for at in (0..HOT_LENGTH).step_by(BLOCK) {
        file.write_all_at(&block, at)?;
    }
    Ok(Box::new(move || {
        median_us(|| Ok(file.write_all_at(&block, random.below(HOT_LENGTH / BLOCK as u64) * BLOCK as u64)?))
    }))
}

/// Seconds of one flood, each into a directory that nothing was made in before.
fn flood(pair: &Pair) -> Contender<'static> {
    let folder = |number| -> PathBuf { pair.mount().join(format!("flood{number}")) };
    let mut folders = (0..FLOODS).map(folder).collect::<Vec<_>>().into_iter();
    let content = Random::new(23).bytes(SMALL);
    Box::new(move || {
        let folder = folders.next().context("no directory is left: measure fewer turns")?;
        let began = Instant::now();
        for number in 0..FLOOD {
            std::fs::write(folder.join(number.to_string()), &content)?;
        }
        Ok(began.elapsed().as_secs_f64())
    })
}
