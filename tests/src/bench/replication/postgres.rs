//! Debian's PostgreSQL in a directory, with pgbench's tables.

use super::helper::run;
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

/// Programs of package postgresql-15 and its successors, newest last.
const VERSIONS: &str = "/usr/lib/postgresql";
/// pgbench's scale: 1 million accounts.
const SCALE: &str = "10";
/// Seconds of one measurement.
const SECONDS: &str = "5";

/// A database folder.
#[derive(Clone)]
pub struct Server {
    data: PathBuf,
    sockets: PathBuf,
    programs: PathBuf,
    user: (u32, u32),
}

/// A running server; dropped, it is stopped.
pub struct Running(Server, u16);

impl Server {
    /// Makes a database with pgbench's tables below `directory`; sockets go to `folder`.
    ///
    /// # Errors
    /// PostgreSQL is missing or fails.
    pub fn initialise(directory: &Path, folder: &Path) -> Result<Self> {
        let id = |what: &str| -> Result<u32> { Ok(run(Command::new("id").args([what, "postgres"]))?.trim().parse()?) };
        let user = (id("-u")?, id("-g")?);
        let versions = std::fs::read_dir(VERSIONS).context("PostgreSQL is missing: apt-get install postgresql")?;
        let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max().context("no PostgreSQL")?;
        let (data, sockets) = (directory.join("postgres"), folder.join("sockets"));
        let server = Self { data, sockets, programs: newest.join("bin"), user };
        for folder in [&server.data, &server.sockets] {
            std::fs::create_dir_all(folder)?;
            std::os::unix::fs::chown(folder, Some(user.0), Some(user.1))?;
        }
        let no_sync = ["--no-sync", "-A", "trust", "-U", "postgres", "-D"];
        run(server.program("initdb").args(no_sync).arg(&server.data))?;
        run(server.start()?.client("pgbench").args(["-i", "-q", "-s", SCALE]))?;
        Ok(server)
    }

    /// The same database below `directory`.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn copy_to(&self, directory: &Path) -> Result<Self> {
        let data = directory.join("postgres");
        run(Command::new("cp").arg("-a").arg(&self.data).arg(&data))?;
        Ok(Self { data, ..self.clone() })
    }

    /// Starts the server.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self) -> Result<Running> {
        static PORTS: AtomicU16 = AtomicU16::new(5432);
        let port = PORTS.fetch_add(1, Ordering::Relaxed);
        let options = format!("-k {} -p {port} -c listen_addresses= -c autovacuum=off", self.sockets.display());
        // pg_ctl's output is a file: the server keeps it, and nobody must wait for its end.
        let log = self.sockets.join(format!("log{port}"));
        run(self
            .program("pg_ctl")
            .args(["start", "-w", "-s", "-o", &options, "-l"])
            .arg(log)
            .arg("-D")
            .arg(&self.data))?;
        Ok(Running(self.clone(), port))
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.uid(self.user.0).gid(self.user.1).current_dir("/");
        command
    }
}

impl Running {
    /// Transactions a second with 4 clients.
    ///
    /// # Errors
    /// pgbench fails.
    pub fn pgbench(&self) -> Result<f64> {
        let text = run(self.client("pgbench").args(["-n", "-c", "4", "-j", "2", "-T", SECONDS]))?;
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench told no rate: {text}"))
    }

    fn client(&self, name: &str) -> Command {
        let mut command = self.0.program(name);
        command.arg("-h").arg(&self.0.sockets).args(["-p", &self.1.to_string(), "-U", "postgres"]);
        command
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = run(self.0.program("pg_ctl").args(["stop", "-s", "-m", "fast", "-D"]).arg(&self.0.data)) {
            eprintln!("{error:#}");
        }
    }
}
