//! Removes the lab's folder however the lab ends: a small process of its own that waits for the end of its input.

use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the process does: wait until the lab is gone, let the hosts end (they wait for the same), remove the folder.
const SCRIPT: &str = r#"
cat >/dev/null
tries=100
while [ -e "$1" ] && [ "$tries" -gt 0 ]; do
    rm -rf --one-file-system -- "$1" 2>/dev/null || sleep 0.1
    tries=$((tries - 1))
done
"#;

/// The process and the folder it will remove.
pub struct Janitor {
    folder: PathBuf,
    process: Child,
}

impl Janitor {
    /// Takes charge of `folder`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(folder: &Path) -> Result<Self> {
        let process = Command::new("sh")
            .args(["-c", SCRIPT, "holdfast-lab-janitor"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C goes to the lab's process group; the janitor must outlive it.
            .process_group(0)
            .spawn()
            .context("cannot start the lab's janitor")?;
        Ok(Self { folder: folder.to_path_buf(), process })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let ended = crate::lab::wait::wait_until("the janitor", Duration::from_secs(20), || {
            Ok(self.process.try_wait()?.is_some())
        });
        if ended.is_err() || self.folder.exists() {
            eprintln!("the lab's folder {} could not be removed", self.folder.display());
        }
    }
}
