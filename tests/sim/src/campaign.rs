//! Many seeds on all processors: counts, failures, and how far it got.

use crate::options::Options;
use crate::states::States;
use crate::{Report, run_with};
use holdfast_core::settings::BrokenRules;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seeds that a thread takes at a time.
const BATCH: u64 = 16;

/// Which seeds are run, and for how long.
pub struct Campaign<'a> {
    /// The first seed.
    pub from: u64,
    /// Rules broken on purpose.
    pub broken: BrokenRules,
    /// Once so many have failed, no new seeds are begun.
    pub failures_max: usize,
    /// Whether to begin with this seed; the first `false` ends it.
    pub wanted: &'a (dyn Fn(u64) -> bool + Sync),
    /// Told after each `every`: what was done so far. Every seed below `Totals::next` is.
    pub told: &'a (dyn Fn(&Totals) + Sync),
    /// See `told`.
    pub every: Duration,
}

/// Runs `count` seeds from `from` on and returns the reports of those that failed, by seed.
pub fn run_many(from: u64, count: u64, broken: BrokenRules, failures_max: usize) -> (Totals, Vec<Report>) {
    let wanted = |seed: u64| seed - from < count;
    Campaign { from, broken, failures_max, wanted: &wanted, told: &|_| {}, every: Duration::MAX }.run()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    totals: Totals,
    states: States,
    failures: Vec<Report>,
    /// Batches done beyond the first that is not, by their first seed.
    ahead: BTreeSet<u64>,
}

impl Found {
    fn add(&mut self, first: u64, reports: Vec<Report>) {
        self.ahead.insert(first);
        while self.ahead.remove(&self.totals.next) {
            self.totals.next += BATCH;
        }
        for report in reports {
            self.totals.add(&report);
            self.states.extend(&report.states);
            if report.violation.is_some() {
                self.failures.push(report);
            }
        }
        self.totals.states = self.states.count() as u64;
    }
}

impl Campaign<'_> {
    /// Runs it; the reports of the seeds that failed, by seed.
    pub fn run(&self) -> (Totals, Vec<Report>) {
        let (next, enough) = (AtomicU64::new(self.from), AtomicBool::new(false));
        let totals = Totals { next: self.from, ..Totals::default() };
        let found = Mutex::new((Found { totals, ..Found::default() }, Instant::now()));
        let work = || {
            while !enough.load(Ordering::Relaxed) {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                let seeds = (first..first + BATCH).take_while(|seed| (self.wanted)(*seed));
                let reports: Vec<Report> =
                    seeds.map(|seed| run_with(Options::from_seed(seed, self.broken), false)).collect();
                let last = (reports.len() as u64) < BATCH;
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                let (found, told_at) = &mut *found;
                // A batch cut short is run again when the rest is.
                let first = if last { u64::MAX } else { first };
                found.add(first, reports);
                enough.fetch_or(found.failures.len() >= self.failures_max, Ordering::Relaxed);
                if told_at.elapsed() >= self.every {
                    *told_at = Instant::now();
                    (self.told)(&found.totals);
                }
                if last {
                    return;
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let (Found { totals, mut failures, .. }, _) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        failures.sort_by_key(|report| report.seed);
        failures.truncate(self.failures_max);
        (totals, failures)
    }
}

/// What many runs did, to see that they were not idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Every seed below was run.
    pub next: u64,
    /// Seeds run.
    pub seeds: u64,
    /// Modules in them.
    pub modules: u64,
    /// Events handled.
    pub steps: u64,
    /// Writes acknowledged to the application.
    pub acknowledged: u64,
    /// Grants taken.
    pub grants: u64,
    /// Numbers granted by registers.
    pub register_grants: u64,
    /// Faults injected.
    pub faults: u64,
    /// Runs in which two nodes of a module served at once (every link was silent).
    pub split_brains: u64,
    /// Runs in which a rule was broken.
    pub failed: u64,
    /// Distinct states of a module reached: what its two nodes, their disks, data planes, ways and register show.
    pub states: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.modules += report.modules;
        self.steps += report.steps;
        self.acknowledged += report.acknowledged;
        self.grants += report.grants;
        self.register_grants += report.register_grants;
        self.faults += report.faults;
        self.split_brains += u64::from(report.split_brain);
        self.failed += u64::from(report.violation.is_some());
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seeds, modules, steps, states, acknowledged, grants, register_grants, faults, split_brains, .. } =
            self;
        write!(
            f,
            "{seeds} seeds, {modules} modules, {steps} steps, {states} distinct states, {acknowledged} writes \
             acknowledged, {grants} grants, {register_grants} by registers, {faults} faults, split brain in \
             {split_brains}, {} failed",
            self.failed
        )
    }
}
