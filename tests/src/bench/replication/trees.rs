//! Trees of small files: untar and rm -rf, beside libfuse's pass-through example.
//!
//! Everything is unpacked before anything is removed: ext4 does not reuse the inode of a file removed within the last
//! minutes and looks past each of them when one is made, so that every removal would slow down all that is unpacked on
//! that disk afterwards.

use super::Options;
use super::helper::run;
use super::slices::Random;
use super::stage::Stage;
use crate::bench::Row;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const FOLDERS: usize = 50;
const FILES: usize = 5000;
const LENGTH: usize = 4096;

/// Seconds of one untar and of one removal.
type Seconds = (f64, f64);

/// Measures.
///
/// # Errors
/// tar or rm fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let archive = stage.folder().join("tree.tar");
    make_archive(stage.folder(), &archive)?;
    let places = [stage.native(), stage.passthrough().to_owned(), stage.alone(), stage.replicated(), stage.plain()];
    let rounds = options.rounds.max(1);
    let mut best: [Seconds; 5] = [(f64::INFINITY, f64::INFINITY); 5];
    for round in 0..rounds {
        for (best, place) in best.iter_mut().zip(&places) {
            best.0 = best.0.min(unpack(&place.join(format!("round{round}")), &archive)?);
        }
    }
    for round in 0..rounds {
        for (best, place) in best.iter_mut().zip(&places) {
            best.1 = best.1.min(remove(&place.join(format!("round{round}")))?);
        }
    }
    let [native, through, alone, replicated, plain] = best;
    let mut rows = Vec::new();
    for (name, pick) in [("untar of 5,000 files", untar as fn(Seconds) -> f64), ("rm -rf of 5,000 files", removal)] {
        rows.extend([
            Row::against(&format!("{name} / libfuse's passthrough_ll"), pick(replicated), "s", pick(through), 1.5),
            Row::beside(&format!("{name}, without TLS / the same"), pick(plain), "s", pick(through)),
            Row::beside(&format!("{name}, FUSE without replication / the same"), pick(alone), "s", pick(through)),
            Row::beside(&format!("{name}, passthrough_ll / ext4"), pick(through), "s", pick(native)),
        ]);
    }
    Ok(rows)
}

fn untar(seconds: Seconds) -> f64 {
    seconds.0
}

fn removal(seconds: Seconds) -> f64 {
    seconds.1
}

/// Makes the archive, of a tree that it leaves below `folder`.
///
/// # Errors
/// tar fails.
pub fn make_archive(folder: &Path, archive: &Path) -> Result<()> {
    let tree = folder.join("tree");
    let mut random = Random::new(7);
    for number in 0..FILES {
        let folder = tree.join(format!("d{}", number % FOLDERS));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("f{number}")), random.bytes(LENGTH))?;
    }
    run(Command::new("tar").arg("-C").arg(folder).arg("-cf").arg(archive).arg("tree")).map(drop)
}

/// Seconds of one untar into a new folder.
///
/// # Errors
/// tar fails.
pub fn unpack(folder: &Path, archive: &Path) -> Result<f64> {
    std::fs::create_dir(folder)?;
    let began = Instant::now();
    run(Command::new("tar").arg("-C").arg(folder).arg("-xf").arg(archive))?;
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds of the removal of an unpacked archive.
///
/// # Errors
/// rm fails.
pub fn remove(folder: &Path) -> Result<f64> {
    let began = Instant::now();
    run(Command::new("rm").arg("-rf").arg(folder.join("tree")))?;
    Ok(began.elapsed().as_secs_f64())
}
