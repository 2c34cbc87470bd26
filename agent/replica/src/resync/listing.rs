//! Directories under comparison, each inside the one before: names piece by piece, what is behind them after each piece.
//!
//! Between two pieces the application changes the directory as it likes. What it makes, moves or removes under a name
//! that was told already travels in the live stream, behind the piece that told it; a name that comes later is told with
//! its piece. An object that is moved from a piece still to come to one that was told is looked at again at the end
//! (`Inodes::take_touched`), as one moved between directories.

use super::Fault;
use super::walk::Walk;
use crate::frame::{Entry, ResyncStep};
use crate::front::{Child, Held, Piece, Pieces};
use crate::op::FileKind;
use crate::tree::Status;
use std::collections::{BTreeSet, VecDeque};

/// Which of a directory's names are compared.
pub(super) enum Scope {
    /// All, with everything below.
    All,
    /// Those of files, and these: other directories are what they were on both nodes.
    Files(BTreeSet<Vec<u8>>),
}

impl Scope {
    fn is_exact(&self, name: &[u8], child: &Held) -> bool {
        match self {
            Scope::All => false,
            Scope::Files(named) => child.kind() == FileKind::Directory && !named.contains(name),
        }
    }
}

impl Listing {
    /// The last name that was compared, if there are more.
    pub(super) fn told(&self) -> Option<&[u8]> {
        self.pieces.as_ref().filter(|pieces| !pieces.is_over()).map(Pieces::told)
    }

    /// What is behind names that were just compared is looked at next.
    fn take(&mut self, children: impl Iterator<Item = Child>) {
        for child in children {
            match child.1.kind() {
                FileKind::Directory => self.below.push_back(child.1),
                _ => self.rest.push_back(child),
            }
        }
    }
}

/// A directory that is under way.
pub(super) struct Listing {
    pub(super) directory: Held,
    /// `None`: only some names of it are compared, and they were.
    pub(super) pieces: Option<Pieces>,
    pub(super) scope: Scope,
    /// Files of the latest piece that were not looked at yet.
    pub(super) rest: VecDeque<Child>,
    /// Directories of the latest piece that were not looked at yet.
    pub(super) below: VecDeque<Held>,
}

impl Walk {
    /// Begins with a directory as a whole, unless that was begun already.
    pub(super) fn directory(&mut self, directory: &Held) {
        // A directory the peer does not know has not been reached by name yet: the walk still comes to it.
        if directory.is_bound(self.epoch) && self.listed.insert(directory.id()) {
            self.begin_listing(directory, Scope::All);
        }
    }

    /// Begins to list a directory.
    pub(super) fn begin_listing(&mut self, directory: &Held, scope: Scope) {
        let pieces = Some(Pieces::begin(directory, self.open.len()));
        let (directory, rest, below) = (directory.clone(), VecDeque::new(), VecDeque::new());
        self.open.push(Listing { directory, pieces, scope, rest, below });
    }

    /// Looks at what is behind some names of a directory that were just compared.
    pub(super) fn behind(&mut self, directory: &Held, children: Vec<Child>) -> Result<(), Fault> {
        let (directory, rest, below) = (directory.clone(), VecDeque::new(), VecDeque::new());
        let mut listing = Listing { directory, pieces: None, scope: Scope::All, rest, below };
        listing.take(children.into_iter());
        self.open.push(listing);
        self.listings()
    }

    /// Goes on with the innermost directory until none is left that was begun.
    pub(super) fn listings(&mut self) -> Result<(), Fault> {
        while let Some(listing) = self.open.last_mut() {
            if let Some(child) = listing.rest.pop_front() {
                self.child(child)?;
            } else if let Some(below) = listing.below.pop_front() {
                self.directory(&below);
                self.one_more()?;
            } else if listing.told().is_none() {
                self.open.pop();
                self.inodes.submit_forgotten(&*self.sender);
            } else {
                self.piece()?;
                self.inodes.submit_forgotten(&*self.sender);
            }
            if self.open.last().is_some_and(|listing| listing.rest.is_empty()) {
                self.mark_sometimes(None)?;
            }
        }
        Ok(())
    }

    /// The next piece of the innermost directory: its names under the order lock; with the last the directory's
    /// attributes.
    fn piece(&mut self) -> Result<(), Fault> {
        self.wait_window()?;
        let Some(listing) = self.open.last_mut() else { return Ok(()) };
        let directory = listing.directory.clone();
        let Some(pieces) = &mut listing.pieces else { return Ok(()) };
        let looked = pieces.look();
        let order = directory.lock_order();
        if directory.is_removed() {
            drop(order);
            self.open.pop();
            return Ok(());
        }
        let taken = looked.and_then(|()| pieces.next(&order));
        let taken = taken.map_err(|errno| self.hands.local(&directory, errno))?;
        let Some(Piece { after, upto, children }) = taken else { return Ok(()) };
        let several = |(_, child, status): &Child| child.kind() != FileKind::Directory && status.links > 1;
        if self.hands.sender.is_covered() && children.iter().any(several) {
            // Which names are one file cannot be told from some names.
            drop(order);
            return self.restart();
        }
        let scope = &listing.scope;
        for (name, child, _) in &children {
            if child.kind() == FileKind::Directory && !scope.is_exact(name, child) {
                self.hands.sender.cover(|cover| cover.add_tree(child.id()));
            }
        }
        let entries = children
            .iter()
            .map(|(name, child, status)| self.hands.entry(name, child, status, scope.is_exact(name, child)));
        let entries = entries.collect::<Result<Vec<Entry>, Fault>>()?;
        self.hands.send(ResyncStep::List { directory: directory.id(), after, upto: upto.clone(), entries })?;
        for (_, child, _) in &children {
            child.mark_bound(self.hands.epoch);
            if self.hands.inodes.found_again(child.id()) {
                self.done.remove(child.id());
            }
        }
        let last = upto.is_empty();
        // Not before the secondary is told: another thread may make a name known there at any moment.
        self.hands.sender.cover(|cover| match (last, scope) {
            (false, _) => cover.compared_up_to(directory.id(), upto),
            (true, Scope::All) => cover.compared(directory.id()),
            (true, Scope::Files(_)) => cover.names_compared(directory.id()),
        });
        let exact: Vec<bool> = children.iter().map(|(name, child, _)| scope.is_exact(name, child)).collect();
        listing.take(children.into_iter().zip(exact).filter(|(_, exact)| !exact).map(|(child, _)| child));
        if last {
            self.settle(&directory)?;
        }
        Ok(())
    }

    /// What is behind a name that was just compared, if it is no directory.
    fn child(&mut self, (_, child, status): (Vec<u8>, Held, Status)) -> Result<(), Fault> {
        if status.links > 1 {
            self.inodes.keep_met(child.clone());
        }
        if self.is_exact(child.id()) { Ok(()) } else { self.object(child) }
    }
}
