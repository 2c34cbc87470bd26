//! Resyncs: few changes made while the secondary was away, and none among many files.

use super::Options;
use super::helper::run;
use super::pair::Pair;
use super::slices::Random;
use super::stage::Stage;
use crate::bench::Row;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// MiB of the large file.
const LARGE: u64 = 1024;
const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 100;
const FILES: usize = 2000;
const FOLDERS: usize = 20;
const LENGTH: usize = 4096;
/// Seconds of GlusterFS's heal of the same changes on this kind of machine, measured on 22 Nov 2026.
const GLUSTERFS: f64 = 63.9;

/// Measures.
///
/// # Errors
/// A resync fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let mut rows = few_changes_rows(stage)?;
    rows.extend(none(stage, options.files)?);
    Ok(rows)
}

/// How long a resync of a few changes takes, and how many bytes of it pass the wire.
///
/// # Errors
/// The resync fails.
pub fn few_changes(stage: &Stage) -> Result<(Duration, u64)> {
    let folder = stage.folder().join("changed");
    let mut pair = Pair::new(&folder, true, lay)?;
    pair.part()?;
    change(&pair.mount())?;
    let before = wire_bytes()?;
    let took = pair.join()?;
    let bytes = wire_bytes()? - before;
    drop(pair);
    std::fs::remove_dir_all(folder)?;
    Ok((took, bytes))
}

fn few_changes_rows(stage: &Stage) -> Result<Vec<Row>> {
    let (took, bytes) = few_changes(stage)?;
    let useful = (BLOCKS * BLOCK + FILES * LENGTH) as f64;
    let name = "resync of 100 blocks in 1 GiB and 2,000 new files";
    Ok(vec![
        Row::against(&format!("{name} / GlusterFS on 22 Nov"), took.as_secs_f64(), "s", GLUSTERFS, 0.05),
        Row::against(&format!("{name}, on the wire, both ways / changed"), bytes as f64 / 1e6, "MB", useful / 1e6, 1.2),
    ])
}

/// The large file, before it is changed.
///
/// # Errors
/// It cannot be written.
pub fn lay(directory: &Path) -> Result<()> {
    let block = Random::new(9).bytes(1 << 20);
    let file = File::create(directory.join("large"))?;
    for at in 0..LARGE {
        // No two MiB alike.
        file.write_all_at(&block, at << 20)?;
        file.write_all_at(&at.to_le_bytes(), at << 20)?;
    }
    Ok(file.sync_all()?)
}

/// The few changes.
///
/// # Errors
/// A write fails.
pub fn change(directory: &Path) -> Result<()> {
    let mut random = Random::new(10);
    let file = File::options().write(true).open(directory.join("large"))?;
    // Different blocks: one in each tenth MiB.
    for number in 0..BLOCKS as u64 {
        let offset = ((number * 10) << 20) + random.below(16) * BLOCK as u64;
        file.write_all_at(&random.bytes(BLOCK), offset)?;
    }
    for number in 0..FILES {
        let folder = directory.join(format!("new{}", number % FOLDERS));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("file{number}")), random.bytes(LENGTH))?;
    }
    Ok(())
}

/// Bytes that have passed loopback in this namespace, headers included.
fn wire_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:")).context("no loopback")?;
    Ok(line.split_whitespace().next().context("no figure")?.parse()?)
}

fn none(stage: &Stage, files: usize) -> Result<Vec<Row>> {
    let folder = stage.folder().join("unchanged");
    let mut pair = Pair::new(&folder, true, |directory| {
        for number in 0..files {
            let folder = directory.join(format!("d{}", number / 500));
            if number % 500 == 0 {
                std::fs::create_dir(&folder)?;
            }
            std::fs::write(folder.join(format!("file{number}")), number.to_le_bytes())?;
        }
        Ok(())
    })?;
    pair.part()?;
    let (walk, took) = (walk(&pair.backing())?, pair.join()?);
    drop(pair);
    std::fs::remove_dir_all(folder)?;
    let name = format!("resync of {files} unchanged files / find -printf");
    Ok(vec![Row::against(&name, took.as_secs_f64(), "s", walk.as_secs_f64(), 1.5)])
}

/// A walk that looks at every file's status; the better of two, so that the caches are as warm as for us.
fn walk(directory: &Path) -> Result<Duration> {
    let once = || -> Result<Duration> {
        let began = Instant::now();
        let mut find = Command::new("find");
        find.arg(directory).args(["-printf", "%p %i %s %T@ %C@\\n"]).stdout(Stdio::null());
        run(&mut find)?;
        Ok(began.elapsed())
    };
    Ok(once()?.min(once()?))
}
