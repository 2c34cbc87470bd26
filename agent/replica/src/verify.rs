//! Comparing two directory trees completely: names, kinds, contents, owners, modes, times, targets, extended attributes,
//! which names are the same file, and (if wanted) where files have holes.

mod data;

use crate::op::FileKind;
use crate::tree::{Status, list, xattr};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One way in which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path below both trees; empty for the trees themselves.
    pub path: PathBuf,
    /// What differs, with both values: first tree, second tree.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Modification times of directories, links and special files, too. They are the same after a resync, but not after
    /// changes that were applied on both nodes: each file system stamps them itself when a name is made or removed.
    pub stamped_times: bool,
}

impl Default for Compare {
    fn default() -> Self {
        Self { stamped_times: true }
    }
}

/// Compares two trees, which nobody changes meanwhile.
///
/// # Errors
/// What cannot be read, with its path.
pub fn compare_trees(a: &Path, b: &Path) -> io::Result<Vec<Difference>> {
    compare_trees_with(a, b, Compare::default())
}

/// As [`compare_trees`], with a choice of what is compared.
///
/// # Errors
/// What cannot be read, with its path.
pub fn compare_trees_with(a: &Path, b: &Path, compare: Compare) -> io::Result<Vec<Difference>> {
    Run { compare, ..Run::default() }.trees(a, b)
}

/// As [`compare_trees_with`], and where files have holes: for file systems of one kind. Files are synced and dropped from
/// the page cache for it, since what is cached of space that was only reserved counts as data.
///
/// # Errors
/// What cannot be read, with its path.
pub fn compare_trees_and_holes(a: &Path, b: &Path, compare: Compare) -> io::Result<Vec<Difference>> {
    Run { compare, holes: true, ..Run::default() }.trees(a, b)
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Names, and in which of the two trees each is.
type Names = Vec<(Vec<u8>, (bool, bool))>;

fn names(a: &OwnedFd, b: &OwnedFd) -> crate::tree::Result<Names> {
    let mut all: HashMap<Vec<u8>, (bool, bool)> = HashMap::new();
    for entry in list::list_all(a)? {
        all.entry(entry.name).or_default().0 = true;
    }
    for entry in list::list_all(b)? {
        all.entry(entry.name).or_default().1 = true;
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort();
    Ok(all)
}

#[derive(Default)]
struct Run {
    compare: Compare,
    holes: bool,
    differences: Vec<Difference>,
    /// Of files with several names: the first path seen, in each tree.
    first: HashMap<(u64, u64), PathBuf>,
    second: HashMap<(u64, u64), PathBuf>,
}

impl Run {
    fn trees(mut self, a: &Path, b: &Path) -> io::Result<Vec<Difference>> {
        let open = |path: &Path| -> io::Result<OwnedFd> { Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?) };
        let mut pending = vec![(PathBuf::new(), open(a)?, open(b)?)];
        self.metadata(Path::new(""), &Status::of(&pending[0].1)?, &Status::of(&pending[0].2)?);
        while let Some((path, a, b)) = pending.pop() {
            for (name, kinds) in names(&a, &b)? {
                let path = path.join(OsStr::from_bytes(&name));
                let located = |error| io::Error::other(format!("{}: {error}", path.display()));
                match kinds {
                    (true, true) => {
                        if let Some((a, b)) = self.entry(&path, (&a, &b), &name).map_err(located)? {
                            pending.push((path, a, b));
                        }
                    }
                    (true, false) => self.differ(&path, "only in the first tree"),
                    _ => self.differ(&path, "only in the second tree"),
                }
            }
        }
        self.differences.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.differences)
    }

    fn differ(&mut self, path: &Path, what: impl Into<String>) {
        self.differences.push(Difference { path: path.into(), what: what.into() });
    }

    /// Compares two entries of one name; both opened, if they are directories.
    fn entry(
        &mut self,
        path: &Path,
        (a, b): (&OwnedFd, &OwnedFd),
        name: &[u8],
    ) -> crate::tree::Result<Option<(OwnedFd, OwnedFd)>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let a = rustix::fs::openat(a, name, flags, Mode::empty())?;
        let b = rustix::fs::openat(b, name, flags, Mode::empty())?;
        let (sa, sb) = (Status::of(&a)?, Status::of(&b)?);
        self.metadata(path, &sa, &sb);
        if sa.kind() != sb.kind() {
            return Ok(None);
        }
        let (xa, xb) = (sorted(xattr::all(&a)?), sorted(xattr::all(&b)?));
        if xa != xb {
            self.differ(path, format!("extended attributes {} / {}", shown(&xa), shown(&xb)));
        }
        match sa.kind() {
            FileKind::Directory => {
                let open = |fd| rustix::fs::openat(fd, c".", DIRECTORY, Mode::empty());
                return Ok(Some((open(&a)?, open(&b)?)));
            }
            FileKind::File => self.content(path, &a, &b, sa.size.min(sb.size))?,
            FileKind::Symlink => {
                let target = |fd| rustix::fs::readlinkat(fd, c"", Vec::new());
                let (ta, tb) = (target(&a)?, target(&b)?);
                if ta != tb {
                    self.differ(path, format!("target {ta:?} / {tb:?}"));
                }
            }
            _ => {}
        }
        self.names_of_one(path, &sa, &sb);
        Ok(None)
    }

    fn metadata(&mut self, path: &Path, a: &Status, b: &Status) {
        let mut one = |what: &str, a: String, b: String| {
            if a != b {
                self.differ(path, format!("{what} {a} / {b}"));
            }
        };
        one("kind", format!("{:?}", a.kind()), format!("{:?}", b.kind()));
        one("mode", format!("{:o}", a.permissions()), format!("{:o}", b.permissions()));
        one("owner", format!("{}:{}", a.uid, a.gid), format!("{}:{}", b.uid, b.gid));
        one("device", a.rdev.to_string(), b.rdev.to_string());
        if a.kind() != FileKind::Directory {
            one("size", a.size.to_string(), b.size.to_string());
            one("links", a.links.to_string(), b.links.to_string());
        }
        if a.kind() == FileKind::File || self.compare.stamped_times {
            let time = |s: &Status| format!("{}.{:09}", s.modified.seconds, s.modified.nanoseconds);
            let (ta, tb) = (time(a), time(b));
            if ta != tb {
                self.differ(path, format!("modified ({:?}) {ta} / {tb}", a.kind()));
            }
        }
    }

    /// Names that are one file in one tree must be one file in the other.
    fn names_of_one(&mut self, path: &Path, a: &Status, b: &Status) {
        if a.links < 2 && b.links < 2 {
            return;
        }
        let first = self.first.entry((a.device, a.ino)).or_insert_with(|| path.into()).clone();
        let second = self.second.entry((b.device, b.ino)).or_insert_with(|| path.into()).clone();
        if first != second {
            self.differ(path, format!("is the same file as {} / {}", first.display(), second.display()));
        }
    }

    fn content(&mut self, path: &Path, a: &OwnedFd, b: &OwnedFd, size: u64) -> crate::tree::Result<()> {
        let open = |fd: &OwnedFd| crate::tree::handle::reopen(fd, OFlags::RDONLY | OFlags::NOATIME);
        let (a, b) = (open(a)?, open(b)?);
        if self.holes {
            data::forget(&a)?;
            data::forget(&b)?;
        }
        let (left, right) = (data::ranges(&a, size)?, data::ranges(&b, size)?);
        if let Some(offset) = data::first_difference(&a, &b, &data::union(&left, &right))? {
            self.differ(path, format!("content from byte {offset}"));
        } else if self.holes && left != right {
            self.differ(path, format!("data at {left:?} / {right:?}"));
        }
        Ok(())
    }
}

fn sorted(mut attributes: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    attributes.sort();
    attributes
}

fn shown(attributes: &[(Vec<u8>, Vec<u8>)]) -> String {
    let shown: Vec<_> = attributes
        .iter()
        .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
        .collect();
    format!("[{}]", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let (a, b) = (base.path().join("a"), base.path().join("b"));
        for tree in [&a, &b] {
            fs::create_dir_all(tree.join("d")).unwrap();
            fs::set_permissions(tree.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(tree.join("d/f"), "content").unwrap();
            fs::hard_link(tree.join("d/f"), tree.join("g")).unwrap();
            symlink("d/f", tree.join("s")).unwrap();
            let time = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
            fs::File::open(tree.join("d/f")).unwrap().set_times(time).unwrap();
        }
        (base, a, b)
    }

    fn compared(a: &Path, b: &Path) -> Vec<String> {
        let found = compare_trees_with(a, b, Compare { stamped_times: false }).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_trees_do_not_differ() {
        let (_base, a, b) = pair();
        assert_eq!(compared(&a, &b), Vec::<String>::new());
        assert_eq!(compare_trees(&a, &a).unwrap(), []);
    }

    #[test]
    fn each_difference_is_named() {
        let (_base, a, b) = pair();
        fs::write(b.join("extra"), "").unwrap();
        fs::set_permissions(b.join("d"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(b.join("g")).unwrap();
        fs::copy(b.join("d/f"), b.join("g")).unwrap();
        fs::write(b.join("g"), "c0ntent").unwrap();
        let found = compared(&a, &b).join("\n");
        for expected in ["extra: only in the second", "d: mode 755 / 700", "g: content from byte 1", "g: links 2 / 1"] {
            assert!(found.contains(expected), "{expected} not in {found}");
        }
    }

    #[test]
    fn split_hard_links_are_named() {
        let (_base, a, b) = pair();
        for tree in [&a, &b] {
            fs::write(tree.join("x"), "content").unwrap();
        }
        fs::hard_link(a.join("x"), a.join("y")).unwrap();
        fs::hard_link(b.join("g"), b.join("y")).unwrap();
        assert!(compared(&a, &b).iter().any(|d| d.contains("is the same file as")));
    }

    #[test]
    fn huge_sparse_files_are_compared_by_their_data_and_holes_are_told_if_wanted() {
        use std::os::unix::fs::FileExt;
        let (_base, a, b) = pair();
        for tree in [&a, &b] {
            let file = fs::File::create(tree.join("sparse")).unwrap();
            file.set_len(1 << 42).unwrap();
            file.write_all_at(b"far away", 1 << 41).unwrap();
            file.set_times(fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap();
        }
        let with_holes = || compare_trees_and_holes(&a, &b, Compare { stamped_times: false }).unwrap();
        assert_eq!(with_holes(), []);
        let file = fs::File::options().write(true).open(b.join("sparse")).unwrap();
        file.write_all_at(&[0; 65536], 1 << 30).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap();
        assert_eq!(compared(&a, &b), Vec::<String>::new());
        let found = with_holes();
        assert!(found.len() == 1 && found[0].what.starts_with("data at"), "{found:?}");
        file.write_all_at(b"x", (1 << 41) + 3).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap();
        assert_eq!(compared(&a, &b), [format!("sparse: content from byte {}", (1_u64 << 41) + 3)]);
    }
}
