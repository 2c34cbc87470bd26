//! Support zips kept on the server.

use crate::ids::{ModuleId, NodeId};
use serde::{Deserialize, Serialize};

/// `POST /snapshots`: makes a support zip of each node, as a task; answered by 202 and `TaskStarted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotForm {
    /// About this module only; none: about all of the node.
    pub module: Option<ModuleId>,
    /// Of these nodes; empty: of all nodes of the cluster.
    pub nodes: Vec<NodeId>,
    /// With stand-ins for names and addresses, and without what people and applications wrote.
    pub anonymous: bool,
}

/// A support zip in `GET /snapshots`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SnapshotView {
    /// Name of the file: `GET` and `DELETE /snapshots/{name}`.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// When it was made.
    pub made_unix_ms: u64,
}
