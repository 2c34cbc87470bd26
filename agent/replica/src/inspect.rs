//! Counts what the replicated directories hold, for `Inspect` and for the totals of a resync.

use crate::filter::{Filter, join};
use crate::op::FileKind;
use crate::tree::Status;
use crate::tree::list::Parts;
use holdfast_core::covered::Covered;
use holdfast_core::replica::Inventory;
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// A count that grows while it is made.
#[derive(Debug, Default)]
pub struct Count {
    all: Sum,
    uncovered: Option<Uncovered>,
    stop: AtomicBool,
}

/// Figures that grow.
#[derive(Debug, Default)]
struct Sum {
    entries: AtomicU64,
    bytes: AtomicU64,
    changed_unix_ms: AtomicI64,
}

impl Sum {
    fn inventory(&self) -> Inventory {
        Inventory {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            changed_unix_ms: self.changed_unix_ms.load(Ordering::Relaxed).max(0).cast_unsigned(),
        }
    }

    fn add(&self, status: &Status) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        if status.kind() == FileKind::Directory {
            return;
        }
        if status.kind() == FileKind::File {
            self.bytes.fetch_add(status.size, Ordering::Relaxed);
        }
        let modified = status.modified;
        let ms = modified.seconds.saturating_mul(1000).saturating_add(i64::from(modified.nanoseconds / 1_000_000));
        self.changed_unix_ms.fetch_max(ms, Ordering::Relaxed);
    }
}

/// What an earlier configuration did not cover.
#[derive(Debug)]
pub struct Uncovered {
    filter: Filter,
    /// By the number of the directory now: its number then, if it was replicated.
    then: Vec<Option<usize>>,
    sum: Sum,
}

impl Uncovered {
    /// Of these directories, beside what was covered `before`.
    ///
    /// # Errors
    /// An expression of then that cannot be used.
    pub fn new(before: &Covered, directories: &[PathBuf]) -> Result<Self, String> {
        let known: Vec<PathBuf> = before.directories.iter().map(Into::into).collect();
        let then = |now: &PathBuf| known.iter().position(|path| path == now);
        let then = directories.iter().map(then).collect();
        Ok(Self { filter: Filter::new(&known, &before.exclusions)?, then, sum: Sum::default() })
    }

    fn excluded(&self, root: usize, path: &[u8], directory: bool) -> bool {
        match self.then.get(root).copied().flatten() {
            Some(then) => self.filter.excludes(then, path, directory),
            None => true,
        }
    }
}

/// A directory whose entries are being counted.
struct Counting {
    entries: Parts,
    root: usize,
    path: Vec<u8>,
    /// Nothing below it was covered by the earlier configuration.
    uncovered: bool,
}

impl Count {
    /// Counts what an earlier configuration did not cover also by itself.
    pub fn beside(uncovered: Option<Uncovered>) -> Self {
        Self { uncovered, ..Self::default() }
    }

    /// What is counted so far.
    pub fn so_far(&self) -> Inventory {
        self.all.inventory()
    }

    /// What of it an earlier configuration did not cover.
    pub fn uncovered_so_far(&self) -> Inventory {
        self.uncovered.as_ref().map(|uncovered| uncovered.sum.inventory()).unwrap_or_default()
    }

    /// Ends a count that is being made.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Counts everything below `roots` (descriptors taken before mounting) but what `filter` excludes. What vanishes
    /// meanwhile, or cannot be read, is left out: this is for people to look at. Open at once: one directory of each level.
    pub fn run(&self, roots: &[Arc<OwnedFd>], filter: &Filter) -> Inventory {
        for (root, fd) in roots.iter().enumerate() {
            let Ok(entries) = Parts::of(&**fd) else { continue };
            let mut open = vec![Counting { entries, root, path: Vec::new(), uncovered: false }];
            while let Some(directory) = open.last_mut() {
                if self.stop.load(Ordering::Relaxed) {
                    return self.so_far();
                }
                // What was listed before an error counts.
                let Ok(Some(entry)) = directory.entries.next_entry() else {
                    open.pop();
                    continue;
                };
                if let Some((name, uncovered)) = self.entry(directory, entry.name, filter)
                    && let Ok(entries) = directory.entries.below(&name)
                {
                    let path = join(&directory.path, &name);
                    open.push(Counting { entries, root, path, uncovered });
                }
            }
        }
        self.so_far()
    }

    /// Counts one entry; its name if it is a directory, and whether the earlier configuration covered nothing below it.
    fn entry(&self, directory: &Counting, name: Vec<u8>, filter: &Filter) -> Option<(Vec<u8>, bool)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory.entries.directory(), name.as_slice(), flags, Mode::empty()).ok()?;
        let status = Status::of(&fd).ok()?;
        let is_directory = status.kind() == FileKind::Directory;
        let (root, path) = (directory.root, join(&directory.path, &name));
        if filter.excludes(root, &path, is_directory) {
            return None;
        }
        self.all.add(&status);
        let before = self.uncovered.as_ref();
        let uncovered = before.is_some_and(|before| directory.uncovered || before.excluded(root, &path, is_directory));
        if let Some(before) = before.filter(|_| uncovered) {
            before.sum.add(&status);
        }
        is_directory.then_some((name, uncovered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::userconfig::{Excluded, Exclusion};
    use std::path::Path;

    fn opened(path: &Path) -> Arc<OwnedFd> {
        Arc::new(OwnedFd::from(std::fs::File::open(path).unwrap()))
    }

    #[test]
    fn everything_below_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/file"), [7; 100]).unwrap();
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        let root = opened(folder.path());
        let inventory = Count::default().run(&[root], &Filter::default());
        assert_eq!((inventory.entries, inventory.bytes), (4, 100));
        assert!(inventory.changed_unix_ms > 0);
        let none = Count::default();
        none.stop();
        assert_eq!(none.run(&[], &Filter::default()), Inventory::default());
    }

    #[test]
    fn what_an_earlier_configuration_did_not_cover_is_counted_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        for (path, bytes) in [("old/kept", 1), ("old/own/deep/file", 10), ("old/x.tmp", 100), ("new/file", 1000)] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![7; bytes]).unwrap();
        }
        let exclusion = |names| Exclusion { directory: old.to_str().unwrap().to_owned(), names };
        let both = [exclusion(Excluded::Path("own".into())), exclusion(Excluded::Matching("[.]tmp$".into()))];
        let text = |paths: &[&Path]| -> Vec<String> { paths.iter().map(|path| path.display().to_string()).collect() };
        let now = [old.clone(), new.clone()];
        let uncovered = |before: &[&Path], exclusions: &[Exclusion], still: &[Exclusion]| {
            let before = Covered::new(&text(before), exclusions);
            let uncovered = Some(Uncovered::new(&before, &now).unwrap());
            let count = Count::beside(uncovered);
            count.run(&[opened(&old), opened(&new)], &Filter::new(&now, still).unwrap());
            let found = count.uncovered_so_far();
            (found.entries, found.bytes)
        };
        assert_eq!(uncovered(&[&old, &new], &[], &[]), (0, 0));
        assert_eq!(uncovered(&[&old, &new], &[], &both), (0, 0), "an exclusion more takes nothing from anybody");
        assert_eq!(uncovered(&[&old], &both, &both), (1, 1000), "a directory more");
        assert_eq!(uncovered(&[&new, &old], &both, &both[1..]), (3, 10), "an exclusion less, and all below it");
        assert_eq!(uncovered(&[&old, &new], &both, &both[..1]), (1, 100));
        assert_eq!(uncovered(&[], &[], &both), (2, 1001), "nothing is known of what was covered");
    }
}
