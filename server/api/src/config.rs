//! Desired configuration: the cluster, a module as configured on nodes, and what the wizard edits; with `validate()`.
//!
//! The checks are pure and the same in browser, server and agent.

mod settings;

pub use settings::{
    CHECKERS_MAX, CheckerKind, CheckerSettings, MacroSettings, ModuleMode, ModuleSettings, PROCESSES_MAX,
    ProcessChecker, SCRIPT_BYTES_MAX, SCRIPT_NAMES, VirtualIp, WitnessKind, WitnessSettings,
};

use crate::ids::{ModuleId, NodeId};
use crate::problem::FieldProblem;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes of a cluster.
pub const NODES_MAX: usize = 16;
/// Most networks of a cluster.
pub const LANS_MAX: usize = 8;
/// Most replicated directories of a module.
pub const DIRECTORIES_MAX: usize = 32;
/// Highest module number: keeps 5600 + 4 (id − 1) and 8888 + (id − 1) among the documented ports.
pub const MODULE_ID_MAX: u16 = 200;

/// The cluster as every agent holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Rises by one with each change; an agent refuses a lower one than it holds.
    pub version: u64,
    /// Name of the cluster.
    pub name: String,
    /// 64 hex digits; keys of heartbeats are derived from it. Never shown to browsers.
    pub secret: String,
    /// Names of the networks, `default` first.
    pub lans: Vec<String>,
    /// The nodes.
    pub nodes: Vec<ClusterNode>,
}

/// A node in [`ClusterConfig`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterNode {
    /// Number, never reused.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address or DNS name on each network.
    pub addresses: BTreeMap<String, String>,
    /// Lower-case hex SHA-256 of the node key's SubjectPublicKeyInfo (DER).
    pub fingerprint: String,
}

/// A module as configured on nodes: what `PushModule` carries and the agent's ledger keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleConfig {
    /// Number, decides the ports.
    pub id: ModuleId,
    /// Name.
    pub name: String,
    /// Rises with each change; an agent refuses a lower one than it holds.
    pub version: u64,
    /// The `.safe` zip, base64 (standard alphabet, padded).
    pub package: String,
}

/// Checks a name of a cluster, node, network or module: `[a-z][a-z0-9_-]{0,23}`.
///
/// # Errors
/// What is wrong, in plain words.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if first && rest && name.len() <= 24 {
        return Ok(());
    }
    Err(if name.is_empty() {
        "give a name".to_owned()
    } else {
        "use at most 24 of a-z, 0-9, _ and -, beginning with a letter".to_owned()
    })
}

/// Checks an address: IPv4, IPv6 (no brackets) or a DNS name.
///
/// # Errors
/// What is wrong, in plain words.
pub fn check_address(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("give an IP address or a DNS name".to_owned());
    }
    if let Ok(ip) = address.parse::<std::net::IpAddr>() {
        return if ip.is_unspecified() || ip.is_multicast() {
            Err("this address does not belong to one machine".to_owned())
        } else {
            Ok(())
        };
    }
    let numeric = address.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if address.len() <= 253 && !numeric && address.trim_end_matches('.').split('.').all(label) {
        return Ok(());
    }
    Err("this is neither an IP address nor a DNS name (no port, no http://)".to_owned())
}

/// Checks a replicated directory: absolute, normal, below no system directory that must not be replicated.
///
/// # Errors
/// What is wrong, in plain words.
pub fn check_directory(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("give a directory".to_owned());
    }
    if !path.starts_with('/') {
        return Err("give an absolute path, beginning with /".to_owned());
    }
    if path.len() > 1024 {
        return Err("the path is longer than 1024 bytes".to_owned());
    }
    if path.chars().any(char::is_control) {
        return Err("the path has a control character in it".to_owned());
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return Err("the root directory cannot be replicated".to_owned());
    }
    if trimmed[1..].split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("write the path without //, . and ..".to_owned());
    }
    const SYSTEM: &[&str] =
        &["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"];
    const TREES: &[&str] = &["/dev", "/proc", "/sys", "/run"];
    if SYSTEM.contains(&trimmed) || TREES.iter().any(|tree| is_within(trimmed, tree)) {
        return Err(format!("{trimmed} belongs to the operating system and cannot be replicated"));
    }
    Ok(())
}

/// True if `path` is `tree` or lies below it (both absolute, without trailing slash).
pub(crate) fn is_within(path: &str, tree: &str) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks a list of replicated directories: each by itself, and that none lies within another.
pub fn check_directories(field: &str, directories: &[String]) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    if directories.len() > DIRECTORIES_MAX {
        problems.push(FieldProblem::new(field, format!("at most {DIRECTORIES_MAX} directories")));
        return problems;
    }
    for (i, path) in directories.iter().enumerate() {
        if let Err(message) = check_directory(path) {
            problems.push(FieldProblem::new(format!("{field}[{i}]"), message));
            continue;
        }
        let path = path.trim_end_matches('/');
        for other in &directories[..i] {
            let other = other.trim_end_matches('/');
            if is_within(path, other) || is_within(other, path) {
                let message = format!("{path} and {other} overlap; name each tree once");
                problems.push(FieldProblem::new(format!("{field}[{i}]"), message));
            }
        }
    }
    problems
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Adds to `problems` what is wrong with the networks and with the nodes' names and addresses on them; shared by
/// [`ClusterConfig`] and the console's form. `nodes`: (name, addresses) in order.
pub fn check_cluster_shape(
    name: &str,
    lans: &[String],
    nodes: &[(&str, &BTreeMap<String, String>)],
) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    if let Err(message) = check_name(name) {
        problems.push(FieldProblem::new("name", message));
    }
    if lans.is_empty() || lans.len() > LANS_MAX {
        problems.push(FieldProblem::new("lans", format!("name 1 to {LANS_MAX} networks")));
    }
    let mut seen = BTreeSet::new();
    for (i, lan) in lans.iter().take(LANS_MAX + 1).enumerate() {
        let field = format!("lans[{i}]");
        match check_name(lan) {
            Err(message) => problems.push(FieldProblem::new(field, message)),
            Ok(()) if !seen.insert(lan) => problems.push(FieldProblem::new(field, "this network is named twice")),
            Ok(()) => {}
        }
    }
    if nodes.len() > NODES_MAX {
        problems.push(FieldProblem::new("nodes", format!("at most {NODES_MAX} nodes")));
        return problems;
    }
    let (mut names, mut addresses_seen) = (BTreeSet::new(), BTreeSet::new());
    for (i, (node_name, addresses)) in nodes.iter().enumerate() {
        let field = format!("nodes[{i}].name");
        match check_name(node_name) {
            Err(message) => problems.push(FieldProblem::new(field, message)),
            Ok(()) if !names.insert(*node_name) => {
                problems.push(FieldProblem::new(field, "another node has this name"));
            }
            Ok(()) => {}
        }
        for lan in lans.iter().filter(|lan| !addresses.contains_key(*lan)) {
            let field = format!("nodes[{i}].addresses.{lan}");
            problems.push(FieldProblem::new(field, format!("give {node_name}'s address on network {lan}")));
        }
        for (lan, address) in addresses.iter() {
            let field = format!("nodes[{i}].addresses.{lan}");
            if !lans.contains(lan) {
                problems.push(FieldProblem::new(field, format!("there is no network {lan}")));
            } else if let Err(message) = check_address(address) {
                problems.push(FieldProblem::new(field, message));
            } else if !addresses_seen.insert((lan.as_str(), address.to_ascii_lowercase())) {
                problems.push(FieldProblem::new(field, "another node has this address on this network"));
            }
        }
    }
    problems
}

impl ClusterConfig {
    /// Everything wrong with it; empty if nothing is.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let nodes: Vec<_> = self.nodes.iter().map(|n| (n.name.as_str(), &n.addresses)).collect();
        let mut problems = check_cluster_shape(&self.name, &self.lans, &nodes);
        if self.version == 0 {
            problems.push(FieldProblem::new("version", "versions begin at 1"));
        }
        if !is_hex64(&self.secret) {
            problems.push(FieldProblem::new("secret", "64 lower-case hex digits are wanted"));
        }
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (i, node) in self.nodes.iter().enumerate() {
            if node.id.0 == 0 || !ids.insert(node.id) {
                problems.push(FieldProblem::new(format!("nodes[{i}].id"), "node numbers begin at 1 and are unique"));
            }
            if !is_hex64(&node.fingerprint) {
                let message = "64 lower-case hex digits are wanted (see `holdfast key` on the node)";
                problems.push(FieldProblem::new(format!("nodes[{i}].fingerprint"), message));
            } else if !keys.insert(&node.fingerprint) {
                problems.push(FieldProblem::new(format!("nodes[{i}].fingerprint"), "another node has this key"));
            }
        }
        problems
    }

    /// The node with this number.
    pub fn node(&self, id: NodeId) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

impl ModuleConfig {
    /// Everything wrong with it, apart from what is inside the package.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        if let Err(message) = check_name(&self.name) {
            problems.push(FieldProblem::new("name", message));
        }
        if self.id.0 == 0 || self.id.0 > MODULE_ID_MAX {
            problems.push(FieldProblem::new("id", format!("module numbers go from 1 to {MODULE_ID_MAX}")));
        }
        if self.version == 0 {
            problems.push(FieldProblem::new("version", "versions begin at 1"));
        }
        if self.package.is_empty() {
            problems.push(FieldProblem::new("package", "the package is missing"));
        }
        problems
    }
}

#[cfg(test)]
mod tests;
