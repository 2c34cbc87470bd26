//! The commands that an agent carries out, as they are written.

use super::{checks, data, logs, packages, tend, waits};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The module a command is about.
#[derive(Clone, Debug, Args)]
pub(super) struct Module {
    /// Name of the module.
    #[arg(short = 'm', long = "module", env = "SAFEMODULE", value_name = "MODULE")]
    pub(super) module: String,
}

/// The same where it may be left out.
#[derive(Clone, Debug, Args)]
pub(super) struct MaybeModule {
    /// Name of the module; all if not given.
    #[arg(short = 'm', long = "module", env = "SAFEMODULE", value_name = "MODULE")]
    pub(super) module: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct Control {
    #[command(flatten)]
    pub(super) module: Module,
    /// Who asks, if not a person: the command then counts towards maxloop instead of resetting it.
    #[arg(short = 'i', value_name = "IDENTITY")]
    pub(super) identity: Option<String>,
}

/// A date as `secondforce` takes it, with a time or without.
fn a_date(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix('Z').unwrap_or(text);
    match bare.parse::<jiff::civil::DateTime>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("write YYYY-MM-DD, \"YYYY-MM-DD hh:mm:ss\" or YYYY-MM-DDThh:mm:ss, and Z behind it for UTC".to_owned())
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Show what the modules are.
    State {
        #[command(flatten)]
        module: MaybeModule,
        /// With all resources: value, since when, and who said so; and what each module's own `state` script says.
        #[arg(short = 'v')]
        verbose: bool,
        /// Only the state of one module, which is the exit code too: STOP 0, WAIT 1, ALONE and UP 2, PRIM 3, SECOND 4.
        #[arg(short = 'q', conflicts_with = "verbose")]
        quiet: bool,
        /// With -q, as scripts write it (-lq): the state on this node, which is what is always shown.
        #[arg(short = 'l', requires = "quiet")]
        local: bool,
        /// As JSON: one object with -m, else an array.
        #[arg(long, conflicts_with = "quiet")]
        json: bool,
    },
    #[command(flatten)]
    Checks(checks::Verb),
    #[command(flatten)]
    Waits(waits::Verb),
    #[command(flatten)]
    Logs(logs::Verb),
    #[command(flatten)]
    Tend(tend::Verb),
    #[command(flatten)]
    Data(data::Verb),
    /// Start a module, in the role its data allows.
    Start(Control),
    /// Stop a module; a primary's stop is a failover.
    Stop(Control),
    /// Stop a module when `stop` has no effect: no graceful stop script is run.
    Forcestop(Control),
    /// Stop and start the application here, without failover.
    Restart(Control),
    /// Stop a module, then start it.
    Stopstart(Control),
    /// Exchange the roles of the two nodes.
    Swap(Control),
    /// Start as primary where that is safe (first start, or the other copy is given up).
    Prim {
        #[command(flatten)]
        control: Control,
        /// fullsync: nothing that is known of what may differ counts: the next resync of the other node compares everything.
        #[arg(value_parser = ["fullsync"])]
        sync: Option<String>,
    },
    /// Start as primary whatever the state of the data.
    Primforce(Control),
    /// Start as secondary; agrees that this copy is overwritten.
    Second {
        #[command(flatten)]
        control: Control,
        /// fullsync: everything is compared, whatever is known of what may differ.
        #[arg(value_parser = ["fullsync"])]
        sync: Option<String>,
    },
    /// Start as secondary, whatever the date of the files: everything is compared, and only what differs travels.
    Secondforce {
        #[command(flatten)]
        control: Control,
        /// YYYY-MM-DD, "YYYY-MM-DD hh:mm:ss" or YYYY-MM-DDThh:mm:ss, with a Z for UTC. Checked only: files older than it are
        /// compared as well, since that they are equal is nothing to rely on.
        #[arg(short = 'd', value_name = "DATE", value_parser = a_date)]
        date: String,
    },
    /// Let a secondary take over by itself, or only by an operator's `prim`; order it on both nodes.
    Failover {
        #[command(flatten)]
        module: Module,
        /// on or off.
        #[arg(value_parser = ["on", "off"])]
        value: String,
    },
    /// Write a line of level I into the module log.
    Printi {
        #[command(flatten)]
        module: Module,
        /// The text.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Write a line of level E into the module log.
    Printe {
        #[command(flatten)]
        module: Module,
        /// The text.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        text: Vec<String>,
    },
    /// Show the pairing code with which the console enrols this node.
    Pairing {
        /// Open pairing again, with a new code.
        #[arg(long)]
        reopen: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the fingerprint of this node's key.
    Key,
    /// The cluster configuration of this node.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Module packages.
    #[command(subcommand)]
    Module(packages::Verb),
    /// Configure an installed module as it stands in $SAFE/modules/<module>; runs its own `config` before, which may say no,
    /// and `postconfig` after.
    Config(Module),
    /// Forget the configuration of a stopped module, after its own `deconfig`; its editable files, logs and data stay.
    Deconfig(Module),
    /// Check an installed module without configuring it; runs its own `confcheck`, if it has one.
    Confcheck(Module),
    /// Show signature and date of a module's configuration in use and of its files as edited.
    Confinfo {
        #[command(flatten)]
        module: Module,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Start a module when the machine boots, or not; or show what each does.
    Boot {
        #[command(flatten)]
        module: MaybeModule,
        /// on, off, or auto (if it was running when the machine went down), of one module; status: what holds now.
        #[arg(value_parser = ["on", "off", "auto", "status"])]
        value: String,
        /// With status: as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at directories that are to be replicated.
    VerifyPaths {
        /// Absolute paths.
        #[arg(required = true)]
        paths: Vec<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Cluster {
    /// Hold the cluster configuration of a JSON file.
    Config {
        /// The file.
        file: PathBuf,
    },
    /// Check the cluster configuration of a JSON file without holding it.
    Confcheck {
        /// The file.
        file: PathBuf,
    },
    /// Leave the cluster: forget its configuration, the stopped modules and the management server.
    Deconfig,
    /// Show the cluster configuration held (the secret is not shown).
    Show,
    /// Show the nodes and what their modules are, as this node hears them.
    State {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Compare the nodes' configurations: version, signature and date of each.
    Confinfo {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}
