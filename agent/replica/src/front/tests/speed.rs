//! What the front costs, printed; run with `--ignored --nocapture`. Nothing is asserted about time.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::watch;
use crate::front::{Alone, Front, Inodes, Mode};
use crate::replicate::Replicate;

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:?} p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

fn timed(count: usize, mut run: impl FnMut(usize)) -> Vec<Duration> {
    (0..count)
        .map(|number| {
            let start = Instant::now();
            run(number);
            start.elapsed()
        })
        .collect()
}

#[test]
#[ignore = "prints figures; run it alone"]
fn figures() {
    for place in ["/dev/shm", "/tmp"] {
        let base = tempfile::tempdir_in(place).unwrap();
        let path = base.path().join("data");
        fs::create_dir(&path).unwrap();
        let native = base.path().join("native");
        fs::create_dir(&native).unwrap();
        let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
        let replicate: Arc<dyn Replicate> = Arc::new(Alone);
        let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &replicate).unwrap());
        let _done = watch(&front);
        for (what, directory) in [("native", &native), ("mount", &path)] {
            let file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(directory.join("f"))
                .unwrap();
            let block = vec![7; 4096];
            let best = (0..4)
                .map(|_| percentiles(timed(5000, |n| file.write_all_at(&block, (n % 256 * 4096) as u64).unwrap())))
                .min()
                .unwrap();
            println!("{place} {what} pwrite 4 KiB: {best}");
            let mut buffer = vec![0; 4096];
            let reads = timed(5000, |n| file.read_exact_at(&mut buffer, (n % 256 * 4096) as u64).unwrap());
            println!("{place} {what} pread 4 KiB cached: {}", percentiles(reads));
            let large = vec![1; 1 << 20];
            println!(
                "{place} {what} pwrite 1 MiB: {}",
                percentiles(timed(200, |_| file.write_all_at(&large, 0).unwrap()))
            );
            let cycle = timed(1000, |n| {
                let name = directory.join(n.to_string());
                fs::write(&name, &block).unwrap();
                fs::remove_file(&name).unwrap();
            });
            println!("{place} {what} create, write, unlink: {}", percentiles(cycle));
        }
        front.unmount(true).unwrap();
    }
}
