//! Writes: 4 KiB at random places by one and by 16 writers, 1 MiB in sequence with fsync.

use super::slices::{Best, Contender, Random, SLICE, in_turns, median_us};
use super::stage::{FILE, FILE_LENGTH, Stage};
use super::{Options, wire};
use crate::bench::Row;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

const BLOCK: usize = 4096;
const WRITERS: usize = 16;
/// Each of the 16 writers has its own file.
const OWN_LENGTH: u64 = 4 << 20;
/// MiB of one sequence.
const SEQUENCE: u32 = 192;

/// Measures.
///
/// # Errors
/// A write fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let mut rows = one_writer(stage, options.rounds)?;
    rows.extend(many_writers(stage, options.rounds)?);
    rows.extend(sequence(stage, options.rounds)?);
    Ok(rows)
}

/// One writer at random places of a file that is there.
///
/// # Errors
/// The file cannot be opened.
pub fn one_writer_at(directory: &Path) -> Result<Contender<'static>> {
    let file = File::options().write(true).open(directory.join(FILE))?;
    let mut random = Random::new(2);
    let block = random.bytes(BLOCK);
    Ok(Box::new(move || {
        median_us(|| Ok(file.write_all_at(&block, random.below(FILE_LENGTH / BLOCK as u64) * BLOCK as u64)?))
    }))
}

fn one_writer(stage: &Stage, rounds: usize) -> Result<Vec<Row>> {
    let contenders = [
        one_writer_at(&stage.native())?,
        one_writer_at(&stage.alone())?,
        one_writer_at(&stage.single())?,
        one_writer_at(&stage.whole())?,
        one_writer_at(&stage.replicated())?,
        one_writer_at(&stage.plain())?,
        Box::new(wire::round_trip_us),
    ];
    let [native, alone, floor, whole, replicated, plain, trip] = in_turns(3 * rounds, Best::Least, contenders)?;
    let name = "4 KiB random write, 1 writer, p50";
    Ok(vec![
        Row::against(&format!("{name} / floor"), replicated, "us", floor, 1.25),
        Row::beside(&format!("{name}, without TLS / floor"), plain, "us", floor),
        Row::beside(&format!("{name}, our front and a bare round trip / floor"), whole, "us", floor),
        Row::beside(&format!("{name}, FUSE without replication / ext4"), alone, "us", native),
        Row::told("TCP round trip with 4 KiB, p50", trip, "us"),
    ])
}

/// Many writers, each at random places of its own file.
///
/// # Errors
/// A file cannot be made.
pub fn many_writers_at(directory: &Path) -> Result<Contender<'static>> {
    let files = (0..WRITERS).map(|number| own_file(directory, number)).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move || writers(&files)))
}

fn many_writers(stage: &Stage, rounds: usize) -> Result<Vec<Row>> {
    let places = [stage.native(), stage.alone(), stage.replicated(), stage.plain()];
    let [native, alone, replicated, plain] = places.each_ref().map(|directory| many_writers_at(directory));
    let contenders = [native?, alone?, replicated?, plain?];
    let [native, alone, replicated, plain] = in_turns(2 * rounds, Best::Most, contenders)?;
    let name = "4 KiB random write, 16 writers";
    Ok(vec![
        Row::at_least(&format!("{name} / FUSE without replication"), replicated, "op/s", alone, 0.35),
        Row::beside(&format!("{name}, without TLS / the same"), plain, "op/s", alone),
        Row::beside(&format!("{name}, FUSE without replication / ext4"), alone, "op/s", native),
    ])
}

fn own_file(directory: &Path, number: usize) -> Result<File> {
    let file = File::options().create(true).truncate(true).write(true).open(directory.join(format!("own{number}")))?;
    file.write_all_at(&vec![1; OWN_LENGTH as usize], 0)?;
    Ok(file)
}

/// Writes of all writers in a second.
fn writers(files: &[File]) -> Result<f64> {
    let began = Instant::now();
    let counts: Result<Vec<u32>> = std::thread::scope(|scope| {
        let write = |(number, file): (usize, &File)| -> Result<u32> {
            let mut random = Random::new(number as u64 + 3);
            let (block, mut count) = (random.bytes(BLOCK), 0);
            while began.elapsed() < 2 * SLICE {
                file.write_all_at(&block, random.below(OWN_LENGTH / BLOCK as u64) * BLOCK as u64)?;
                count += 1;
            }
            Ok(count)
        };
        let threads: Vec<_> = files.iter().enumerate().map(|each| scope.spawn(move || write(each))).collect();
        threads.into_iter().map(|thread| thread.join().ok().context("a writer failed")?).collect()
    });
    Ok(f64::from(counts?.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

fn sequence(stage: &Stage, rounds: usize) -> Result<Vec<Row>> {
    let twice = [stage.native().join("one"), stage.native().join("two")];
    let contenders: [Contender<'_>; 6] = [
        Box::new(|| one_sequence(&stage.native())),
        Box::new(|| one_sequence(&stage.alone())),
        Box::new(|| one_sequence(&stage.replicated())),
        Box::new(|| one_sequence(&stage.plain())),
        Box::new(|| both(&twice)),
        Box::new(wire::speed),
    ];
    let [native, alone, replicated, plain, two_copies, wire] = in_turns(rounds, Best::Most, contenders)?;
    let name = "1 MiB sequential write incl. fsync";
    Ok(vec![
        Row::at_least(
            &format!("{name} / min(FUSE without replication, wire)"),
            replicated,
            "MiB/s",
            alone.min(wire),
            0.8,
        ),
        Row::beside(&format!("{name}, without TLS / the same"), plain, "MiB/s", alone.min(wire)),
        Row::beside(&format!("{name}, ext4, two copies at once / ext4"), two_copies, "MiB/s", native),
        Row::beside("one TCP stream (wire) / 1 MiB sequential write to ext4", wire, "MiB/s", native),
    ])
}

/// One sequence into a new file, synced.
pub fn sequence_at(directory: &Path) -> Contender<'_> {
    Box::new(|| one_sequence(directory))
}

/// MiB a second of one sequence into a new file.
fn one_sequence(directory: &Path) -> Result<f64> {
    let path = directory.join("sequence");
    let file = File::create(&path)?;
    let block = Random::new(4).bytes(1 << 20);
    let began = Instant::now();
    for at in 0..SEQUENCE {
        file.write_all_at(&block, u64::from(at) << 20)?;
    }
    file.sync_all()?;
    let speed = f64::from(SEQUENCE) / began.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(speed)
}

/// What a disk that takes both copies can do: two sequences at the same time, the slower counts.
fn both(directories: &[PathBuf; 2]) -> Result<f64> {
    let speeds: Result<Vec<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = directories
            .iter()
            .map(|directory| {
                scope.spawn(move || {
                    std::fs::create_dir_all(directory)?;
                    one_sequence(directory)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().ok().context("a writer failed")?).collect()
    });
    Ok(speeds?.into_iter().fold(f64::INFINITY, f64::min))
}
