//! Memory where there is much: a directory of a million files, and a sparse file of 100 GiB.

use super::Options;
use super::memory;
use super::pair::Pair;
use super::stage::Stage;
use crate::bench::Row;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The sparse file, and how far apart its written blocks are.
const SPARSE: u64 = 100 << 30;
const APART: u64 = 256 << 20;
const BLOCK: usize = 64 << 10;

/// Measures: a first copy of both, then a walk through the mount that looks at each file.
///
/// # Errors
/// A copy fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let folder = stage.folder().join("crowd");
    let mut pair = Pair::alone(&folder, true, |_| Ok(()))?;
    let files = options.crowd;
    fill(&pair.backing(), files)?;
    let took = pair.join()?;
    let copied = memory::most(&pair.pids(), "VmHWM:")?;
    let mut seen = 0_u64;
    for entry in std::fs::read_dir(pair.mount().join("crowd"))? {
        seen += u64::from(entry?.metadata()?.is_file());
    }
    anyhow::ensure!(seen == files, "{seen} files were seen of {files}");
    let walked = memory::most(&pair.pids(), "VmHWM:")?;
    drop(pair);
    std::fs::remove_dir_all(folder)?;
    let name = format!("{files} files in one directory and 100 GiB sparse:");
    Ok(vec![
        Row::told(&format!("{name} first copy"), took.as_secs_f64(), "s"),
        Row::told(&format!("{name} peak memory of a replica after it"), copied, "MB"),
        Row::told(&format!("{name} the same after a walk through the mount"), walked, "MB"),
    ])
}

fn fill(directory: &Path, files: u64) -> Result<()> {
    let sparse = File::create(directory.join("sparse"))?;
    sparse.set_len(SPARSE)?;
    for at in (0..SPARSE).step_by(usize::try_from(APART)?) {
        sparse.write_all_at(&vec![7; BLOCK], at)?;
    }
    let crowd = directory.join("crowd");
    std::fs::create_dir(&crowd)?;
    for number in 0..files {
        File::create(crowd.join(number.to_string())).with_context(|| format!("file {number}"))?;
    }
    Ok(())
}
