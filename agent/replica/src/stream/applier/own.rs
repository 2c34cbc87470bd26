//! The names that a directory of this node has between two names, in order and in bounded memory: what the primary's
//! piece of a listing does not name there is found by these.
//!
//! Windows are kept between the pieces of a listing. A name that comes into a directory meanwhile may be missed: only the
//! stream makes names here, and what it makes or removes after a piece of the listing is as the primary has it.

use crate::tree::list;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::AsFd;

use crate::op::FileId;

/// Names of one look.
const LOOK_MAX: usize = if cfg!(test) { 16 } else { 16384 };
/// Directories whose names are kept at once: so many are listed inside one another, and the innermost most often.
const WINDOWS_MAX: usize = 8;

#[derive(Debug)]
struct Window {
    directory: FileId,
    /// Names up to this one were given already.
    given: Vec<u8>,
    names: VecDeque<Vec<u8>>,
    /// There may be more names after these.
    more: bool,
}

/// The windows, the latest used last.
#[derive(Debug, Default)]
pub(super) struct OwnNames(VecDeque<Window>);

impl OwnNames {
    /// The next of the names of `directory` (open as `fd`) after `after` and up to `upto` (empty: without an end), of
    /// which those up to `given` were given by earlier calls.
    pub(super) fn next(
        &mut self,
        (directory, fd): (FileId, impl AsFd),
        after: &[u8],
        upto: &[u8],
    ) -> Result<Option<Vec<u8>>, Errno> {
        let mut window =
            match self.0.iter().position(|window| window.directory == directory && window.given == after) {
                Some(at) => self.0.remove(at),
                None => None,
            }
            .unwrap_or_else(|| Window {
                directory,
                given: after.to_vec(),
                names: VecDeque::new(),
                more: true,
            });
        if window.names.is_empty() && window.more {
            let found = list::names_after(fd, &window.given, LOOK_MAX, |_| true)?;
            (window.names, window.more) = (found.names, found.more);
        }
        let within = |name: &&Vec<u8>| upto.is_empty() || name.as_slice() <= upto;
        let next = if window.names.front().as_ref().is_some_and(within) { window.names.pop_front() } else { None };
        match &next {
            Some(name) => window.given.clone_from(name),
            // The next piece goes on after this one.
            None => window.given = upto.to_vec(),
        }
        if next.is_some() || !upto.is_empty() {
            self.0.retain(|other| other.directory != directory);
            self.0.push_back(window);
            if self.0.len() > WINDOWS_MAX {
                self.0.pop_front();
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_between_two_names_are_given_in_order_piece_by_piece() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let directory = std::fs::File::open(folder.path()).unwrap();
        let mut own = OwnNames::default();
        let mut piece = |after: &str, upto: &str| {
            let (mut all, mut given) = (Vec::new(), after.as_bytes().to_vec());
            while let Some(name) = own.next((FileId(1), &directory), &given, upto.as_bytes()).unwrap() {
                all.push(String::from_utf8(name.clone()).unwrap());
                given = name;
            }
            all
        };
        assert_eq!(piece("", "bb"), ["a", "b"]);
        assert_eq!(piece("bb", "c"), ["c"]);
        std::fs::remove_file(folder.path().join("b")).unwrap();
        assert_eq!(piece("c", ""), ["d", "e"]);
        assert_eq!(piece("", "b"), ["a"], "another listing looks anew");
        assert_eq!(piece("b", ""), ["c", "d", "e"]);
    }
}
