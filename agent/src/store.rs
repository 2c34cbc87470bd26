//! What the agent holds durably besides the ledgers: cluster and module configurations, enrolment, incarnation counter.

use crate::drivers::checks::Switches;
use crate::files;
use anyhow::{Context, Result, bail};
use holdfast_api::config::{ClusterConfig, ModuleConfig};
use holdfast_api::enrol::Enrolment;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SMALL: u64 = 1024 * 1024;
/// A module configuration is a package of at most 16 MiB in base64.
const MODULE_MAX: u64 = 24 * 1024 * 1024;

/// The folder of configurations.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens (and makes) the folder.
    pub fn open(dir: &Path) -> Result<Self> {
        files::make_dir(dir)?;
        files::make_dir(&dir.join("modules"))?;
        files::make_dir(&dir.join("switches"))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Counts this start of the agent, durably.
    ///
    /// The number also keeps up with the clock, `unix_seconds`: a machine restored from an old image would otherwise
    /// count lower than before, and its peer would take its heartbeats for recorded ones.
    pub fn next_incarnation(&self, unix_seconds: u64) -> Result<u64> {
        let path = self.dir.join("incarnation.json");
        let last = files::load::<u64>(&path, "incarnation", SMALL)?.unwrap_or(0);
        let count = last.saturating_add(1).max(unix_seconds);
        files::save(&path, "incarnation", &count)?;
        Ok(count)
    }

    /// The boot under which the agent last started; empty if it never did.
    pub fn last_boot(&self) -> Result<String> {
        Ok(files::load(&self.dir.join("boot.json"), "boot", SMALL)?.unwrap_or_default())
    }

    /// The agent has started under this boot and begun what is due then.
    pub fn save_boot(&self, boot: &str) -> Result<()> {
        files::save(&self.dir.join("boot.json"), "boot", &boot)
    }

    /// The cluster configuration held.
    pub fn cluster(&self) -> Result<Option<ClusterConfig>> {
        files::load(&self.dir.join("cluster.json"), "cluster", SMALL)
    }

    /// Holds a cluster configuration.
    pub fn save_cluster(&self, config: &ClusterConfig) -> Result<()> {
        files::save(&self.dir.join("cluster.json"), "cluster", config)
    }

    /// When the cluster configuration held was taken; 0: none is held.
    pub fn cluster_saved_unix_ms(&self) -> u64 {
        files::written_unix_ms(&self.dir.join("cluster.json"))
    }

    /// When the configuration held of a module was taken; 0: none is held.
    pub fn module_saved_unix_ms(&self, name: &str) -> u64 {
        files::written_unix_ms(&self.module_path(name))
    }

    /// What enrolment gave.
    pub fn enrolment(&self) -> Result<Option<Enrolment>> {
        files::load(&self.dir.join("enrolment.json"), "enrolment", SMALL)
    }

    /// Keeps what enrolment gave.
    pub fn save_enrolment(&self, enrolment: &Enrolment) -> Result<()> {
        files::save(&self.dir.join("enrolment.json"), "enrolment", enrolment)
    }

    fn module_path(&self, name: &str) -> PathBuf {
        self.dir.join("modules").join(format!("{name}.json"))
    }

    /// The modules held, by name; one that cannot be read is an error that names its file.
    pub fn modules(&self) -> Result<BTreeMap<String, ModuleConfig>> {
        let mut modules = BTreeMap::new();
        let dir = self.dir.join("modules");
        for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let name = entry?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            match files::load::<ModuleConfig>(&self.module_path(name), "module", MODULE_MAX)? {
                Some(config) if config.name == name => drop(modules.insert(name.to_owned(), config)),
                _ => bail!("{} is not the configuration of {name}", self.module_path(name).display()),
            }
        }
        Ok(modules)
    }

    /// Holds a module.
    pub fn save_module(&self, config: &ModuleConfig) -> Result<()> {
        files::save(&self.module_path(&config.name), "module", config)
    }

    /// Forgets a module.
    pub fn remove_module(&self, name: &str) -> Result<()> {
        remove(&self.switches_path(name))?;
        remove(&self.module_path(name))
    }

    fn switches_path(&self, module: &str) -> PathBuf {
        self.dir.join("switches").join(format!("{module}.json"))
    }

    /// What is switched off on a module; nothing, if nobody ever switched.
    pub fn switches(&self, module: &str) -> Result<Switches> {
        Ok(files::load(&self.switches_path(module), "switches", SMALL)?.unwrap_or_default())
    }

    /// Keeps what is switched off on a module.
    pub fn save_switches(&self, module: &str, switches: &Switches) -> Result<()> {
        files::save(&self.switches_path(module), "switches", switches)
    }

    /// Forgets the cluster and the server.
    pub fn leave(&self) -> Result<()> {
        remove(&self.dir.join("cluster.json"))?;
        remove(&self.dir.join("enrolment.json"))
    }
}

fn remove(path: &Path) -> Result<()> {
    files::remove_durably(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Whether a pushed version may replace the held one: a newer one does, the same one changes nothing.
///
/// # Errors
/// Why not, and the cure.
pub fn check_version<T: PartialEq>(what: &str, held: Option<(&T, u64)>, new: &T, version: u64) -> Result<bool, String> {
    match held {
        Some((_, held)) if version < held => Err(format!(
            "{what}: version {version} is older than version {held} held by this node; nothing was changed. \
             If the sender was restored from a backup, let it adopt the nodes' version"
        )),
        Some((old, held)) if version == held => {
            if old == new {
                return Ok(false);
            }
            Err(format!("{what}: another content for version {version} is held by this node; raise the version"))
        }
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::{Store, check_version};
    use crate::drivers::checks::Switches;

    #[test]
    fn incarnations_rise_across_openings_and_clock_steps() {
        let dir = tempfile::tempdir().unwrap();
        let next = |seconds| Store::open(dir.path()).unwrap().next_incarnation(seconds).unwrap();
        assert_eq!((next(0), next(0)), (1, 2));
        assert_eq!((next(1000), next(5)), (1000, 1001));
        assert!(Store::open(dir.path()).unwrap().modules().unwrap().is_empty());
    }

    #[test]
    fn switches_are_kept_until_the_module_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = || Store::open(dir.path()).unwrap();
        assert_eq!(store().switches("a").unwrap(), Switches { checkers: true, errd: true });
        store().save_switches("a", &Switches { checkers: true, errd: false }).unwrap();
        assert!(!store().switches("a").unwrap().errd && store().switches("b").unwrap().errd);
        store().remove_module("a").unwrap();
        assert!(store().switches("a").unwrap().errd);
    }

    #[test]
    fn older_versions_are_refused_and_equal_ones_change_nothing() {
        assert_eq!(check_version("x", None, &"a", 1), Ok(true));
        assert_eq!(check_version("x", Some((&"a", 3)), &"a", 3), Ok(false));
        assert_eq!(check_version("x", Some((&"a", 3)), &"b", 4), Ok(true));
        assert!(check_version("x", Some((&"a", 3)), &"b", 3).is_err());
        assert!(check_version("x", Some((&"a", 3)), &"b", 2).unwrap_err().contains("older"));
    }
}
