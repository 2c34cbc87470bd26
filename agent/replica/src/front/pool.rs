//! A few threads for what may take long, so that a reader (of the kernel or of the stream) always comes back to reading.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::lock;

/// Jobs that may wait; a reader that brings one more waits itself.
const WAITING_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    came: Condvar,
    went: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    ended: bool,
}

impl Pool {
    /// Starts `count` threads of this name.
    pub(crate) fn start(name: &str, count: usize) -> std::io::Result<Pool> {
        let shared =
            Arc::new(Shared { state: Mutex::new(State::default()), came: Condvar::new(), went: Condvar::new() });
        let mut threads = Vec::new();
        for number in 0..count {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(Pool { shared, threads: Mutex::new(threads) })
    }

    /// Has `job` done by one of the threads; after the end, by the caller.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.shared.state);
        while state.waiting.len() >= WAITING_MAX && !state.ended {
            state = self.shared.went.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended {
            drop(state);
            return job();
        }
        state.waiting.push_back(Box::new(job));
        drop(state);
        self.shared.came.notify_one();
    }

    /// No more jobs: the threads do what waits, then end. Answers them for joining.
    pub(crate) fn end(&self) -> Vec<JoinHandle<()>> {
        lock(&self.shared.state).ended = true;
        self.shared.came.notify_all();
        self.shared.went.notify_all();
        std::mem::take(&mut *lock(&self.threads))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut state = lock(&self.state);
            let job = loop {
                if let Some(job) = state.waiting.pop_front() {
                    break job;
                }
                if state.ended {
                    return;
                }
                state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            self.went.notify_one();
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a long call failed by a defect");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_job_is_done_before_the_end() {
        let pool = Pool::start("test", 2).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..5000 {
            let done = done.clone();
            pool.run(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        pool.end().into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(done.load(Ordering::Relaxed), 5000);
    }
}
