//! Reads: cached blocks, stat, and 1 MiB in sequence after the caches were dropped.

use super::Options;
use super::slices::{Best, Contender, Random, in_turns, median_us};
use super::stage::{FILE, FILE_LENGTH, Stage};
use crate::bench::Row;
use anyhow::{Context, Result};
use rustix::fs::Advice;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

const BLOCK: usize = 4096;
/// Files whose status is asked.
const FILES: usize = 500;
/// MiB of the file that is read cold.
const COLD: u64 = 192;

/// Measures.
///
/// # Errors
/// A read fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let rounds = options.rounds;
    let cached = [cached(&stage.native())?, cached(&stage.replicated())?];
    let [native_read, read] = in_turns(2 * rounds, Best::Least, cached)?;
    let stats = [stat(&stage.native())?, stat(&stage.replicated())?];
    let [native_stat, stat] = in_turns(2 * rounds, Best::Least, stats)?;
    let cold = [cold(stage.native(), &[])?, cold(stage.replicated(), &[stage.backing()])?];
    let [native_cold, cold] = in_turns(rounds, Best::Most, cold)?;
    // Speeds, as the targets are given.
    let per_second = |us: f64| 1e6 / us;
    Ok(vec![
        Row::at_least("cached 4 KiB read / ext4", per_second(read), "op/s", per_second(native_read), 0.9),
        Row::at_least("stat / ext4", per_second(stat), "op/s", per_second(native_stat), 0.75),
        Row::at_least("cold 1 MiB sequential read / ext4", cold, "MiB/s", native_cold, 0.8),
    ])
}

/// Blocks at random places of a file that is cached.
///
/// # Errors
/// The file cannot be read.
pub fn cached(directory: &Path) -> Result<Contender<'static>> {
    let file = File::open(directory.join(FILE))?;
    let mut room = vec![0; BLOCK];
    for at in (0..FILE_LENGTH).step_by(BLOCK) {
        file.read_exact_at(&mut room, at)?;
    }
    let mut random = Random::new(5);
    Ok(Box::new(move || {
        median_us(|| Ok(file.read_exact_at(&mut room, random.below(FILE_LENGTH / BLOCK as u64) * BLOCK as u64)?))
    }))
}

/// The status of files, one after the other.
///
/// # Errors
/// They cannot be made.
pub fn stat(directory: &Path) -> Result<Contender<'static>> {
    let folder = directory.join("stat");
    std::fs::create_dir_all(&folder)?;
    let paths: Vec<PathBuf> = (0..FILES).map(|number| folder.join(format!("file{number}"))).collect();
    for path in &paths {
        File::create(path)?;
    }
    let mut next = 0;
    Ok(Box::new(move || {
        median_us(|| {
            next = (next + 1) % paths.len();
            std::fs::metadata(&paths[next])?;
            Ok(())
        })
    }))
}

/// MiB a second of reading a file whose pages no cache holds: that of `directory` nor those of `below` it.
fn cold(directory: PathBuf, below: &[PathBuf]) -> Result<Contender<'static>> {
    let copies: Vec<PathBuf> = below.iter().map(|directory| directory.join("cold")).collect();
    let path = directory.join("cold");
    let file = File::create(&path)?;
    let block = Random::new(6).bytes(1 << 20);
    for at in 0..COLD {
        file.write_all_at(&block, at << 20)?;
    }
    file.sync_all()?;
    Ok(Box::new(move || {
        let file = File::open(&path)?;
        drop_pages(&file)?;
        for copy in &copies {
            drop_pages(&File::open(copy)?)?;
        }
        let mut room = vec![0; 1 << 20];
        let began = Instant::now();
        for at in 0..COLD {
            file.read_exact_at(&mut room, at << 20)?;
        }
        Ok(COLD as f64 / began.elapsed().as_secs_f64())
    }))
}

fn drop_pages(file: &File) -> Result<()> {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed).context("cannot drop a file's pages")
}
