//! Before a diverged copy is overwritten, what differs in it from the survivor's is copied aside; the whole copy, if it fits.
//!
//! A pass of its own, before the first byte is overwritten: the survivor tells what it has, this node compares and copies
//! its own version of every file that differs. The alternative, copying each file when the resync first touches it, would
//! have to know after a crash which files are still old; here a crash leaves either the diverged copy as it was or a
//! complete folder, told by its name: it is made as `….partial`, synced, and renamed last. It also shows beforehand
//! whether everything fits.
//!
//! ```text
//! <state folder>/diverged/<time>-<generation>/manifest.json
//! <state folder>/diverged/<time>-<generation>/files/<absolute path>
//! ```

mod copy;
mod manifest;

pub use manifest::{Entry, FILE, Manifest, count, delete, find, folder, list, tell};

use crate::stream::Local;
use crate::stream::applier::{Applier, Effect};
use crate::survey::Survey;
use crate::tls::Protection;
use holdfast_api::ids::Generation;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most differences set aside: more names than this are not held in memory.
const DIFFERENCES_MAX: usize = 1 << 20;

/// What is to be set aside, and from whom to learn what differs.
pub(crate) struct Job {
    pub(crate) module: String,
    pub(crate) local: Local,
    pub(crate) peer: SocketAddr,
    pub(crate) protection: Protection,
    /// The replicated directories and how to reach them.
    pub(crate) roots: Vec<(PathBuf, Arc<std::os::fd::OwnedFd>)>,
    pub(crate) state_dir: PathBuf,
    /// Generation of the copy here.
    pub(crate) generation: Generation,
    /// Set when nobody waits any more.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Job {
    /// Asked for before each part: an error once nobody waits any more.
    fn goes_on(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Acquire) { Err(io::Error::other("it was ordered otherwise")) } else { Ok(()) }
    }
}

/// What was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// The folder; empty if nothing differed.
    pub(crate) folder: String,
}

/// Compares with the peer's copy and copies aside what differs here.
pub(crate) fn run(job: &Job, mut applier: Applier) -> Result<Aside, String> {
    applier.keep_differences(DIFFERENCES_MAX);
    let mut survey =
        Survey::open(&job.local, job.peer, &job.protection).map_err(|error| format!("asking the primary: {error}"))?;
    loop {
        job.goes_on().map_err(|error| error.to_string())?;
        let message = survey.next().map_err(|error| format!("comparing with the primary: {error}"))?;
        let effect = applier.apply(message, &[]).map_err(|error| error.to_string())?;
        // The answer to the end.
        if matches!(effect, Effect::Reply(_)) {
            break;
        }
    }
    let (differences, overflowed) = applier.take_differences();
    if overflowed {
        return Err(format!("more than {DIFFERENCES_MAX} names differ: save the replicated directories by hand"));
    }
    drop(survey);
    copy::set_aside(job, &differences)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn at(path: &Path) -> impl Fn(io::Error) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
