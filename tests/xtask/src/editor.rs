//! The console's editor: one file made by esbuild of what `web/editor` names, kept until that changes.

use crate::install;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What decides how the bundle looks.
const INPUTS: [&str; 3] = ["editor.js", "package.json", "package-lock.json"];
/// What the licences of the packages ask to be said in copies.
const BANNER: &str = "/*! CodeMirror and Lezer: MIT licence, copyright Marijn Haverbeke and others */";

/// Bundles the editor into `target/console` unless that is done already; returns the file's path.
///
/// # Errors
/// Node is missing and cannot be installed, the registry is not reached, or esbuild finds an error.
pub fn bundle(root: &Path) -> Result<PathBuf> {
    let (from, to) = (root.join("web/editor"), root.join("target/console/editor.js"));
    let mut hasher = blake3::Hasher::new();
    hasher.update(BANNER.as_bytes());
    for name in INPUTS {
        let bytes = fs::read(from.join(name)).with_context(|| format!("cannot read web/editor/{name}"))?;
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    let key = hasher.finalize().to_hex().to_string();
    let stamp = to.with_extension("js.key");
    if to.is_file() && fs::read_to_string(&stamp).is_ok_and(|saved| saved == key) {
        return Ok(to);
    }
    install::npm(&from, "The console's editor")?;
    fs::create_dir_all(to.parent().context("a file without a folder")?).context("cannot make target/console")?;
    let status = Command::new(from.join("node_modules/.bin/esbuild"))
        .current_dir(&from)
        .args(["editor.js", "--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=warning"])
        .arg(format!("--banner:js={BANNER}"))
        .arg(format!("--outfile={}", to.display()))
        .status()
        .context("cannot run esbuild")?;
    ensure!(status.success(), "the console's editor cannot be bundled (see above)");
    fs::write(&stamp, key).context("cannot write the editor's key")?;
    Ok(to)
}
