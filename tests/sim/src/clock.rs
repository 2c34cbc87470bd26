//! Simulated time, the queue of what happens next, and the only source of chance.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;

/// A small deterministic generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(0x1234_5678_9abc_def1))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `range`, both ends included.
    pub fn within(&mut self, range: (u64, u64)) -> u64 {
        range.0 + self.draw() % (range.1 - range.0 + 1)
    }

    /// True in `permille` of 1000 cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.draw() % 1000 < permille
    }

    /// 0 or 1.
    pub fn coin(&mut self) -> usize {
        (self.draw() % 2) as usize
    }
}

/// Events in the order of their time; those of the same time in the order in which they were put in.
#[derive(Debug)]
pub struct Schedule<E> {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, E>,
    count: u64,
    now: u64,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: BTreeMap::new(), count: 0, now: 0 }
    }
}

impl<E> Schedule<E> {
    /// Simulated milliseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// When the next event happens, if there is one.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Lets time pass to `now`, before which nothing happens.
    pub fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// `event` happens in `delay_ms`.
    pub fn after(&mut self, delay_ms: u64, event: E) {
        self.at(self.now + delay_ms, event);
    }

    /// `event` happens at `at` (or now, if that has passed).
    pub fn at(&mut self, at: u64, event: E) {
        self.count += 1;
        self.heap.push(Reverse((at.max(self.now), self.count)));
        self.events.insert(self.count, event);
    }

    /// Takes the next event that is not later than `until`, and moves the clock to it.
    pub fn pop(&mut self, until: u64) -> Option<E> {
        let Reverse((at, _)) = *self.heap.peek()?;
        if at > until {
            self.now = until;
            return None;
        }
        let Reverse((at, number)) = self.heap.pop()?;
        self.now = at;
        self.events.remove(&number)
    }
}
