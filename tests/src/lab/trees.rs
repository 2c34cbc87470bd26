//! Compares two directory trees: names, kinds, modes, owners, link targets and every byte.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Differences listed at most.
const LISTED_MAX: usize = 20;

/// Differences between two trees, in plain words, at most a handful; empty if they are equal.
///
/// # Errors
/// A tree cannot be read.
pub fn differences(left: &Path, right: &Path) -> Result<Vec<String>> {
    let (here, there) = (entries(left)?, entries(right)?);
    let mut found = Vec::new();
    for (name, metadata) in &here {
        match there.get(name) {
            None => found.push(format!("{} is only in {}", name.display(), left.display())),
            Some(other) => {
                if let Some(what) = difference(&left.join(name), metadata, &right.join(name), other)? {
                    found.push(format!("{}: {what}", name.display()));
                }
            }
        }
        if found.len() >= LISTED_MAX {
            return Ok(found);
        }
    }
    let missing = there.keys().filter(|name| !here.contains_key(*name));
    found.extend(missing.map(|name| format!("{} is only in {}", name.display(), right.display())));
    found.truncate(LISTED_MAX);
    Ok(found)
}

fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Metadata>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let name = folder.join(entry?.file_name());
            let metadata = fs::symlink_metadata(root.join(&name))?;
            if metadata.is_dir() {
                folders.push(name.clone());
            }
            found.insert(name, metadata);
        }
    }
    Ok(found)
}

fn difference(left: &Path, here: &Metadata, right: &Path, there: &Metadata) -> Result<Option<String>> {
    let kind = |metadata: &Metadata| {
        let kind = metadata.file_type();
        (kind.is_dir(), kind.is_file(), kind.is_symlink(), kind.is_fifo(), kind.is_socket(), metadata.rdev())
    };
    if kind(here) != kind(there) {
        return Ok(Some("not the same kind".into()));
    }
    if (here.mode(), here.uid(), here.gid()) != (there.mode(), there.uid(), there.gid()) {
        let shown = |metadata: &Metadata| format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
        return Ok(Some(format!("mode and owner {} and {}", shown(here), shown(there))));
    }
    if here.is_symlink() && fs::read_link(left)? != fs::read_link(right)? {
        return Ok(Some("not the same target".into()));
    }
    if here.is_file() {
        if here.len() != there.len() {
            return Ok(Some(format!("{} and {} bytes", here.len(), there.len())));
        }
        if let Some(offset) = first_difference(left, right)? {
            return Ok(Some(format!("bytes differ from offset {offset}")));
        }
    }
    Ok(None)
}

fn first_difference(left: &Path, right: &Path) -> Result<Option<u64>> {
    use std::io::Read;
    let (mut here, mut there) = (fs::File::open(left)?, fs::File::open(right)?);
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    loop {
        let length = here.read(&mut ours)?;
        if length == 0 {
            return Ok(None);
        }
        if there.read_exact(&mut theirs[..length]).is_err() {
            return Ok(Some(offset));
        }
        if let Some(place) = ours[..length].iter().zip(&theirs[..length]).position(|(a, b)| a != b) {
            return Ok(Some(offset + place as u64));
        }
        offset += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_trees_have_no_difference_and_others_are_named() {
        let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for root in [left.path(), right.path()] {
            fs::create_dir(root.join("a")).unwrap();
            fs::write(root.join("a/file"), "hello").unwrap();
            std::os::unix::fs::symlink("file", root.join("a/link")).unwrap();
        }
        assert!(differences(left.path(), right.path()).unwrap().is_empty());
        fs::write(right.path().join("a/file"), "hellO").unwrap();
        fs::write(right.path().join("more"), "").unwrap();
        assert_eq!(differences(left.path(), right.path()).unwrap().len(), 2);
    }
}
