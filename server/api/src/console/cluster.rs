//! The cluster: as shown, and the form that changes it.

use crate::ids::NodeId;
use crate::problem::FieldProblem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

impl ClusterView {
    /// What this one changed, compared with `before`, one sentence each.
    pub fn changes_from(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.name != before.name {
            changes.push(if before.name.is_empty() {
                format!("the cluster is named {}", self.name)
            } else {
                format!("the cluster is named {}, no longer {}", self.name, before.name)
            });
        }
        let added = self.lans.iter().filter(|lan| !before.lans.contains(lan));
        changes.extend(added.map(|lan| format!("network {lan} is new")));
        let gone = before.lans.iter().filter(|lan| !self.lans.contains(lan));
        changes.extend(gone.map(|lan| format!("network {lan} is gone")));
        for node in &self.nodes {
            match before.nodes.iter().find(|old| old.id == node.id) {
                Some(old) => node.changes_from(old, &mut changes),
                None => changes.push(format!("{} is new", node.name)),
            }
        }
        let gone = before.nodes.iter().filter(|old| self.nodes.iter().all(|node| node.id != old.id));
        changes.extend(gone.map(|old| format!("{} is gone", old.name)));
        changes
    }

    /// The form that would save this one again, after `expected_version`.
    pub fn form(&self, expected_version: u64) -> ClusterForm {
        ClusterForm { expected_version, name: self.name.clone(), lans: self.lans.clone(), nodes: self.nodes.clone() }
    }
}

impl ClusterNodeForm {
    fn changes_from(&self, old: &Self, changes: &mut Vec<String>) {
        let name = &self.name;
        if *name != old.name {
            changes.push(format!("{} is named {name}", old.name));
        }
        for (lan, address) in &self.addresses {
            match old.addresses.get(lan) {
                Some(before) if before == address => {}
                Some(before) => changes.push(format!("{name} is {address} on {lan}, no longer {before}")),
                None => changes.push(format!("{name} is {address} on {lan}")),
            }
        }
        let gone = old.addresses.keys().filter(|lan| !self.addresses.contains_key(*lan));
        changes.extend(gone.map(|lan| format!("{name} has no address on {lan} any more")));
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
        assert_eq!(
            new.changes_from(&old),
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
        assert!(old.changes_from(&new).contains(&"node1 has no address on b any more".to_owned()));
    }
}
