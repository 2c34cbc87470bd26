//! The cluster: as shown, and the form that changes it.

use crate::ids::NodeId;
use crate::problem::FieldProblem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The cluster, as the console sees it (without its secret).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterView {
    /// Version wanted on the nodes; 0: no cluster has been saved yet.
    pub version: u64,
    /// Name.
    pub name: String,
    /// Networks.
    pub lans: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<ClusterNodeForm>,
    /// Who saved this version.
    pub author: String,
    /// When.
    pub saved_unix_ms: u64,
}

/// `GET /cluster/versions/{version}`: an old (or the latest) version and what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterVersionView {
    /// The cluster as it was saved then.
    pub cluster: ClusterView,
    /// The version it is compared with; 0: with no cluster at all.
    pub against: u64,
    /// What differs from that, one sentence each; empty: nothing.
    pub changes: Vec<String>,
}

/// A node in the cluster's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterNodeForm {
    /// Number of an enrolled node.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address or DNS name on each network.
    pub addresses: BTreeMap<String, String>,
}

/// `PUT /cluster`: saves a new version and pushes it; answered by 202 and `TaskStarted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterForm {
    /// The version that was edited; another one now: 409.
    pub expected_version: u64,
    /// Name.
    pub name: String,
    /// Networks.
    pub lans: Vec<String>,
    /// Nodes: every one of them enrolled.
    pub nodes: Vec<ClusterNodeForm>,
}

/// One thing that differs between two versions of the cluster; in English by `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterChange {
    /// The cluster got its first name.
    Named {
        /// Its name.
        name: String,
    },
    /// The cluster got another name.
    Renamed {
        /// Its name.
        name: String,
        /// What it was.
        before: String,
    },
    /// A network came.
    LanNew {
        /// The network.
        lan: String,
    },
    /// A network went.
    LanGone {
        /// The network.
        lan: String,
    },
    /// A node came.
    NodeNew {
        /// The node's name.
        node: String,
    },
    /// A node went.
    NodeGone {
        /// The node's name.
        node: String,
    },
    /// A node got another name.
    NodeRenamed {
        /// The node's name.
        node: String,
        /// What it was.
        before: String,
    },
    /// A node got an address on a network.
    AddressNew {
        /// The node's name.
        node: String,
        /// The network.
        lan: String,
        /// The address.
        address: String,
    },
    /// A node got another address on a network.
    AddressChanged {
        /// The node's name.
        node: String,
        /// The network.
        lan: String,
        /// The address.
        address: String,
        /// What it was.
        before: String,
    },
    /// A node lost its address on a network.
    AddressGone {
        /// The node's name.
        node: String,
        /// The network.
        lan: String,
    },
}

impl fmt::Display for ClusterChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { name } => write!(f, "the cluster is named {name}"),
            Self::Renamed { name, before } => write!(f, "the cluster is named {name}, no longer {before}"),
            Self::LanNew { lan } => write!(f, "network {lan} is new"),
            Self::LanGone { lan } => write!(f, "network {lan} is gone"),
            Self::NodeNew { node } => write!(f, "{node} is new"),
            Self::NodeGone { node } => write!(f, "{node} is gone"),
            Self::NodeRenamed { node, before } => write!(f, "{before} is named {node}"),
            Self::AddressNew { node, lan, address } => write!(f, "{node} is {address} on {lan}"),
            Self::AddressChanged { node, lan, address, before } => {
                write!(f, "{node} is {address} on {lan}, no longer {before}")
            }
            Self::AddressGone { node, lan } => write!(f, "{node} has no address on {lan} any more"),
        }
    }
}

impl ClusterView {
    /// What is shown before the first cluster is saved.
    pub fn none() -> Self {
        Self {
            version: 0,
            name: String::new(),
            lans: vec!["default".into()],
            nodes: Vec::new(),
            author: String::new(),
            saved_unix_ms: 0,
        }
    }

    /// What this one changed, compared with `before`.
    pub fn changes_from(&self, before: &Self) -> Vec<ClusterChange> {
        let mut changes = Vec::new();
        if self.name != before.name {
            let name = self.name.clone();
            changes.push(if before.name.is_empty() {
                ClusterChange::Named { name }
            } else {
                ClusterChange::Renamed { name, before: before.name.clone() }
            });
        }
        let added = self.lans.iter().filter(|lan| !before.lans.contains(lan));
        changes.extend(added.map(|lan| ClusterChange::LanNew { lan: lan.clone() }));
        let gone = before.lans.iter().filter(|lan| !self.lans.contains(lan));
        changes.extend(gone.map(|lan| ClusterChange::LanGone { lan: lan.clone() }));
        for node in &self.nodes {
            match before.nodes.iter().find(|old| old.id == node.id) {
                Some(old) => node.changes_from(old, &mut changes),
                None => changes.push(ClusterChange::NodeNew { node: node.name.clone() }),
            }
        }
        let gone = before.nodes.iter().filter(|old| self.nodes.iter().all(|node| node.id != old.id));
        changes.extend(gone.map(|old| ClusterChange::NodeGone { node: old.name.clone() }));
        changes
    }

    /// The form that would save this one again, after `expected_version`.
    pub fn form(&self, expected_version: u64) -> ClusterForm {
        ClusterForm { expected_version, name: self.name.clone(), lans: self.lans.clone(), nodes: self.nodes.clone() }
    }
}

impl ClusterNodeForm {
    fn changes_from(&self, old: &Self, changes: &mut Vec<ClusterChange>) {
        let node = &self.name;
        if *node != old.name {
            changes.push(ClusterChange::NodeRenamed { node: node.clone(), before: old.name.clone() });
        }
        for (lan, address) in &self.addresses {
            let (node, lan, address) = (node.clone(), lan.clone(), address.clone());
            match old.addresses.get(&lan).cloned() {
                Some(before) if before == address => {}
                Some(before) => changes.push(ClusterChange::AddressChanged { node, lan, address, before }),
                None => changes.push(ClusterChange::AddressNew { node, lan, address }),
            }
        }
        let gone = old.addresses.keys().filter(|lan| !self.addresses.contains_key(*lan));
        changes.extend(gone.map(|lan| ClusterChange::AddressGone { node: node.clone(), lan: lan.clone() }));
    }
}

impl ClusterForm {
    /// Everything wrong with it that can be seen without the server.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let nodes: Vec<_> = self.nodes.iter().map(|n| (n.name.as_str(), &n.addresses)).collect();
        let mut problems = crate::config::check_cluster_shape(&self.name, &self.lans, &nodes);
        for (i, node) in self.nodes.iter().enumerate() {
            if self.nodes[..i].iter().any(|other| other.id == node.id) {
                problems.push(FieldProblem::new(format!("nodes[{i}].id"), "this node is listed twice"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u16, name: &str, addresses: &[(&str, &str)]) -> ClusterNodeForm {
        let addresses = addresses.iter().map(|(lan, address)| ((*lan).to_owned(), (*address).to_owned())).collect();
        ClusterNodeForm { id: NodeId(id), name: name.to_owned(), addresses }
    }

    fn cluster(name: &str, lans: &[&str], nodes: &[ClusterNodeForm]) -> ClusterView {
        ClusterView {
            version: 1,
            name: name.to_owned(),
            lans: lans.iter().map(|lan| (*lan).to_owned()).collect(),
            nodes: nodes.to_vec(),
            author: String::new(),
            saved_unix_ms: 0,
        }
    }

    #[test]
    fn changes_of_a_cluster_are_told_one_by_one() {
        let old =
            cluster("demo", &["a"], &[node(1, "node1", &[("a", "10.0.0.1")]), node(2, "node2", &[("a", "10.0.0.2")])]);
        let new = cluster(
            "demo",
            &["a", "b"],
            &[node(1, "first", &[("a", "10.0.0.9"), ("b", "10.1.0.1")]), node(3, "node3", &[("a", "10.0.0.3")])],
        );
        let told = |new: &ClusterView, old: &ClusterView| -> Vec<String> {
            new.changes_from(old).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told(&new, &old),
            [
                "network b is new",
                "node1 is named first",
                "first is 10.0.0.9 on a, no longer 10.0.0.1",
                "first is 10.1.0.1 on b",
                "node3 is new",
                "node2 is gone",
            ]
        );
        assert!(new.changes_from(&new).is_empty());
        assert!(told(&old, &new).contains(&"node1 has no address on b any more".to_owned()));
    }
}
