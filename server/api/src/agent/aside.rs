//! What was set aside of a module's copies that diverged.

use serde::{Deserialize, Serialize};

/// What was set aside of a copy that diverged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AsideCopy {
    /// Its name.
    pub id: String,
    /// Number of the node whose copy it was.
    pub node: u16,
    /// Generation of that copy.
    pub generation: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Files and other objects.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it is the whole copy, and not only what differed from the survivor's.
    #[serde(default)]
    pub whole: bool,
    /// The folder on the node: `files` holds them by their paths, `manifest.json` tells each.
    pub folder: String,
}
