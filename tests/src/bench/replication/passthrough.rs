//! libfuse's own pass-through example, from Debian's package: what a FUSE file system without replication costs.

use super::helper::{Helper, run, wait_for_mount};
use anyhow::{Result, ensure};
use rustix::process::Signal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Its source (package libfuse3-dev).
const SOURCE: &str = "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c";

/// A mount of it. The program ends when its mount is taken away.
pub struct Passthrough {
    mount: PathBuf,
    _program: Helper,
}

impl Passthrough {
    /// Compiles it and mounts `folder`/source on `folder`/mount.
    ///
    /// # Errors
    /// It is not installed, does not compile or does not mount.
    pub fn start(folder: &Path) -> Result<Self> {
        ensure!(Path::new(SOURCE).exists(), "{SOURCE} is missing: install it with `apt-get install libfuse3-dev gcc`");
        let (program, source, mount) = (folder.join("passthrough_ll"), folder.join("source"), folder.join("mount"));
        std::fs::create_dir_all(&source)?;
        std::fs::create_dir_all(&mount)?;
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-D_FILE_OFFSET_BITS=64", "-DFUSE_USE_VERSION=34", "-I/usr/include/fuse3", "-w"]);
        run(compile.arg("-o").arg(&program).arg(SOURCE).args(["-lfuse3", "-lpthread"]))?;
        let mut command = Command::new(program);
        command.args(["-f", "-o", &format!("source={}", source.display())]).arg(&mount).stderr(Stdio::null());
        // It does not look at its input: it ends with the bench, however that ends.
        // SAFETY: between fork and exec only one system call is made.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let program = Helper::start(&mut command)?;
        wait_for_mount(&mount)?;
        Ok(Self { mount, _program: program })
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Passthrough {
    fn drop(&mut self) {
        // Its program ends by that.
        let _ = rustix::mount::unmount(&self.mount, rustix::mount::UnmountFlags::DETACH);
    }
}
