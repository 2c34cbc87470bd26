//! Steps of a resync on the secondary: a directory gets exactly the names the primary has, piece by piece.

use super::names::make;
use super::objects::{Found, key, look_up};
use super::{Applier, ApplyError};
use crate::filter::join;
use crate::frame::Entry;
use crate::op::{FileId, FileKind};
use crate::tree::Level;
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::OwnedFd;

impl Applier {
    /// Makes the names of one piece match: those the primary has there, then, what it does not have there is removed. The
    /// piece says what is true on the primary at this point of the stream of every name between its ends, so nothing is
    /// removed that came into the directory since an earlier piece was told.
    pub(super) fn list_piece(
        &mut self,
        directory: FileId,
        (after, upto): (&[u8], &[u8]),
        entries: &[Entry],
    ) -> Result<(), ApplyError> {
        let failed = |applier: &Self, errno| applier.error("comparing directory", directory, b"", errno);
        let fd = self.objects.open(directory, Level::Read).map_err(|errno| failed(self, errno))?;
        let key = self.objects.key_of(directory).ok_or_else(|| failed(self, Errno::BADF))?;
        if !self.listed.told(key, after, upto) {
            return Err(failed(self, Errno::PROTO));
        }
        for entry in entries {
            self.match_entry(&fd, entry).map_err(|errno| self.error("comparing", directory, &entry.name, errno))?;
        }
        let wanted: HashSet<&[u8]> = entries.iter().map(|entry| entry.name.as_slice()).collect();
        let place = self.filtered_path(directory);
        let mut given = after.to_vec();
        while let Some(name) = self.own.next((directory, &*fd), &given, upto).map_err(|errno| failed(self, errno))? {
            if !wanted.contains(name.as_slice())
                && let Some(found) = look_up(&*fd, &name).map_err(|errno| failed(self, errno))?
                && !self.is_own(&place, &name, found.status.kind())
            {
                self.remove_tree(&*fd, &name, &found.status)
                    .map_err(|errno| self.error("removing what the primary does not have", directory, &name, errno))?;
            }
            given = name;
        }
        Ok(())
    }

    /// Where a directory is, if anything is excluded anywhere.
    fn filtered_path(&self, directory: FileId) -> Option<(usize, Vec<u8>)> {
        if self.filter.is_empty() { None } else { self.objects.path_below(directory) }
    }

    /// Whether a name is this node's own.
    fn is_own(&self, place: &Option<(usize, Vec<u8>)>, name: &[u8], kind: FileKind) -> bool {
        let excludes = |(root, path): &(usize, Vec<u8>)| {
            self.filter.excludes(*root, &join(path, name), kind == FileKind::Directory)
        };
        place.as_ref().is_some_and(excludes)
    }

    /// Makes some names of a directory match, and removes others.
    pub(super) fn match_names(
        &mut self,
        directory: FileId,
        entries: &[Entry],
        absent: &[Vec<u8>],
    ) -> Result<(), ApplyError> {
        let fd = self
            .objects
            .open(directory, Level::Read)
            .map_err(|errno| self.error("comparing names in", directory, b"", errno))?;
        let place = self.filtered_path(directory);
        for name in absent {
            let found = look_up(&*fd, name).map_err(|errno| self.error("comparing", directory, name, errno))?;
            if let Some(found) = found
                && !self.is_own(&place, name, found.status.kind())
            {
                self.remove_tree(&*fd, name, &found.status)
                    .map_err(|errno| self.error("removing what the primary does not have", directory, name, errno))?;
            }
        }
        for entry in entries {
            self.match_entry(&fd, entry).map_err(|errno| self.error("comparing", directory, &entry.name, errno))?;
        }
        Ok(())
    }

    /// Makes one name mean what it means on the primary: same kind, same device or target, same object as its other
    /// names. Contents and attributes of what was there are compared later.
    fn match_entry(&mut self, directory: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
        let found = look_up(directory, &entry.name)?;
        if entry.exact {
            // Nothing below it is compared: if it is not what both nodes know, nothing is known.
            let same = found.filter(|found| found.status.kind() == entry.kind).ok_or(Errno::NOENT)?;
            return match self.objects.alive(entry.id) {
                Some(_) if self.objects.key_of(entry.id) == Some(key(&same.status)) => Ok(()),
                Some(_) => Err(Errno::EXIST),
                None => self.objects.bind(entry.id, same),
            };
        }
        if self.objects.alive(entry.id).is_some() && self.objects.kind_of(entry.id) == Some(entry.kind) {
            let same = found.as_ref().is_some_and(|found| self.objects.key_of(entry.id) == Some(key(&found.status)));
            match found {
                Some(found) if same && is_like(&found, entry)? => return Ok(()),
                // A name made true before its target was known, or another object: the bound one takes its place.
                Some(found) => self.remove_tree(directory, &entry.name, &found.status)?,
                None => {}
            }
            if !same {
                return self.place(entry.id, directory, &entry.name);
            }
            return self.make_entry(directory, entry);
        }
        match found {
            Some(found) if self.may_take_over(&found, entry)? => self.objects.bind(entry.id, found),
            Some(found) => {
                self.remove_tree(directory, &entry.name, &found.status)?;
                self.make_entry(directory, entry)
            }
            None => self.make_entry(directory, entry),
        }
    }

    fn make_entry(&mut self, directory: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
        let made = make(directory, &entry.name, entry.kind, entry.device, &entry.target)?;
        self.objects.bind(entry.id, made)
    }

    /// Whether what stands here may become the object of this entry. A file with several names here may share its
    /// content with another object there: it is taken over only if the primary's has several names, too, and no other
    /// living id means it already.
    fn may_take_over(&self, found: &Found, entry: &Entry) -> Result<bool, Errno> {
        if found.status.kind() != entry.kind || !is_like(found, entry)? {
            return Ok(false);
        }
        if entry.kind == FileKind::Directory || found.status.links == 1 {
            return Ok(true);
        }
        Ok(entry.linked && self.objects.owner(&found.status).is_none_or(|owner| owner == entry.id))
    }
}

/// Same device number, same target: what can only be set when an object is made.
fn is_like(found: &Found, entry: &Entry) -> Result<bool, Errno> {
    Ok(match entry.kind {
        FileKind::Symlink => rustix::fs::readlinkat(&found.fd, c"", Vec::new())?.as_bytes() == entry.target,
        FileKind::CharDevice | FileKind::BlockDevice => found.status.rdev == entry.device,
        _ => true,
    })
}
