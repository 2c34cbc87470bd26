//! Module folders (`X.safe/conf`, `X.safe/bin`): written, and packed into a `.safe` zip with executable scripts.

use anyhow::{Context, Result, bail};
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

/// Writes a module folder: its files by their names in the package, with their texts.
///
/// # Errors
/// A file cannot be written.
pub fn write_folder(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    for part in ["conf", "bin"] {
        let part = folder.join(part);
        std::fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    }
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The package of `folder`, in memory.
///
/// # Errors
/// The folder is no module (no conf/userconfig.xml), or a file cannot be read.
pub fn pack(folder: &Path) -> Result<Vec<u8>> {
    pack_with(folder, |_, content| Ok(content))
}

/// Like [`pack`], with each file's content passed through `change(name in the package, content)`.
///
/// # Errors
/// As [`pack`], and what `change` refuses.
pub fn pack_with(folder: &Path, change: impl Fn(&str, Vec<u8>) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    if !folder.join("conf/userconfig.xml").is_file() {
        bail!("{} is not a module: it has no conf/userconfig.xml", folder.display());
    }
    let mut names = Vec::new();
    list(folder, folder, &mut names)?;
    names.sort();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        let content = std::fs::read(folder.join(&name)).with_context(|| format!("cannot read {name}"))?;
        let mode = if name.starts_with("bin/") { 0o755 } else { 0o644 };
        zip.start_file(&name, SimpleFileOptions::default().unix_permissions(mode))?;
        zip.write_all(&change(&name, content)?)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn list(root: &Path, folder: &Path, names: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, names)?;
        } else {
            let name = path.strip_prefix(root)?.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            names.push(name.to_owned());
        }
    }
    Ok(())
}
