//! A `.safe` package: a zip with `conf/userconfig.xml` and `bin/*`, read within limits and written the same each time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// Largest package, in bytes: base64 of it fits one frame between server and agent.
pub const PACKAGE_MAX: usize = 5 * 1024 * 1024;
/// Most files in a package.
pub const FILES_MAX: usize = 1000;
/// Largest sum of the unpacked files, in bytes.
pub const UNPACKED_MAX: u64 = 64 * 1024 * 1024;
/// Largest ratio of unpacked to packed size of a file above [`RATIO_FREE`].
pub const RATIO_MAX: u64 = 200;
/// Unpacked size below which the ratio does not matter, in bytes.
pub const RATIO_FREE: u64 = 1024 * 1024;
/// Longest name, in bytes.
pub const NAME_MAX: usize = 200;
/// Where the configuration is.
pub const USERCONFIG: &str = "conf/userconfig.xml";

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Content.
    pub bytes: Vec<u8>,
    /// May be run.
    pub executable: bool,
}

/// The files of a package by name (relative, with `/`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// The files.
    pub files: BTreeMap<String, PackageFile>,
}

/// Why a package was refused, by name where one file is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageError {
    /// The entry at fault.
    pub name: Option<String>,
    /// What is wrong, and the cure.
    pub problem: String,
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "the module package is refused: {name}: {}", self.problem),
            None => write!(f, "the module package is refused: {}", self.problem),
        }
    }
}

impl std::error::Error for PackageError {}

fn whole(problem: impl Into<String>) -> PackageError {
    PackageError { name: None, problem: problem.into() }
}

fn entry(name: &str, problem: impl Into<String>) -> PackageError {
    let name: String = name.chars().flat_map(char::escape_debug).take(NAME_MAX).collect();
    PackageError { name: Some(name), problem: problem.into() }
}

/// Checks the name of a file: relative, plain parts, nothing that leaves the module's folder.
pub fn check_name(name: &str) -> Result<(), PackageError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(entry(name, format!("a name has 1 to {NAME_MAX} bytes: shorten it")));
    }
    if name.chars().any(|c| c.is_control() || c == '\\' || c == ':') {
        return Err(entry(name, "a name has no control character, backslash or colon: rename it"));
    }
    if name.starts_with('/') || name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(entry(name, "the name would leave the module's folder: use plain relative names"));
    }
    Ok(())
}

/// Entries as counted by the end record of the zip: more than the reader found means that a name is there twice.
fn counted_entries(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(22 + 65_535);
    let at = bytes[from..].windows(4).rposition(|window| window == b"PK\x05\x06")? + from;
    let count = bytes.get(at + 10..at + 12)?;
    Some(usize::from(u16::from_le_bytes([count[0], count[1]])))
}

impl Package {
    /// Reads the bytes of a zip.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        if bytes.len() > PACKAGE_MAX {
            return Err(whole(format!("it is larger than {PACKAGE_MAX} bytes")));
        }
        let broken = |error: zip::result::ZipError| whole(format!("it is not a readable zip ({error}): pack it again"));
        let counted = counted_entries(bytes).ok_or_else(|| whole("it is not a zip: pack conf/ and bin/ with zip"))?;
        if counted > 2 * FILES_MAX {
            return Err(whole(format!("it has more than {FILES_MAX} files")));
        }
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        if archive.len() != counted {
            return Err(whole("a name is in it twice: pack it again"));
        }
        let mut package = Self::default();
        let mut left = UNPACKED_MAX;
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).map_err(broken)?;
            let name = file.name().map_err(broken)?.into_owned();
            let mode = file.unix_mode().unwrap_or(0);
            let is_dir = file.is_dir();
            check_name(name.trim_end_matches('/'))?;
            check_kind(&name, mode, file.is_symlink(), file.encrypted())?;
            if is_dir {
                continue;
            }
            if file.size() > RATIO_FREE && file.size() / file.compressed_size().max(1) > RATIO_MAX {
                return Err(entry(&name, format!("it unpacks to more than {RATIO_MAX} times its size")));
            }
            let bytes = read_bounded(&mut file, left).map_err(|problem| entry(&name, problem))?;
            left -= bytes.len() as u64;
            let executable = mode & 0o111 != 0 || name.starts_with("bin/");
            package.files.insert(name, PackageFile { bytes, executable });
        }
        package.check()?;
        Ok(package)
    }

    /// Checks what must hold for every package, read or put together.
    pub fn check(&self) -> Result<(), PackageError> {
        if self.files.len() > FILES_MAX {
            return Err(whole(format!("it has more than {FILES_MAX} files")));
        }
        for name in self.files.keys() {
            check_name(name)?;
            let below = format!("{name}/");
            if self.files.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below)) {
                return Err(entry(name, "it is both a file and a folder: rename one"));
            }
        }
        if self.files.values().map(|file| file.bytes.len() as u64).sum::<u64>() > UNPACKED_MAX {
            return Err(whole(format!("it unpacks to more than {UNPACKED_MAX} bytes")));
        }
        self.userconfig().map(|_| ())
    }

    /// Text of `conf/userconfig.xml`.
    pub fn userconfig(&self) -> Result<&str, PackageError> {
        let file = self.files.get(USERCONFIG).ok_or_else(|| whole(format!("{USERCONFIG} is not in it: add it")))?;
        std::str::from_utf8(&file.bytes).map_err(|_| entry(USERCONFIG, "it is not UTF-8: save it as UTF-8"))
    }

    /// Writes the zip: the same files give the same bytes.
    pub fn write(&self) -> Result<Vec<u8>, PackageError> {
        self.check()?;
        let failed = |error: zip::result::ZipError| whole(format!("it could not be written ({error})"));
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, file) in &self.files {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(DateTime::default())
                .unix_permissions(if file.executable { 0o755 } else { 0o644 });
            writer.start_file(name.as_str(), options).map_err(failed)?;
            writer.write_all(&file.bytes).map_err(|error| failed(error.into()))?;
        }
        let bytes = writer.finish().map_err(failed)?.into_inner();
        if bytes.len() > PACKAGE_MAX {
            return Err(whole(format!("it is larger than {PACKAGE_MAX} bytes")));
        }
        Ok(bytes)
    }
}

fn check_kind(name: &str, mode: u32, symlink: bool, encrypted: bool) -> Result<(), PackageError> {
    let kind = mode & 0o170_000;
    if symlink || kind == 0o120_000 {
        return Err(entry(name, "symbolic links are not accepted: pack the file itself"));
    }
    if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
        return Err(entry(name, "only files and folders are accepted"));
    }
    if encrypted {
        return Err(entry(name, "it is encrypted: pack it without a password"));
    }
    Ok(())
}

/// Reads at most `max` bytes, whatever the zip says about the size.
fn read_bounded(reader: &mut impl Read, max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(max + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be unpacked ({error})"))?;
    if bytes.len() as u64 > max {
        return Err(format!("the package unpacks to more than {UNPACKED_MAX} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Package, PackageFile, RATIO_FREE, USERCONFIG};
    use proptest::prelude::*;
    use std::io::{Cursor, Write};
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn sample() -> Package {
        let file = |text: &str, executable| PackageFile { bytes: text.as_bytes().to_vec(), executable };
        let mut package = Package::default();
        package.files.insert(USERCONFIG.to_owned(), file("<safe/>", false));
        package.files.insert("bin/start_prim".to_owned(), file("#!/bin/sh\n", true));
        package
    }

    fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn refused(bytes: &[u8]) -> String {
        Package::read(bytes).expect_err("refused").to_string()
    }

    #[test]
    fn written_package_is_read_back_as_the_same_bytes() {
        let bytes = sample().write().unwrap();
        assert_eq!(Package::read(&bytes).unwrap(), sample());
        assert_eq!(Package::read(&bytes).unwrap().write().unwrap(), bytes);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused_by_name() {
        for name in ["../evil", "/etc/passwd", "a/../../b", "a\\b", "c:x", "a/./b"] {
            let error = refused(&zip_of(&[(USERCONFIG, b"<safe/>"), (name, b"x")]));
            assert!(error.contains(&name.escape_debug().to_string()), "{error}");
        }
    }

    #[test]
    fn missing_configuration_is_named() {
        assert!(refused(&zip_of(&[("bin/x", b"x")])).contains(USERCONFIG));
        assert!(refused(b"no zip at all").contains("not a zip"));
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0; RATIO_FREE as usize * 2];
        assert!(refused(&zip_of(&[(USERCONFIG, b"<safe/>"), ("bomb", &zeros)])).contains("bomb"));
    }

    #[test]
    fn symbolic_links_are_refused() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("bin/link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let error = refused(&writer.finish().unwrap().into_inner());
        assert!(error.contains("bin/link"), "{error}");
    }

    #[test]
    fn a_name_twice_is_refused() {
        let mut bytes = zip_of(&[(USERCONFIG, b"<safe/>"), ("bin/aa", b"x"), ("bin/ab", b"y")]);
        let places: Vec<_> = bytes.windows(6).enumerate().filter(|(_, w)| *w == b"bin/ab").map(|(at, _)| at).collect();
        for at in places {
            bytes[at + 5] = b'a';
        }
        assert!(refused(&bytes).contains("twice"));
    }

    #[test]
    fn file_and_folder_of_one_name_are_refused() {
        let error = refused(&zip_of(&[(USERCONFIG, b"<safe/>"), ("bin", b"x"), ("bin/y", b"y")]));
        assert!(error.contains("both a file and a folder"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Package::read(&bytes);
        }

        #[test]
        fn no_damaged_package_panics(at in 0usize..1000, value: u8, cut in 0usize..1000) {
            let mut bytes = sample().write().unwrap();
            let length = bytes.len();
            bytes[at % length] = value;
            bytes.truncate(length - cut % 40);
            let _ = Package::read(&bytes);
        }
    }
}
