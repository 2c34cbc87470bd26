//! Processes that have files open below a directory: a mount over it would be hidden from them.

use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, major, makedev, minor, statx};

/// Most processes told.
const USERS_MAX: usize = 16;

/// A process that uses something below a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What it uses.
    pub path: PathBuf,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {}: {})", self.name, self.pid, self.path.display())
    }
}

/// The users as one line of text.
pub fn describe(users: &[User]) -> String {
    users.iter().map(User::to_string).collect::<Vec<_>>().join(", ")
}

/// Processes, other than this one, with an open file, a mapping or their working directory at or below `directory` on
/// `device`: what is below a mount and what is on it have the same paths. The file system itself is not asked, so it
/// may be one that this process serves, or one that hangs. A process we may not look into is passed over.
pub fn users_below(directory: &Path, device: u64) -> Vec<User> {
    let own = std::process::id();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let path = used_below(pid, directory, device)?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            Some(User { pid, name: name.trim_end().to_owned(), path })
        })
        .take(USERS_MAX)
        .collect()
}

fn used_below(pid: u32, directory: &Path, device: u64) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut links = vec![process.join("cwd"), process.join("root"), process.join("exe")];
    if let Ok(open) = fs::read_dir(process.join("fd")) {
        links.extend(open.flatten().map(|entry| entry.path()));
    }
    for link in links {
        let Ok(target) = fs::read_link(&link) else {
            continue;
        };
        if target.starts_with(directory) && device_of(&link) == Some(device) {
            return Some(target);
        }
    }
    mapped_below(&fs::read(process.join("maps")).ok()?, directory, device)
}

/// The device of what a link of `/proc` leads to, as the kernel has it: nothing is wanted that a file system would be
/// asked for.
fn device_of(link: &Path) -> Option<u64> {
    let found = statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::empty()).ok()?;
    Some(makedev(found.stx_dev_major, found.stx_dev_minor))
}

/// A mapped file below `directory`, from the text of `/proc/<pid>/maps`.
fn mapped_below(maps: &[u8], directory: &Path, device: u64) -> Option<PathBuf> {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        let start = line.iter().position(|byte| *byte == b'/')?;
        let path = Path::new(std::ffi::OsStr::from_bytes(&line[start..]));
        let on_device = line[..start].split(|byte| *byte == b' ').any(|word| word == device.as_bytes());
        (on_device && path.starts_with(directory)).then(|| path.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_below_the_directory_is_found() {
        let maps = b"7f00-7f01 r--p 00000000 fe:00 123 /usr/lib/x.so\n7f02-7f03 rw-s 00000000 fe:00 9 /srv/data/a b\n";
        let device = makedev(0xfe, 0);
        assert_eq!(mapped_below(maps, Path::new("/srv/data"), device), Some("/srv/data/a b".into()));
        assert_eq!(mapped_below(maps, Path::new("/srv/dat"), device), None);
        assert_eq!(mapped_below(maps, Path::new("/srv/data"), makedev(1, 0)), None);
    }
}
