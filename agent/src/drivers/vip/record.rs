//! What was set, written down before it is set: whoever comes after a killed agent can take it away.

use super::netlink::{Assigned, Inventory, remove};
use super::{reset, source};
use crate::files;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const KIND: &str = "addresses";
const SIZE_MAX: u64 = 64 * 1024;

/// The kernel's own boot id: addresses do not outlive it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One address that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The address.
    pub addr: IpAddr,
    /// As the configuration says it: an address or a name.
    #[serde(default)]
    pub written: String,
    /// The interface it was set on.
    pub interface: String,
    /// Routes prefer it as their source.
    pub source: bool,
    /// Its connections are reset before it goes.
    pub tcpreset: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    boot: String,
    entries: Vec<Entry>,
}

/// The record of one module.
#[derive(Clone, Debug)]
pub struct Record(PathBuf);

fn boot() -> String {
    std::fs::read_to_string(BOOT_ID).unwrap_or_default()
}

fn folder(run: &Path) -> PathBuf {
    run.join("addresses")
}

impl Record {
    /// That of `module` in an agent's run folder.
    pub fn of(run: &Path, module: &str) -> Self {
        Self(folder(run).join(format!("{module}.json")))
    }

    /// What was set in this boot and not taken away.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let content = files::load::<Content>(&self.0, KIND, SIZE_MAX)?;
        Ok(content.filter(|content| content.boot == boot()).map(|content| content.entries).unwrap_or_default())
    }

    /// Replaces what is recorded.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return match std::fs::remove_file(&self.0) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", self.0.display()))
                }
                _ => Ok(()),
            };
        }
        files::make_dir(self.0.parent().context("the record has no folder")?)?;
        files::save(&self.0, KIND, &Content { boot: boot(), entries: entries.to_vec() })
    }

    /// Takes away everything recorded; what could not be taken away stays recorded.
    ///
    /// # Errors
    /// The first address that could not be taken away, and why; the others were.
    pub fn release(&self) -> Result<Vec<IpAddr>> {
        self.release_but(&[])
    }

    /// As [`Self::release`], but `kept` stay.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub fn release_but(&self, kept: &[IpAddr]) -> Result<Vec<IpAddr>> {
        let (mut gone, mut left, mut failure) = (Vec::new(), Vec::new(), None);
        for entry in self.entries()? {
            if kept.contains(&entry.addr) {
                left.push(entry);
                continue;
            }
            match release(&entry) {
                Ok(()) => gone.push(entry.addr),
                Err(error) => {
                    failure = failure.or(Some(error));
                    left.push(entry);
                }
            }
        }
        self.save(&left)?;
        failure.map_or(Ok(gone), Err)
    }
}

fn release(entry: &Entry) -> Result<()> {
    let Entry { addr, interface, source, tcpreset, .. } = entry;
    let found = || -> std::io::Result<Option<Assigned>> {
        let inventory = Inventory::read()?;
        let index = inventory.named(interface).map(|interface| interface.index);
        let here = |own: &&Assigned| own.addr == *addr && Some(own.index) == index;
        Ok(inventory.addresses.iter().find(here).cloned())
    };
    let failed = || format!("{addr} on {interface}");
    let Some(assigned) = found().with_context(failed)? else {
        return Ok(());
    };
    if *tcpreset && let Err(error) = reset::reset_connections(*addr) {
        // Clients wait for their own time limits then; the address goes all the same.
        tracing::warn!("the connections of {addr} are not reset: {error}");
    }
    if *source && let Err(error) = source::forget(*addr) {
        tracing::warn!("the routes that prefer {addr} are left to the kernel: {error}");
    }
    remove(&assigned).map(|_| ()).with_context(failed)
}

/// The address that is set for a name of the configuration; `None`: it is no name, or nothing is set for it.
pub fn set_for(run: &Path, module: &str, name: &str) -> Option<IpAddr> {
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let entries = Record::of(run, module).entries().ok()?;
    entries.into_iter().find(|entry| entry.written == name).map(|entry| entry.addr)
}

/// Takes away what an agent that used this run folder has left of one module.
///
/// # Errors
/// As [`Record::release`].
pub fn release_of(run: &Path, module: &str) -> Result<Vec<IpAddr>> {
    Record::of(run, module).release()
}

/// Takes away what agents that used this run folder have left, but of the modules that `keep` is true for.
///
/// # Errors
/// The first address that could not be taken away, and why; the others were.
pub fn release_left(run: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<IpAddr>> {
    let folder = folder(run);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
    };
    let (mut gone, mut problems) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let name = entry.file_name();
        let module = name.to_str().filter(|name| !name.starts_with('.')).and_then(|name| name.strip_suffix(".json"));
        if module.is_none_or(&keep) {
            continue;
        }
        match Record(entry.path()).release() {
            Ok(addresses) => gone.extend(addresses),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if !problems.is_empty() {
        bail!("left where they are: {}; remove them with `ip address del`", problems.join("; "));
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::{Entry, Record, release_left};

    #[test]
    fn record_is_kept_until_nothing_is_left_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::of(dir.path(), "m");
        assert_eq!(record.entries().unwrap(), []);
        record.save(&[]).unwrap();
        // An interface that does not exist: nothing is left there to take away.
        let entry = Entry {
            addr: "192.0.2.1".parse().unwrap(),
            written: String::new(),
            interface: "no-such-if".to_owned(),
            source: true,
            tcpreset: true,
        };
        record.save(std::slice::from_ref(&entry)).unwrap();
        assert_eq!(record.entries().unwrap(), [entry]);
        assert_eq!(release_left(dir.path(), |_| false).unwrap().len(), 1);
        assert_eq!(record.entries().unwrap(), []);
        assert!(release_left(dir.path(), |_| false).unwrap().is_empty());
    }

    #[test]
    fn damaged_record_is_told_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("addresses")).unwrap();
        let path = dir.path().join("addresses/m.json");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(release_left(dir.path(), |_| false).unwrap_err().to_string().contains("damaged"));
        assert!(path.exists());
        assert!(release_left(&dir.path().join("none"), |_| false).unwrap().is_empty());
    }
}
