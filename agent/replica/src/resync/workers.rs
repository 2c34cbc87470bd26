//! The threads that compare contents: each takes the extent asked for first, and the last one of a file settles it.

use super::Fault;
use super::compare::Pending;
use super::hands::Hands;
use crate::stream::lock;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Whoever waits for the workers looks up after this time, to tell how far they are.
const LOOK: Duration = Duration::from_millis(250);
/// They yield the processor to the threads that serve the application.
const NICE: i32 = 10;

/// What was done since the last look.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Bytes compared.
    pub(super) compared: u64,
    /// Bytes that differed and were sent.
    pub(super) sent: u64,
    /// Files settled of which only parts were compared.
    pub(super) parts: u64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Pending>,
    busy: usize,
    end: bool,
    fault: Option<Fault>,
    news: News,
}

struct Shared {
    hands: Arc<Hands>,
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// Not one can be started.
    pub(super) fn start(hands: &Arc<Hands>, count: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared { hands: hands.clone(), state: Mutex::default(), changed: Condvar::new() });
        let mut workers = Self { shared, threads: Vec::new() };
        for number in 0..count.max(1) {
            let shared = workers.shared.clone();
            match std::thread::Builder::new().name(format!("resync{number}")).spawn(move || shared.work()) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) if workers.threads.is_empty() => return Err(error),
                Err(error) => tracing::warn!(%error, number, "a resync goes on with fewer threads"),
            }
        }
        Ok(workers)
    }

    pub(super) fn push(&self, pending: Pending) {
        lock(&self.shared.state).queue.push_back(pending);
        self.shared.changed.notify_one();
    }

    /// Waits, not for long, until at most `left` extents are not done; what was done, and whether it came to that.
    pub(super) fn wait(&self, left: usize) -> Result<(News, bool), Fault> {
        let over = |state: &State| state.queue.len() + state.busy <= left || state.fault.is_some();
        let state = lock(&self.shared.state);
        let waited = self.shared.changed.wait_timeout_while(state, LOOK, |state| !over(state));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.fault.take() {
            Some(fault) => Err(fault),
            None => Ok((std::mem::take(&mut state.news), over(&state))),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.shared.state);
            state.end = true;
            state.queue.clear();
        }
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of that thread has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        yield_to_others();
        while let Some(pending) = self.next() {
            let done = self.hands.compare(&pending).and_then(|(compared, sent)| {
                let last = pending.job.extent_done();
                if last {
                    self.hands.finish(&pending.job)?;
                }
                Ok(News { compared, sent, parts: u64::from(last && !pending.job.whole) })
            });
            let mut state = lock(&self.state);
            state.busy -= 1;
            match done {
                Ok(News { compared, sent, parts }) => {
                    state.news.compared += compared;
                    state.news.sent += sent;
                    state.news.parts += parts;
                }
                Err(fault) => {
                    state.queue.clear();
                    state.fault.get_or_insert(fault);
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Pending> {
        let state = lock(&self.state);
        let waited = self.changed.wait_while(state, |state| state.queue.is_empty() && !state.end);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let pending = state.queue.pop_front()?;
        state.busy += 1;
        Some(pending)
    }
}

/// The calling thread takes what the others leave of the processor.
pub(super) fn yield_to_others() {
    // On Linux the number of a thread is taken for the thread alone. It may be nice already.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}
