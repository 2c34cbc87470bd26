//! Whether the machine has booted since: the boot id, and what is started when the agent starts.

use anyhow::{Context, Result};
use holdfast_api::userconfig::Boot as Policy;
use holdfast_core::durable::Durable;
use std::path::Path;

/// The machine's boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// As text, for reports.
    pub text: String,
    /// Its hash, for the core.
    pub id: u64,
}

impl Boot {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            crate::files::read_bounded(path, 4096)?.with_context(|| format!("{} is missing", path.display()))?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        anyhow::ensure!(!text.is_empty(), "{} is empty: it must hold the boot id", path.display());
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
        Ok(Self { text, id: u64::from_le_bytes(id) })
    }
}

/// Who starts a module when the agent starts, if anybody does.
///
/// `policy` is the configuration's; `new_boot`: this is the first start of the agent since the machine booted.
pub fn starter(durable: &Durable, policy: Policy, boot_id: u64, new_boot: bool) -> Option<&'static str> {
    if new_boot {
        return durable.starts_at_boot(policy).then_some("boot");
    }
    (durable.running && durable.boot_id == boot_id).then_some("agent restart")
}

#[cfg(test)]
mod tests {
    use super::{Boot, Policy, starter};
    use holdfast_core::durable::Durable;

    #[test]
    fn boot_starts_what_is_marked_and_an_agent_restart_what_was_running() {
        let durable = |running, boot_start, boot_id| Durable { running, boot_start, boot_id, ..Durable::default() };
        let start = |durable, boot_id, new_boot| starter(&durable, Policy::Ignore, boot_id, new_boot);
        assert_eq!(start(durable(false, true, 1), 2, true), Some("boot"));
        assert_eq!(start(durable(true, false, 1), 2, true), None);
        assert_eq!(start(durable(true, false, 2), 2, false), Some("agent restart"));
        assert_eq!(start(durable(true, false, 1), 2, false), None);
        assert_eq!(start(durable(false, true, 2), 2, false), None);
        assert_eq!(starter(&durable(true, false, 1), Policy::Auto, 2, true), Some("boot"));
    }

    #[test]
    fn boot_id_is_read_and_an_empty_file_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("boot");
        assert!(Boot::read(&path).is_err());
        std::fs::write(&path, "\n").unwrap();
        assert!(Boot::read(&path).is_err());
        std::fs::write(&path, "abc\n").unwrap();
        assert_eq!(Boot::read(&path).unwrap().text, "abc");
    }
}
