//! Slows down guessing: after some wrong guesses each further one has to wait, twice as long each time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Keys remembered at most; when full, the oldest go.
const KEYS_MAX: usize = 10_000;
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Wrong guesses are forgotten after this long without another.
const FORGET: Duration = Duration::from_secs(900);

/// Wrong guesses by key (an address, a user).
#[derive(Debug)]
pub struct Limiter<K> {
    free: u32,
    failures: HashMap<K, (u32, Instant)>,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// `free`: wrong guesses that cost nothing.
    pub fn new(free: u32) -> Self {
        Self { free, failures: HashMap::new() }
    }

    /// How long `key` has to wait from `now`; zero: it may guess.
    pub fn wait(&self, now: Instant, key: &K) -> Duration {
        let Some((count, last)) = self.failures.get(key) else {
            return Duration::ZERO;
        };
        if *count < self.free || now.saturating_duration_since(*last) >= FORGET {
            return Duration::ZERO;
        }
        let doubled = Duration::from_secs(1 << (count - self.free).min(16));
        (*last + doubled.min(WAIT_MAX)).saturating_duration_since(now)
    }

    /// Counts a wrong guess.
    pub fn failed(&mut self, now: Instant, key: K) {
        if self.failures.len() >= KEYS_MAX && !self.failures.contains_key(&key) {
            self.failures.retain(|_, (_, last)| now.saturating_duration_since(*last) < FORGET);
            if self.failures.len() >= KEYS_MAX {
                let oldest = self.failures.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone());
                oldest.map(|key| self.failures.remove(&key));
            }
        }
        let entry = self.failures.entry(key).or_insert((0, now));
        let forgotten = now.saturating_duration_since(entry.1) >= FORGET;
        *entry = (if forgotten { 1 } else { entry.0.saturating_add(1) }, now);
    }

    /// Forgets the wrong guesses of `key`.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_guesses_are_free_then_each_waits_twice_as_long() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(2));
        limiter.failed(start, 1);
        assert_eq!(limiter.wait(start, &1), Duration::ZERO);
        limiter.failed(start, 1);
        assert_eq!(limiter.wait(start, &1), Duration::from_secs(1));
        limiter.failed(start, 1);
        assert_eq!(limiter.wait(start, &1), Duration::from_secs(2));
        assert_eq!(limiter.wait(start + Duration::from_secs(2), &1), Duration::ZERO);
        assert_eq!(limiter.wait(start, &2), Duration::ZERO);
        for _ in 0..100 {
            limiter.failed(start, 1);
        }
        assert_eq!(limiter.wait(start, &1), WAIT_MAX);
        limiter.succeeded(&1);
        assert_eq!(limiter.wait(start, &1), Duration::ZERO);
    }

    #[test]
    fn a_flood_of_keys_does_not_grow_memory() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(2));
        for key in 0..KEYS_MAX + 50 {
            limiter.failed(start, key);
        }
        assert_eq!(limiter.failures.len(), KEYS_MAX);
    }
}
