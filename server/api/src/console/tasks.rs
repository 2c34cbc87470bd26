//! Long actions with their progress on each node, and who did what.

use crate::ids::{ModuleId, NodeId};
use serde::{Deserialize, Serialize};

/// Body of every 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskStarted {
    /// Number of the task: `GET /tasks/{id}`, and in every live snapshot.
    pub task: u64,
}

/// A long action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Number.
    pub id: u64,
    /// What, in one line ("Configure mirror, version 3").
    pub title: String,
    /// `cluster`, `configure`, `remove`, or the command's name.
    pub kind: String,
    /// The module it is about.
    pub module: Option<ModuleId>,
    /// Who started it.
    pub author: String,
    /// When it began.
    pub began_unix_ms: u64,
    /// When it ended; none: it goes on.
    pub ended_unix_ms: Option<u64>,
    /// As a whole: running, done (all nodes), or failed (some node).
    pub state: TaskState,
    /// One for each node.
    pub nodes: Vec<TaskNode>,
}

/// Progress of a task on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskNode {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// How far.
    pub state: TaskState,
    /// The node's message; may have several lines.
    pub message: String,
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Not yet sent: the node is not connected; it gets configuration when it comes back.
    Waiting,
    /// Sent, not answered.
    Running,
    /// Done.
    Done,
    /// Failed; the message says why.
    Failed,
}

/// A line of `GET /audit`: who did what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLine {
    /// When.
    pub unix_ms: u64,
    /// Who.
    pub actor: String,
    /// What.
    pub text: String,
}
