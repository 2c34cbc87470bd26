//! The record of a settled module in the run folder, for the agent that is started after this one.
//!
//! It goes before anything is done by which the module leaves what it says, and comes back after that. Its age tells how
//! long no agent was there, so it is written again with every pulse.

use crate::files;
use anyhow::Result;
use holdfast_core::settled::{Role, Settled};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const KIND: &str = "settled";
const SIZE_MAX: u64 = 64 * 1024;

/// The record of one module.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    written: Option<Settled>,
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
        Self { path: path(run, module), written: None }
    }

    /// What the last agent left, which nobody else is told again.
    ///
    /// # Errors
    /// It cannot be read, or not be removed: then nothing is to be believed.
    pub fn take(&mut self) -> Result<Option<Settled>> {
        let found = files::load(&self.path, KIND, SIZE_MAX);
        files::remove(&self.path)?;
        found
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
        if !again && self.written.as_ref().is_some_and(|written| written.same_as(&settled)) {
            return;
        }
        if let Err(error) = files::save_until_boot(&self.path, KIND, &settled) {
            // The next agent starts the module anew, as after a crash of both.
            tracing::warn!("{error:#}");
            return;
        }
        self.written = Some(settled);
    }
}
