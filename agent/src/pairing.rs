//! The pairing code: shown on the node, typed in the console; three wrong guesses close it until it is reopened here.

use holdfast_api::enrol::ATTEMPTS_MAX;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Without 0, 1, I and O, which people confuse.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const LENGTH: usize = 8;

/// Whether and how this node can be enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "pairing", rename_all = "lowercase")]
pub enum PairingStatus {
    /// Port 9001 answers.
    Open {
        /// What to type in the console.
        code: String,
        /// Wrong guesses left.
        attempts_left: u32,
    },
    /// Closed after wrong guesses; `holdfast pairing --reopen` opens it with a new code.
    Closed,
    /// The node is enrolled; `--reopen` allows another enrolment.
    Enrolled,
}

/// The pairing of this node.
#[derive(Debug)]
pub struct Pairing {
    status: Mutex<PairingStatus>,
    changes: watch::Sender<()>,
}

fn open() -> PairingStatus {
    let mut random = [0; LENGTH];
    // Fails only before the kernel's generator is seeded.
    while getrandom::fill(&mut random).is_err() {}
    let letters: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    PairingStatus::Open { code: format!("{}-{}", &letters[..4], &letters[4..]), attempts_left: ATTEMPTS_MAX }
}

impl Pairing {
    /// Open, unless the node is enrolled.
    pub fn new(enrolled: bool) -> Self {
        let status = if enrolled { PairingStatus::Enrolled } else { open() };
        Self { status: Mutex::new(status), changes: watch::channel(()).0 }
    }

    fn lock(&self) -> MutexGuard<'_, PairingStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, status: PairingStatus) {
        *self.lock() = status;
        self.changes.send_replace(());
    }

    /// How it stands.
    pub fn status(&self) -> PairingStatus {
        self.lock().clone()
    }

    /// Opens it with a new code.
    pub fn reopen(&self) {
        self.set(open());
    }

    /// The node has left its cluster.
    pub fn left(&self) {
        self.set(open());
    }

    /// The node is enrolled.
    pub fn done(&self) {
        self.set(PairingStatus::Enrolled);
    }

    /// Counts a guess, before it is known whether it is right; gives the code if one is left.
    pub fn guess(&self) -> Option<String> {
        let mut status = self.lock();
        let PairingStatus::Open { code, attempts_left } = &mut *status else {
            return None;
        };
        let code = code.clone();
        *attempts_left -= 1;
        if *attempts_left == 0 {
            *status = PairingStatus::Closed;
        }
        drop(status);
        self.changes.send_replace(());
        Some(code)
    }

    /// Guesses left; 0 when closed.
    pub fn attempts_left(&self) -> u32 {
        match self.status() {
            PairingStatus::Open { attempts_left, .. } => attempts_left,
            _ => 0,
        }
    }

    /// Wakes at each change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pairing, PairingStatus};

    #[test]
    fn three_guesses_close_it_until_it_is_reopened() {
        let pairing = Pairing::new(false);
        let first = pairing.guess();
        assert!(first.as_ref().is_some_and(|code| code.len() == 9));
        assert_eq!(pairing.guess(), first);
        assert_eq!(pairing.attempts_left(), 1);
        assert_eq!(pairing.guess(), first);
        assert_eq!(pairing.guess(), None);
        assert_eq!(pairing.status(), PairingStatus::Closed);
        pairing.reopen();
        assert_ne!(pairing.guess(), first);
        pairing.done();
        assert_eq!(pairing.guess(), None);
    }
}
