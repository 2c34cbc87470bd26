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

/// Most entries in one page of what was set aside.
pub const ASIDE_ENTRIES_MAX: u32 = 500;

/// A page of what one copy that was set aside holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AsidePage {
    /// Entries in all.
    pub total: u64,
    /// Number of the first entry of this page, from 0.
    pub from: u64,
    /// The entries, at most [`ASIDE_ENTRIES_MAX`], in the order in which they were set aside.
    pub entries: Vec<AsideEntry>,
}

/// A file or other object that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AsideEntry {
    /// Where it was.
    pub path: String,
    /// `file`, `directory`, `link` or `other` (told only).
    pub kind: String,
    /// Length in bytes, of a file.
    pub size: u64,
    /// How it differs from the copy that overwrote it: that one's value first.
    pub why: String,
}
