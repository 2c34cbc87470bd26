//! Copying what differs into a folder of its own: measured first, complete or not there.

use super::manifest::{Entry, FILE, FORMAT, Manifest, folder};
use super::{Aside, Job, at, now_ms};
use crate::op::FileKind;
use crate::stream::applier::Different;
use crate::tree::handle::{proc_path, reopen};
use crate::tree::list::Parts;
use crate::tree::{Status, xattr};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a copy may take of the room that is free: a small one always fits, a large one only where much is left.
struct Limits {
    /// One part of so many of the free room may be taken whatever is left ...
    part: u64,
    /// ... and more while so many bytes stay free.
    left: u64,
}

/// For what differs: the node cannot follow before that is kept.
const DIFFERING: Limits = Limits { part: 2, left: 1 << 30 };
/// For the whole copy, which is kept only where there is room in plenty.
const WHOLE: Limits = Limits { part: 4, left: 4 << 30 };
/// Bytes that stay free in any case, for the system beside it (a quarter of a file system that is smaller).
const LEAST: u64 = 64 << 20;
/// Bytes of a hole.
const PAGE: usize = 4096;
/// Room counted for each entry beside its bytes.
const ENTRY_BYTES: u64 = 4096;

type Place = (usize, Vec<u8>);

/// One object that is to be copied.
struct Wanted {
    /// Absolute path, as configured and below.
    path: PathBuf,
    fd: OwnedFd,
    status: Status,
    why: String,
}

/// Copies everything here that differs; answers when it is on disk under its final name.
pub(super) fn set_aside(job: &Job, differences: &BTreeMap<Place, Different>) -> Result<Aside, String> {
    let all = folder(&job.state_dir);
    clear_partial(&all)?;
    let mut measure = Measure::default();
    each(job, differences, &mut |wanted| measure.add(&wanted.status))?;
    if measure.entries == 0 {
        return Ok(Aside::default());
    }
    fs::create_dir_all(&all).map_err(at(&all))?;
    fits(&all, &measure, &DIFFERING)?;
    let whole = fits_whole(job, &all);
    let id = format!("{}-{}", now_ms(), job.generation.number);
    let partial = all.join(&id).with_extension("partial");
    fs::create_dir(&partial).map_err(at(&partial))?;
    let mut entries = Vec::new();
    each(job, differences, &mut |wanted| {
        entries.push(copy(job, &partial.join("files"), wanted)?);
        Ok(())
    })?;
    if whole {
        everything(job, &mut |wanted| companion(job, &partial.join("files"), wanted))?;
    }
    let bytes = entries.iter().map(|entry: &Entry| entry.size).sum();
    let count = entries.len() as u64;
    let (module, node, generation) = (job.module.clone(), job.local.node, job.generation);
    let manifest =
        Manifest { format: FORMAT, id: id.clone(), module, node, generation, unix_ms: now_ms(), bytes, whole, entries };
    let complete = finish(&all, &partial, &all.join(&id), &manifest);
    complete.map_err(at(&partial))?;
    Ok(Aside { entries: count, bytes, folder: all.join(&id).display().to_string() })
}

/// On disk first, then under its final name.
fn finish(all: &Path, partial: &Path, path: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut file = File::create_new(partial.join(FILE))?;
    serde_json::to_writer_pretty(&mut file, manifest)?;
    file.flush()?;
    rustix::fs::syncfs(&file)?;
    fs::rename(partial, path)?;
    File::open(all)?.sync_all()
}

/// What an earlier attempt has left.
fn clear_partial(all: &Path) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(all) else { return Ok(()) };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.extension().is_some_and(|extension| extension == "partial") {
            fs::remove_dir_all(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Measure {
    entries: u64,
    bytes: u64,
}

impl Measure {
    fn add(&mut self, status: &Status) -> Result<(), String> {
        self.entries += 1;
        if status.kind() == FileKind::File {
            self.bytes += status.size.min(status.blocks * 512);
        }
        Ok(())
    }
}

fn fits(all: &Path, measure: &Measure, limits: &Limits) -> Result<(), String> {
    let stat = rustix::fs::statvfs(all).map_err(|errno| at(all)(errno.into()))?;
    let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    let needed = measure.bytes + measure.entries * ENTRY_BYTES;
    let room = room(free, total, limits);
    if needed <= room {
        return Ok(());
    }
    Err(format!(
        "{} files with {} bytes differ, and of the {free} bytes that are free in {} they may take {room}",
        measure.entries,
        measure.bytes,
        all.display()
    ))
}

/// Bytes that may be taken of `free` ones on a file system with `total`.
fn room(free: u64, total: u64, limits: &Limits) -> u64 {
    let least = free.saturating_sub(LEAST.min(total / 4));
    least.min((free / limits.part).max(free.saturating_sub(limits.left)))
}

/// Whether the whole copy can be kept: what does not differ now will, once the survivor goes on, and a database's log is
/// of no use without the files it belongs to.
fn fits_whole(job: &Job, all: &Path) -> bool {
    let mut measure = Measure::default();
    // What cannot be walked (another file system mounted below) is no reason to keep nothing.
    let measured = everything(job, &mut |wanted| measure.add(&wanted.status));
    measured.and_then(|()| fits(all, &measure, &WHOLE)).is_ok()
}

/// Calls `visit` for everything here.
fn everything(job: &Job, visit: &mut dyn FnMut(&Wanted) -> Result<(), String>) -> Result<(), String> {
    for (path, fd) in &job.roots {
        visit_tree(job, reopen(&**fd, OFlags::PATH), path.clone(), "the same on both", true, visit)?;
    }
    Ok(())
}

/// Copies what does not differ beside what does.
fn companion(job: &Job, files: &Path, wanted: &Wanted) -> Result<(), String> {
    let target = files.join(wanted.path.strip_prefix("/").unwrap_or(&wanted.path));
    if wanted.status.kind() != FileKind::Directory && target.symlink_metadata().is_ok() {
        return Ok(());
    }
    copy(job, files, wanted).map(drop)
}

/// Calls `visit` for everything here that differs, and for what is below a directory that only this node has.
fn each(
    job: &Job,
    differences: &BTreeMap<Place, Different>,
    visit: &mut dyn FnMut(&Wanted) -> Result<(), String>,
) -> Result<(), String> {
    for ((root, below), different) in differences.iter().filter(|(_, different)| different.here) {
        let Some((path, fd)) = job.roots.get(*root) else { continue };
        let below = Path::new(OsStr::from_bytes(below));
        let path = if below.as_os_str().is_empty() { path.clone() } else { path.join(below) };
        let opened = if below.as_os_str().is_empty() { reopen(&**fd, OFlags::PATH) } else { open(fd, below) };
        let tree = different.why.starts_with("only on") || different.why.starts_with("kind");
        visit_tree(job, opened, path, &different.why, tree, visit)?;
    }
    Ok(())
}

/// Visits one object and, of a `tree`, what is below it. Open at once: one directory of each level, and what is visited.
fn visit_tree(
    job: &Job,
    opened: Result<OwnedFd, Errno>,
    path: PathBuf,
    why: &str,
    tree: bool,
    visit: &mut dyn FnMut(&Wanted) -> Result<(), String>,
) -> Result<(), String> {
    let mut open_levels: Vec<(PathBuf, Parts)> = Vec::new();
    let mut next = Some((path, opened));
    loop {
        if let Some((path, opened)) = next.take() {
            job.goes_on().map_err(|error| error.to_string())?;
            let failed = |errno: Errno| at(&path)(errno.into());
            let fd = opened.map_err(failed)?;
            let status = Status::of(&fd).map_err(failed)?;
            let wanted = Wanted { path: path.clone(), fd, status, why: why.to_owned() };
            visit(&wanted)?;
            if tree && status.kind() == FileKind::Directory {
                let parts = Parts::of(&wanted.fd).map_err(failed)?;
                open_levels.push((path, parts));
            }
        }
        let Some((path, parts)) = open_levels.last_mut() else { return Ok(()) };
        match parts.next_entry().map_err(|errno| at(path)(errno.into()))? {
            Some(entry) => {
                let name = Path::new(OsStr::from_bytes(&entry.name));
                next = Some((path.join(name), open(parts.directory(), name)));
            }
            None => drop(open_levels.pop()),
        }
    }
}

/// Never through a link, never into another mount.
fn open(directory: impl AsFd, below: &Path) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags as R;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // With O_PATH and O_NOFOLLOW the last part may be a link itself.
    rustix::fs::openat2(directory, below, flags, Mode::empty(), R::BENEATH | R::NO_SYMLINKS | R::NO_XDEV)
}

/// Copies one object below `files`; what it is, for the manifest.
fn copy(job: &Job, files: &Path, wanted: &Wanted) -> Result<Entry, String> {
    let target = files.join(wanted.path.strip_prefix("/").unwrap_or(&wanted.path));
    let failed = at(&wanted.path);
    let parent = target.parent().unwrap_or(files);
    fs::create_dir_all(parent).map_err(&failed)?;
    let mut entry = Entry {
        path: wanted.path.to_string_lossy().into_owned(),
        kind: "other".into(),
        size: 0,
        blake3: String::new(),
        why: wanted.why.clone(),
    };
    match wanted.status.kind() {
        FileKind::File => {
            entry.kind = "file".into();
            (entry.size, entry.blake3) = copy_file(job, wanted, &target).map_err(&failed)?;
        }
        FileKind::Directory => {
            entry.kind = "directory".into();
            fs::create_dir_all(&target).map_err(&failed)?;
        }
        FileKind::Symlink => {
            entry.kind = "link".into();
            let link = rustix::fs::readlinkat(&wanted.fd, c"", Vec::new()).map_err(|errno| failed(errno.into()))?;
            rustix::fs::symlink(&link, &target).map_err(|errno| failed(errno.into()))?;
        }
        // A pipe, socket or device holds nothing.
        _ => return Ok(entry),
    }
    settle(wanted, &target).map_err(failed)?;
    Ok(entry)
}

/// The content, holes kept; its length and hash.
fn copy_file(job: &Job, wanted: &Wanted, target: &Path) -> io::Result<(u64, String)> {
    let from = File::from(reopen(&wanted.fd, OFlags::RDONLY | OFlags::NOATIME)?);
    let to = File::create_new(target)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        job.goes_on()?;
        let count = crate::tree::descriptors::read_at(&from, &mut buffer, offset)?;
        if count == 0 {
            break;
        }
        let part = &buffer[..count];
        hasher.update(part);
        for (range, zero) in runs(part) {
            if !zero {
                std::os::unix::fs::FileExt::write_all_at(&to, &part[range.clone()], offset + range.start as u64)?;
            }
        }
        offset += count as u64;
    }
    to.set_len(offset)?;
    Ok((offset, hasher.finalize().to_hex().to_string()))
}

/// What is zeros and what is not, in whole pages: what was a hole takes no room, as was counted.
fn runs(part: &[u8]) -> Vec<(std::ops::Range<usize>, bool)> {
    let mut runs: Vec<(std::ops::Range<usize>, bool)> = Vec::new();
    for (number, page) in part.chunks(PAGE).enumerate() {
        let (start, zero) = (number * PAGE, page.iter().all(|byte| *byte == 0));
        match runs.last_mut() {
            Some((range, kind)) if *kind == zero => range.end = start + page.len(),
            _ => runs.push((start..start + page.len(), zero)),
        }
    }
    runs
}

/// Owner, extended attributes, mode and times.
fn settle(wanted: &Wanted, target: &Path) -> io::Result<()> {
    let status = &wanted.status;
    let copied = rustix::fs::open(target, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::chownat(
        &copied,
        c"",
        Some(Uid::from_raw(status.uid)),
        Some(Gid::from_raw(status.gid)),
        AtFlags::EMPTY_PATH,
    )?;
    for (name, value) in xattr::all(&wanted.fd)? {
        // The folder's file system may not know them all.
        if let Ok(name) = CString::new(name) {
            let _ = xattr::set(&copied, &name, &value, XattrFlags::empty());
        }
    }
    let path = proc_path(copied.as_fd());
    if status.kind() != FileKind::Symlink {
        rustix::fs::chmod(path.as_c_str(), Mode::from_raw_mode(status.permissions()))?;
        let time = |time: crate::op::Time| Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        let times = Timestamps { last_access: time(status.accessed), last_modification: time(status.modified) };
        rustix::fs::utimensat(rustix::fs::CWD, path.as_c_str(), &times, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_copy_fits_on_a_nearly_full_disk_and_a_large_one_where_much_is_left() {
        let disk = 250 << 30;
        let at = |free, total| (room(free, total, &DIFFERING), room(free, total, &WHOLE));
        assert_eq!(at(100 << 30, disk), (99 << 30, 96 << 30));
        assert_eq!(at(3 << 30, disk), (2 << 30, 768 << 20));
        assert_eq!(at(512 << 20, disk), (256 << 20, 128 << 20));
        assert_eq!(at(80 << 20, disk), (16 << 20, 16 << 20));
        assert_eq!(at(60 << 20, disk), (0, 0));
        assert_eq!(at(60 << 20, 64 << 20), (30 << 20, 15 << 20));
    }

    #[test]
    fn holes_of_a_page_take_no_room() {
        let mut part = vec![0; 10 * PAGE + 5];
        part[3 * PAGE] = 1;
        part[4 * PAGE] = 1;
        let runs = runs(&part);
        assert_eq!(runs, [(0..3 * PAGE, true), (3 * PAGE..5 * PAGE, false), (5 * PAGE..10 * PAGE + 5, true)]);
    }
}
