//! The simulator: two real `Node`s in a modelled world of networks, disks, data planes, scripts and operators.
//!
//! One seed draws the options of a run and every event in it; time is simulated. Phase one injects faults and checks the
//! safety rules after every event, phase two heals everything and demands that the cluster comes to PRIM and SECOND.
//! What the world may do to a node is written down in [`options`]; what must hold in [`oracle`].

mod adoption;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod driver;
pub mod faults;
pub mod net;
pub mod operator;
pub mod options;
pub mod oracle;
pub mod replica;
pub mod scenario;
pub mod scripts;
pub mod states;
pub mod witness;

pub use cluster::{Cluster, Report};
pub use options::Options;

use holdfast_core::settings::BrokenRules;
use states::States;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs one seed. With `verbose` every step is kept in [`Report::log`].
pub fn run_seed(seed: u64, verbose: bool) -> Report {
    run_with(Options::from_seed(seed, BrokenRules::default()), verbose)
}

/// Runs one set of options.
pub fn run_with(options: Options, verbose: bool) -> Report {
    Cluster::new(options, verbose).run()
}

/// Seeds that a thread takes at a time.
const BATCH: u64 = 16;

/// Runs `count` seeds from `from` on, on all processors, and returns the reports of those that failed, by seed (once
/// there are `failures_max`, no new seeds are begun).
pub fn run_many(from: u64, count: u64, broken: BrokenRules, failures_max: usize) -> (Totals, Vec<Report>) {
    run_while(from, broken, failures_max, |seed| seed - from < count)
}

/// As [`run_many`], for as long as `wanted` says so of the next seed.
pub fn run_while(
    from: u64,
    broken: BrokenRules,
    failures_max: usize,
    wanted: impl Fn(u64) -> bool + Sync,
) -> (Totals, Vec<Report>) {
    let (next, enough) = (AtomicU64::new(from), AtomicBool::new(false));
    let found = Mutex::new((Totals::default(), States::default(), Vec::new()));
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let reports: Vec<Report> = (first..first + BATCH)
                .take_while(|seed| wanted(*seed))
                .map(|seed| run_with(Options::from_seed(seed, broken), false))
                .collect();
            if reports.is_empty() {
                return;
            }
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            for report in reports {
                found.0.add(&report);
                found.1.extend(&report.states);
                if report.violation.is_some() {
                    found.2.push(report);
                }
            }
            enough.fetch_or(found.2.len() >= failures_max, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (mut totals, states, mut failures) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.states = states.count() as u64;
    failures.sort_by_key(|report| report.seed);
    failures.truncate(failures_max);
    (totals, failures)
}

/// What many runs did, to see that they were not idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Seeds run.
    pub seeds: u64,
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
    /// Runs in which two nodes served at once (every link was silent).
    pub split_brains: u64,
    /// Distinct states of the world reached.
    pub states: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.acknowledged += report.acknowledged;
        self.grants += report.grants;
        self.register_grants += report.register_grants;
        self.faults += report.faults;
        self.split_brains += u64::from(report.split_brain);
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} seeds, {} steps, {} distinct states, {} writes acknowledged, {} grants, {} by registers, {} faults, \
             split brain in {}",
            self.seeds,
            self.steps,
            self.states,
            self.acknowledged,
            self.grants,
            self.register_grants,
            self.faults,
            self.split_brains
        )
    }
}
