//! The nodes: as shown, how they join, and what a node is asked for the wizard.

use crate::agent::{HeldModule, PathFacts, ProcessFacts};
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// An enrolled node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address it was enrolled at or last dialled from.
    pub address: String,
    /// Key fingerprint.
    pub fingerprint: String,
    /// It is part of the saved cluster.
    pub in_cluster: bool,
    /// Its agent is connected now.
    pub connected: bool,
    /// When it was last heard; 0: never.
    pub last_seen_unix_ms: u64,
    /// Version of its agent; empty: never connected.
    pub agent_version: String,
    /// Version of the cluster configuration it has; 0: none.
    pub cluster_version: u64,
    /// Its clock minus the server's, milliseconds.
    pub clock_offset_ms: i64,
    /// Busy share of its processors, percent.
    #[serde(deserialize_with = "crate::agent::finite")]
    pub cpu_percent: f32,
    /// Used memory, percent.
    #[serde(deserialize_with = "crate::agent::finite")]
    pub memory_percent: f32,
    /// What is wrong with the connection (refused session, newer configuration than the server's); empty: nothing.
    pub problem: String,
    /// Modules it holds.
    pub modules: Vec<HeldModule>,
}

/// `POST /nodes/probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProbeForm {
    /// Address or DNS name of the node, optionally with `:port` (else 9001).
    pub address: String,
}

/// What a probe found: checks in order, each with its cure, and the identity if the node answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeView {
    /// The address probed.
    pub address: String,
    /// The checks.
    pub checks: Vec<ProbeCheck>,
    /// Who answered.
    pub identity: Option<ProbeIdentity>,
}

/// One check of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeCheck {
    /// `resolve`, `connect`, `identity`, `version` or `pairing`.
    pub name: String,
    /// It passed.
    pub ok: bool,
    /// What was found, or what is wrong and what to do.
    pub detail: String,
}

/// Who answered a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeIdentity {
    /// Name of the node.
    pub name: String,
    /// Version of its agent.
    pub version: String,
    /// Key fingerprint.
    pub fingerprint: String,
    /// Guesses of the pairing code left.
    pub attempts_left: u32,
}

/// `POST /nodes/enrol`: answered by 201 and [`NodeView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrolForm {
    /// Address, as probed.
    pub address: String,
    /// Fingerprint, as shown by the probe: another key now is refused.
    pub fingerprint: String,
    /// Pairing code, as printed by the agent.
    pub code: String,
    /// Name of the node in the cluster; empty: its own.
    #[serde(default)]
    pub name: String,
}

/// `POST /nodes/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenForm {
    /// Minutes until it expires, 1 to 10080.
    pub minutes: u32,
}

/// A new join token; shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires_unix_ms: u64,
    /// What to type on the node.
    pub command: String,
}

/// `POST /nodes/{id}/paths`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PathsForm {
    /// Absolute paths.
    pub paths: Vec<String>,
}

/// Answer of `POST /nodes/{id}/paths`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PathsView {
    /// One for each path, in order.
    pub paths: Vec<PathFacts>,
}

/// Answer of `GET /nodes/{id}/processes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProcessesView {
    /// Sorted by name.
    pub processes: Vec<ProcessFacts>,
}
