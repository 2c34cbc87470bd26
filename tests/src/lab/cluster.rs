//! Bring-up without a server: cluster configuration from both nodes' keys, module installed and configured by command
//! line, first start in the right direction.

use crate::bank::client::{Bank, Keeper, NodeDoor};
use crate::lab::{Lab, package};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Port of the node's health URL.
const HEALTH_PORT: u16 = 9010;
/// Port of the bank, as its start script has it.
const BANK_PORT: u16 = 8080;
/// The heartbeat as every module of the tests has it, replaced by the plan's.
const HEART: &str = r#"<heart pulse="700" timeout="5000">"#;
/// A first start or a failover takes at most this long on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The module that most labs protect.
#[derive(Clone, Debug)]
pub struct ModulePlan {
    /// Name.
    pub name: String,
    /// Folder with conf and bin.
    pub source: PathBuf,
    /// Heartbeats this far apart, in milliseconds.
    pub pulse_ms: u32,
    /// Silence after which the peer counts as lost, in milliseconds (at least 2000: machines of tests are busy).
    pub timeout_ms: u32,
    /// The replicated directory, made on every host before the start.
    pub directory: String,
    /// Texts of the module's configuration and what stands there instead.
    pub edits: Vec<(String, String)>,
}

impl ModulePlan {
    /// The bank ledger with the given timeout.
    pub fn bank(timeout_ms: u32) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/bank.safe");
        Self {
            name: "bank".into(),
            source,
            pulse_ms: 500,
            timeout_ms,
            directory: "/srv/bank".into(),
            edits: Vec::new(),
        }
    }

    /// With `to` instead of `from` in its configuration.
    #[must_use]
    pub fn edited(mut self, from: &str, to: &str) -> Self {
        self.edits.push((from.into(), to.into()));
        self
    }

    /// Its files with their texts, adapted.
    ///
    /// # Errors
    /// A file cannot be read, or its configuration lacks a text that is to be replaced.
    pub fn files(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for folder in ["conf", "bin"] {
            for entry in std::fs::read_dir(self.source.join(folder))? {
                let path = entry?.path();
                let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
                let text = String::from_utf8(self.adapt(&name, std::fs::read(&path)?)?)?;
                found.push((name, text));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The package, adapted.
    ///
    /// # Errors
    /// The folder cannot be packed, or its configuration lacks a text that is to be replaced.
    pub fn package(&self) -> Result<Vec<u8>> {
        package::pack_with(&self.source, |name, content| self.adapt(name, content))
    }

    /// Puts the wanted heartbeat and the edits into the module's configuration. What is to be replaced must be there: a
    /// test that goes on without its edit tests something else.
    fn adapt(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>> {
        if name != "conf/userconfig.xml" {
            return Ok(content);
        }
        let heart = format!(r#"<heart pulse="{}" timeout="{}">"#, self.pulse_ms, self.timeout_ms);
        let heart = (HEART.to_owned(), heart);
        let mut text = String::from_utf8(content)?;
        for (from, to) in [&heart].into_iter().chain(&self.edits) {
            ensure!(text.contains(from.as_str()), "{name} of {} does not hold {from:?}", self.source.display());
            text = text.replace(from.as_str(), to);
        }
        Ok(text.into_bytes())
    }
}

impl Lab {
    /// Starts the agents, makes them a cluster and configures the module on both; it is in STOP afterwards.
    ///
    /// # Errors
    /// An agent or a command failed.
    pub fn configure(&self, plan: &ModulePlan) -> Result<()> {
        self.make_directory(plan)?;
        self.form_cluster()?;
        self.install_package(&plan.name, &plan.package()?)
    }

    /// Makes the plan's replicated directory on every host.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_directory(&self, plan: &ModulePlan) -> Result<()> {
        for number in self.numbers() {
            let folder = self.backing(number, &plan.directory);
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// Starts the agents and makes them a cluster.
    ///
    /// # Errors
    /// An agent or a command failed.
    pub fn form_cluster(&self) -> Result<()> {
        self.form_cluster_with(&[])
    }

    /// [`Lab::form_cluster`] with further networks: name, and address of a node.
    ///
    /// # Errors
    /// An agent or a command failed.
    pub fn form_cluster_with(&self, further: &[(&str, &dyn Fn(u8) -> Ipv4Addr)]) -> Result<()> {
        for number in self.numbers() {
            self.start_agent(number)?;
        }
        let cluster = self.folder().join("cluster.json");
        std::fs::write(&cluster, serde_json::to_vec_pretty(&self.cluster_config(further)?)?)?;
        for number in self.numbers() {
            self.cli(number, &["cluster", "config", &cluster.display().to_string()])?;
        }
        Ok(())
    }

    /// Configures a package on every node; it is in STOP afterwards.
    ///
    /// # Errors
    /// A command failed.
    pub fn install_package(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.numbers().into_iter().try_for_each(|number| self.install_package_on(number, name, bytes))
    }

    /// Configures a package on one node.
    ///
    /// # Errors
    /// A command failed.
    pub fn install_package_on(&self, number: u8, name: &str, bytes: &[u8]) -> Result<()> {
        let package = self.folder().join(format!("{name}.zip"));
        std::fs::write(&package, bytes)?;
        self.cli(number, &["module", "install", "-m", name, &package.display().to_string()])?;
        self.cli(number, &["config", "-m", name])?;
        Ok(())
    }

    /// First start: node 1 becomes primary of its data, node 2 is copied onto.
    ///
    /// # Errors
    /// A command failed or a state is not reached.
    pub fn start_pair(&self, module: &str) -> Result<()> {
        self.cli(1, &["prim", "-m", module])?;
        self.wait_state(1, module, "ALONE Ready", PATIENCE)?;
        self.cli(2, &["start", "-m", module])?;
        self.wait_pair(module, 1)
    }

    /// Waits until `primary` is PRIM Ready and the other node SECOND Ready.
    ///
    /// # Errors
    /// The deadline has passed.
    pub fn wait_pair(&self, module: &str, primary: u8) -> Result<()> {
        self.wait_state(other(primary), module, "SECOND Ready", PATIENCE)?;
        self.wait_state(primary, module, "PRIM Ready", PATIENCE)?;
        Ok(())
    }

    /// A host's own file behind a path below /srv, seen from outside: below any mount.
    pub fn backing(&self, number: u8, path: &str) -> PathBuf {
        self.host(number).folder().join(path.trim_start_matches('/'))
    }

    /// The bank as clients outside the hosts see it.
    pub fn bank(&self, module: &str) -> Bank {
        let door = |number| {
            let address = |port| SocketAddr::from((self.network().address(number), port));
            NodeDoor { health: address(HEALTH_PORT), health_path: health_path(module), bank: address(BANK_PORT) }
        };
        Bank {
            keeper: Keeper::Service,
            doors: self.numbers().into_iter().map(door).collect(),
            connect: self.network().connector(),
            timeout: Duration::from_secs(3),
        }
    }

    /// The cluster configuration made of the nodes' own keys.
    fn cluster_config(&self, further: &[(&str, &dyn Fn(u8) -> Ipv4Addr)]) -> Result<serde_json::Value> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let mut nodes = Vec::new();
        for number in self.numbers() {
            let key = self.cli(number, &["key"])?.trim().to_owned();
            ensure!(key.len() == 64, "`holdfast key` printed {key:?} on node{number}");
            let mut addresses = BTreeMap::from([("default", self.network().address(number).to_string())]);
            addresses.extend(further.iter().map(|(lan, address)| (*lan, address(number).to_string())));
            nodes.push(
                json!({ "id": number, "name": format!("node{number}"), "addresses": addresses, "fingerprint": key }),
            );
        }
        let lans: Vec<&str> = std::iter::once("default").chain(further.iter().map(|(lan, _)| *lan)).collect();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(json!({ "version": 1, "name": "lab", "secret": secret, "lans": lans, "nodes": nodes }))
    }
}

/// The other of two nodes.
pub fn other(number: u8) -> u8 {
    3 - number
}

/// Path of a module's health URL.
pub fn health_path(module: &str) -> String {
    format!("/var/modules/{module}/ready.txt")
}
