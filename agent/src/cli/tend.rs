//! Looking after a node: what it is and where its things are, repair, support data, the stop of everything.

use super::verbs::{MaybeModule, Module};
use super::waits::{self, State, Wanted};
use super::{DONE, actor, done, healthcheck, show, states, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, Cleaned, LevelReport, Request};
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use holdfast_api::agent::NodeModuleReport;
use holdfast_api::state::ModuleState;
use holdfast_core::input::ModuleCommand;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Show host, operating system and version; of a module also what its own `level` script says.
    Level {
        #[command(flatten)]
        module: MaybeModule,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show SAFE, SAFEVAR and the other folders, as scripts have them in their environment (also `-p`).
    Places {
        #[command(flatten)]
        module: MaybeModule,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Resolve the names of a module anew and run its `update` script; only while it is ALONE or UP.
    Update(Module),
    /// Repair a module: empty its logs, end what its scripts have left running, forget its resources.
    ///
    /// Processes and resources are cleaned only while the module is stopped.
    Clean {
        #[command(flatten)]
        module: Module,
        /// What is cleaned.
        #[arg(default_value = "all")]
        what: What,
    },
    /// Keep the support data of a module as it is now on the node; the last three are in the next snapshot.
    Dump(Module),
    /// Save a support zip: logs, configurations, states, versions, system facts; secrets are masked.
    Snapshot {
        #[command(flatten)]
        module: MaybeModule,
        /// Where to save it.
        file: PathBuf,
    },
    /// Tell what is wrong on this node and in its cluster, test by test: lines of TEST, OK, WARN and ERROR.
    ///
    /// Exit code 1 if there is an ERROR.
    #[command(alias = "healthcheck.sh")]
    Healthcheck,
    /// Stop all modules of the node, and wait until they are stopped.
    ///
    /// Exit code 4 if they are not in time.
    Shutdown {
        /// Seconds to wait at most.
        #[arg(long, default_value_t = 600.0, value_name = "SECONDS")]
        timeout: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Everything below.
    All,
    /// Its module log and its application log.
    Log,
    /// Processes that its scripts have started and that still run.
    Process,
    /// What checkers and scripts have said.
    Resource,
}

impl What {
    fn cleaned(self) -> Vec<Cleaned> {
        match self {
            Self::All => vec![Cleaned::Log, Cleaned::Process, Cleaned::Resource],
            Self::Log => vec![Cleaned::Log],
            Self::Process => vec![Cleaned::Process],
            Self::Resource => vec![Cleaned::Resource],
        }
    }
}

/// Whether the output is for programs.
pub(super) fn for_programs(verb: &Verb) -> bool {
    matches!(verb, Verb::Level { json: true, .. } | Verb::Places { json: true, .. })
}

/// Carries a command out; its exit code.
pub(super) fn run(client: &mut Client, verb: Verb) -> Result<u8> {
    match verb {
        Verb::Level { module, json } => level(client, module.module, json)?,
        Verb::Places { module, json } => places(client, module.module, json)?,
        Verb::Update(module) => done(client.ask(Request::ModuleUpdate { module: module.module })?)?,
        Verb::Clean { module, what } => {
            for part in what.cleaned() {
                done(client.ask(Request::Clean { module: module.module.clone(), part })?)?;
            }
        }
        Verb::Dump(module) => done(client.ask(Request::Dump { module: module.module })?)?,
        Verb::Healthcheck => return healthcheck::run(client),
        Verb::Snapshot { module, file } => snapshot(client, module.module, &file)?,
        Verb::Shutdown { timeout } => return shutdown(client, timeout),
    }
    Ok(DONE)
}

fn level(client: &mut Client, module: Option<String>, json: bool) -> Result<()> {
    let LevelReport { node, host, system, kernel, version, module } = match client.ask(Request::Level { module })? {
        Answer::Level(report) if json => return show::json(&*report),
        Answer::Level(report) => *report,
        other => return Err(unexpected(other)),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    show::table(&[
        row("node", node),
        row("host", host),
        row("system", system),
        row("kernel", kernel),
        row("holdfast", version),
    ])?;
    if let Some(text) = module {
        writeln!(stdout(), "{}", text.trim_end())?;
    }
    Ok(())
}

fn places(client: &mut Client, module: Option<String>, json: bool) -> Result<()> {
    let places = match client.ask(Request::Places { module })? {
        Answer::Places { places } => places,
        other => return Err(unexpected(other)),
    };
    if json {
        return show::json(&places);
    }
    for (name, place) in places {
        writeln!(stdout(), "{name}={place}")?;
    }
    Ok(())
}

fn snapshot(client: &mut Client, module: Option<String>, file: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    let mut answer = client.ask(Request::Snapshot { module })?;
    loop {
        let Answer::Chunk { data, last } = answer else {
            return Err(unexpected(answer));
        };
        bytes.extend(STANDARD.decode(data).context("the answer is not base64")?);
        if last {
            break;
        }
        answer = client.next_answer()?;
    }
    crate::snapshot::save(file, &bytes)?;
    writeln!(stdout(), "{} ({} bytes)", file.display(), bytes.len())?;
    Ok(())
}

/// What is to be stopped, a secondary before all others.
fn running(mut modules: Vec<NodeModuleReport>) -> Vec<String> {
    modules.retain(|module| module.state != ModuleState::Stop);
    modules.sort_by_key(|module| module.state != ModuleState::Second);
    modules.into_iter().map(|module| module.module).collect()
}

fn shutdown(client: &mut Client, timeout_s: f64) -> Result<u8> {
    let names = running(states(client, None)?);
    if names.is_empty() {
        writeln!(stdout(), "every module of the node is stopped")?;
    }
    // All are ordered before one is waited for: their stops run side by side.
    for module in &names {
        let request = Request::Command { module: module.clone(), kind: ModuleCommand::Stop, counted: false };
        done(client.ask_as(actor(None), request)?)?;
    }
    let mut worst = DONE;
    for module in &names {
        worst = worst.max(waits::wait(client, module, Wanted::State(State::Stop), timeout_s)?);
    }
    Ok(worst)
}
