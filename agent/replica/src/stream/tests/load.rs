//! Random changes of a tree, by seed: what applications do, and a good deal of what they should not.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// A small generator: same seed, same changes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    /// A path of one to three steps from few names, so that changes meet.
    fn path(&mut self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        for _ in 0..self.roll(3) {
            path.push(format!("d{}", self.roll(4)));
        }
        path.join(format!("{}{}", ["f", "f", "d"][self.roll(3) as usize], self.roll(5)))
    }

    fn content(&mut self) -> Vec<u8> {
        let length = match self.roll(8) {
            0 => self.roll(3 << 20),
            1..4 => self.roll(200_000),
            _ => self.roll(5000),
        };
        let byte = self.roll(256) as u8;
        let mut content = vec![byte; length as usize];
        for i in (0..content.len()).step_by(997) {
            content[i] = self.roll(256) as u8;
        }
        content
    }
}

/// One change; that some cannot be done is part of it.
fn change(dice: &mut Dice, root: &Path, links: bool) -> std::io::Result<()> {
    let path = dice.path(root);
    match dice.roll(22) {
        10 if !links => Ok(()),
        0..3 => fs::create_dir_all(&path),
        3..5 => fs::write(&path, dice.content()),
        5 => {
            let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
            file.write_all_at(&dice.content(), dice.roll(6 << 20))
        }
        6 => fs::OpenOptions::new().append(true).create(true).open(&path)?.write_all(&dice.content()),
        7 => fs::OpenOptions::new().write(true).open(&path)?.set_len(dice.roll(9 << 20)),
        8..10 => fs::rename(&path, dice.path(root)),
        10 => fs::hard_link(&path, dice.path(root)),
        11 => fs::remove_file(&path),
        12 => {
            if dice.roll(4) == 0 {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_dir(&path)
            }
        }
        13 => symlink(format!("../x{}", dice.roll(9)), &path),
        14 => fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + dice.roll(0o200) as u32)),
        15 => {
            let name = format!("user.x{}", dice.roll(3));
            if dice.roll(3) == 0 {
                return Ok(rustix::fs::removexattr(&path, name)?);
            }
            let content = dice.content();
            let value = content.get(..20).unwrap_or(b"v");
            Ok(rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty())?)
        }
        16 => fs::File::open(&path)?.sync_all(),
        17 => space(dice, &path),
        18 => {
            let (here, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
            Ok(rustix::fs::renameat_with(here, &path, here, dice.path(root), flags)?)
        }
        19 => unnamed(dice, root, &path),
        20 => {
            let (from, to) = (fs::File::open(dice.path(root))?, fs::OpenOptions::new().write(true).open(&path)?);
            let (mut read, mut written) = (dice.roll(9000), dice.roll(1 << 20));
            let length = dice.roll(3 << 20) as usize;
            Ok(rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), length).map(drop)?)
        }
        _ => {
            std::os::unix::fs::lchown(&path, Some(dice.roll(5) as u32), Some(dice.roll(5) as u32))?;
            let times = fs::FileTimes::new()
                .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(dice.roll(1 << 30)));
            fs::File::open(&path)?.set_times(times)
        }
    }
}

fn space(dice: &mut Dice, path: &Path) -> std::io::Result<()> {
    use crate::op::Allocation as A;
    let how = [A::Reserve, A::ReserveOnly, A::PunchHole, A::Zero, A::ZeroOnly][dice.roll(5) as usize];
    let file = fs::OpenOptions::new().write(true).open(path)?;
    Ok(rustix::fs::fallocate(file, how.flags(), dice.roll(6 << 20), 1 + dice.roll(2 << 20))?)
}

/// Makes a file without a name, writes, and gives it one or not.
fn unnamed(dice: &mut Dice, root: &Path, path: &Path) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let file = fs::File::from(rustix::fs::open(root, flags, Mode::from_raw_mode(0o600 + dice.roll(64) as u32))?);
    file.write_all_at(&dice.content(), dice.roll(1 << 20))?;
    let link = crate::tree::handle::proc_path(std::os::fd::AsFd::as_fd(&file));
    rustix::fs::linkat(CWD, link.as_c_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    file.write_all_at(b"after it was named", dice.roll(2 << 20))
}

/// What applications do to files they keep open, names or none, and to what others have open; and the kernel, which
/// forgets what nobody uses.
fn rough(dice: &mut Dice, root: &Path, open: &mut Vec<fs::File>) -> std::io::Result<()> {
    let path = dice.path(root);
    let kept = dice.roll(open.len().max(1) as u64) as usize;
    match dice.roll(14) {
        0..3 => {
            if open.len() >= OPEN_MAX {
                open.swap_remove(kept);
            }
            open.push(fs::OpenOptions::new().read(true).write(true).open(&path)?);
            if dice.roll(2) == 0 { fs::remove_file(&path) } else { Ok(()) }
        }
        3..5 => open.get(kept).map_or(Ok(()), |file| file.write_all_at(&dice.content(), dice.roll(1 << 20))),
        5 => open.get(kept).map_or(Ok(()), |file| file.set_len(dice.roll(2 << 20))),
        6 => open.get(kept).map_or(Ok(()), |file| named_again(file, &path)),
        7..9 => fs::hard_link(&path, dice.path(root)),
        9 => {
            // As mail is delivered.
            let made = root.join(format!("made{}", dice.roll(1 << 40)));
            fs::write(&made, dice.content())?;
            let linked = fs::hard_link(&made, &path);
            fs::remove_file(made).and(linked)
        }
        10 => {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            let (kind, device) =
                if dice.roll(2) == 0 { (FileType::Socket, 0) } else { (FileType::CharacterDevice, 259) };
            Ok(mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device)?)
        }
        11 => inherited(dice, &path),
        12 => fs::rename(root.join(format!("d{}", dice.roll(5))), dice.path(root)),
        _ if dice.roll(8) == 0 => super::support::forget_unused(root),
        _ => Ok(()),
    }
}

/// Files that a thread keeps open.
const OPEN_MAX: usize = 12;

fn named_again(file: &fs::File, path: &Path) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    let link = crate::tree::handle::proc_path(std::os::fd::AsFd::as_fd(file));
    Ok(rustix::fs::linkat(CWD, link.as_c_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Gives a directory rights that what is made in it inherits, or takes them away.
fn inherited(dice: &mut Dice, path: &Path) -> std::io::Result<()> {
    const NAME: &str = "system.posix_acl_default";
    if dice.roll(2) == 0 {
        return Ok(rustix::fs::removexattr(path, NAME)?);
    }
    // An owner, one user, the group, the mask, others.
    let entries = [(1u16, u32::MAX), (2, dice.roll(3) as u32), (4, u32::MAX), (16, u32::MAX), (32, u32::MAX)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, id) in entries {
        list.extend([tag.to_le_bytes(), (dice.roll(8) as u16).to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    Ok(rustix::fs::setxattr(path, NAME, &list, rustix::fs::XattrFlags::empty())?)
}

/// Fills a tree at random.
pub(super) fn scramble(root: &Path, seed: u64, changes: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..changes {
        let _ = change(&mut dice, root, true);
    }
}

/// Changes without hard links, which would have everything compared.
pub(super) fn scramble_unlinked(root: &Path, seed: u64, changes: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..changes {
        let _ = change(&mut dice, root, false);
    }
}

/// Threads that change a tree until they are stopped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(root: &Path, seed: u64, threads: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let operations = Arc::new(AtomicU64::new(0));
        let threads = (0..threads).map(|thread| {
            let (root, stop, operations) = (root.to_owned(), stop.clone(), operations.clone());
            std::thread::spawn(move || {
                let mut dice = Dice((seed * 1000 + thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                let mut open = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let done = match dice.roll(3) {
                        0 => rough(&mut dice, &root, &mut open),
                        _ => change(&mut dice, &root, true),
                    };
                    if let Err(error) = done {
                        assert_ne!(error.raw_os_error(), Some(5), "no change may be refused");
                    }
                    operations.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let threads = threads.collect();
        Self { stop, operations, threads }
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}
