//! The module's scripts: how long they take and how they end.

use super::clock::Rng;
use super::options::Options;
use holdfast_core::input::ScriptOutcome;
use holdfast_core::output::Script;

/// A script that runs.
#[derive(Clone, Debug)]
pub struct Run {
    /// Number of the run.
    pub run: u64,
    /// Which script.
    pub script: Script,
}

/// How long a script will take, in milliseconds, and how it will end.
pub fn draw(rng: &mut Rng, options: &Options) -> (u64, ScriptOutcome) {
    let took = rng.within(options.script_ms);
    if !rng.chance(options.script_fails) {
        return (took, ScriptOutcome::Exited(0));
    }
    let outcome = match rng.draw() % 4 {
        0 => ScriptOutcome::Exited(1),
        1 => ScriptOutcome::Signalled(11),
        2 => ScriptOutcome::TimedOut,
        _ => ScriptOutcome::NotStarted,
    };
    (took, outcome)
}
