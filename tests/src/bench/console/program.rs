//! The server's real program as a process of its own, in a folder of its own, on a port of loopback.

use crate::lab::program_path;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The running program; killed when dropped.
pub(super) struct Program {
    folder: PathBuf,
    console: Option<PathBuf>,
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Most memory of earlier runs, in kB.
    peak_kb: u64,
}

/// The administrator's password.
pub(super) const PASSWORD: &str = "simulated nodes only";
/// Its name.
pub(super) const USER: &str = "admin";

impl Program {
    /// With its data in `folder`; it serves the console in `console`, if it is to serve any.
    pub(super) fn start(folder: &Path, console: Option<&Path>) -> Result<Self> {
        std::fs::write(folder.join("password"), format!("{PASSWORD}\n"))?;
        let (child, address) = spawn(folder, console, SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let (folder, console) = (folder.to_owned(), console.map(Path::to_owned));
        Ok(Self { folder, console, child, address, peak_kb: 0 })
    }

    /// kill -9, and a new one on the same folder and port; it serves when this returns.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.peak_kb = self.status("VmHWM")?.max(self.peak_kb);
        self.child.kill()?;
        self.child.wait()?;
        (self.child, _) = spawn(&self.folder, self.console.as_deref(), self.address)?;
        Ok(())
    }

    /// The server's certificate authority (PEM).
    pub(super) fn authority(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("data/pki/ca.pem"))?)
    }

    /// Most memory at any time, in 10⁶ bytes.
    pub(super) fn peak_mb(&self) -> Result<f64> {
        Ok(self.status("VmHWM")?.max(self.peak_kb) as f64 * 1024.0 / 1e6)
    }

    /// Processor time used so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(") ").context("no stat")?.1;
        let mut ticks = after_name.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
        let used = ticks.next().unwrap_or(0.0) + ticks.next().unwrap_or(0.0);
        Ok(used / rustix::param::clock_ticks_per_second() as f64)
    }

    fn status(&self, field: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(field)).context("no such line of status")?;
        line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).context("no number in status")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it and reads where it listens.
fn spawn(folder: &Path, console: Option<&Path>, listen: SocketAddr) -> Result<(Child, SocketAddr)> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let console = console.map(|console| [OsStr::new("--console-dir"), console.as_os_str()]);
    let mut child = Command::new(program_path("holdfast-server")?)
        .args(console.into_iter().flatten())
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen", &listen.to_string(), "--name", "127.0.0.1"])
        .arg("--admin-password-file")
        .arg(folder.join("password"))
        .env("HOLDFAST_LOG", "warn")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the server")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let found = lines.by_ref().find_map(|line| line.ok()?.strip_prefix("listening on ")?.parse().ok());
    // What it prints later is read, so that it never waits for us.
    std::thread::spawn(move || lines.for_each(drop));
    let address = found.with_context(|| std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    let address = address.context("the server does not start")?;
    ensure!(listen.port() == 0 || address == listen, "the server listens on {address}");
    Ok((child, address))
}
