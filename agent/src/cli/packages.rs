//! Module packages: installed, packed, listed with their numbers and ports, removed.

use super::verbs::Module;
use super::{done, show, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, ListedModule, Request};
use crate::modules;
use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use holdfast_api::config::MODULE_ID_MAX;
use holdfast_api::ids::ModuleId;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Install a package for editing under $SAFE/modules/<module>, in place of what is there.
    Install {
        #[command(flatten)]
        module: Module,
        /// Number of the module, equal on all nodes: it decides the ports.
        #[arg(short = 'M', value_name = "ID", value_parser = clap::value_parser!(u16).range(1..))]
        id: Option<u16>,
        /// In place of what is installed, as it always is; kept for scripts.
        #[arg(short = 'r')]
        replace: bool,
        /// The package; without it, one of the module's name in a folder of $SAFE/Application_Modules.
        file: Option<PathBuf>,
    },
    /// Pack the editable files of an installed module into a .safe file.
    Package {
        #[command(flatten)]
        module: Module,
        /// Where to.
        file: PathBuf,
    },
    /// List installed and configured modules.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the numbers of the modules, which must be equal on all nodes.
    Listid {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the ports of a module, by its name or by its number.
    Getports {
        /// Name of the module.
        #[arg(short = 'm', long = "module", env = "SAFEMODULE", value_name = "MODULE", required_unless_present = "id")]
        module: Option<String>,
        /// Number of a module, which need not exist.
        #[arg(short = 'i', value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=i64::from(MODULE_ID_MAX)))]
        id: Option<u16>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a stopped module: its configuration and its editable files; its logs and its data stay.
    Uninstall(Module),
}

/// The ports of a module, to be opened between its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Ports {
    id: ModuleId,
    heartbeat_udp: u16,
    replication_tcp: u16,
}

impl Ports {
    fn of(id: ModuleId) -> Self {
        Self { id, heartbeat_udp: id.heartbeat_port(), replication_tcp: id.replication_port() }
    }
}

/// Whether the output is for programs.
pub(super) fn for_programs(verb: &Verb) -> bool {
    match verb {
        Verb::List { json } | Verb::Listid { json } | Verb::Getports { json, .. } => *json,
        Verb::Install { .. } | Verb::Package { .. } | Verb::Uninstall(_) => false,
    }
}

/// Carries a command out.
pub(super) fn run(client: &mut Client, verb: Verb) -> Result<()> {
    match verb {
        Verb::Install { module, id, file, .. } => {
            let file = file.map_or_else(|| shelved(client, &module.module), Ok)?;
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let (package, module) = (STANDARD.encode(bytes), module.module);
            done(client.ask(Request::ModuleInstall { module, id: id.map(ModuleId), package })?)
        }
        Verb::Package { module, file } => package(client, module.module, &file),
        Verb::List { json: true } => show::json(&listed(client)?),
        Verb::List { json: false } => show::modules(&listed(client)?),
        Verb::Listid { json } => list_ids(&listed(client)?, json),
        Verb::Getports { module, id, json } => {
            let ports = match (id, module) {
                (Some(id), _) => Ports::of(ModuleId(id)),
                (None, Some(module)) => ports_of(client, &module)?,
                (None, None) => return Err(anyhow!("which module? -m NAME, or -i NUMBER")),
            };
            show_ports(&ports, json)
        }
        Verb::Uninstall(module) => done(client.ask(Request::ModuleUninstall { module: module.module })?),
    }
}

/// The package of this name that lies ready, such as one kept by `module uninstall`.
fn shelved(client: &mut Client, module: &str) -> Result<PathBuf> {
    let safe = match client.ask(Request::Places { module: None })? {
        Answer::Places { places } => PathBuf::from(places.get("SAFE").cloned().unwrap_or_default()),
        other => return Err(unexpected(other)),
    };
    let shelf = safe.join("Application_Modules");
    let folders = std::fs::read_dir(&shelf).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = folders.map(|folder| folder.path().join(format!("{module}.safe"))).collect();
    found.retain(|file| file.is_file());
    found.sort();
    let missing = || format!("no {module}.safe lies below {}: name a file", shelf.display());
    found.into_iter().next().with_context(missing)
}

fn package(client: &mut Client, module: String, file: &Path) -> Result<()> {
    let package = match client.ask(Request::ModulePackage { module })? {
        Answer::Package { package } => STANDARD.decode(package).context("the answer is not base64")?,
        other => return Err(unexpected(other)),
    };
    std::fs::write(file, &package).with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(std::io::stdout(), "{} ({} bytes)", file.display(), package.len())?;
    Ok(())
}

fn listed(client: &mut Client) -> Result<Vec<ListedModule>> {
    match client.ask(Request::ModuleList)? {
        Answer::Modules { modules } => Ok(modules),
        other => Err(unexpected(other)),
    }
}

fn list_ids(modules: &[ListedModule], json: bool) -> Result<()> {
    if json {
        let ids = modules.iter().map(|module| serde_json::json!({"id": module.id, "module": module.module}));
        return show::json(&ids.collect::<Vec<_>>());
    }
    let head = vec!["ID".to_owned(), "MODULE".to_owned()];
    let rows = modules.iter().map(|module| vec![module.id.0.to_string(), module.module.clone()]);
    show::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// The ports as configured, or as its number gives them while it is only installed.
fn ports_of(client: &mut Client, module: &str) -> Result<Ports> {
    let all = listed(client)?;
    let found = all.iter().find(|listed| listed.module == module);
    let found = found.with_context(|| {
        format!("module {module} is neither installed nor configured here: `holdfast module list` shows what there is")
    })?;
    let mut ports = Ports::of(found.id);
    if found.version.is_some()
        && let Answer::ModuleGiven { config } = client.ask(Request::ModuleGive { module: module.to_owned() })?
        && let Some(port) = modules::check(&config)?.user_config.heart.port
    {
        ports.heartbeat_udp = port;
    }
    Ok(ports)
}

fn show_ports(ports: &Ports, json: bool) -> Result<()> {
    if json {
        return show::json(ports);
    }
    let row = |what: &str, port: u16, kind: &str| vec![what.to_owned(), port.to_string(), kind.to_owned()];
    show::table(&[
        vec!["FOR".to_owned(), "PORT".to_owned(), "PROTOCOL".to_owned()],
        row("heartbeat", ports.heartbeat_udp, "udp"),
        row("replication", ports.replication_tcp, "tcp"),
    ])
}

#[cfg(test)]
mod tests {
    use super::Ports;
    use holdfast_api::ids::ModuleId;

    #[test]
    fn ports_follow_from_the_number() {
        let ports = Ports::of(ModuleId(3));
        assert_eq!((ports.heartbeat_udp, ports.replication_tcp), (8890, 5608));
    }
}
