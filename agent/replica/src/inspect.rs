//! Counts what the replicated directories hold, for `Inspect` and for the totals of a resync.

use crate::filter::{Filter, join};
use crate::op::FileKind;
use crate::tree::{Status, list};
use holdfast_core::replica::Inventory;
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// A count that grows while it is made.
#[derive(Debug, Default)]
pub struct Count {
    entries: AtomicU64,
    bytes: AtomicU64,
    changed_unix_ms: AtomicI64,
    stop: AtomicBool,
}

impl Count {
    /// What is counted so far.
    pub fn so_far(&self) -> Inventory {
        Inventory {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            changed_unix_ms: self.changed_unix_ms.load(Ordering::Relaxed).max(0).cast_unsigned(),
        }
    }

    /// Ends a count that is being made.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Counts everything below `roots` (descriptors taken before mounting) but what `filter` excludes. What vanishes
    /// meanwhile, or cannot be read, is left out: this is for people to look at.
    pub fn run(&self, roots: &[Arc<OwnedFd>], filter: &Filter) -> Inventory {
        let opened =
            roots.iter().enumerate().filter_map(|(root, fd)| Some((list::open_listing(&**fd).ok()?, root, Vec::new())));
        let mut pending: Vec<(OwnedFd, usize, Vec<u8>)> = opened.collect();
        while let Some((directory, root, path)) = pending.pop() {
            let mut below = Vec::new();
            let mut buffer = Vec::with_capacity(32 * 1024);
            // What was listed before an error counts.
            let _ = list::list_from(&directory, 0, buffer.spare_capacity_mut(), |entry| {
                if entry.name != b"." && entry.name != b".." {
                    below.extend(self.entry(&directory, &entry.name, |kind| {
                        filter.excludes(root, &join(&path, &entry.name), kind == FileKind::Directory)
                    }));
                }
                !self.stop.load(Ordering::Relaxed)
            });
            if self.stop.load(Ordering::Relaxed) {
                return self.so_far();
            }
            // Deepest first, so that few descriptors are open at once: only names wait for their turn.
            while let Some(name) = below.pop() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                if let Ok(fd) = rustix::fs::openat(&directory, name.as_slice(), flags, Mode::empty()) {
                    pending.push((fd, root, join(&path, &name)));
                }
            }
        }
        self.so_far()
    }

    /// Counts one entry; its name if it is a directory.
    fn entry(&self, directory: &OwnedFd, name: &[u8], excluded: impl Fn(FileKind) -> bool) -> Option<Vec<u8>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
        let status = Status::of(&fd).ok()?;
        if excluded(status.kind()) {
            return None;
        }
        self.entries.fetch_add(1, Ordering::Relaxed);
        if status.kind() == FileKind::Directory {
            return Some(name.to_vec());
        }
        if status.kind() == FileKind::File {
            self.bytes.fetch_add(status.size, Ordering::Relaxed);
        }
        let modified = status.modified;
        let ms = modified.seconds.saturating_mul(1000).saturating_add(i64::from(modified.nanoseconds / 1_000_000));
        self.changed_unix_ms.fetch_max(ms, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/file"), [7; 100]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let root = Arc::new(OwnedFd::from(std::fs::File::open(folder.path()).unwrap()));
        let inventory = Count::default().run(&[root], &Filter::default());
        assert_eq!((inventory.entries, inventory.bytes), (4, 100));
        assert!(inventory.changed_unix_ms > 0);
        let none = Count::default();
        none.stop();
        assert_eq!(none.run(&[], &Filter::default()), Inventory::default());
    }
}
