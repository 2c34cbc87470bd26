//! Everything that is measured, mounted at once.

use super::helper::{Helper, run, wait_for_mount};
use super::pair::Pair;
use super::passthrough::Passthrough;
use super::slices::Random;
use crate::lab::program_path;
use anyhow::{Context, Result};
use rustix::mount::MountPropagationFlags;
use rustix::thread::UnshareFlags;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The file that is written and read in place, in each directory.
pub const FILE: &str = super::floor::single::FILE;
/// Its length.
pub const FILE_LENGTH: u64 = 64 << 20;

/// All places.
pub struct Stage {
    // Ended in this order.
    replicated: Pair,
    plain: Pair,
    alone: Pair,
    passthrough: Passthrough,
    single: Floor,
    whole: Floor,
    folder: TempDir,
}

/// Namespaces for mounts and network, so that nothing is left behind and nobody else is on the wire.
///
/// # Errors
/// Not root.
pub fn own_namespaces() -> Result<()> {
    // SAFETY: called before this program has started a thread; no descriptor or memory is unshared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET)? };
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    run(Command::new("ip").args(["link", "set", "lo", "up"])).map(drop)
}

impl Stage {
    /// Sets everything up.
    ///
    /// # Errors
    /// A program is missing or a mount is refused.
    pub fn set_up() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-replication-").tempdir()?;
        // PostgreSQL runs as its own user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let at = |name: &str| folder.path().join(name);
        fill(&make(&at("native"))?)?;
        Ok(Self {
            replicated: Pair::new(&at("replicated"), true, fill).context("a pair with TLS")?,
            plain: Pair::new(&at("plain"), false, fill).context("a pair without TLS")?,
            alone: Pair::alone(&at("alone"), true, fill).context("a replica alone")?,
            passthrough: Passthrough::start(&make(&at("passthrough"))?)?,
            single: Floor::start("single", &at("single"), false)?,
            whole: Floor::start("whole", &at("whole"), true)?,
            folder,
        })
    }

    /// A directory of ext4 (or whatever the folder for temporary files is on).
    pub fn native(&self) -> PathBuf {
        self.folder.path().join("native")
    }

    /// A FUSE mount of ours that replicates to nobody.
    pub fn alone(&self) -> PathBuf {
        self.alone.mount()
    }

    /// A replicated directory.
    pub fn replicated(&self) -> PathBuf {
        self.replicated.mount()
    }

    /// The primary's own copy of [`Stage::replicated`], below the mount.
    pub fn backing(&self) -> PathBuf {
        self.replicated.backing()
    }

    /// The secondary's copy of [`Stage::replicated`], as everybody sees it there.
    pub fn copy(&self) -> PathBuf {
        self.replicated.copy()
    }

    /// A directory that is replicated without TLS.
    pub fn plain(&self) -> PathBuf {
        self.plain.mount()
    }

    /// libfuse's example.
    pub fn passthrough(&self) -> &Path {
        self.passthrough.mount()
    }

    /// The floor of one write.
    pub fn single(&self) -> PathBuf {
        self.single.directory.clone()
    }

    /// The floor of whole programs.
    pub fn whole(&self) -> PathBuf {
        self.whole.directory.clone()
    }

    /// Room for what a part needs of its own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Both replicas of the pair with TLS.
    pub fn pids(&self) -> Vec<u32> {
        self.replicated.pids()
    }
}

fn make(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

/// Makes [`FILE`].
///
/// # Errors
/// It cannot be written.
pub fn fill(directory: &Path) -> Result<()> {
    let file = std::fs::File::create(directory.join(FILE))?;
    let mut random = Random::new(1);
    let block = random.bytes(1 << 20);
    for at in (0..FILE_LENGTH).step_by(block.len()) {
        std::os::unix::fs::FileExt::write_all_at(&file, &block, at)?;
    }
    Ok(file.sync_all()?)
}

/// A directory served by the floor program, and its peer.
struct Floor {
    directory: PathBuf,
    _server: Helper,
    _peer: Helper,
}

impl Floor {
    fn start(part: &str, folder: &Path, copies: bool) -> Result<Self> {
        let directory = make(&folder.join("data"))?;
        fill(&directory)?;
        let program = program_path("holdfast-floor")?;
        let mut peer = Command::new(&program);
        peer.arg("peer");
        if copies {
            peer.arg("--copy").arg(make(&folder.join("copy"))?);
        }
        let (peer, address) = Helper::start_told(&mut peer)?;
        let server = Helper::start(Command::new(&program).arg(part).arg(&directory).arg(address))?;
        wait_for_mount(&directory)?;
        Ok(Self { directory, _server: server, _peer: peer })
    }
}
