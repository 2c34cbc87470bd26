//! Listing directories: opendir, readdir with and without attributes, releasedir.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use crate::front::inode::Inode;
use crate::front::lock;
use crate::front::reply::{FOPEN_CACHE_DIR, FOPEN_KEEP_CACHE, Reply};
use crate::front::session::Connection;
use crate::front::wire::PAYLOAD_MAX;
use crate::op::{FileId, FileKind};
use crate::tree::status::type_of;
use crate::tree::{DirEntry, Level, Result, list};

/// Listings kept open at most; further ones are opened again for each request.
const KEPT_MAX: usize = 1024;
/// Room of a directory entry before its name.
const DIRENT_SIZE: usize = 24;

/// Directories open for listing, by handle.
#[derive(Default)]
pub(in crate::front) struct Listings {
    next: AtomicU64,
    kept: Mutex<HashMap<u64, Arc<OwnedFd>>>,
}

impl Connection {
    pub(in crate::front) fn open_directory(&self, unique: u64, inode: &Inode) -> Result<()> {
        let handle = self.listings.next.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let _order = inode.lock_order();
            self.inodes.open_backing(inode, Level::Path)?;
            lock(&inode.use_count).opens += 1;
            self.inodes.keep_uses(inode);
        }
        let flags = if self.read_only { 0 } else { FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE };
        self.answer(unique, Reply::done().open(handle, flags))
    }

    pub(in crate::front) fn release_directory(&self, unique: u64, inode: &Inode, handle: u64) -> Result<()> {
        lock(&self.listings.kept).remove(&handle);
        self.count_close(unique, inode, libc::O_RDONLY as u32);
        self.answer(unique, Reply::done())
    }

    pub(in crate::front) fn read_directory(
        &self,
        unique: u64,
        inode: &Inode,
        handle: u64,
        (offset, size): (u64, u32),
        plus: bool,
    ) -> Result<()> {
        let listing = self.listing(inode, handle)?;
        let size = (size as usize).min(PAYLOAD_MAX);
        let mut page = Page { bytes: Vec::with_capacity(size), room: size };
        let mut buffer = Vec::with_capacity(size.clamp(4096, 64 * 1024));
        let mut given = Vec::new();
        {
            // The order lock keeps the names true that lookups note, and the listing's position ours.
            let order = inode.lock_order();
            list::list_from(&*listing, offset, buffer.spare_capacity_mut(), |entry| {
                if !page.has_room(&entry, plus) {
                    return false;
                }
                if !plus || entry.name == b"." || entry.name == b".." {
                    if plus {
                        page.bytes.extend(Reply::entry(0, None, self.ttl).body());
                    }
                    page.push(&entry);
                    return true;
                }
                match self.inodes.child_ordered(inode, &order, &entry.name) {
                    Ok((child, status)) => {
                        let id = child.into_kernel().id();
                        given.push(id);
                        page.bytes.extend(Reply::entry(id.0, Some(&status), self.ttl).body());
                        page.push(&entry);
                    }
                    Err(Errno::NOENT) => {}
                    Err(_) => {
                        page.bytes.extend(Reply::entry(0, None, self.ttl).body());
                        page.push(&entry);
                    }
                }
                true
            })
            .inspect_err(|_| self.take_back(&given))?;
        }
        self.channel.send_data(unique, &page.bytes);
        Ok(())
    }

    /// References given for a page that is not sent after all.
    fn take_back(&self, given: &[FileId]) {
        given.iter().for_each(|id| self.inodes.forgotten_by_kernel(*id, 1));
    }

    fn listing(&self, inode: &Inode, handle: u64) -> Result<Arc<OwnedFd>> {
        if let Some(listing) = lock(&self.listings.kept).get(&handle) {
            return Ok(listing.clone());
        }
        let listing = Arc::new(list::open_listing(&*self.inodes.open_backing(inode, Level::Path)?)?);
        let mut kept = lock(&self.listings.kept);
        if kept.len() < KEPT_MAX && handle != 0 {
            kept.insert(handle, listing.clone());
        }
        Ok(listing)
    }
}

/// A page of directory entries as the kernel wants it.
struct Page {
    bytes: Vec<u8>,
    room: usize,
}

impl Page {
    fn has_room(&self, entry: &DirEntry, plus: bool) -> bool {
        let length = (DIRENT_SIZE + entry.name.len()).next_multiple_of(8) + if plus { 128 } else { 0 };
        self.bytes.len() + length <= self.room
    }

    fn push(&mut self, entry: &DirEntry) {
        let kind = entry.kind.map_or(0, |kind: FileKind| type_of(kind).as_raw_mode() >> 12);
        self.bytes.extend(entry.ino.to_ne_bytes());
        self.bytes.extend(entry.next.to_ne_bytes());
        self.bytes.extend((entry.name.len() as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(&entry.name);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_never_exceed_the_room() {
        let mut page = Page { bytes: Vec::new(), room: 64 };
        let entry = DirEntry { name: b"abc".to_vec(), ino: 5, kind: Some(FileKind::Directory), next: 9 };
        assert!(page.has_room(&entry, false) && !page.has_room(&entry, true));
        page.push(&entry);
        assert_eq!(page.bytes.len(), 32);
        assert_eq!(page.bytes[20], 4, "DT_DIR");
        page.push(&entry);
        assert!(!page.has_room(&entry, false));
    }
}
