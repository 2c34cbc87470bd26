//! Writes through a shared memory mapping: how long after the store the peer has them, without anybody asking for it.

use super::Options;
use super::slices::Random;
use super::stage::Stage;
use crate::bench::Row;
use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// Time between two looks at the peer's copy.
const LOOK: Duration = Duration::from_millis(1);
/// A store is given up after this.
const LONGEST: Duration = Duration::from_secs(30);
/// Stores in one turn, each at another moment of the second.
const STORES: usize = 6;

/// Measures.
///
/// # Errors
/// The file cannot be mapped, or a store does not arrive.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let path = stage.replicated().join("mapped");
    let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    file.write_all_at(&[0; PAGE], 0)?;
    let copy = File::open(stage.copy().join("mapped"))?;
    let mut page = Page::of(&file)?;
    let mut random = Random::new(31);
    let mut lags = Vec::new();
    for value in 1..=options.rounds.max(1) * STORES {
        let value = u64::try_from(value)?;
        std::thread::sleep(Duration::from_millis(random.below(1000)));
        let began = Instant::now();
        page.store(value);
        while read(&copy)? != value {
            ensure!(began.elapsed() < LONGEST, "a store has not arrived in {} s", LONGEST.as_secs());
            std::thread::sleep(LOOK);
        }
        lags.push(began.elapsed().as_secs_f64() * 1e3);
    }
    page.store(u64::MAX);
    page.sync()?;
    ensure!(read(&copy)? == u64::MAX, "msync came back before the peer had it");
    lags.sort_unstable_by(f64::total_cmp);
    let (p50, most) = (lags[lags.len() / 2], *lags.last().context("nothing was stored")?);
    Ok(vec![
        Row::told("mapped store until the peer has it, p50", p50, "ms"),
        Row::at_most("mapped store until the peer has it, longest", most, "ms", 1100.0),
    ])
}

fn read(copy: &File) -> Result<u64> {
    let mut bytes = [0; 8];
    copy.read_exact_at(&mut bytes, 0)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The first page of a file, mapped.
struct Page(NonNull<u64>);

impl Page {
    fn of(file: &File) -> Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping of a whole page that the file has, at a place of the kernel's choice.
        let map = unsafe { rustix::mm::mmap(std::ptr::null_mut(), PAGE, protection, MapFlags::SHARED, file, 0)? };
        Ok(Self(NonNull::new(map.cast()).context("a mapping at zero")?))
    }

    fn store(&mut self, value: u64) {
        // SAFETY: within the mapping, aligned, and nobody else in this program writes there. The file keeps its length.
        unsafe { self.0.write_volatile(value) };
    }

    fn sync(&self) -> Result<()> {
        // SAFETY: the mapping lives as long as this value.
        unsafe { rustix::mm::msync(self.0.as_ptr().cast(), PAGE, MsyncFlags::SYNC)? };
        Ok(())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: nobody uses the mapping any more.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), PAGE) };
    }
}
