//! The other side of a comparison: what the primary tells is held against what is here, and nothing is changed.
//!
//! In the ordered stream each step stands where it was true on the primary, so no change under way looks like a
//! difference. On a survey's own connection nothing is applied meanwhile.

use super::objects::{key, look_up};
use super::own::OwnNames;
use super::{Applier, Effect, attributes};
use crate::filter::join;
use crate::frame::{CheckStep, Checked, Entry, Message, NAMED_BYTES_MAX, NAMED_MAX};
use crate::op::{FileId, FileKind, Op, Time};
use crate::survey::xattr_hash;
use crate::tree::{Level, Status};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Number of a replicated directory and a path below it.
pub type Place = (usize, Vec<u8>);

/// Something here that is not as on the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Different {
    /// In words; the first value is the primary's.
    pub why: String,
    /// Something is here under this name that the primary has not, or has otherwise.
    pub here: bool,
}

/// A comparison under way.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// Every difference is kept by its place, for whoever sets them aside; at most so many.
    keep: Option<usize>,
    kept: BTreeMap<Place, Different>,
    overflowed: bool,
    own: OwnNames,
    /// Where the objects of the comparison are.
    places: HashMap<FileId, Place>,
    /// Objects that only the comparison has bound.
    bound: HashSet<FileId>,
    /// Files whose contents were found to differ.
    unequal: HashSet<FileId>,
    found: Checked,
    /// Bytes of blocks that are otherwise, or not, here.
    lacking: u64,
    named_bytes: usize,
}

impl Check {
    /// A live change uses these objects: they are not the comparison's any more.
    pub(super) fn meet(&mut self, op: &Op) {
        if let Op::Bind { id, .. } | Op::Forget { id } = op {
            self.bound.remove(id);
        }
    }

    fn differ(&mut self, place: Place, shown: String, why: String, here: bool) {
        self.found.differences += 1;
        let line: String = format!("{shown}: {why}").chars().take(1000).collect();
        if self.found.named.len() < NAMED_MAX && self.named_bytes + line.len() <= NAMED_BYTES_MAX {
            self.named_bytes += line.len();
            self.found.named.push(line);
        }
        if let Some(most) = self.keep {
            if self.kept.len() < most {
                self.kept.entry(place).or_insert(Different { why, here });
            } else {
                self.overflowed = true;
            }
        }
    }
}

impl Applier {
    /// Keeps every difference by its place, at most `most`.
    pub fn keep_differences(&mut self, most: usize) {
        self.check.keep = Some(most);
    }

    /// The differences kept, and whether there were more.
    pub fn take_differences(&mut self) -> (BTreeMap<Place, Different>, bool) {
        (std::mem::take(&mut self.check.kept), self.check.overflowed)
    }

    /// (With the differences kept) what was found so far, and the bytes that the primary would have to send.
    pub fn checked_so_far(&self) -> (&Checked, u64) {
        (&self.check.found, self.check.lacking)
    }

    /// One step. What cannot be read is a difference, too.
    pub(super) fn check(&mut self, step: CheckStep) -> Effect {
        match step {
            CheckStep::List { directory, after, upto, entries } => {
                if let Err(errno) = self.check_list(directory, (&after, &upto), &entries) {
                    self.unreadable(directory, errno);
                }
            }
            CheckStep::Object { id, mode, uid, gid, size, modified, xattrs } => {
                self.check.found.entries += 1;
                if let Err(errno) = self.check_object(id, (mode, uid, gid), (size, modified), xattrs) {
                    self.unreadable(id, errno);
                }
            }
            CheckStep::Blocks { id, offset, blocks } => {
                if let Err(errno) = self.check_blocks(id, offset, &blocks) {
                    self.unreadable(id, errno);
                }
            }
            CheckStep::Done { id } => self.forget_checked(id),
            CheckStep::End { request } => {
                for id in self.check.bound.drain() {
                    self.objects.forget(id);
                }
                let keep = self.check.keep;
                let check = std::mem::take(&mut self.check);
                let checked = check.found.clone();
                if keep.is_some() {
                    self.check = check;
                }
                return Effect::Reply(Message::Checked { request, checked });
            }
        }
        Effect::None
    }

    fn forget_checked(&mut self, id: FileId) {
        self.check.places.remove(&id);
        self.check.unequal.remove(&id);
        if self.check.bound.remove(&id) {
            self.objects.forget(id);
        }
    }

    fn place_of(&self, id: FileId) -> Option<Place> {
        let root = usize::try_from(id.0).ok().and_then(|number| number.checked_sub(1));
        let root = root.filter(|root| *root < self.objects.roots().count());
        root.map(|root| (root, Vec::new())).or_else(|| self.check.places.get(&id).cloned())
    }

    fn shown(&self, (root, path): &Place) -> String {
        let root = self.objects.root_path(*root);
        if path.is_empty() { root } else { format!("{root}/{}", String::from_utf8_lossy(path)) }
    }

    fn differ(&mut self, place: Place, why: String, here: bool) {
        let shown = self.shown(&place);
        self.check.differ(place, shown, why, here);
    }

    fn unreadable(&mut self, id: FileId, errno: Errno) {
        if let Some(place) = self.place_of(id) {
            self.differ(place, format!("cannot be read on the secondary: {errno}"), true);
        }
    }

    fn check_list(&mut self, directory: FileId, (after, upto): (&[u8], &[u8]), entries: &[Entry]) -> Result<(), Errno> {
        // Told missing already.
        let Some((root, path)) = self.place_of(directory) else { return Ok(()) };
        let fd = self.objects.open(directory, Level::Read)?;
        let theirs: HashSet<&[u8]> = entries.iter().map(|entry| entry.name.as_slice()).collect();
        let mut given = after.to_vec();
        while let Some(name) = self.check.own.next((directory, &*fd), &given, upto)? {
            given.clone_from(&name);
            if theirs.contains(name.as_slice()) {
                continue;
            }
            let Some(found) = look_up(&*fd, &name)? else { continue };
            let below = join(&path, &name);
            if !self.filter.excludes(root, &below, found.status.kind() == FileKind::Directory) {
                self.differ((root, below), "only on the secondary".into(), true);
            }
        }
        for entry in entries {
            let place = (root, join(&path, &entry.name));
            let Some(found) = look_up(&*fd, &entry.name)? else {
                self.differ(place, "only on the primary".into(), false);
                continue;
            };
            let kind = found.status.kind();
            if kind != entry.kind {
                self.differ(place, format!("kind {:?} / {kind:?}", entry.kind), true);
                continue;
            }
            if kind == FileKind::Symlink {
                let target = rustix::fs::readlinkat(&found.fd, c"", Vec::new())?;
                if target.as_bytes() != entry.target {
                    let theirs = String::from_utf8_lossy(&entry.target).into_owned();
                    self.differ(place.clone(), format!("target {theirs} / {}", target.to_string_lossy()), true);
                }
            } else if matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) && found.status.rdev != entry.device
            {
                self.differ(place.clone(), format!("device {} / {}", entry.device, found.status.rdev), true);
            }
            if kind != FileKind::Directory && (found.status.links > 1) != entry.linked {
                let links = |several| if several { "several names" } else { "one name" };
                let why = format!("{} / {}", links(entry.linked), links(!entry.linked));
                self.differ(place.clone(), why, true);
            }
            match self.objects.alive(entry.id) {
                Some(_) if self.objects.key_of(entry.id) == Some(key(&found.status)) => {}
                Some(_) => self.differ(place.clone(), "is another file than the one it is on the primary".into(), true),
                None => {
                    self.objects.bind(entry.id, found)?;
                    self.check.bound.insert(entry.id);
                }
            }
            self.check.places.insert(entry.id, place);
        }
        Ok(())
    }

    fn check_object(
        &mut self,
        id: FileId,
        (mode, uid, gid): (u32, u32, u32),
        (size, modified): (u64, Option<Time>),
        xattrs: [u8; 32],
    ) -> Result<(), Errno> {
        let Some(place) = self.place_of(id) else { return Ok(()) };
        let fd = self.objects.open(id, Level::Path)?;
        let own = Status::of(&*fd)?;
        let mut found = Vec::new();
        if own.kind() != FileKind::Symlink && own.permissions() != mode {
            found.push(format!("mode {mode:o} / {:o}", own.permissions()));
        }
        if (own.uid, own.gid) != (uid, gid) {
            found.push(format!("owner {uid}:{gid} / {}:{}", own.uid, own.gid));
        }
        if own.kind() == FileKind::File && own.size != size {
            found.push(format!("size {size} / {}", own.size));
        }
        if let Some(theirs) = modified.filter(|theirs| *theirs != own.modified) {
            let (a, b) = (theirs, own.modified);
            found.push(format!("modified {}.{:09} / {}.{:09}", a.seconds, a.nanoseconds, b.seconds, b.nanoseconds));
        }
        if xattr_hash(&*fd)? != xattrs {
            found.push("extended attributes".into());
        }
        if !found.is_empty() {
            self.differ(place, found.join(", "), true);
        }
        Ok(())
    }

    fn check_blocks(&mut self, id: FileId, offset: u64, theirs: &[[u8; 32]]) -> Result<(), Errno> {
        let block = attributes::BLOCK as u64;
        let Some(place) = self.place_of(id) else {
            // The primary's alone, and told so: zeros need not travel.
            self.check.lacking += theirs.iter().filter(|hash| **hash != attributes::ZERO).count() as u64 * block;
            return Ok(());
        };
        let fd = self.objects.open(id, Level::Read)?;
        let length = theirs.len() as u64 * block;
        let own = attributes::hash_range(&*fd, offset, length)?;
        self.check.found.bytes += length;
        let unlike = |at: &usize| own.get(*at) != theirs.get(*at) && theirs[*at] != attributes::ZERO;
        self.check.lacking += (0..theirs.len()).filter(unlike).count() as u64 * block;
        let differs = (0..theirs.len()).find(|at| own.get(*at) != theirs.get(*at));
        if let Some(at) = differs
            && self.check.unequal.insert(id)
        {
            let from = offset + (at * attributes::BLOCK) as u64;
            self.differ(place, format!("content, in the 64 KiB from byte {from} on"), true);
        }
        Ok(())
    }
}
