//! A directory of its own for each test, mounted, with a watchdog: whatever hangs is aborted after a deadline.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::mirror::{Mirror, assert_same_trees};
use super::recording::Recording;
use crate::front::{Front, Inodes, Mode};
use crate::replicate::Replicate;

/// A test that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// A mounted directory.
pub(super) struct Mounted {
    // Dropped in this order: the mount before the directory it covers.
    _done: Sender<()>,
    pub(super) front: Arc<Front>,
    pub(super) inodes: Arc<Inodes>,
    pub(super) recording: Arc<Recording>,
    base: tempfile::TempDir,
}

impl Mounted {
    /// Mounted read-write, everything acknowledged at once and recorded, session 1.
    pub(super) fn new() -> Mounted {
        Mounted::with(|_| {}, 4096)
    }

    /// As [`Mounted::new`], with something in the directory before, and few descriptors.
    pub(super) fn with(fill: impl FnOnce(&Path), descriptors: usize) -> Mounted {
        // Of this test's threads only: what they and the mirror make has the modes they ask for.
        crate::tree::identity::own_umask().unwrap();
        rustix::process::umask(rustix::fs::Mode::empty());
        let base = tempfile::Builder::new().prefix("holdfast-front-").tempdir_in("/tmp").unwrap();
        let path = base.path().join("data");
        std::fs::create_dir(&path).unwrap();
        fill(&path);
        let inodes = Inodes::open_limited(&[path], descriptors, 4096).unwrap();
        let recording = Arc::new(Recording::new(1));
        let replicate: Arc<dyn Replicate> = recording.clone();
        let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &replicate).unwrap());
        let _done = watch(&front);
        Mounted { _done, front, inodes, recording, base }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.base.path().join("data")
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Unmounts and compares the directory with one to which all recorded changes were applied.
    pub(super) fn assert_mirrored(&self) {
        eventually("the mount is free", || self.front.unmount(false).is_ok());
        self.assert_copy_of(&self.recording.changes());
    }

    /// Compares the directory, unmounted, with one to which `changes` were applied.
    pub(super) fn assert_copy_of(&self, changes: &[(crate::op::Op, Vec<u8>)]) {
        let copy = self.base.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        let mut mirror = Mirror::new(&copy);
        for (op, payload) in changes {
            mirror.apply(op, payload);
        }
        assert_same_trees(&self.path(), &copy);
    }
}

/// Aborts the mounts if the returned sender is not dropped in time.
pub(super) fn watch(front: &Arc<Front>) -> Sender<()> {
    let (done, finished) = channel::<()>();
    let front = Arc::downgrade(front);
    std::thread::spawn(move || {
        if finished.recv_timeout(DEADLINE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            && let Some(front) = front.upgrade()
        {
            eprintln!("the test hangs: aborting its mounts");
            let _ = front.unmount(true);
        }
    });
    done
}

/// Polls until `condition` holds.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a shell script in `directory`; its output. Fails with it.
pub(super) fn shell(directory: &Path, script: &str) -> String {
    let output = std::process::Command::new("bash").args(["-euc", script]).current_dir(directory).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {text}");
    text
}
