//! Command-line options of the agent and the layout of its data folder.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The Holdfast node agent: heartbeat, failover and replication of the modules on this machine.
#[derive(Debug, Parser)]
#[command(name = "holdfast-agent", version, about)]
pub struct Cli {
    /// Options of the running agent.
    #[command(flatten)]
    pub options: Options,
    /// What to do; without it the agent runs.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// Other things than running.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Enrol this node at a management server with a one-time token made in the console (for unattended installs).
    Join(Join),
}

/// Options of `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The server, such as https://console.example.com:9453.
    #[arg(long)]
    pub server: String,
    /// The token, as the console shows it.
    #[arg(long, env = "HOLDFAST_JOIN_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Fingerprint of the CA's key, if the token does not carry it.
    #[arg(long)]
    pub ca_fingerprint: Option<String>,
    /// Name of this node in the cluster.
    #[arg(long)]
    pub name: Option<String>,
}

/// Options of the running agent.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Folder for everything the agent keeps.
    #[arg(long, global = true, default_value = "/var/lib/holdfast")]
    pub data_dir: PathBuf,
    /// Folder of the socket for the command line; the data folder if not given.
    #[arg(long, global = true)]
    pub run_dir: Option<PathBuf>,
    /// Where the health URL and the node's own page are served.
    #[arg(long, default_value = "0.0.0.0:9010")]
    pub health_listen: SocketAddr,
    /// Where enrolment is answered while the node is not enrolled.
    #[arg(long, default_value = "0.0.0.0:9001")]
    pub enrol_listen: SocketAddr,
    /// Where the other nodes reach this one (UDP, same port on all nodes); [::]:4800 for IPv6 and IPv4.
    #[arg(long, default_value = "0.0.0.0:4800")]
    pub cluster_listen: SocketAddr,
    /// File that changes with each boot of the machine.
    #[arg(long, default_value = "/proc/sys/kernel/random/boot_id")]
    pub boot_id_file: PathBuf,
    /// How the machine is rebooted where a module has automatic_reboot="on".
    #[arg(long, default_value = "systemctl reboot")]
    pub reboot_command: String,
    /// The data-plane program; beside this program if not given.
    #[arg(long)]
    pub replica_bin: Option<PathBuf>,
    /// Management server to dial instead of the one known from enrolment, such as https://10.0.0.5:9453.
    #[arg(long)]
    pub server: Option<String>,
    /// Delete what was set aside of copies that diverged (`holdfast diverged`) after so many days; kept until it is deleted
    /// by hand if not given.
    #[arg(long, value_name = "DAYS", env = "HOLDFAST_KEEP_SET_ASIDE_DAYS")]
    pub keep_set_aside_days: Option<std::num::NonZeroU32>,
    /// Name of this node until a cluster configuration names it; the host name if not given.
    #[arg(long)]
    pub node_name: Option<String>,
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The data folder, absolute.
    pub data: PathBuf,
    /// The folder of the socket, absolute.
    pub run: PathBuf,
}

impl Layout {
    /// The layout that the options ask for.
    pub fn new(options: &Options) -> std::io::Result<Self> {
        let data = std::path::absolute(&options.data_dir)?;
        let run = options.run_dir.as_deref().map_or(Ok(data.clone()), std::path::absolute)?;
        Ok(Self { data, run })
    }

    /// Socket of the command line.
    pub fn socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }

    /// `$SAFE`.
    pub fn safe(&self) -> PathBuf {
        self.data.join("safe")
    }

    /// `$SAFEVAR`.
    pub fn var(&self) -> PathBuf {
        self.data.join("var")
    }

    /// Node key, PEM.
    pub fn key(&self) -> PathBuf {
        self.data.join("node.key")
    }

    /// Node certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.data.join("node.crt")
    }

    /// A module as installed and editable: `$SAFE/modules/<m>`.
    pub fn installed(&self, module: &str) -> PathBuf {
        self.safe().join("modules").join(module)
    }

    /// A module as configured, in use: `D/modules/<m>`.
    pub fn active(&self, module: &str) -> PathBuf {
        self.data.join("modules").join(module)
    }

    /// `$SAFEUSERVAR`: logs and what the scripts keep.
    pub fn module_var(&self, module: &str) -> PathBuf {
        self.var().join("modules").join(module)
    }

    /// Support zips of a module that are kept.
    pub fn dumps(&self, module: &str) -> PathBuf {
        self.var().join("snapshot").join("modules").join(module)
    }

    /// Ledger of a module.
    pub fn ledger(&self, module: &str) -> PathBuf {
        self.data.join("ledger").join(format!("{module}.ledger"))
    }

    /// Folder of what `Store` keeps.
    pub fn store(&self) -> PathBuf {
        self.data.join("config")
    }

    /// Folder a module's replica may use.
    pub fn replica(&self, module: &str) -> PathBuf {
        self.data.join("replica").join(module)
    }
}

/// A program beside the running one.
pub fn program_beside(name: &str) -> PathBuf {
    let here = std::env::current_exe().ok();
    let beside = here.as_deref().and_then(Path::parent).map(|dir| dir.join(name));
    beside.unwrap_or_else(|| PathBuf::from(name))
}
