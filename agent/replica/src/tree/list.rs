//! Listing a directory of the backing tree.

use std::collections::{BinaryHeap, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{OFlags, RawDir, SeekFrom};

use super::Result;
use super::status::kind_of;
use crate::op::FileKind;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, as bytes.
    pub name: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Kind, if the file system told it.
    pub kind: Option<FileKind>,
    /// Where listing goes on after this entry.
    pub next: u64,
}

/// Opens a descriptor of its own for listing (its position is not shared).
pub fn open_listing(directory: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, rustix::fs::Mode::empty())
}

/// Calls `each` for the entries after position `from` (0: the beginning), `.` and `..` included, until it answers
/// `false` or the end. `buffer` is scratch room; its size is how much the kernel reads ahead.
pub fn list_from(
    listing: impl AsFd,
    from: u64,
    buffer: &mut [MaybeUninit<u8>],
    mut each: impl FnMut(DirEntry) -> bool,
) -> Result<()> {
    rustix::fs::seek(listing.as_fd(), SeekFrom::Start(from))?;
    let mut entries = RawDir::new(listing.as_fd(), buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let entry = DirEntry {
            name: entry.file_name().to_bytes().to_vec(),
            ino: entry.ino(),
            kind: kind_of(entry.file_type()),
            next: entry.next_entry_cookie(),
        };
        if !each(entry) {
            break;
        }
    }
    Ok(())
}

/// The kind of what is at `name`; `None` if it is gone.
pub fn kind_at(directory: impl AsFd, name: &[u8]) -> Option<FileKind> {
    let stat = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
    kind_of(rustix::fs::FileType::from_raw_mode(stat.st_mode))
}

/// The first names of a directory after one of them, in the order of their bytes.
#[derive(Debug)]
pub struct Names {
    /// The names, in order.
    pub names: VecDeque<Vec<u8>>,
    /// There are more after them.
    pub more: bool,
}

/// The first `most` names after `after` (empty: from the first one on) of those that `wanted` takes. However many the
/// directory has, no more are kept at any time; it is read once. What comes or goes meanwhile may be among them or not.
pub fn names_after(
    directory: impl AsFd,
    after: &[u8],
    most: usize,
    mut wanted: impl FnMut(&DirEntry) -> bool,
) -> Result<Names> {
    let listing = open_listing(directory)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    // The last of those kept is on top.
    let mut kept: BinaryHeap<Vec<u8>> = BinaryHeap::new();
    let mut more = false;
    list_from(&listing, 0, buffer.spare_capacity_mut(), |entry| {
        if entry.name.as_slice() <= after || entry.name == b"." || entry.name == b".." {
            return true;
        }
        let full = kept.len() >= most;
        if (full && kept.peek().is_some_and(|last| *last < entry.name)) || !wanted(&entry) {
            more |= full;
            return true;
        }
        kept.push(entry.name);
        if full {
            more = true;
            kept.pop();
        }
        true
    })?;
    let mut names = kept.into_sorted_vec();
    // An entry may be given twice while the directory changes.
    names.dedup();
    Ok(Names { names: names.into(), more })
}

/// Some of the names in a directory, at most `most`; none only if it is empty.
pub fn some_names(directory: impl AsFd, most: usize) -> Result<VecDeque<Vec<u8>>> {
    let listing = open_listing(directory)?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut names = VecDeque::new();
    list_from(&listing, 0, buffer.spare_capacity_mut(), |entry| {
        if entry.name != b"." && entry.name != b".." {
            names.push_back(entry.name);
        }
        names.len() < most
    })?;
    Ok(names)
}

/// Entries of one part.
const PART: usize = 256;

/// A directory that is read part by part: one descriptor and few names, however many it has. What is there from beginning
/// to end is given once.
#[derive(Debug)]
pub struct Parts {
    listing: OwnedFd,
    read: VecDeque<DirEntry>,
    /// Where the next part begins; `None`: there is none.
    next: Option<u64>,
}

impl Parts {
    /// Of a directory.
    pub fn of(directory: impl AsFd) -> Result<Self> {
        open_listing(directory).map(Self::new)
    }

    /// Of a directory in this one; a link is none.
    pub fn below(&self, name: &[u8]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.listing, name, flags, rustix::fs::Mode::empty()).map(Self::new)
    }

    fn new(listing: OwnedFd) -> Self {
        Self { listing, read: VecDeque::new(), next: Some(0) }
    }

    /// The directory itself.
    pub fn directory(&self) -> &OwnedFd {
        &self.listing
    }

    /// The next entry, without `.` and `..`; `None` at the end.
    pub fn next_entry(&mut self) -> Result<Option<DirEntry>> {
        if self.read.is_empty()
            && let Some(from) = self.next.take()
        {
            let (read, next) = (&mut self.read, &mut self.next);
            let mut buffer = Vec::with_capacity(8 * 1024);
            list_from(&self.listing, from, buffer.spare_capacity_mut(), |entry| {
                if entry.name != b"." && entry.name != b".." {
                    *next = (read.len() + 1 == PART).then_some(entry.next);
                    read.push_back(entry);
                }
                next.is_none()
            })?;
        }
        Ok(self.read.pop_front())
    }
}

/// All entries of a directory, without `.` and `..`.
pub fn list_all(directory: impl AsFd) -> Result<Vec<DirEntry>> {
    let listing = open_listing(directory)?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut all = Vec::new();
    list_from(&listing, 0, buffer.spare_capacity_mut(), |entry| {
        if entry.name != b"." && entry.name != b".." {
            all.push(entry);
        }
        true
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_come_in_order_and_no_more_than_asked_for() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let all: BTreeSet<Vec<u8>> = (0..500).map(|number| format!("{}", number * 7919 % 1000).into_bytes()).collect();
        for name in &all {
            std::fs::write(folder.path().join(std::str::from_utf8(name).unwrap()), "").unwrap();
        }
        let directory = std::fs::File::open(folder.path()).unwrap();
        for most in [1, 7, 499, 500, 501] {
            let (mut after, mut seen) = (Vec::new(), Vec::new());
            loop {
                let part = names_after(&directory, &after, most, |entry| entry.name != b"0").unwrap();
                assert!(part.names.len() <= most && (part.names.len() == most || !part.more));
                seen.extend(part.names);
                if !part.more {
                    break;
                }
                after.clone_from(seen.last().unwrap());
            }
            assert_eq!(seen, all.iter().filter(|name| *name != b"0").cloned().collect::<Vec<_>>(), "{most} at once");
        }
    }

    #[test]
    fn parts_give_each_name_once_and_keep_few() {
        for count in [0, 1, PART - 1, PART, PART + 1, 3 * PART] {
            let folder = tempfile::tempdir_in("/tmp").unwrap();
            let all: BTreeSet<Vec<u8>> = (0..count).map(|number| number.to_string().into_bytes()).collect();
            for name in &all {
                std::fs::write(folder.path().join(std::str::from_utf8(name).unwrap()), "").unwrap();
            }
            let mut parts = Parts::of(std::fs::File::open(folder.path()).unwrap()).unwrap();
            let mut seen = Vec::new();
            while let Some(entry) = parts.next_entry().unwrap() {
                assert!(parts.read.len() < PART);
                seen.push(entry.name);
            }
            assert_eq!(seen.len(), count);
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
            assert!(parts.next_entry().unwrap().is_none());
        }
    }
}
