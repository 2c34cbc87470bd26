//! What was set aside of a diverged copy as one zip, to be carried elsewhere: every file by its path, and the manifest.

mod download;

pub(super) use download::Downloads;

use super::Agent;
use anyhow::{Context, Result, anyhow, bail, ensure};
use holdfast_replica::setaside;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{DateTime, ZipWriter};

impl Agent {
    /// Writes what was set aside under this name into a zip of that path on this node.
    ///
    /// # Errors
    /// Nothing is there under this name; the file exists already, or cannot be written: then none is left.
    pub async fn export_set_aside(&self, module: &str, id: &str, to: &str) -> Result<String> {
        self.requests(module).await?;
        let (state, id, to) = (self.layout.replica(module), id.to_owned(), PathBuf::from(to));
        ensure!(to.is_absolute(), "write the file's absolute path on this node, not {}", to.display());
        let (name, target) = (id.clone(), to.clone());
        let packed = tokio::task::spawn_blocking(move || {
            let folder = setaside::find(&state, &name).map_err(|reason| anyhow!(reason))?;
            write_zip(&folder, &target)
        });
        let files = packed.await.context("writing ended early")??;
        Ok(format!(
            "{id} is in {}: {files} files and the manifest; it stays set aside until it is deleted",
            to.display()
        ))
    }
}

/// Writes the zip, complete and on disk or not at all; the number of files.
fn write_zip(folder: &Path, target: &Path) -> Result<u64> {
    let shown = target.display();
    let file = File::options().write(true).create_new(true).mode(0o600).open(target);
    let file = file.with_context(|| format!("{shown} cannot be made: choose a path that does not exist yet"))?;
    let packed = pack(folder, ZipWriter::new(file)).and_then(|(file, files)| {
        file.sync_all()?;
        Ok(files)
    });
    packed.inspect_err(|_| {
        // Half a zip is of no use; that it cannot be removed either changes nothing.
        let _ = std::fs::remove_file(target);
    })
}

/// Packs the folder; the writer's inside, and the number of files.
fn pack<W: Write + Seek>(folder: &Path, mut writer: ZipWriter<W>) -> Result<(W, u64)> {
    let (mut pending, mut files) = (vec![folder.to_owned()], 0);
    while let Some(path) = pending.pop() {
        let failed = || path.display().to_string();
        let found = path.symlink_metadata().with_context(failed)?;
        let (name, options) = (inside(folder, &path), options(&found));
        if found.is_dir() {
            if path != folder {
                writer.add_directory(name, options)?;
            }
            for entry in std::fs::read_dir(&path).with_context(failed)? {
                pending.push(entry.with_context(failed)?.path());
            }
        } else if found.is_symlink() {
            let target = std::fs::read_link(&path).with_context(failed)?;
            writer.add_symlink(name, escaped(target.as_os_str().as_bytes()), options)?;
        } else if found.is_file() {
            writer.start_file(name, options)?;
            std::io::copy(&mut File::open(&path).with_context(failed)?, &mut writer).with_context(failed)?;
            files += u64::from(path != folder.join(setaside::FILE));
        } else {
            bail!("{} is neither file, directory nor link: it does not belong there", path.display());
        }
    }
    Ok((writer.finish()?, files))
}

/// The name in the zip.
fn inside(folder: &Path, path: &Path) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path);
    escaped(below.as_os_str().as_bytes())
}

/// Names in a zip are text: bytes that are none are written as `\xNN`.
fn escaped(name: &[u8]) -> String {
    std::str::from_utf8(name).map_or_else(|_| name.escape_ascii().to_string(), str::to_owned)
}

fn options(found: &std::fs::Metadata) -> SimpleFileOptions {
    let options = SimpleFileOptions::default().unix_permissions(found.mode() & 0o7777).large_file(true);
    match changed(found.mtime()) {
        Some(time) => options.last_modified_time(time),
        // Before 1980 a zip has no time.
        None => options,
    }
}

fn changed(seconds: i64) -> Option<DateTime> {
    let at = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let small = |number: i8| u8::try_from(number).ok();
    let (hour, minute, second) = (small(at.hour())?, small(at.minute())?, small(at.second())?);
    DateTime::from_date_and_time(
        u16::try_from(at.year()).ok()?,
        small(at.month())?,
        small(at.day())?,
        hour,
        minute,
        second,
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn everything_is_in_the_zip_and_an_existing_file_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("1-2");
        std::fs::create_dir_all(folder.join("files/srv/d")).unwrap();
        std::fs::write(folder.join("manifest.json"), "{}").unwrap();
        std::fs::write(folder.join("files/srv/d/f"), "content").unwrap();
        std::fs::set_permissions(folder.join("files/srv/d/f"), PermissionsExt::from_mode(0o640)).unwrap();
        symlink("d/f", folder.join("files/srv/link")).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"f\xff");
        std::fs::write(folder.join("files/srv").join(odd), "odd").unwrap();
        let target = base.path().join("out.zip");
        assert_eq!(write_zip(&folder, &target).unwrap(), 2);
        let mut zip = zip::ZipArchive::new(File::open(&target).unwrap()).unwrap();
        let mut names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "files/",
                "files/srv/",
                "files/srv/d/",
                "files/srv/d/f",
                "files/srv/f\\xff",
                "files/srv/link",
                "manifest.json"
            ]
        );
        let mut file = zip.by_name("files/srv/d/f").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), file.unix_mode().map(|mode| mode & 0o777)), ("content", Some(0o640)));
        drop(file);
        assert!(zip.by_name("files/srv/link").unwrap().is_symlink());
        let before = std::fs::read(&target).unwrap();
        assert!(write_zip(&folder, &target).unwrap_err().to_string().contains("does not exist yet"));
        assert_eq!(std::fs::read(&target).unwrap(), before);
        write_zip(&base.path().join("nothing"), &base.path().join("new.zip")).unwrap_err();
        assert!(!base.path().join("new.zip").exists(), "half a zip was left");
    }
}
