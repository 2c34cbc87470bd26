//! The record of a settled module in the run folder, for the agent that is started after this one.
//!
//! It goes before anything is done by which the module leaves what it says, and comes back after that. Its age tells how
//! long no agent was there: a file beside it holds the moment of the last pulse and the moment the peer was last heard,
//! sixteen bytes written in place, since a whole record with every pulse of 32 modules would cost several times the rest
//! of the agent.

use crate::files;
use anyhow::Result;
use holdfast_core::settled::{Role, Settled};
use holdfast_core::time::Instant;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const KIND: &str = "settled";
const BEGUN: &str = "begun";
const SIZE_MAX: u64 = 64 * 1024;

/// The record of one module.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    written: Option<Settled>,
    /// Holds the moment of the last pulse, and of the peer's last (milliseconds of the boot-time clock, little-endian; 0:
    /// never heard).
    alive: Option<File>,
    /// It is on record that something of the module runs.
    begun: bool,
}

fn alive_path(record: &Path) -> PathBuf {
    record.with_extension("alive")
}

/// The moment of the last pulse, and of the peer's.
fn alive(record: &Path) -> std::io::Result<(Instant, Instant)> {
    let mut bytes = [[0; 8]; 2];
    File::open(alive_path(record))?.read_exact_at(bytes.as_flattened_mut(), 0)?;
    let [pulse, heard] = bytes.map(|moment| Instant(u64::from_le_bytes(moment)));
    Ok((pulse, heard))
}

fn path(run: &Path, module: &str) -> PathBuf {
    run.join(format!("{module}.settled"))
}

/// Where the data plane of a module listens for the next agent.
pub fn replica_socket(run: &Path, module: &str) -> PathBuf {
    run.join(format!("{module}.replica"))
}

/// Whether what an agent left of this module goes on by itself, its virtual addresses with it: a light module has nobody
/// to leave them to, and a data plane that lives takes them away in time.
pub fn goes_on(run: &Path, module: &str) -> bool {
    let settled = files::load::<Settled>(&path(run, module), KIND, SIZE_MAX).ok().flatten();
    settled
        .is_some_and(|settled| settled.role == Role::Open || UnixStream::connect(replica_socket(run, module)).is_ok())
}

impl Record {
    /// That of `module` in an agent's run folder.
    pub fn of(run: &Path, module: &str) -> Self {
        Self { path: path(run, module), written: None, alive: None, begun: false }
    }

    fn begun_path(&self) -> PathBuf {
        self.path.with_extension("begun")
    }

    /// Whether the last agent died while something of the module ran. That stays on record until the module is stopped.
    pub fn unfinished(&mut self, boot: u64) -> bool {
        let left = files::load::<u64>(&self.begun_path(), BEGUN, SIZE_MAX).ok().flatten();
        self.begun = left == Some(boot);
        self.begun
    }

    /// Before something of the module begins to run (`stopped` is false), and after all of it has ended.
    pub fn note_stopped(&mut self, stopped: bool, boot: u64) {
        if stopped != self.begun {
            return;
        }
        let path = self.begun_path();
        let noted = if stopped { files::remove(&path) } else { files::save_until_boot(&path, BEGUN, &boot) };
        match noted {
            Ok(()) => self.begun = !stopped,
            // At worst the next agent ends what has ended, or leaves what is left to an operator.
            Err(error) => tracing::warn!("{error:#}"),
        }
    }

    /// What the last agent left, which nobody else is told again.
    ///
    /// # Errors
    /// It cannot be read, or not be removed: then nothing is to be believed.
    pub fn take(&mut self) -> Result<Option<Settled>> {
        let found = files::load::<Settled>(&self.path, KIND, SIZE_MAX);
        if let Err(error) = files::remove(&self.path) {
            // It has to go before this agent does anything, or the next one would believe it.
            self.written = found.ok().flatten();
            return Err(error);
        }
        let (pulse, heard) = alive(&self.path).unwrap_or_default();
        // Older than the record, it belongs to an earlier one.
        let newer = |settled: Settled| {
            let known = pulse > settled.at;
            let heard = settled.heard.map(|at| if known { at.max(heard) } else { at });
            Settled { at: settled.at.max(pulse), heard, ..settled }
        };
        Ok(found?.map(newer))
    }

    /// Before anything is done: whatever the module no longer is goes.
    ///
    /// # Errors
    /// It cannot be removed, and would be believed.
    pub fn leave(&mut self, settled: Option<&Settled>) -> Result<(), String> {
        let stays = match (&self.written, settled) {
            (None, _) => return Ok(()),
            (Some(written), Some(settled)) => written.same_as(settled),
            (Some(_), None) => false,
        };
        if !stays {
            files::remove(&self.path).map_err(|error| format!("{error:#}"))?;
            self.written = None;
        }
        Ok(())
    }

    /// After everything is done: what the module is now. `again`: also if that is written down already.
    pub fn keep(&mut self, settled: Settled, again: bool) {
        let same = self.written.as_ref().is_some_and(|written| written.same_as(&settled));
        if same && (!again || self.stamp(settled.at, settled.heard).is_ok()) {
            return;
        }
        if let Err(error) = files::save_until_boot(&self.path, KIND, &settled) {
            // The next agent starts the module anew, as after a crash of both.
            tracing::warn!("{error:#}");
            return;
        }
        self.written = Some(settled);
    }

    fn stamp(&mut self, at: Instant, heard: Option<Instant>) -> std::io::Result<()> {
        let alive = match self.alive.take() {
            Some(alive) => alive,
            None => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(false).mode(0o600).open(alive_path(&self.path))?
            }
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&at.0.to_le_bytes());
        bytes[8..].copy_from_slice(&heard.unwrap_or_default().0.to_le_bytes());
        alive.write_all_at(&bytes, 0)?;
        self.alive = Some(alive);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_on_record_until_it_is_stopped_and_means_nothing_after_a_boot() {
        let folder = tempfile::tempdir().unwrap();
        let next = |boot| Record::of(folder.path(), "bank").unfinished(boot);
        let mut record = Record::of(folder.path(), "bank");
        assert!(!record.unfinished(7));
        record.note_stopped(true, 7);
        assert!(!next(7));
        record.note_stopped(false, 7);
        assert!(next(7) && !next(8));
        let mut successor = Record::of(folder.path(), "bank");
        assert!(successor.unfinished(7));
        successor.note_stopped(false, 7);
        assert!(next(7), "still running");
        successor.note_stopped(true, 7);
        assert!(!next(7));
    }

    #[test]
    fn a_pulse_is_written_in_place_and_means_nothing_without_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::of(folder.path(), "bank");
        assert!(record.take().unwrap().is_none());
        record.stamp(Instant(7), None).unwrap();
        record.stamp(Instant(9), Some(Instant(8))).unwrap();
        let read = std::fs::read(folder.path().join("bank.alive")).unwrap();
        assert_eq!(read, [9u64.to_le_bytes(), 8u64.to_le_bytes()].concat());
        assert!(record.take().unwrap().is_none(), "without a record there is nothing to go on with");
    }
}
