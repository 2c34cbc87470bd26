//! What every part of the server shares, and the picture of the desired configuration kept in memory.

use crate::assets::Console;
use crate::auth::Gate;
use crate::config::Config;
use crate::db::{self, Db, cluster::SavedCluster, nodes::NodeRow};
use crate::error::Outcome;
use crate::hub::Hub;
use crate::live::Live;
use crate::register::Register;
use crate::tasks::Tasks;
use crate::tls::{Tls, names};
use holdfast_api::console::{ClusterView, ModuleFacts, ModuleView};
use holdfast_api::ids::{ModuleId, NodeId};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use tokio::sync::{Semaphore, watch};

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The desired configuration without the packages, as last committed.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The cluster, if one was saved.
    pub cluster: Option<SavedCluster>,
    /// Enrolled nodes, by number.
    pub nodes: Vec<NodeRow>,
    /// Modules, by number.
    pub modules: Vec<ModuleView>,
    /// What the wanted version of each configured module says, with that version.
    pub facts: BTreeMap<ModuleId, (u64, ModuleFacts)>,
    /// Modules that agents are to forget.
    pub removed: Vec<(ModuleId, String)>,
}

impl Desired {
    /// Numbers of the cluster's nodes.
    pub fn members(&self) -> Vec<NodeId> {
        self.cluster.iter().flat_map(|saved| saved.config.nodes.iter().map(|node| node.id)).collect()
    }

    /// True if the node is in the cluster.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.cluster.as_ref().is_some_and(|saved| saved.config.node(id).is_some())
    }

    /// An enrolled node.
    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The cluster as the console sees it.
    pub fn cluster_view(&self) -> ClusterView {
        self.cluster.as_ref().map_or_else(ClusterView::none, SavedCluster::view)
    }
}

/// The running server's shared parts.
pub struct App {
    /// Database.
    pub db: Db,
    /// Certificates.
    pub tls: Tls,
    /// Who may come in: set-up link, login attempts.
    pub gate: Gate,
    /// Agents' sessions.
    pub hub: Hub,
    /// What the register knows in this life.
    pub register: Arc<Register>,
    /// Long actions.
    pub tasks: Tasks,
    /// Fan-out to consoles.
    pub live: Live,
    /// The console's files.
    pub console: Console,
    /// At most this many support zips are collected at once.
    pub snapshots: Semaphore,
    /// The server's own folder.
    pub data_dir: PathBuf,
    port: u16,
    desired: RwLock<Arc<Desired>>,
    plain_http: watch::Sender<bool>,
}

impl App {
    /// Puts the parts together; loads the desired configuration.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn new(config: &Config, db: Db, tls: Tls, listen: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let saved_tasks = db.call(db::records::tasks).await?;
        let plain_http = watch::Sender::new(db.read(db::settings::plain_http).await?);
        let app = Arc::new(Self {
            gate: Gate::default(),
            hub: Hub::default(),
            register: Arc::default(),
            tasks: Tasks::new(saved_tasks),
            live: Live::default(),
            console: Console::new(config.console_dir.clone()),
            snapshots: Semaphore::new(2),
            data_dir: config.data_dir.clone(),
            port: listen.port(),
            desired: RwLock::default(),
            plain_http,
            db,
            tls,
        });
        app.reload().await?;
        Ok(app)
    }

    /// The desired configuration as last committed.
    pub fn desired(&self) -> Arc<Desired> {
        match self.desired.read() {
            Ok(desired) => Arc::clone(&desired),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }

    /// Reads the desired configuration again, after every change of it; wakes pushes and consoles.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn reload(&self) -> Outcome<()> {
        let known = self.desired().facts.clone();
        let desired = self
            .db
            .call(move |tx| {
                let modules = db::modules::list(tx)?;
                Ok(Desired {
                    cluster: db::cluster::latest(tx)?,
                    nodes: db::nodes::list(tx)?,
                    facts: facts(tx, &modules, known)?,
                    modules,
                    removed: db::modules::removed(tx)?,
                })
            })
            .await?;
        let desired = Arc::new(desired);
        match self.desired.write() {
            Ok(mut current) => *current = desired,
            Err(poisoned) => *poisoned.into_inner() = desired,
        }
        self.hub.wake();
        self.live.changed();
        Ok(())
    }

    /// Where agents dial ("host:port"), most preferred first; `local`: our end of the connection that asks.
    pub fn server_addresses(&self, local: Option<IpAddr>) -> Vec<String> {
        let port = self.port;
        let mut found: Vec<String> = Vec::new();
        let mut add = |text: String| {
            if !found.contains(&text) {
                found.push(text);
            }
        };
        let reached = self.tls.reached();
        for name in &reached.given {
            let host = names::bare_host(name);
            let has_port = name.len() > host.len() && !name.ends_with(']') && name.contains(':') && name != host;
            add(if has_port { name.clone() } else { with_port(host, port) });
        }
        if !reached.only_given {
            let addresses = local.into_iter().chain(names::addresses());
            addresses.map(|address| with_port(&address.to_string(), port)).for_each(&mut add);
            names::host_name().map(|name| with_port(&name, port)).into_iter().for_each(&mut add);
        }
        found.truncate(8);
        found
    }

    /// Whether the nodes serve the console over plain http.
    pub fn plain_http(&self) -> bool {
        *self.plain_http.borrow()
    }

    /// It was saved whether they do: sessions with agents and consoles hear of it.
    pub fn set_plain_http(&self, on: bool) {
        self.plain_http.send_replace(on);
        self.live.changed();
    }

    /// The same, to follow.
    pub fn plain_http_changes(&self) -> watch::Receiver<bool> {
        self.plain_http.subscribe()
    }

    /// Port of this server.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// What the wanted version of each configured module says; a version never changes, so what is `known` is not read again.
fn facts(
    tx: &rusqlite::Transaction<'_>,
    modules: &[ModuleView],
    mut known: BTreeMap<ModuleId, (u64, ModuleFacts)>,
) -> Outcome<BTreeMap<ModuleId, (u64, ModuleFacts)>> {
    let mut facts = BTreeMap::new();
    for module in modules {
        let Some(wanted) = module.desired else { continue };
        let found = match known.remove(&module.id).filter(|(version, _)| *version == wanted) {
            Some(known) => Some(known),
            None => crate::modules::facts(&db::modules::package(tx, module.id, wanted)?).map(|facts| (wanted, facts)),
        };
        facts.extend(found.map(|found| (module.id, found)));
    }
    Ok(facts)
}

fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
