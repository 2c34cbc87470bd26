//! The simulator: real `Node`s of several modules in a modelled world of two or three machines, their networks, disks,
//! data planes, scripts and operators.
//!
//! One seed draws the options of a run and every event in it; time is simulated. Phase one injects faults and checks the
//! safety rules after every event, phase two heals everything and demands that every module comes to PRIM and SECOND (a light one to UP).
//! What the world may do to a node is written down in [`options`]; what must hold in [`oracle`].

mod adoption;
pub mod campaign;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod driver;
pub mod fault;
pub mod faults;
pub mod model;
pub mod net;
pub mod operator;
pub mod options;
pub mod oracle;
pub mod replica;
mod saves;
pub mod scenario;
mod scripts;
pub mod states;
pub mod witness;
pub mod world;

pub use campaign::{Campaign, Totals, run_many};
pub use cluster::Cluster;
pub use options::Options;
pub use world::{Report, World};

use holdfast_core::settings::BrokenRules;

/// Runs one seed. With `verbose` every step is kept in [`Report::log`].
pub fn run_seed(seed: u64, verbose: bool) -> Report {
    run_with(Options::from_seed(seed, BrokenRules::default()), verbose)
}

/// Runs one set of options.
pub fn run_with(options: Options, verbose: bool) -> Report {
    World::new(options, verbose).run()
}
