//! Files that are whole or not there: bounded reads, atomic writes, and a checksummed envelope with a version.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Version of the envelope and of what is in it.
const VERSION: u32 = 1;
const MAGIC: &str = "holdfast-store";

/// Makes a directory and those above it, for the owner only.
pub fn make_dir(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Makes the names in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file, if it is there, so that no crash brings it back.
pub fn remove_durably(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => path.parent().map_or(Ok(()), sync_dir),
    }
}

/// When a file was last written; 0: there is none.
pub fn written_unix_ms(path: &Path) -> u64 {
    let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let age = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(0))
}

/// Writes `bytes` so that after any crash `path` holds the old or the new content, whole.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    replace(path, bytes, mode, true)
}

/// As [`write_atomically`]; `synced`: after a crash of the machine, too.
fn replace(path: &Path, bytes: &[u8], mode: u32, synced: bool) -> Result<()> {
    let dir = path.parent().context("the path has no folder")?;
    let name = path.file_name().context("the path has no name")?.to_string_lossy();
    let temporary = dir.join(format!(".{name}.new"));
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        if !synced {
            return fs::rename(&temporary, path);
        }
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(dir)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a file of at most `max` bytes; `None` if it is not there.
pub fn read_bounded(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len() as u64 <= max, "{} is larger than {max} bytes", path.display());
    Ok(Some(bytes))
}

/// Saves a value under a checksum; `kind` is told apart when it is read.
pub fn save<T: Serialize>(path: &Path, kind: &str, value: &T) -> Result<()> {
    write_atomically(path, &enveloped(kind, value)?, 0o600)
}

/// Saves a value that is worth nothing after the next boot: it waits for no disk.
pub fn save_until_boot<T: Serialize>(path: &Path, kind: &str, value: &T) -> Result<()> {
    replace(path, &enveloped(kind, value)?, 0o600, false)
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn enveloped<T: Serialize>(kind: &str, value: &T) -> Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(value).context("cannot encode")?;
    let head = format!("{MAGIC} {VERSION} {kind} {}\n", checksum(kind, &json));
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// Loads what [`save`] wrote; `None` if it is not there. Damage and other versions are errors.
pub fn load<T: DeserializeOwned>(path: &Path, kind: &str, max: u64) -> Result<Option<T>> {
    let Some(bytes) = read_bounded(path, max)? else {
        return Ok(None);
    };
    let shown = path.display();
    let end = bytes.iter().take(200).position(|byte| *byte == b'\n').with_context(|| damaged(path))?;
    let head = std::str::from_utf8(&bytes[..end]).with_context(|| damaged(path))?;
    let parts: Vec<&str> = head.split(' ').collect();
    let [magic, version, found, sum] = parts.as_slice() else { bail!(damaged(path)) };
    ensure!(*magic == MAGIC, damaged(path));
    ensure!(
        *version == VERSION.to_string(),
        "{shown} has format version {version}; this program reads version {VERSION}: install the matching version"
    );
    ensure!(*found == kind && *sum == checksum(kind, &bytes[end + 1..]), damaged(path));
    let value = serde_json::from_slice(&bytes[end + 1..]);
    Ok(Some(value.with_context(|| format!("{shown} is not understood: install the version that wrote it"))?))
}

fn damaged(path: &Path) -> String {
    format!("{} is damaged: restore it from a backup, or move it away and configure again", path.display())
}

fn checksum(kind: &str, json: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kind.as_bytes()).update(b"\n").update(json);
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::{load, save};

    #[test]
    fn saved_value_is_loaded_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(load::<Vec<u32>>(&path, "numbers", 1000).unwrap(), None);
        save(&path, "numbers", &vec![1u32, 2]).unwrap();
        assert_eq!(load::<Vec<u32>>(&path, "numbers", 1000).unwrap(), Some(vec![1, 2]));
        assert!(load::<Vec<u32>>(&path, "others", 1000).is_err());
        assert!(load::<Vec<u32>>(&path, "numbers", 10).is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("  2", "  3")).unwrap();
        assert!(load::<Vec<u32>>(&path, "numbers", 1000).unwrap_err().to_string().contains("damaged"));
        std::fs::write(&path, text.replace("store 1", "store 9")).unwrap();
        let error = load::<Vec<u32>>(&path, "numbers", 1000).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}
