//! Asks an address every few milliseconds for a TCP answer, as a client would, and knows when it was away.

use crate::bank::client::Connect;
use crate::lab::wait::wait_until;
use anyhow::{Result, bail};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One attempt waits this long for its answer.
const ATTEMPT: Duration = Duration::from_millis(5);

/// Asks until dropped.
pub struct Prober {
    answers: Arc<Mutex<Vec<Instant>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Begins to ask. Nothing listens there: a refusal is an answer of a living machine that holds the address.
    pub fn start(connect: Connect, address: SocketAddr) -> Self {
        let answers: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let end = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(&answers), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let answered = match connect(address, ATTEMPT) {
                    Ok(_) => true,
                    Err(error) => error.kind() == ErrorKind::ConnectionRefused,
                };
                if answered {
                    log.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Instant::now());
                    std::thread::sleep(ATTEMPT);
                }
            }
        });
        Self { answers, end, thread: Some(thread) }
    }

    fn answers(&self) -> Vec<Instant> {
        self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Waits for the first answer.
    ///
    /// # Errors
    /// There was none within `patience`.
    pub fn first_answer(&self, patience: Duration) -> Result<()> {
        wait_until("an answer", patience, || Ok(!self.answers().is_empty()))
    }

    /// Waits for the first answer after a gap of at least `gap` that ended after `since`; how long after `since` it came.
    ///
    /// # Errors
    /// There was none within `patience`.
    pub fn back_after(&self, since: Instant, gap: Duration, patience: Duration) -> Result<Duration> {
        while since.elapsed() < patience {
            let answers = self.answers();
            let back = answers.windows(2).find(|pair| pair[1] > since && pair[1] - pair[0] >= gap);
            if let Some(pair) = back {
                return Ok(pair[1] - since);
            }
            std::thread::sleep(ATTEMPT);
        }
        bail!("no answer within {patience:?}")
    }

    /// The longest time without an answer since `since`, counting what has not ended.
    pub fn longest_gap(&self, since: Instant) -> Duration {
        let answers: Vec<Instant> = self.answers().into_iter().filter(|answer| *answer >= since).collect();
        let ends = answers.iter().copied().chain([Instant::now()]);
        let begins = [since].into_iter().chain(answers.iter().copied());
        begins.zip(ends).map(|(begin, end)| end - begin).max().unwrap_or_default()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
