//! The server's register of a module, as shown.

use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// The server's register of one module: who holds its latest generation, and whether the register decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterView {
    /// The record; none: no generation was granted or reported yet.
    pub record: Option<RegisterRecord>,
    /// It grants. After each start of the server it does not, until every node of the module has told its generation or
    /// an administrator has armed it: the record may come from a backup.
    pub armed: bool,
    /// Who armed it, if it was an administrator.
    pub armed_by: Option<String>,
    /// The nodes it waits for, by name.
    pub waits_for: Vec<String>,
    /// Why it grants or does not, in one sentence.
    pub reason: String,
    /// Earlier records, newest first, at most 50.
    pub earlier: Vec<RegisterRecord>,
}

/// A generation number in the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterRecord {
    /// The number.
    pub number: u64,
    /// The node that holds it.
    pub owner: NodeId,
    /// The register granted it; otherwise the node reported to hold it already.
    pub granted: bool,
    /// When it was recorded.
    pub unix_ms: u64,
}
