//! A resync of what both nodes name only: from paths to objects, and the walk over these.
//!
//! The paths of both nodes are looked up in the primary's tree. Where a step is missing there (or is no directory), the
//! secondary has something under a name that the primary does not: that name is compared. Everything found is held until
//! its turn, so that it is compared wherever it is moved meanwhile.

use super::Fault;
use super::listing::Scope;
use super::walk::Walk;
use crate::frame::{Entry, ResyncStep};
use crate::front::{Child, Held, Inodes};
use crate::op::{FileId, FileKind, Op};
use crate::stream::cover::Cover;
use crate::track::{Inside, Named, TreePath};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is to be compared.
pub(crate) enum Plan {
    /// Everything.
    Full,
    /// What both nodes name.
    Named(Union),
}

/// One directory with names to compare.
pub(super) struct Directory {
    pub(super) held: Held,
    pub(super) all_files: bool,
    pub(super) names: BTreeSet<Vec<u8>>,
}

/// Everything named, as objects of the primary.
#[derive(Default)]
pub(crate) struct Union {
    pub(super) directories: HashMap<FileId, Directory>,
    pub(super) insides: HashMap<FileId, (Held, Inside)>,
    /// Directories looked up already, by path.
    known: HashMap<TreePath, Held>,
}

enum Place {
    At(Held),
    /// There is nothing, or no directory where one is needed, under this name.
    Missing(Held, Vec<u8>),
}

impl Union {
    /// Looks up what is named.
    ///
    /// # Errors
    /// What the tree's file system says: then everything has to be compared.
    pub(crate) fn add(&mut self, inodes: &Arc<Inodes>, named: Named) -> Result<(), Errno> {
        for (path, names) in named.names {
            match self.directory(inodes, &path)? {
                Place::At(held) => self.names(held).names.extend(names),
                Place::Missing(held, name) => drop(self.names(held).names.insert(name)),
            }
        }
        for path in named.all_files {
            match self.directory(inodes, &path)? {
                Place::At(held) => self.names(held).all_files = true,
                Place::Missing(held, name) => drop(self.names(held).names.insert(name)),
            }
        }
        for (path, inside) in named.insides {
            match self.find(inodes, &path)? {
                Place::At(held) => {
                    let (_, here) = self.insides.entry(held.id()).or_insert_with(|| (held, Inside::default()));
                    here.whole |= inside.whole;
                    inside
                        .extents
                        .into_iter()
                        .for_each(|(index, mask)| *here.extents.entry(index).or_default() |= mask);
                }
                Place::Missing(held, name) => drop(self.names(held).names.insert(name)),
            }
        }
        // Paths are true for a moment only: the next look starts anew.
        self.known.clear();
        Ok(())
    }

    fn names(&mut self, held: Held) -> &mut Directory {
        let fresh = |held| Directory { held, all_files: false, names: BTreeSet::new() };
        self.directories.entry(held.id()).or_insert_with(|| fresh(held))
    }

    fn directory(&mut self, inodes: &Arc<Inodes>, path: &TreePath) -> Result<Place, Errno> {
        if let Some(held) = self.known.get(path) {
            return Ok(Place::At(held.clone()));
        }
        let place = self.find(inodes, path)?;
        match (&place, path.steps.split_last()) {
            (Place::At(held), Some((last, above))) if held.kind() != FileKind::Directory => {
                let above = TreePath { root: path.root, steps: above.to_vec() };
                match self.directory(inodes, &above)? {
                    Place::At(above) => Ok(Place::Missing(above, last.clone())),
                    missing => Ok(missing),
                }
            }
            (Place::At(held), _) => {
                self.known.insert(path.clone(), held.clone());
                Ok(place)
            }
            _ => Ok(place),
        }
    }

    fn find(&mut self, inodes: &Arc<Inodes>, path: &TreePath) -> Result<Place, Errno> {
        let Some((last, above)) = path.steps.split_last() else {
            return inodes.root(usize::from(path.root)).map(Place::At).ok_or(Errno::NOENT);
        };
        let above = TreePath { root: path.root, steps: above.to_vec() };
        let parent = match self.directory(inodes, &above)? {
            Place::At(parent) => parent,
            missing => return Ok(missing),
        };
        match inodes.child(&parent, last) {
            // What is this node's own is not replicated: to the other node it is not there.
            Ok(held) if !own(inodes, &parent, last, &held) => Ok(Place::At(held)),
            Ok(_) | Err(Errno::NOENT | Errno::STALE) => Ok(Place::Missing(parent, last.clone())),
            Err(error) => Err(error),
        }
    }

    /// The names that are not exact on the secondary before they are compared.
    pub(crate) fn cover(&self) -> Cover {
        let mut cover = Cover::default();
        for (id, directory) in &self.directories {
            directory.names.iter().for_each(|name| cover.add_name(*id, name.clone()));
            if directory.all_files {
                cover.add_all_files(*id);
            }
        }
        cover
    }

    pub(super) fn len(&self) -> usize {
        self.directories.values().map(|directory| directory.names.len().max(1)).sum::<usize>() + self.insides.len()
    }
}

/// Whether `<notreplicated>` leaves this name to each node.
fn own(inodes: &Inodes, parent: &Held, name: &[u8], held: &Held) -> bool {
    inodes.excludes(parent, name, held.kind() == FileKind::Directory)
}

impl Walk {
    /// Compares what is named; names first.
    pub(super) fn named(&mut self, union: Union) -> Result<(), Fault> {
        self.set_named(union.len() as u64);
        self.send(ResyncStep::Begin { full: false })?;
        self.directories = union.directories.into_values().collect();
        self.insides = union.insides.into_values().collect();
        while let Some(directory) = self.directories.pop() {
            if !self.names_of(directory)? {
                return self.restart();
            }
            self.inodes.submit_forgotten(&*self.sender);
            self.mark_sometimes(None)?;
        }
        while let Some((held, inside)) = self.insides.pop() {
            if !self.bind(&held)? {
                continue;
            }
            match held.kind() {
                FileKind::File => self.file_blocks(held, (!inside.whole).then_some(inside.extents))?,
                _ => {
                    let order = held.lock_order();
                    self.settle(&held)?;
                    drop(order);
                    self.one_more()?;
                }
            }
            self.mark_sometimes(None)?;
        }
        Ok(())
    }

    /// Compares the names of a directory; `false` if everything has to be compared instead: which names are one file
    /// cannot be told from some names.
    fn names_of(&mut self, directory: Directory) -> Result<bool, Fault> {
        let held = &directory.held;
        // What is compared as a whole, later or already, needs nothing of its own.
        if !self.bind(held)? || self.listed.contains(held.id()) || self.sender.cover(|cover| cover.is_tree(held.id())) {
            return Ok(true);
        }
        if directory.all_files {
            self.begin_listing(held, Scope::Files(directory.names));
            self.listings()?;
            return Ok(true);
        }
        self.wait_window()?;
        let children = {
            let order = held.lock_order();
            if held.is_removed() {
                return Ok(true);
            }
            let mut children: Vec<Child> = Vec::new();
            let mut absent = Vec::new();
            for name in directory.names {
                match self.inodes.child_ordered(held, &order, &name) {
                    Ok((child, _)) if own(&self.inodes, held, &name, &child) => absent.push(name),
                    Ok((child, status)) => children.push((name, child, status)),
                    Err(Errno::NOENT) => absent.push(name),
                    Err(errno) => return Err(self.local(held, errno)),
                }
            }
            if children.iter().any(|(_, child, status)| child.kind() != FileKind::Directory && status.links > 1) {
                return Ok(false);
            }
            for (_, child, _) in &children {
                if child.kind() == FileKind::Directory {
                    self.sender.cover(|cover| cover.add_tree(child.id()));
                }
            }
            self.send_match(held, &children, absent)?;
            children.iter().for_each(|(_, child, _)| child.mark_bound(self.epoch));
            self.sender.cover(|cover| cover.names_compared(held.id()));
            self.settle(held)?;
            children
        };
        self.behind(held, children)?;
        Ok(true)
    }

    fn send_match(&self, directory: &Held, children: &[Child], absent: Vec<Vec<u8>>) -> Result<(), Fault> {
        let id = directory.id();
        for absent in absent.chunks(256) {
            let absent = absent.to_vec();
            self.send(ResyncStep::Match { directory: id, entries: Vec::new(), absent })?;
        }
        for children in children.chunks(64) {
            let entries = children.iter().map(|(name, child, status)| self.entry(name, child, status, false));
            let entries = entries.collect::<Result<Vec<Entry>, Fault>>()?;
            self.send(ResyncStep::Match { directory: id, entries, absent: Vec::new() })?;
        }
        Ok(())
    }

    /// Makes an object known to the secondary by its name, and before it whatever is above it; `false` if it has none.
    pub(super) fn bind(&self, object: &Held) -> Result<bool, Fault> {
        let mut path = vec![object.clone()];
        while let Some(inode) = path.last().cloned() {
            if inode.is_bound(self.epoch) {
                path.pop();
                continue;
            }
            let order = inode.lock_order();
            let Some((parent, name)) = self.inodes.place(inode.id()) else { return Ok(false) };
            let Some(parent) = self.inodes.get(parent) else { return Ok(false) };
            if !parent.is_bound(self.epoch) {
                drop(order);
                path.push(parent);
                continue;
            }
            if !inode.is_bound(self.epoch) {
                let op = Op::Bind { id: inode.id(), parent: parent.id(), name, kind: inode.kind(), exact: false };
                self.sender.resync_bind(self.epoch, &op)?;
                inode.mark_bound(self.epoch);
            }
            drop(order);
            path.pop();
        }
        Ok(true)
    }
}
