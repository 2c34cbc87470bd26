//! What an application feels of a resync: the latency of its writes while a gigabyte is copied, beside a pair at rest.

use super::Options;
use super::pair::Pair;
use super::slices::Random;
use super::stage::Stage;
use crate::bench::Row;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
/// The file the application writes in.
const OWN: &str = "own";
const OWN_LENGTH: u64 = 16 << 20;
/// MiB that the secondary lacks.
const LACKING: u64 = 1024;
/// The application writes once in so long: one that has something else to do as well.
const PACE: Duration = Duration::from_millis(2);
/// How long it is watched at rest.
const REST: Duration = Duration::from_secs(4);
/// At most so long during the resync.
const LONGEST: Duration = Duration::from_secs(120);

/// Measures.
///
/// # Errors
/// A write or the resync fails.
pub fn measure(stage: &Stage, _: &Options) -> Result<Vec<Row>> {
    let folder = stage.folder().join("yielding");
    let mut pair = Pair::new(&folder, true, |directory| {
        let file = File::create(directory.join(OWN))?;
        file.write_all_at(&vec![1; OWN_LENGTH as usize], 0)?;
        Ok(file.sync_all()?)
    })?;
    let mount = pair.mount();
    let never = AtomicBool::new(false);
    let rest = writes(&mount, REST, &never)?;
    pair.part()?;
    lack(&mount)?;
    let done = AtomicBool::new(false);
    let (took, during) = std::thread::scope(|scope| -> Result<_> {
        let writer = scope.spawn(|| writes(&mount, LONGEST, &done));
        let took = pair.join();
        done.store(true, Ordering::Release);
        Ok((took?, writer.join().ok().context("the writer failed")??))
    })?;
    drop(pair);
    std::fs::remove_dir_all(folder)?;
    let name = "4 KiB write, one in 2 ms,";
    Ok(vec![
        Row::against(&format!("{name} p99 during a resync / pair at rest"), during.p99_us, "us", rest.p99_us, 2.0),
        Row::beside(&format!("{name} p50 during a resync / pair at rest"), during.p50_us, "us", rest.p50_us),
        Row::told("first copy of 1 GiB beside that load", LACKING as f64 / took.as_secs_f64(), "MiB/s"),
    ])
}

/// What was written while nobody else had it, in files of 16 MiB.
fn lack(directory: &Path) -> Result<()> {
    let mut random = Random::new(11);
    let block = random.bytes(1 << 20);
    for number in 0..LACKING / 16 {
        let file = File::create(directory.join(format!("lacking{number}")))?;
        for at in 0..16 {
            file.write_all_at(&block, at << 20)?;
            file.write_all_at(&random.bytes(64), at << 20)?;
        }
        file.sync_all()?;
    }
    Ok(())
}

struct Latency {
    p50_us: f64,
    p99_us: f64,
}

/// Writes at the pace until `done` or for so long.
fn writes(directory: &Path, time: Duration, done: &AtomicBool) -> Result<Latency> {
    let file = File::options().write(true).open(directory.join(OWN))?;
    let mut random = Random::new(12);
    let block = random.bytes(BLOCK);
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < time && !done.load(Ordering::Acquire) {
        let before = Instant::now();
        file.write_all_at(&block, random.below(OWN_LENGTH / BLOCK as u64) * BLOCK as u64)?;
        let took = before.elapsed();
        times.push(took);
        std::thread::sleep(PACE.saturating_sub(took));
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).map(|took| took.as_secs_f64() * 1e6);
    Ok(Latency { p50_us: at(50).context("nothing was written")?, p99_us: at(99).context("nothing was written")? })
}
