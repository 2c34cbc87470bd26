//! What was set aside, told beside it: `manifest.json`.

use super::at;
use holdfast_api::ids::Generation;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file in a folder of what was set aside.
pub const FILE: &str = "manifest.json";

/// Format of the file.
pub const FORMAT: u32 = 1;

/// Longest file read, in bytes.
const LENGTH_MAX: u64 = 1 << 30;

/// What was set aside at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format: [`FORMAT`].
    pub format: u32,
    /// Name of its folder.
    pub id: String,
    /// The module.
    pub module: String,
    /// Number of the node whose copy it was.
    pub node: u16,
    /// Generation of that copy.
    pub generation: Generation,
    /// When it was set aside, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Bytes of the files that differed.
    pub bytes: u64,
    /// Whether the folder holds the whole copy, and not only what differed: there was room for it.
    #[serde(default)]
    pub whole: bool,
    /// Everything that differed, by path.
    pub entries: Vec<Entry>,
}

/// One file, directory or other object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it was.
    pub path: String,
    /// `file`, `directory`, `link` or `other` (told only).
    pub kind: String,
    /// Length in bytes, of a file.
    pub size: u64,
    /// BLAKE3 of a file's content, hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub blake3: String,
    /// How it differs: the survivor's value first.
    pub why: String,
}

/// The folder of all that was set aside on this node, in a replica's state folder.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("diverged")
}

/// Everything that was set aside, oldest first; what is not complete is not there.
///
/// # Errors
/// A folder or manifest that cannot be read, with its path.
pub fn list(state_dir: &Path) -> Result<Vec<Manifest>, String> {
    let all = folder(state_dir);
    let entries = match std::fs::read_dir(&all) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(&all))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(at(&all))?.path();
        if path.extension().is_none_or(|extension| extension != "partial") && path.is_dir() {
            found.push(read(&path.join(FILE))?);
        }
    }
    found.sort_by(|a, b| (a.unix_ms, &a.id).cmp(&(b.unix_ms, &b.id)));
    Ok(found)
}

/// What was set aside under this name.
///
/// # Errors
/// There is none; a manifest that cannot be read, with its path.
pub fn tell(state_dir: &Path, id: &str) -> Result<Manifest, String> {
    read(&find(state_dir, id)?.join(FILE))
}

/// How many copies are set aside; none where that cannot be told.
pub fn count(state_dir: &Path) -> u32 {
    let complete = |entry: &std::fs::DirEntry| {
        let path = entry.path();
        path.extension().is_none_or(|extension| extension != "partial") && path.is_dir()
    };
    let entries = std::fs::read_dir(folder(state_dir)).into_iter().flatten().flatten();
    entries.filter(complete).count().try_into().unwrap_or(u32::MAX)
}

fn read(path: &Path) -> Result<Manifest, String> {
    let length = std::fs::metadata(path).map_err(at(path))?.len();
    if length > LENGTH_MAX {
        return Err(format!("{}: too large", path.display()));
    }
    let bytes = std::fs::read(path).map_err(at(path))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    if manifest.format != FORMAT {
        return Err(format!("{} has format {}, this release knows {FORMAT}", path.display(), manifest.format));
    }
    Ok(manifest)
}

/// The folder of what was set aside under this name.
///
/// # Errors
/// There is none.
pub fn find(state_dir: &Path, id: &str) -> Result<PathBuf, String> {
    let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let path = folder(state_dir).join(id);
    if !plain || !path.is_dir() {
        return Err(format!("nothing was set aside under the name {id}: `holdfast diverged` lists what there is"));
    }
    Ok(path)
}

/// Deletes what was set aside under this name.
///
/// # Errors
/// There is none, or it cannot be deleted.
pub fn delete(state_dir: &Path, id: &str) -> Result<(), String> {
    let path = find(state_dir, id)?;
    // Not to be taken for complete while it goes.
    let going = path.with_extension("partial");
    std::fs::rename(&path, &going).map_err(at(&path))?;
    std::fs::remove_dir_all(&going).map_err(at(&going))
}
