//! What a node must not forget about a module: saved in the ledger before anything that relies on it is sent or done.

use holdfast_api::ids::Generation;
use holdfast_api::state::DataState;
use serde::{Deserialize, Serialize};

/// Generations kept in [`Durable::history`]; an older common ancestor counts as unrelated data.
pub const HISTORY_MAX: usize = 16;

/// Durable state of one module on one node. All zero (`default()`) is a module that never ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durable {
    /// Generation of this copy of the data.
    pub generation: Generation,
    /// Earlier generations of this copy's lineage, newest first, at most [`HISTORY_MAX`].
    pub history: Vec<Generation>,
    /// How this copy relates to the reference.
    pub data: DataState,
    /// This node holds the grant to acknowledge alone: nobody else can hold a newer copy. Cleared, durably, *before*
    /// the peer is told that its resync is complete.
    pub solo: bool,
    /// This copy was declared out of date from this generation number on (0: it was not). Reporting it is what grants
    /// the peer that number, so this node never becomes primary with an older one.
    pub outdated_since: u64,
    /// A generation number this node has asked its peer or a witness for and must not forget (0: none).
    pub asked: u64,
    /// The generation number this node has last asked a register for (0: none), with the same nonce at each repetition.
    #[serde(default)]
    pub witness_asked: u64,
    /// See `witness_asked`.
    #[serde(default)]
    pub witness_nonce: u64,
    /// The generation was gained while being primary (true) or by taking over from a primary (false): at a reunion the
    /// former primary stays.
    pub continued: bool,
    /// This node was PRIM or ALONE when it last held a running role.
    pub was_primary: bool,
    /// The last replication session, drawn at each pairing and saved on both sides.
    pub session: u64,
    /// The operator wants the module running (survives a restart of the agent).
    pub running: bool,
    /// The module starts when the machine boots.
    pub boot_start: bool,
    /// Boot id under which `running` was last true: a new one means that the machine went down.
    pub boot_id: u64,
}
