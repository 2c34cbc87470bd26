//! What a node reports of itself and its modules.

use crate::ids::{Generation, ModuleId};
use crate::resource::ResourceValue;
use crate::state::{DataState, ModuleState, Readiness};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// Reads a number that can be written again: JSON has none for what is beyond the range, and a console that is sent
/// `null` for it understands nothing of the whole snapshot.
pub(crate) fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let number = f32::deserialize(from)?;
    if number.is_finite() { Ok(number) } else { Err(D::Error::custom("a number is out of range")) }
}

/// What a node is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeReport {
    /// The node's wall clock when it was made, Unix milliseconds (the server computes the offset).
    pub unix_ms: u64,
    /// The machine's boot id.
    pub boot_id: String,
    /// Busy share of all processors since the last report, percent.
    #[serde(deserialize_with = "finite")]
    pub cpu_percent: f32,
    /// Used memory, percent.
    #[serde(deserialize_with = "finite")]
    pub memory_percent: f32,
    /// Version of the cluster configuration in force; 0: none.
    pub cluster_version: u64,
    /// Its modules.
    pub modules: Vec<NodeModuleReport>,
}

/// What a module on a node is now; also what `holdfast state --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeModuleReport {
    /// Name of the module.
    pub module: String,
    /// Number of the module.
    pub id: ModuleId,
    /// Name of the node.
    pub node: String,
    /// State.
    pub state: ModuleState,
    /// Readiness.
    pub readiness: Readiness,
    /// Data state.
    pub data: DataState,
    /// Generation of this copy.
    pub generation: Generation,
    /// Since when state and readiness are as they are.
    pub since_unix_ms: u64,
    /// In WAIT: what for, and what an operator can do.
    pub waiting_for: Option<String>,
    /// One sentence about the state and its reason.
    pub detail: String,
    /// The module is started when the node boots.
    pub boot_start: bool,
    /// The operator wants it running here.
    pub running: bool,
    /// The other node, as heard by this one; none: never heard.
    pub peer: Option<PeerReport>,
    /// A resync under way.
    pub resync: Option<ResyncReport>,
    /// What the replicated directories hold; none: not counted.
    pub inventory: Option<InventoryReport>,
    /// Version of the module's configuration in force.
    pub version: u64,
    /// Its resources, by name.
    #[serde(default)]
    pub resources: Vec<ResourceReport>,
    /// What the replication did in the last second; none: no data plane runs, or the module replicates nothing.
    #[serde(default)]
    pub replication: Option<ReplicationReport>,
    /// The comparison of both copies by schedule; none: the module has no schedule.
    #[serde(default)]
    pub scrub: Option<ScrubReport>,
    /// Copies of this module's data that were set aside on this node and are still there.
    #[serde(default)]
    pub set_aside: u32,
}

/// The comparison of both copies that the primary begins by its schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScrubReport {
    /// As the module's configuration has it.
    pub schedule: String,
    /// When the next one begins, if this node is primary beside a secondary then; none: never again.
    pub next_unix_ms: Option<u64>,
    /// One goes on here.
    pub running: bool,
    /// The last one that this node began; none: none yet.
    pub last: Option<ScrubResult>,
}

/// How a comparison by schedule went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScrubResult {
    /// When it began.
    pub began_unix_ms: u64,
    /// When it ended.
    pub ended_unix_ms: u64,
    /// Entries compared.
    pub entries: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Differences found.
    pub differences: u64,
    /// The first of them, each `path: what, the primary's value first`.
    pub named: Vec<String>,
    /// Why it did not come to its end; none: it did.
    pub failed: Option<String>,
}

/// Figures of the replication in the last second: sent by a primary, applied by a secondary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplicationReport {
    /// Bytes of payload.
    pub bytes_per_s: u64,
    /// Operations.
    pub ops_per_s: u64,
    /// 99th percentile of the time from sending to the acknowledgement, microseconds; 0 without any.
    pub ack_p99_us: u64,
    /// Changes whose answer is held back, waiting for the peer or for a decision.
    pub held_back: u64,
}

/// A resource of a module on a node: what a checker, a script or the module itself says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResourceReport {
    /// Such as `tcp.web`.
    pub name: String,
    /// `init`, `up`, `down`, `unknown`, or a number or a word.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub value: ResourceValue,
    /// Since when it has this value.
    pub since_unix_ms: u64,
    /// Who said so.
    pub by: String,
}

/// The other node of a module, as heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerReport {
    /// Its name.
    pub node: String,
    /// Its state, as last heard.
    pub state: ModuleState,
    /// Its readiness, as last heard.
    pub readiness: Readiness,
    /// Its data state, as last heard.
    pub data: DataState,
    /// It was heard within the timeout.
    pub heard: bool,
    /// Its generation, as last heard.
    pub generation: Generation,
}

/// Progress of a resync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResyncReport {
    /// Entries compared so far.
    pub entries_done: u64,
    /// Entries in all (may grow).
    pub entries_total: u64,
    /// Bytes compared so far.
    pub bytes_done: u64,
    /// Bytes in all (may grow).
    pub bytes_total: u64,
    /// Bytes that differed and were sent.
    pub bytes_sent: u64,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
    /// Bytes compared per second, of late.
    #[serde(default)]
    pub bytes_per_s: u64,
    /// Milliseconds that it will go on for, as it goes; nobody knows in its first second.
    #[serde(default)]
    pub left_ms: Option<u64>,
}

/// What the replicated directories of a node hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InventoryReport {
    /// Files and directories.
    pub entries: u64,
    /// Sum of file sizes.
    pub bytes: u64,
    /// Latest change of any file, Unix milliseconds; 0 if there is none.
    pub changed_unix_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::NodeReport;

    #[test]
    fn a_share_out_of_range_is_refused_since_it_cannot_be_passed_on() {
        let report = serde_json::to_string(&NodeReport { cpu_percent: 12.5, ..NodeReport::default() }).unwrap();
        assert_eq!(serde_json::from_str::<NodeReport>(&report).unwrap().cpu_percent, 12.5);
        let error = serde_json::from_str::<NodeReport>(&report.replace("12.5", "1e300")).unwrap_err();
        assert!(error.to_string().contains("out of range"), "{error}");
    }
}
