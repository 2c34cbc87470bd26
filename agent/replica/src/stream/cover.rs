//! Which names may mean something else on the secondary, while a resync by names runs: all others are exact there.

use crate::op::{FileId, FileKind, Op};
use std::collections::{HashMap, HashSet};

/// What is named and not yet compared.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    directories: HashMap<FileId, Names>,
    /// Directories whose names, and everything below, are not compared yet.
    trees: HashSet<FileId>,
    /// Of directories that are being compared: the last name that was.
    reached: HashMap<FileId, Vec<u8>>,
    /// Files that were bound by a name that was not exact: there they may be other files than by their other names.
    apart: HashSet<FileId>,
}

#[derive(Debug, Default)]
struct Names {
    all_files: bool,
    names: HashSet<Vec<u8>>,
}

impl Cover {
    /// A name that is to be compared.
    pub(crate) fn add_name(&mut self, directory: FileId, name: Vec<u8>) {
        self.directories.entry(directory).or_default().names.insert(name);
    }

    /// A directory all of whose files are to be compared.
    pub(crate) fn add_all_files(&mut self, directory: FileId) {
        self.directories.entry(directory).or_default().all_files = true;
    }

    /// A directory that is to be compared with everything below it.
    pub(crate) fn add_tree(&mut self, directory: FileId) {
        self.trees.insert(directory);
    }

    /// The names of a directory up to this one are exact from this point of the stream on.
    pub(crate) fn compared_up_to(&mut self, directory: FileId, name: Vec<u8>) {
        self.reached.insert(directory, name);
    }

    /// The names of a directory are exact from this point of the stream on.
    pub(crate) fn compared(&mut self, directory: FileId) {
        self.trees.remove(&directory);
        self.names_compared(directory);
    }

    /// The names of a directory that were to be compared have been.
    pub(crate) fn names_compared(&mut self, directory: FileId) {
        self.directories.remove(&directory);
        self.reached.remove(&directory);
    }

    /// Whether all of a directory is to be compared.
    pub(crate) fn is_tree(&self, directory: FileId) -> bool {
        self.trees.contains(&directory)
    }

    /// Whether an object may be another one on the secondary by some of its names than by others.
    pub(crate) fn is_apart(&self, object: FileId) -> bool {
        self.apart.contains(&object)
    }

    /// `op` with the word whether its name is exact. What is bound by a name that is not, is not exact below either.
    pub(crate) fn judge(&mut self, op: &Op) -> Op {
        let Op::Bind { id, parent, name, kind, .. } = op else { return op.clone() };
        let directory = *kind == FileKind::Directory;
        let named = self
            .directories
            .get(parent)
            .is_some_and(|names| names.names.contains(name.as_slice()) || (names.all_files && !directory));
        let reached = self.reached.get(parent).is_some_and(|reached| name <= reached);
        let exact = reached || (!named && !self.trees.contains(parent));
        if !exact {
            if directory { &mut self.trees } else { &mut self.apart }.insert(*id);
        }
        Op::Bind { id: *id, parent: *parent, name: name.clone(), kind: *kind, exact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(cover: &mut Cover, id: u64, parent: u64, name: &str, kind: FileKind) -> bool {
        let op = Op::Bind { id: FileId(id), parent: FileId(parent), name: name.into(), kind, exact: false };
        matches!(cover.judge(&op), Op::Bind { exact: true, .. })
    }

    #[test]
    fn only_what_no_name_covers_is_exact() {
        let mut cover = Cover::default();
        cover.add_name(FileId(1), b"a".to_vec());
        cover.add_all_files(FileId(1));
        assert!(!exact(&mut cover, 10, 1, "a", FileKind::Directory));
        assert!(!exact(&mut cover, 11, 10, "below", FileKind::Directory));
        assert!(!exact(&mut cover, 12, 11, "further below", FileKind::File));
        assert!(!exact(&mut cover, 13, 1, "file", FileKind::File));
        assert!(cover.is_apart(FileId(13)));
        assert!(exact(&mut cover, 14, 1, "directory", FileKind::Directory));
        assert!(exact(&mut cover, 15, 14, "below", FileKind::File));
        assert!(!cover.is_apart(FileId(15)));
        cover.compared_up_to(FileId(10), b"m".to_vec());
        assert!(exact(&mut cover, 19, 10, "m", FileKind::File));
        assert!(!exact(&mut cover, 20, 10, "n", FileKind::File));
        cover.compared(FileId(1));
        cover.compared(FileId(10));
        assert!(exact(&mut cover, 16, 1, "a", FileKind::File));
        assert!(exact(&mut cover, 17, 10, "other", FileKind::File));
        assert!(!exact(&mut cover, 18, 11, "x", FileKind::File));
    }
}
