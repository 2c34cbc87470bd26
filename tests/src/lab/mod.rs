//! The lab: hosts made of network, mount, process and name spaces, running the real programs.
//!
//! A host is a first process that waits for the end of its input; everything of the host (processes, mounts, network)
//! lives in namespaces that end with it. The lab holds the other end of that input, so however the lab ends (return,
//! panic, SIGKILL) the hosts end with it; `janitor` then removes the folder. No namespace has a name, no link outside
//! the lab is touched; `relay` lets programs outside (a browser) in through a port on loopback.
//!
//! `host` powers hosts on and off (`systemd` makes those whose first process is a real one), `network` joins and cuts
//! them, `process` looks at what runs on one, `node` runs the agent there, `cluster` brings two nodes up without a server
//! with a module that `package` packs, `etcd` runs a register on a third host, `health` follows the health URL and fails
//! when two nodes serve, `trees` compares copies.

pub mod cluster;
pub mod etcd;
pub mod health;
pub mod host;
mod janitor;
pub mod network;
pub mod node;
pub mod package;
pub mod process;
pub mod relay;
pub(crate) mod systemd;
pub mod trees;
pub mod wait;

use crate::lab::host::Host;
use crate::lab::janitor::Janitor;
use crate::lab::network::{Cut, Network};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Programs that hosts find in /opt/holdfast/bin.
pub(crate) const PROGRAMS: [&str; 5] =
    ["holdfast-agent", "holdfast-replica", "holdfast", "holdfast-bank", "holdfast-server"];

/// Number of the management server's host.
pub const CONSOLE: u8 = 100;

/// How to make a lab.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Hosts, named node1, node2, …
    pub hosts: u8,
    /// Keep the hosts' folders in memory instead of on disk.
    pub tmpfs: bool,
    /// A further host, [`CONSOLE`], for the management server.
    pub console: bool,
    /// The hosts run below a real systemd, with the product installed.
    pub systemd: bool,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { hosts: 2, tmpfs: false, console: false, systemd: false }
    }
}

/// Hosts, the network between them and their folders; all gone when dropped.
// The order of fields is the order of the end: hosts, then network, then folder.
pub struct Lab {
    hosts: Vec<Host>,
    network: Network,
    cuts: Vec<Cut>,
    janitor: Janitor,
}

impl Lab {
    /// Two hosts on disk, powered on.
    ///
    /// # Errors
    /// As [`Lab::with`].
    pub fn new(name: &str) -> Result<Self> {
        Self::with(name, &LabOptions::default())
    }

    /// Hosts as wanted, powered on; nothing runs on them yet.
    ///
    /// # Errors
    /// Not root, a program is missing, or the kernel refuses a namespace.
    pub fn with(name: &str, options: &LabOptions) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("labs make network and mount namespaces, which needs root: run this with sudo");
        }
        let base = if options.tmpfs { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix(&format!("holdfast-{name}-")).tempdir_in(&base);
        let folder = folder.with_context(|| format!("cannot make a folder in {}", base.display()))?.keep();
        let janitor = Janitor::start(&folder)?;
        let network = Network::new()?;
        let mut lab = Self { hosts: Vec::new(), network, cuts: Vec::new(), janitor };
        lab.link_programs()?;
        for number in (1..=options.hosts).chain(options.console.then_some(CONSOLE)) {
            let make = if options.systemd && number != CONSOLE { Host::with_systemd } else { Host::new };
            let mut host = make(number, lab.folder())?;
            host.power_on(&lab.network)?;
            lab.hosts.push(host);
        }
        Ok(lab)
    }

    /// The lab's folder; removed at the end.
    pub fn folder(&self) -> &Path {
        self.janitor.folder()
    }

    /// The lab's network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Numbers of the nodes, from 1.
    pub fn numbers(&self) -> Vec<u8> {
        self.hosts.iter().map(Host::number).filter(|number| *number != CONSOLE).collect()
    }

    /// The host with this number.
    ///
    /// # Panics
    /// There is no such host: a mistake in the test.
    pub fn host(&self, number: u8) -> &Host {
        self.hosts.iter().find(|host| host.number() == number).expect("a host with this number")
    }

    /// See [`Lab::host`].
    ///
    /// # Panics
    /// There is no such host: a mistake in the test.
    pub fn host_mut(&mut self, number: u8) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.number() == number).expect("a host with this number")
    }

    /// Makes the programs of this build available to every host below /opt/holdfast/bin.
    fn link_programs(&self) -> Result<()> {
        let bin = self.folder().join("opt/holdfast/bin");
        std::fs::create_dir_all(&bin)?;
        for program in PROGRAMS {
            std::os::unix::fs::symlink(program_path(program)?, bin.join(program))?;
        }
        Ok(())
    }

    /// Power cut: the host's network is gone first, so that no farewell of a dying connection reaches anybody.
    ///
    /// # Errors
    /// The host does not end.
    pub fn power_off(&mut self, number: u8) -> Result<()> {
        self.network.detach(number)?;
        self.host_mut(number).power_off()
    }

    /// kill -9 of every process of the host at once, its network still up; mounts and connections end with them.
    ///
    /// # Errors
    /// The host does not end.
    pub fn kill_node(&mut self, number: u8) -> Result<()> {
        self.host_mut(number).power_off()?;
        self.network.detach(number)
    }

    /// Powers the host on again under a new boot id; its disk is as it was, nothing runs.
    ///
    /// # Errors
    /// The host cannot be made.
    pub fn power_on(&mut self, number: u8) -> Result<()> {
        let host = self.hosts.iter_mut().find(|host| host.number() == number).context("no such host")?;
        host.power_on(&self.network)?;
        self.apply_cuts()
    }

    /// Nothing passes between hosts `a` and `b`, either way; others still reach both.
    ///
    /// # Errors
    /// nft failed.
    pub fn cut_link(&mut self, a: u8, b: u8) -> Result<()> {
        self.cuts.extend([Cut::Everything { from: a, to: b }, Cut::Everything { from: b, to: a }]);
        self.apply_cuts()
    }

    /// Nothing of what host `from` sends reaches host `to`.
    ///
    /// # Errors
    /// nft failed.
    pub fn cut_one_way(&mut self, from: u8, to: u8) -> Result<()> {
        self.cuts.push(Cut::Everything { from, to });
        self.apply_cuts()
    }

    /// Only the replication streams between `a` and `b` are cut; heartbeats live.
    ///
    /// # Errors
    /// nft failed.
    pub fn cut_stream(&mut self, a: u8, b: u8) -> Result<()> {
        self.cuts.extend([Cut::Stream { from: a, to: b }, Cut::Stream { from: b, to: a }]);
        self.apply_cuts()
    }

    /// Of the replication stream, nothing that `from` sends reaches `to`, and neither end is told: a half-open connection.
    ///
    /// # Errors
    /// nft failed.
    pub fn cut_stream_one_way(&mut self, from: u8, to: u8) -> Result<()> {
        self.cuts.push(Cut::Stream { from, to });
        self.apply_cuts()
    }

    /// Undoes every cut.
    ///
    /// # Errors
    /// nft failed.
    pub fn heal(&mut self) -> Result<()> {
        self.cuts.clear();
        self.apply_cuts()
    }

    /// Whether two nodes that cannot hear each other might both serve.
    pub fn links_are_cut(&self) -> bool {
        self.cuts.iter().any(|cut| matches!(cut, Cut::Everything { .. }))
    }

    fn apply_cuts(&self) -> Result<()> {
        for host in self.hosts.iter().filter(|host| host.is_on()) {
            self.network.filter(host, &self.cuts)?;
        }
        Ok(())
    }
}

/// Where this build's program `name` is: beside the running program, or in `HOLDFAST_PROGRAMS`.
///
/// # Errors
/// It was not built.
pub fn program_path(name: &str) -> Result<PathBuf> {
    let folders = match std::env::var_os("HOLDFAST_PROGRAMS") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => std::env::current_exe()?.ancestors().skip(1).take(2).map(Path::to_path_buf).collect(),
    };
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo xtask test`, or `cargo build --bins`"))
}
