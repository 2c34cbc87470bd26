//! Finds what was changed while nobody watched: edits made below a replicated directory while it was not mounted.
//!
//! While the directories are mounted every change goes through the front and is named. A *mark* (wall clock, and the
//! clock that never steps) is written each second meanwhile, and once more right before unmounting. After the next mount
//! the tree is walked once, and whatever has a change time (`ctime`, which no program can set) at or after the mark is
//! named: a file by its name; a directory with all its files, and by its name, with everything below, if the directory
//! above was changed as well (then it may have come from elsewhere). A missing or damaged mark, or a clock that was
//! stepped meanwhile: everything. A mount left dead by a process that was killed keeps everybody out: it is a mark itself.
//!
//! What this cannot see: an edit made after a boot, before mounting, while the clock showed a time before the mark.

mod changed;

use super::{Tracker, drop_to_everything};
use crate::stream::lock;
use changed::changed_since;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Time between two marks.
const PERIOD: Duration = Duration::from_secs(1);
/// Change times lag behind the clock by a tick of the kernel at most.
const TICK_NS: i64 = 50_000_000;
/// How far wall clock and the steady one may drift apart before the former counts as stepped.
const STEP_NS: i64 = 1_000_000_000;
/// A moment up to which everything was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    boot: String,
    wall_ns: i64,
    steady_ns: i64,
    /// The look at what had been changed before is over; if not, the mark is that of the time before.
    looked: bool,
}

impl Mark {
    fn now(boot: &str) -> Mark {
        let read = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
        };
        let boot = boot.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        Mark { boot, wall_ns: read(ClockId::Realtime), steady_ns: read(ClockId::Boottime), looked: true }
    }

    fn text(&self) -> String {
        let word = if self.looked { "mark1" } else { "look1" };
        let line = format!("{word} {} {} {}", self.boot, self.wall_ns, self.steady_ns);
        format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()))
    }

    fn parse(text: &str) -> Option<Mark> {
        let (line, sum) = text.lines().next()?.rsplit_once(' ')?;
        if format!("{:08x}", crc32fast::hash(line.as_bytes())) != sum {
            return None;
        }
        let mut words = line.split(' ');
        let mark = match (words.next()?, words.next()?, words.next()?, words.next()?) {
            (word @ ("mark1" | "look1"), boot, wall, steady) => Mark {
                boot: boot.into(),
                wall_ns: wall.parse().ok()?,
                steady_ns: steady.parse().ok()?,
                looked: word == "mark1",
            },
            _ => return None,
        };
        words.next().is_none().then_some(mark)
    }

    /// Change times from which on something may have been changed unseen; `None`: the clock cannot be relied on.
    fn since(&self, now: &Mark) -> Option<i64> {
        let passed = now.wall_ns.checked_sub(self.wall_ns)?;
        let steady = now.steady_ns.checked_sub(self.steady_ns)?;
        let stepped = if now.boot == self.boot { (passed - steady).abs() > STEP_NS } else { passed < 0 };
        (!stepped).then(|| self.wall_ns - TICK_NS)
    }
}

/// A moment at which nobody had changed anything unseen.
pub(crate) struct Moment(Mark);

impl Moment {
    pub(crate) fn now(boot: &str) -> Self {
        Self(Mark::now(boot))
    }
}

/// The mark's file, and whether the look at the tree is over.
#[derive(Debug)]
pub(super) struct Unwatched {
    path: PathBuf,
    boot: String,
    /// Looks under way: of a mount that is gone again, and of the next one, there may be two at once.
    looking: Mutex<usize>,
    looked: Condvar,
    /// What was changed before could not be saved: the mark stays that of the time before, so that the next look finds it.
    unsaved: AtomicBool,
}

impl Unwatched {
    pub(super) fn new(folder: &Path, boot: &str) -> Self {
        let looking = Mutex::new(0);
        Self {
            path: folder.join("track.mark"),
            boot: boot.into(),
            looking,
            looked: Condvar::new(),
            unsaved: AtomicBool::new(false),
        }
    }

    fn write(&self) -> io::Result<()> {
        if self.unsaved.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.save(&Mark::now(&self.boot))
    }

    fn save(&self, mark: &Mark) -> io::Result<()> {
        let file = File::options().write(true).create(true).truncate(false).open(&self.path)?;
        // One write within a sector, shorter than the one before only if filled up.
        let mut text = mark.text().into_bytes();
        text.resize(256, b' ');
        file.write_all_at(&text, 0)
    }

    fn read(&self) -> Option<Mark> {
        Mark::parse(&std::fs::read_to_string(&self.path).ok()?)
    }

    fn begin_look(&self) {
        *lock(&self.looking) += 1;
    }

    fn end_look(&self) {
        *lock(&self.looking) -= 1;
        self.looked.notify_all();
    }

    fn is_looking(&self) -> bool {
        *lock(&self.looking) > 0
    }

    /// Waits until every look at the tree is over.
    pub(super) fn wait(&self) {
        let mut looking = lock(&self.looking);
        while *looking > 0 {
            looking = self.looked.wait(looking).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// While this lives the directories are mounted.
#[derive(Debug)]
pub(crate) struct Watch {
    tracker: Arc<Tracker>,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Tracker {
    /// A mount that a killed process left dead covered every directory at `moment`: nobody had been there until then.
    pub(crate) fn nobody_was_there(&self, moment: &Moment) {
        // The killed process may not have finished its own look.
        if self.unwatched.read().is_none_or(|mark| !mark.looked) {
            return;
        }
        if let Err(error) = self.unwatched.save(&moment.0) {
            tracing::warn!(%error, "the mark of what was watched cannot be written: everything will be compared");
        }
    }

    /// The directories have just been mounted: looks for what was changed before, in the background; what is known is not
    /// told to anybody before that is over.
    pub(crate) fn watch(self: &Arc<Self>) -> Watch {
        self.unwatched.begin_look();
        if let Some(mark) = self.unwatched.read()
            && let Err(error) = self.unwatched.save(&Mark { looked: false, ..mark })
        {
            tracing::warn!(%error, "the mark of what was watched cannot be written: everything will be compared");
            let _ = std::fs::remove_file(&self.unwatched.path);
        }
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (tracker, end) = (self.clone(), ended.clone());
        std::thread::spawn(move || {
            tracker.look_back();
            tracker.unwatched.end_look();
            let mut over = lock(&end.0);
            while !*over {
                // Without a new mark more will be looked at than need be.
                let _ = tracker.unwatched.write();
                over = end.1.wait_timeout(over, PERIOD).unwrap_or_else(PoisonError::into_inner).0;
            }
        });
        Watch { tracker: self.clone(), ended }
    }

    /// Names whatever was changed since the mark.
    fn look_back(&self) {
        let now = Mark::now(&self.unwatched.boot);
        let since = self.unwatched.read().and_then(|mark| mark.since(&now));
        let found = match since {
            _ if lock(&self.state).table.is_everything() => return,
            None => Err(Errno::NODATA),
            Some(since) => changed_since(&self.roots, since),
        };
        let saved = self.change(|state| match found {
            Ok(records) => {
                if !records.is_empty() {
                    tracing::info!(count = records.len(), "changes made while nobody watched will be compared");
                }
                records.into_iter().for_each(|record| state.table.learn(record));
            }
            Err(errno) => {
                tracing::info!(%errno, "what was changed while nobody watched is not known: everything is compared");
                drop_to_everything(state);
            }
        });
        if let Err(error) = saved {
            self.unwatched.unsaved.store(true, Ordering::SeqCst);
            tracing::error!(%error, "what was changed while nobody watched cannot be saved: it is looked for again at the next start");
        }
    }
}

impl Watch {
    /// The directories are about to be unmounted.
    pub(crate) fn end(self) {}
}

impl Drop for Watch {
    fn drop(&mut self) {
        let looking = self.tracker.unwatched.is_looking();
        let mut over = lock(&self.ended.0);
        if !looking && !*over {
            // An older mark only means more to look at.
            let _ = self.tracker.unwatched.write();
        }
        *over = true;
        self.ended.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_damage_is_none() {
        let mark = Mark::now("boot-1");
        let text = mark.text() + "      ";
        assert_eq!(Mark::parse(&text), Some(mark));
        assert_eq!(Mark::parse(&text.replace("boot-1", "boot-2")), None);
        assert_eq!(Mark::parse(""), None);
    }

    #[test]
    fn what_is_known_is_not_told_before_every_look_is_over() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let unwatched = Arc::new(Unwatched::new(folder.path(), "boot"));
        // The first mount was taken away while its look went on; the next one looks as well.
        unwatched.begin_look();
        unwatched.begin_look();
        unwatched.end_look();
        let (told, heard) = std::sync::mpsc::channel();
        let waiting = unwatched.clone();
        let waits = std::thread::spawn(move || {
            waiting.wait();
            told.send(waiting.is_looking()).unwrap();
        });
        assert!(unwatched.is_looking() && heard.try_recv().is_err());
        unwatched.end_look();
        waits.join().unwrap();
        assert!(!heard.recv().unwrap());
    }

    #[test]
    fn a_stepped_clock_gives_no_answer() {
        let mark = |boot: &str, wall_s: i64, steady_s: i64| {
            let (wall_ns, steady_ns) = (wall_s * 1_000_000_000, steady_s * 1_000_000_000);
            Mark { boot: boot.into(), wall_ns, steady_ns, looked: true }
        };
        let then = mark("a", 1000, 10);
        assert_eq!(then.since(&mark("a", 1100, 110)), Some(1000 * 1_000_000_000 - TICK_NS));
        assert_eq!(then.since(&mark("a", 1050, 110)), None);
        assert!(then.since(&mark("b", 1050, 5)).is_some());
        assert_eq!(then.since(&mark("b", 900, 5)), None);
    }
}
