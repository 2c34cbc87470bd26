//! Looking at the directories before anything is mounted: are they there, and what do they hold?

use super::{Replica, Role};
use crate::front::Inodes;
use crate::inspect::{Count, Uncovered};
use crate::stream::Events;
use holdfast_core::replica::ReplicaEvent;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time between two looks for a path that must be there.
const LOOK: Duration = Duration::from_millis(500);

impl Replica {
    /// Counts what is there, once every path that must be there is. While nothing is mounted the paths may come to lead
    /// elsewhere (another disk, a new directory): the handles are taken when the directories are first used.
    pub(super) fn inspect(&mut self) -> Result<(), String> {
        let handles = if self.role == Role::Idle { None } else { Some(self.handles()?) };
        self.handles.clone_from(&handles);
        self.looking.store(false, Ordering::Release);
        self.looking = Arc::new(AtomicBool::new(true));
        let (looking, events, filter) = (self.looking.clone(), self.events.clone(), self.filter.clone());
        let (directories, required) = (self.configure.directories.clone(), self.configure.required.clone());
        let before = self.configure.covered.clone();
        std::thread::spawn(move || {
            let handles = match handles {
                Some(handles) => Ok(handles),
                None if !await_paths(&required, &looking, &events) => return,
                None => Inodes::open_filtered(&directories, filter),
            };
            match handles {
                Ok(handles) => {
                    let roots: Vec<_> = (0..).map_while(|index| handles.directory_fd(index)).collect();
                    let uncovered = before.map(|before| Uncovered::new(&before, &directories)).transpose();
                    let inspected = uncovered.map(|uncovered| {
                        let count = Count::beside(uncovered);
                        let inventory = count.run(&roots, handles.filter());
                        ReplicaEvent::Inspected { inventory, uncovered: count.uncovered_so_far() }
                    });
                    events(inspected.unwrap_or_else(|reason| ReplicaEvent::Failed { reason }));
                }
                Err(error) => events(ReplicaEvent::Failed { reason: error.to_string() }),
            }
        });
        Ok(())
    }
}

/// The first of these paths that is not there. One that cannot be looked at (a dead mount covers it) is not missing.
pub(super) fn missing(required: &[PathBuf]) -> Option<&Path> {
    let gone = |path: &&PathBuf| {
        let found = std::fs::symlink_metadata(path);
        found.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    };
    required.iter().find(gone).map(PathBuf::as_path)
}

/// Waits until all are there, telling each that is missed; `false` when nobody waits for that any more.
fn await_paths(required: &[PathBuf], looking: &AtomicBool, events: &Events) -> bool {
    let mut told = None;
    while let Some(path) = missing(required) {
        if told.as_deref() != Some(path) {
            told = Some(path.to_owned());
            events(ReplicaEvent::Missing { path: path.display().to_string() });
        }
        std::thread::sleep(LOOK);
        if !looking.load(Ordering::Acquire) {
            return false;
        }
    }
    true
}
