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
