//! Counts the replicated directories of a module that is stopped, for whoever has to choose the newest data.
//!
//! While a module runs its data plane counts at the start; nothing is mounted over the directories when it is stopped.

use super::Inbox;
use holdfast_core::input::Input;
use holdfast_core::replica::Inventory;
use holdfast_replica::filter::Filter;
use holdfast_replica::inspect::Count;
use rustix::fs::{Mode, OFlags};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Shortest time between two counts.
const PAUSE: Duration = Duration::from_secs(60);
/// A large tree is counted less often, so that counting takes at most this part (one in …) of the time.
const PART: u32 = 20;

/// Counts now and from time to time, until dropped.
#[derive(Debug)]
pub struct Counting(JoinHandle<()>);

impl Counting {
    /// Begins.
    pub fn start(directories: Vec<PathBuf>, filter: Arc<Filter>, inbox: Inbox) -> Self {
        Self(tokio::spawn(run(directories, filter, inbox)))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends the count on its thread when nobody waits for it any more.
struct Ended(Arc<Count>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn run(directories: Vec<PathBuf>, filter: Arc<Filter>, inbox: Inbox) {
    let mut last = None;
    loop {
        let began = Instant::now();
        let (paths, filter, count) = (directories.clone(), filter.clone(), Arc::new(Count::default()));
        let ended = Ended(Arc::clone(&count));
        let Ok(found) = tokio::task::spawn_blocking(move || count_all(&paths, &filter, &count)).await else {
            return;
        };
        drop(ended);
        if found != last
            && let Some(inventory) = found
            && inbox.send(Input::DirectoriesCounted { inventory }).await.is_err()
        {
            return;
        }
        last = found;
        tokio::time::sleep(PAUSE.max(began.elapsed() * PART)).await;
    }
}

/// What is below all of them; `None` if one cannot be opened (the start of the module says why).
fn count_all(directories: &[PathBuf], filter: &Filter, count: &Count) -> Option<Inventory> {
    let open = |path: &PathBuf| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).ok().map(Arc::new)
    };
    let roots: Vec<_> = directories.iter().map(open).collect::<Option<_>>()?;
    Some(count.run(&roots, filter))
}

#[cfg(test)]
mod tests {
    use super::{Counting, Filter, count_all};
    use holdfast_core::input::Input;
    use holdfast_replica::inspect::Count;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn directories_of_a_stopped_module_are_counted_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "hello").unwrap();
        let (inbox, mut counted) = mpsc::channel(1);
        let counting = Counting::start(vec![dir.path().to_owned()], Arc::default(), inbox);
        let Some(Input::DirectoriesCounted { inventory }) = counted.recv().await else {
            panic!("nothing was counted");
        };
        assert_eq!((inventory.entries, inventory.bytes), (1, 5));
        assert!(inventory.changed_unix_ms > 0);
        drop(counting);
        assert!(counted.recv().await.is_none(), "the count goes on");
    }

    #[test]
    fn a_missing_directory_is_not_shown_as_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let directories = [dir.path().to_owned(), dir.path().join("missing")];
        assert_eq!(count_all(&directories, &Filter::default(), &Count::default()), None);
    }
}
