//! Builds the console for wasm.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// Builds the console of the workspace at `root`; the folder to serve.
///
/// # Errors
/// Always: this checkout has no console yet.
pub fn build(root: &Path, _release: bool) -> Result<PathBuf> {
    bail!("the console at {} cannot be built yet; everything else works without it", root.join("web").display())
}
