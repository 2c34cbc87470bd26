//! Debian's chromedriver, which starts browsers: it and all it started end with this value, whatever became of the test.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A running chromedriver.
pub(crate) struct Chromedriver(Child);

impl Chromedriver {
    /// Starts one at a port of its choice; with the address it answers at.
    ///
    /// # Errors
    /// It is not installed or does not start.
    pub(crate) fn start() -> Result<(Self, String)> {
        let started = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // With the browser it starts, which a failed test leaves to it.
            .process_group(0)
            .spawn()
            .context("cannot run chromedriver: apt-get install chromium chromium-driver")?;
        let mut chromedriver = Self(started);
        let port = port_of(&mut chromedriver.0)?;
        Ok((chromedriver, format!("http://127.0.0.1:{port}")))
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}

/// The port chromedriver has chosen; its first line names port 0.
fn port_of(chromedriver: &mut Child) -> Result<u16> {
    let output = chromedriver.stdout.take().context("chromedriver has no output")?;
    let mut lines = BufReader::new(output).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("started successfully on port ")?;
        rest.trim().trim_end_matches('.').parse().ok()
    });
    // What it says later is read and dropped, or it would block.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    port.context("chromedriver ended without naming its port")
}
