//! Waiting until a module is in a state, with a time limit.

use super::verbs::Module;
use super::{DONE, LATE, states};
use crate::control::client::Client;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use holdfast_api::agent::NodeModuleReport;
use holdfast_api::state::{ModuleState, Readiness};
use std::time::{Duration, Instant};

/// Time between two looks at a state that is waited for.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Wait until a module is started: ALONE, PRIM, SECOND or UP, and Ready.
    ///
    /// Exit code 4 if it is not so in time.
    Waitstart(Limits),
    /// Wait until a module is stopped.
    ///
    /// Exit code 4 if it is not so in time.
    Waitstop(Limits),
    /// Wait until a module is in a state, Ready (STOP: stopped; WAIT: also while it waits).
    ///
    /// Exit code 4 if it is not so in time.
    Waitstate {
        #[command(flatten)]
        limits: Limits,
        /// The state.
        #[arg(ignore_case = true)]
        state: State,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct Limits {
    #[command(flatten)]
    module: Module,
    /// Seconds to wait at most.
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS")]
    timeout: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(super) enum State {
    Stop,
    Wait,
    Alone,
    Prim,
    Second,
    Up,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any state with a role, Ready.
    Started,
    /// One state.
    State(State),
}

impl Wanted {
    fn holds(self, state: ModuleState, readiness: Readiness) -> bool {
        let ready = readiness == Readiness::Ready;
        match self {
            Self::Started => ready && !matches!(state, ModuleState::Stop | ModuleState::Wait),
            Self::State(State::Stop) => state == ModuleState::Stop,
            Self::State(State::Wait) => state == ModuleState::Wait,
            Self::State(State::Alone) => ready && state == ModuleState::Alone,
            Self::State(State::Prim) => ready && state == ModuleState::Prim,
            Self::State(State::Second) => ready && state == ModuleState::Second,
            Self::State(State::Up) => ready && state == ModuleState::Up,
        }
    }
}

/// Carries a wait out; its exit code.
pub(super) fn run(client: &mut Client, verb: Verb) -> Result<u8> {
    let (limits, wanted) = match verb {
        Verb::Waitstart(limits) => (limits, Wanted::Started),
        Verb::Waitstop(limits) => (limits, Wanted::State(State::Stop)),
        Verb::Waitstate { limits, state } => (limits, Wanted::State(state)),
    };
    wait(client, &limits.module.module, wanted, limits.timeout)
}

/// Waits; [`LATE`] if it was not so in time, and standard error says what the module waits for.
pub(super) fn wait(client: &mut Client, module: &str, wanted: Wanted, timeout_s: f64) -> Result<u8> {
    let limit = Duration::try_from_secs_f64(timeout_s).context("--timeout is not a number of seconds")?;
    let end = Instant::now() + limit;
    loop {
        let modules = states(client, Some(module.to_owned()))?;
        let report = modules.first().context("the agent answered with no module: use the same version")?;
        if wanted.holds(report.state, report.readiness) {
            return Ok(DONE);
        }
        if Instant::now() >= end {
            eprintln!("holdfast: {}", late(report, timeout_s));
            return Ok(LATE);
        }
        std::thread::sleep(LOOK_PERIOD);
    }
}

fn late(report: &NodeModuleReport, timeout_s: f64) -> String {
    let waiting = report.waiting_for.as_deref().unwrap_or(&report.detail);
    format!("{} is {} {} after {timeout_s} s: {waiting}", report.module, report.state, report.readiness)
}

#[cfg(test)]
mod tests {
    use super::{State, Wanted};
    use holdfast_api::state::{ModuleState, Readiness};

    #[test]
    fn a_state_counts_once_it_is_ready_except_stop_and_wait() {
        let (ready, transient, not) = (Readiness::Ready, Readiness::Transient, Readiness::NotReady);
        for state in [ModuleState::Alone, ModuleState::Prim, ModuleState::Second, ModuleState::Up] {
            assert!(Wanted::Started.holds(state, ready) && !Wanted::Started.holds(state, transient));
        }
        assert!(!Wanted::Started.holds(ModuleState::Wait, not));
        assert!(Wanted::State(State::Wait).holds(ModuleState::Wait, transient));
        assert!(Wanted::State(State::Stop).holds(ModuleState::Stop, not));
        assert!(!Wanted::State(State::Prim).holds(ModuleState::Alone, ready));
    }
}
