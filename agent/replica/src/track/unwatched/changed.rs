//! What has a change time at or after a moment: the walk through the replicated directories.

use crate::track::What;
use crate::track::record::Record;
use crate::track::resolve::Roots;
use crate::track::table::RECORDS_MAX;
use crate::tree::list::Parts;
use crate::tree::status::kind_of;
use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Files named one by one in a directory; more are told as all its files.
const FILES_MAX: usize = 8;

/// A directory that is being looked through.
struct Looked {
    entries: Parts,
    changed: bool,
    /// Its files that were changed; one more than are named means all.
    files: Vec<Vec<u8>>,
}

impl Looked {
    fn new(entries: Parts, changed: bool) -> Self {
        Self { entries, changed, files: Vec::new() }
    }

    /// What is to be told of its files, once all were looked at.
    fn told(self, roots: &Roots) -> Result<Vec<Record>, Errno> {
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let directory = roots.object(self.entries.directory()).ok_or(Errno::XDEV)?;
        if self.files.len() > FILES_MAX {
            return Ok(vec![Record::AllFiles { directory }]);
        }
        Ok(self.files.into_iter().map(|name| Record::Name { directory: directory.clone(), name }).collect())
    }
}

/// Everything below the directories whose change time is `since` (nanoseconds of the wall clock) or later. Open at once:
/// one directory of each level.
///
/// # Errors
/// Something cannot be looked at, or more was changed than is remembered one by one.
pub(super) fn changed_since(roots: &Roots, since: i64) -> Result<Vec<Record>, Errno> {
    let mut records = Vec::new();
    for root in roots.all() {
        let changed = changed(root, c"", since)?.0;
        if changed {
            records.extend(whole_directory(roots, root)?);
        }
        let mut open = vec![Looked::new(Parts::of(&**root)?, changed)];
        while let Some(directory) = open.last_mut() {
            match directory.entries.next_entry()? {
                Some(entry) => {
                    let below = look_at(directory, entry.name, (roots, since), &mut records)?;
                    open.extend(below);
                }
                None => records.extend(open.pop().map_or(Ok(Vec::new()), |directory| directory.told(roots))?),
            }
            if records.len() > RECORDS_MAX {
                return Err(Errno::OVERFLOW);
            }
        }
    }
    Ok(records)
}

/// Looks at one entry; a directory whose entries are to be looked at, too.
fn look_at(
    directory: &mut Looked,
    name: Vec<u8>,
    (roots, since): (&Roots, i64),
    records: &mut Vec<Record>,
) -> Result<Option<Looked>, Errno> {
    let text = std::ffi::CString::new(name.as_slice()).map_err(|_| Errno::INVAL)?;
    let (is_changed, is_directory) = changed(directory.entries.directory(), &text, since)?;
    if !is_directory {
        if is_changed && directory.files.len() <= FILES_MAX {
            directory.files.push(name);
        }
        return Ok(None);
    }
    if is_changed && directory.changed {
        // It may have been put here: everything below it.
        let directory = roots.object(directory.entries.directory()).ok_or(Errno::XDEV)?;
        records.push(Record::Name { directory, name });
        return Ok(None);
    }
    let below = directory.entries.below(&name)?;
    if is_changed {
        records.extend(whole_directory(roots, below.directory())?);
    }
    Ok(Some(Looked::new(below, is_changed)))
}

/// A directory's attributes and the names of all its files.
fn whole_directory(roots: &Roots, fd: impl AsFd) -> Result<[Record; 2], Errno> {
    let object = roots.object(fd).ok_or(Errno::XDEV)?;
    let inside = Record::Object { object: object.clone(), place: None, what: What::Attributes };
    Ok([inside, Record::AllFiles { directory: object }])
}

/// Whether an object was changed, and whether it is a directory.
fn changed(directory: impl AsFd, name: &std::ffi::CStr, since: i64) -> Result<(bool, bool), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let found = match rustix::fs::statx(directory, name, flags, StatxFlags::TYPE | StatxFlags::CTIME) {
        // It went while this looked: its directory is being changed, with a word.
        Err(Errno::NOENT) => return Ok((false, false)),
        found => found?,
    };
    let time = found.stx_ctime.tv_sec.saturating_mul(1_000_000_000).saturating_add(found.stx_ctime.tv_nsec.into());
    let kind = kind_of(FileType::from_raw_mode(found.stx_mode.into()));
    Ok((time >= since, kind == Some(crate::op::FileKind::Directory)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    #[test]
    fn what_was_changed_since_is_found_and_nothing_else() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let path = folder.path();
        for name in ["a/b", "c/d", "e/deep/er"] {
            fs::create_dir_all(path.join(name)).unwrap();
            fs::write(path.join(name).join("file"), "x").unwrap();
        }
        let roots = Roots::new(vec![Arc::new(OwnedFd::from(File::open(path).unwrap()))]).unwrap();
        // Change times advance with the kernel's tick: this one is later than all of the above.
        let changed_at = |name: &str| {
            let times = fs::metadata(path.join(name)).unwrap();
            times.ctime() * 1_000_000_000 + times.ctime_nsec()
        };
        let newest = ["a/b/file", "c/d/file", "e/deep/er/file"].map(changed_at).into_iter().max().unwrap();
        let apart = tempfile::NamedTempFile::new_in("/tmp").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let since = loop {
            fs::write(apart.path(), "x").unwrap();
            let times = fs::metadata(apart.path()).unwrap();
            let now = times.ctime() * 1_000_000_000 + times.ctime_nsec();
            if now > newest {
                break now;
            }
            assert!(Instant::now() < deadline, "change times stand still");
        };
        assert_eq!(changed_since(&roots, since).unwrap(), []);
        let object = |name: &str| roots.object(File::open(path.join(name)).unwrap()).unwrap();
        let old = fs::metadata(path.join("a/b/file")).unwrap().modified().unwrap();
        fs::write(path.join("a/b/file"), "y").unwrap();
        File::open(path.join("a/b/file")).unwrap().set_modified(old).unwrap();
        let file = Record::Name { directory: object("a/b"), name: b"file".to_vec() };
        assert_eq!(changed_since(&roots, since).unwrap(), std::slice::from_ref(&file));
        // Moved with its old contents: everything below it.
        fs::rename(path.join("e/deep"), path.join("c/d/moved")).unwrap();
        let found = changed_since(&roots, since).unwrap();
        assert!(found.contains(&Record::Name { directory: object("c/d"), name: b"moved".to_vec() }), "{found:?}");
        assert!(found.contains(&Record::AllFiles { directory: object("e") }));
        assert!(found.contains(&file));
        assert!(!found.contains(&Record::AllFiles { directory: object("c") }));
    }
}
