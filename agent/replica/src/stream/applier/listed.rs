//! Which names are the primary's already while a resync runs: of directories listed as a whole, and up to a name of those
//! whose listing is coming in pieces.

use super::objects::Key;
use std::collections::{HashMap, HashSet};

/// What was listed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    whole: HashSet<Key>,
    partly: HashMap<Key, Vec<u8>>,
}

impl Listed {
    /// All names of a directory are the primary's: it was just made.
    pub(super) fn whole(&mut self, directory: Key) {
        self.whole.insert(directory);
    }

    /// The names after `after` (empty: from the first) and up to `upto` (empty: to the last) are the primary's. `false`:
    /// what comes before them was not told.
    pub(super) fn told(&mut self, directory: Key, after: &[u8], upto: &[u8]) -> bool {
        if !after.is_empty() && self.partly.get(&directory).is_none_or(|told| told != after) {
            return false;
        }
        if upto.is_empty() {
            self.partly.remove(&directory);
            self.whole.insert(directory);
        } else {
            self.partly.insert(directory, upto.to_vec());
        }
        true
    }

    /// Whether a name of a directory is the primary's.
    pub(super) fn knows(&self, directory: Key, name: &[u8]) -> bool {
        self.whole.contains(&directory) || self.partly.get(&directory).is_some_and(|told| name <= told.as_slice())
    }

    /// The directory is gone; another one may get its number.
    pub(super) fn forget(&mut self, directory: Key) {
        self.whole.remove(&directory);
        self.partly.remove(&directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_as_far_as_the_pieces_have_come() {
        let mut listed = Listed::default();
        let one = (1, 1);
        assert!(!listed.knows(one, b"a"));
        assert!(!listed.told(one, b"a", b""), "what comes before is not told");
        assert!(listed.told(one, b"", b"c"));
        assert!(listed.knows(one, b"a") && listed.knows(one, b"c") && !listed.knows(one, b"ca"));
        assert!(!listed.told(one, b"b", b"d"), "a gap, or twice the same");
        assert!(listed.told(one, b"c", b"x") && listed.knows(one, b"d") && !listed.knows(one, b"y"));
        assert!(listed.told(one, b"x", b"") && listed.knows(one, b"y"));
        assert!(listed.told(one, b"", b"a") && listed.knows(one, b"y"), "listed again it stays as it is");
        listed.forget(one);
        assert!(!listed.knows(one, b"a") && !listed.told(one, b"a", b""));
    }
}
