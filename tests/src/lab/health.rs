//! The health URL, followed: who serves when, and a violation when two nodes do.

use crate::bank::client::{Bank, NodeDoor};
use crate::lab::Lab;
use crate::lab::wait::wait_for;
use anyhow::{Result, bail, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

impl Lab {
    /// Whether the health URL of `number` answers 200.
    pub fn health(&self, number: u8, module: &str) -> bool {
        let bank = self.bank(module);
        bank.is_ready(&bank.doors[usize::from(number) - 1])
    }

    /// Which node serves by its health URL.
    ///
    /// # Errors
    /// Two do, while every link is up.
    pub fn serving(&self, module: &str) -> Result<Option<u8>> {
        let ready = serving(&self.bank(module));
        if ready.len() > 1 && !self.links_are_cut() {
            bail!("VIOLATION: nodes {ready:?} answer 200 at once while every link is up");
        }
        Ok(ready.first().copied())
    }

    /// Waits until node `number` serves by its health URL.
    ///
    /// # Errors
    /// The deadline has passed, or two nodes served at once.
    pub fn wait_serves(&self, number: u8, module: &str, deadline: Duration) -> Result<()> {
        let what = format!("node{number} to serve by its health URL");
        wait_for(&what, deadline, || {
            Ok(match self.serving(module) {
                Ok(Some(found)) if found == number => Some(Ok(())),
                Ok(_) => None,
                Err(violation) => Some(Err(violation)),
            })
        })?
    }

    /// Follows the health URLs of all nodes until told to stop.
    pub fn watch_health(&self, module: &str) -> HealthWatch {
        HealthWatch::start(self.bank(module))
    }
}

/// Numbers of the nodes that answer 200; more than one only if each did so both before and after the others.
fn serving(bank: &Bank) -> Vec<u8> {
    let ready = |doors: &[(u8, &NodeDoor)]| -> Vec<(u8, NodeDoor)> {
        doors.iter().filter(|(_, door)| bank.is_ready(door)).map(|(number, door)| (*number, (*door).clone())).collect()
    };
    let doors: Vec<(u8, &NodeDoor)> = (1..).zip(&bank.doors).collect();
    let first = ready(&doors);
    if first.len() < 2 {
        return first.into_iter().map(|(number, _)| number).collect();
    }
    // The role may have moved between two polls: ask again in the same order, then the answers overlap in time.
    let again: Vec<(u8, &NodeDoor)> = first.iter().map(|(number, door)| (*number, door)).collect();
    ready(&again).into_iter().map(|(number, _)| number).collect()
}

/// A change of who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When the first poll that saw it began, in milliseconds since the watch began.
    pub at_ms: u64,
    /// When the last poll that saw it began.
    pub until_ms: u64,
    /// Nodes that answered 200.
    pub nodes: Vec<u8>,
}

/// Polls in the background.
pub struct HealthWatch {
    began: Instant,
    stop: Arc<AtomicBool>,
    turns: Arc<Mutex<Vec<Turn>>>,
    thread: Option<JoinHandle<()>>,
}

impl HealthWatch {
    fn start(bank: Bank) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(Mutex::new(Vec::<Turn>::new()));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&turns));
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let now = elapsed_ms(began);
                let nodes = serving(&bank);
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                match seen.last_mut() {
                    Some(last) if last.nodes == nodes => last.until_ms = now,
                    _ => seen.push(Turn { at_ms: now, until_ms: now, nodes }),
                }
                drop(seen);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { began, stop, turns, thread: Some(thread) }
    }

    /// Milliseconds since the watch began.
    pub fn now_ms(&self) -> u64 {
        elapsed_ms(self.began)
    }

    /// Stops and gives all changes of who served.
    pub fn finish(mut self) -> Vec<Turn> {
        self.end();
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, what it saw until then still counts.
            let _ = thread.join();
        }
    }
}

impl Drop for HealthWatch {
    fn drop(&mut self) {
        self.end();
    }
}

fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Fails if two nodes served at once before `cut_ms` or after `settled_ms`: between them no link let one know of the other.
///
/// # Errors
/// See above; the text has the whole course.
pub fn demand_single_but_between(turns: &[Turn], cut_ms: u64, settled_ms: u64) -> Result<()> {
    let wrong = |turn: &&Turn| turn.nodes.len() > 1 && (turn.at_ms < cut_ms || turn.until_ms > settled_ms);
    if let Some(turn) = turns.iter().find(wrong) {
        bail!("VIOLATION: {turn:?}, allowed only from {cut_ms} to {settled_ms} ms: {turns:?}");
    }
    ensure!(turns.iter().any(|turn| !turn.nodes.is_empty()), "nobody served: {turns:?}");
    Ok(())
}

/// Fails if two nodes ever served at once, or the nodes that served, one after another, are not `expected`.
///
/// # Errors
/// See above; the text has the whole course.
pub fn demand_turns(turns: &[Turn], expected: &[u8]) -> Result<()> {
    ensure!(turns.iter().all(|turn| turn.nodes.len() < 2), "VIOLATION: two nodes answered 200 at once: {turns:?}");
    let mut served: Vec<u8> = turns.iter().filter_map(|turn| turn.nodes.first().copied()).collect();
    served.dedup();
    ensure!(served == expected, "served by {served:?} one after another, expected {expected:?}: {turns:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(nodes: &[u8]) -> Turn {
        Turn { at_ms: 100, until_ms: 200, nodes: nodes.to_vec() }
    }

    #[test]
    fn two_may_serve_only_while_they_cannot_know_of_each_other() {
        let turns = [turn(&[1]), turn(&[1, 2]), turn(&[1])];
        demand_single_but_between(&turns, 100, 200).unwrap();
        assert!(demand_single_but_between(&turns, 101, 200).is_err());
        assert!(demand_single_but_between(&turns, 100, 199).is_err());
        assert!(demand_single_but_between(&[turn(&[])], 100, 200).is_err());
    }

    #[test]
    fn turns_that_overlap_or_differ_are_refused() {
        demand_turns(&[turn(&[1]), turn(&[]), turn(&[1]), turn(&[]), turn(&[2])], &[1, 2]).unwrap();
        assert!(demand_turns(&[turn(&[1]), turn(&[1, 2])], &[1, 2]).is_err());
        assert!(demand_turns(&[turn(&[1])], &[1, 2]).is_err());
    }
}
