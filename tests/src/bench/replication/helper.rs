//! Helper processes of the bench: they end when the bench lets go of their input, however it ends.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a helper may take to end by itself.
const END: Duration = Duration::from_secs(5);

/// A running helper; dropped, it ends.
pub struct Helper(Child);

impl Helper {
    /// Starts `command` with an input to hold on to.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).spawn();
        Ok(Self(child.with_context(|| format!("cannot run {command:?}"))?))
    }

    /// Starts `command` and waits for its first line.
    ///
    /// # Errors
    /// It does not start, or says nothing.
    pub fn start_told(command: &mut Command) -> Result<(Self, String)> {
        let mut helper = Self::start(command.stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(helper.0.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok((helper, line.trim().to_owned()))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let end = Instant::now() + END;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is mounted on `directory`.
///
/// # Errors
/// Nothing comes.
pub fn wait_for_mount(directory: &Path) -> Result<()> {
    let wanted = format!(" {} ", directory.display());
    crate::lab::wait::wait_until("a mount", Duration::from_secs(10), || {
        Ok(std::fs::read_to_string("/proc/self/mounts")?.contains(&wanted))
    })
}

/// Runs a program to its end and demands success.
///
/// # Errors
/// With what it wrote.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{command:?} failed: {text}");
    Ok(text)
}
