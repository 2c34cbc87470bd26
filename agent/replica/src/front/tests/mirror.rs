//! The oracle: applies recorded changes to a second directory, strictly by ids, and compares whole trees.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};

use crate::front::ops::data::clear_suid_bits;
use crate::op::{Attributes, FileId, FileKind, Op, Time};
use crate::tree::handle::{proc_path, reopen};
use crate::tree::status::type_of;
use crate::tree::xattr;

pub(super) struct Mirror {
    known: HashMap<FileId, OwnedFd>,
}

impl Mirror {
    pub(super) fn new(directory: &Path) -> Mirror {
        let root = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        Mirror { known: HashMap::from([(FileId(1), root)]) }
    }

    fn fd(&self, id: FileId, op: &Op) -> &OwnedFd {
        self.known.get(&id).unwrap_or_else(|| panic!("{op:?} uses {id:?}, which was not bound"))
    }

    fn learn(&mut self, id: FileId, parent: FileId, name: &[u8], op: &Op) {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(self.fd(parent, op), name, flags, Mode::empty())
            .unwrap_or_else(|error| panic!("{op:?}: {error}"));
        self.known.insert(id, fd);
    }

    pub(super) fn apply(&mut self, op: &Op, payload: &[u8]) {
        let file = |id: &FileId| std::fs::File::from(reopen(self.fd(*id, op), OFlags::RDWR).unwrap());
        let text = |name: &[u8]| CString::new(name).unwrap();
        match op {
            Op::Bind { id, parent, name, kind: _ } => {
                if !self.known.contains_key(id) {
                    self.learn(*id, *parent, name, op);
                }
            }
            Op::Forget { id } => drop(self.known.remove(id)),
            Op::Write { id, offset, clear_suid } => {
                let file = file(id);
                file.write_all_at(payload, *offset).unwrap();
                if *clear_suid {
                    clear_suid_bits(&file).unwrap();
                }
            }
            Op::SetAttributes { id, attributes } => set(self.fd(*id, op), attributes),
            Op::Create { id, parent, name, kind, mode, uid, gid, device } => {
                let (directory, bits) = (self.fd(*parent, op), Mode::from_raw_mode(*mode));
                match kind {
                    FileKind::Directory => rustix::fs::mkdirat(directory, &**name, bits).unwrap(),
                    other => rustix::fs::mknodat(directory, &**name, type_of(*other), bits, *device).unwrap(),
                }
                self.learn(*id, *parent, name, op);
                let owner = Attributes { uid: Some(*uid), gid: Some(*gid), mode: Some(*mode), ..Attributes::default() };
                set(self.fd(*id, op), &owner);
            }
            Op::Symlink { id, parent, name, uid, gid } => {
                rustix::fs::symlinkat(payload, self.fd(*parent, op), &**name).unwrap();
                self.learn(*id, *parent, name, op);
                let owner = Attributes { uid: Some(*uid), gid: Some(*gid), ..Attributes::default() };
                set(self.fd(*id, op), &owner);
            }
            Op::Link { id, parent, name } => {
                let (source, directory) = (self.fd(*id, op), self.fd(*parent, op));
                rustix::fs::linkat(source, c"", directory, &**name, AtFlags::EMPTY_PATH).unwrap();
            }
            Op::Unlink { id, parent, name } => {
                self.fd(*id, op);
                rustix::fs::unlinkat(self.fd(*parent, op), &**name, AtFlags::empty()).unwrap();
            }
            Op::RemoveDirectory { id, parent, name } => {
                self.fd(*id, op);
                rustix::fs::unlinkat(self.fd(*parent, op), &**name, AtFlags::REMOVEDIR).unwrap();
            }
            Op::Rename { id, parent, name, new_parent, new_name } => {
                self.fd(*id, op);
                let (from, to) = (self.fd(*parent, op), self.fd(*new_parent, op));
                rustix::fs::renameat(from, &**name, to, &**new_name).unwrap();
            }
            Op::Exchange { .. } | Op::CreateUnnamed { .. } | Op::Allocate { .. } => self.apply_rare(op),
            Op::SetXattr { id, name } => {
                xattr::set(self.fd(*id, op), &text(name), payload, XattrFlags::empty()).unwrap();
            }
            Op::RemoveXattr { id, name } => xattr::remove(self.fd(*id, op), &text(name)).unwrap(),
            Op::Sync { id, .. } => drop(self.fd(*id, op)),
            Op::SyncAll => {}
        }
    }

    fn apply_rare(&mut self, op: &Op) {
        match op {
            Op::Exchange { parent, name, other_parent, other_name, .. } => {
                let (one, other) = (self.fd(*parent, op), self.fd(*other_parent, op));
                let how = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(one, &**name, other, &**other_name, how).unwrap();
            }
            Op::CreateUnnamed { id, parent, mode, uid, gid } => {
                let flags = OFlags::TMPFILE | OFlags::RDWR;
                let fd =
                    rustix::fs::openat(reopen(self.fd(*parent, op), OFlags::RDONLY).unwrap(), ".", flags, Mode::RUSR);
                self.known.insert(*id, fd.unwrap());
                let owner = Attributes { uid: Some(*uid), gid: Some(*gid), mode: Some(*mode), ..Attributes::default() };
                set(self.fd(*id, op), &owner);
            }
            Op::Allocate { id, offset, length, how } => {
                rustix::fs::fallocate(reopen(self.fd(*id, op), OFlags::RDWR).unwrap(), how.flags(), *offset, *length)
                    .unwrap();
            }
            other => panic!("{other:?} is not rare"),
        }
    }
}

fn set(fd: &OwnedFd, attributes: &Attributes) {
    if let Some(size) = attributes.size {
        rustix::fs::ftruncate(reopen(fd, OFlags::RDWR).unwrap(), size).unwrap();
    }
    if attributes.uid.is_some() || attributes.gid.is_some() {
        let (uid, gid) = (attributes.uid.map(Uid::from_raw), attributes.gid.map(Gid::from_raw));
        rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH).unwrap();
    }
    if let Some(mode) = attributes.mode {
        rustix::fs::chmod(proc_path(fd.as_fd()).as_c_str(), Mode::from_raw_mode(mode)).unwrap();
    }
    if attributes.accessed.is_some() || attributes.modified.is_some() {
        let time = |time: Option<Time>| match time {
            Some(time) => Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) },
            None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        let times = Timestamps { last_access: time(attributes.accessed), last_modification: time(attributes.modified) };
        rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH).unwrap();
    }
}

/// Two trees must be equal, modification times of files included.
pub(super) fn assert_same_trees(one: &Path, other: &Path) {
    assert_same(one, other, true);
}

/// Two trees must be equal but for times.
pub(super) fn assert_same_contents(one: &Path, other: &Path) {
    assert_same(one, other, false);
}

fn assert_same(one: &Path, other: &Path, times: bool) {
    let (one, other) = (describe(one, times), describe(other, times));
    for (path, what) in &one {
        assert_eq!(Some(what), other.get(path), "{}", path.display());
    }
    assert_eq!(one.len(), other.len(), "the copy has more: {:?}", other.keys().find(|path| !one.contains_key(*path)));
}

fn describe(root: &Path, times: bool) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = path.symlink_metadata().unwrap();
        let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
        let mut xattrs = xattr::all(&fd).unwrap();
        xattrs.sort();
        let mut text = format!("{:o} {}:{} dev {} xattrs {xattrs:?}", meta.mode(), meta.uid(), meta.gid(), meta.rdev());
        if meta.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            text += &format!(" links {}", meta.nlink());
        }
        if meta.is_file() {
            let hash = blake3::hash(&std::fs::read(&path).unwrap());
            text += &format!(" size {} {hash}", meta.len());
            if times {
                text += &format!(" mtime {}.{}", meta.mtime(), meta.mtime_nsec());
            }
        }
        if meta.is_symlink() {
            text += &format!(" -> {:?}", std::fs::read_link(&path).unwrap());
        }
        if path != root {
            found.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
    found
}
