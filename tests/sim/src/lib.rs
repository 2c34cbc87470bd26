//! The simulator: two real `Node`s in a modelled world of networks, disks, data planes, scripts and operators.
//!
//! One seed draws the options of a run and every event in it; time is simulated. Phase one injects faults and checks the
//! safety rules after every event, phase two heals everything and demands that the cluster comes to PRIM and SECOND.
//! What the world may do to a node is written down in [`options`]; what must hold in [`oracle`].

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

pub use cluster::{Cluster, Report};
pub use options::Options;

use holdfast_core::settings::BrokenRules;

/// Runs one seed. With `verbose` every step is kept in [`Report::log`].
pub fn run_seed(seed: u64, verbose: bool) -> Report {
    run_with(Options::from_seed(seed, BrokenRules::default()), verbose)
}

/// Runs one set of options.
pub fn run_with(options: Options, verbose: bool) -> Report {
    Cluster::new(options, verbose).run()
}

/// Runs `count` seeds from `from` on and returns the reports of those that failed (at most `failures_max`).
pub fn run_many(from: u64, count: u64, broken: BrokenRules, failures_max: usize) -> (Totals, Vec<Report>) {
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    for seed in from..from.saturating_add(count) {
        let report = run_with(Options::from_seed(seed, broken), false);
        totals.add(&report);
        if report.violation.is_some() {
            failures.push(report);
            if failures.len() >= failures_max {
                break;
            }
        }
    }
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
    /// Faults injected.
    pub faults: u64,
    /// Runs in which two nodes served at once (every link was silent).
    pub split_brains: u64,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.acknowledged += report.acknowledged;
        self.grants += report.grants;
        self.faults += report.faults;
        self.split_brains += u64::from(report.split_brain);
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} seeds, {} steps, {} writes acknowledged, {} grants, {} faults, split brain in {}",
            self.seeds, self.steps, self.acknowledged, self.grants, self.faults, self.split_brains
        )
    }
}
