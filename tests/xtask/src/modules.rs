//! Packs module folders (`X.safe/conf`, `X.safe/bin`) into `.safe` files.

#[path = "../../src/lab/package.rs"]
#[allow(dead_code)] // the lab uses more of it
mod package;

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Packs every folder of assets/modules into target/modules; the files made.
///
/// # Errors
/// A folder cannot be read or a package not written.
pub fn package_all(root: &Path) -> Result<Vec<PathBuf>> {
    let templates = root.join("assets/modules");
    let target = target_directory(root).join("modules");
    std::fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let mut made = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&templates)
        .with_context(|| format!("cannot read {}", templates.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "safe") && path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        let file = target.join(folder.file_name().unwrap_or_default());
        std::fs::write(&file, package::pack(&folder)?).with_context(|| format!("cannot write {}", file.display()))?;
        made.push(file);
    }
    Ok(made)
}

/// Where cargo builds to.
pub fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
