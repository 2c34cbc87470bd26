//! `cargo xtask watch`: rebuilds the console whenever a source of it changes.

use crate::build_console;
use anyhow::Result;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Polls the modification times of the console's sources, and rebuilds after a change; ends with Ctrl-C.
///
/// # Errors
/// None of its own: a failed build is said and waits for the next change.
pub fn run(root: &Path) -> Result<ExitCode> {
    let places = [root.join("web"), root.join("server/api"), root.join("assets/console")];
    let mut built: Option<SystemTime> = None;
    loop {
        let newest = places.iter().filter_map(|place| newest_change(place)).max();
        if newest != built {
            built = newest;
            match build_console(root, false) {
                Ok(folder) => println!("console built: {}", folder.display()),
                Err(error) => eprintln!("console not built: {error:#}"),
            }
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn newest_change(place: &Path) -> Option<SystemTime> {
    let metadata = std::fs::symlink_metadata(place).ok()?;
    if !metadata.is_dir() {
        return metadata.modified().ok();
    }
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name == "node_modules" || name == "target");
    std::fs::read_dir(place)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !hidden(path))
        .filter_map(|path| newest_change(&path))
        .max()
}
