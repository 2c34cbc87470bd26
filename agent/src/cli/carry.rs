//! Carries a command out: asks the agent, shows its answer, gives the exit code.

use super::verbs::{Cluster, Control, MaybeModule, Module, Verb};
use super::{
    DONE, UNKNOWN, actor, checks, data, done, logs, members, packages, remote, show, states, tend, unexpected, waits,
};
use crate::control::client::Client;
use crate::control::{Answer, Request};
use anyhow::{Context, Result, anyhow, bail};
use holdfast_api::config::ClusterConfig;
use holdfast_api::state::ModuleState;
use holdfast_core::input::ModuleCommand;
use std::io::{Write, stdout};
use std::path::Path;

/// Carries out one command on the node that `client` asks; its exit code.
pub(super) fn verb(client: &mut Client, verb: Verb) -> Result<u8> {
    match verb {
        Verb::State { module, quiet: true, .. } => return state_code(client, module.module),
        Verb::State { module, verbose, json, .. } => state(client, module.module, verbose, json)?,
        Verb::Checks(verb) => checks::run(client, verb)?,
        Verb::Waits(verb) => return waits::run(client, verb),
        Verb::Logs(verb) => logs::run(client, verb)?,
        Verb::Tend(verb) => return tend::run(client, verb),
        Verb::Data(verb) => return data::run(client, verb),
        Verb::Start(control) => command(client, control, ModuleCommand::Start)?,
        Verb::Stop(control) => command(client, control, ModuleCommand::Stop)?,
        Verb::Forcestop(control) => command(client, control, ModuleCommand::ForceStop)?,
        Verb::Restart(control) => command(client, control, ModuleCommand::Restart)?,
        Verb::Stopstart(control) => command(client, control, ModuleCommand::StopStart)?,
        Verb::Swap(control) => command(client, control, ModuleCommand::Swap)?,
        Verb::Prim { control, sync: None } => command(client, control, ModuleCommand::Prim)?,
        Verb::Prim { control, .. } => command(client, control, ModuleCommand::PrimFullSync)?,
        Verb::Primforce(control) => command(client, control, ModuleCommand::PrimForce)?,
        Verb::Second { control, sync: None } => command(client, control, ModuleCommand::Second)?,
        Verb::Second { control, .. } => command(client, control, ModuleCommand::SecondFullSync)?,
        // A copy that is equal costs only its reading; one that is trusted to be equal could be another.
        Verb::Secondforce { control, .. } => command(client, control, ModuleCommand::SecondFullSync)?,
        Verb::Failover { module, value } => {
            let kind = if value == "on" { ModuleCommand::FailoverOn } else { ModuleCommand::FailoverOff };
            command(client, Control { module, identity: None }, kind)?;
        }
        Verb::Boot { module, value, json } => boot(client, module, &value, json)?,
        Verb::Printi { module, text } => print(client, module, false, &text)?,
        Verb::Printe { module, text } => print(client, module, true, &text)?,
        Verb::Pairing { reopen, json } => match client.ask(Request::Pairing { reopen })? {
            Answer::Pairing { status, node, fingerprint } => show::pairing(&status, &node, &fingerprint, json)?,
            other => return Err(unexpected(other)),
        },
        Verb::Key => done(client.ask(Request::Key)?)?,
        Verb::Cluster(verb) => cluster(client, verb)?,
        Verb::Module(verb) => packages::run(client, verb)?,
        Verb::Config(module) => done(client.ask(Request::ModuleConfigure { module: module.module })?)?,
        Verb::Deconfig(module) => done(client.ask(Request::ModuleRemove { module: module.module })?)?,
        Verb::Confcheck(module) => done(client.ask(Request::ModuleCheck { module: module.module })?)?,
        Verb::Confinfo { module, json } => match client.ask(Request::ModuleInfo { module: module.module })? {
            Answer::ModuleInfo(info) if json => show::json(&info)?,
            Answer::ModuleInfo(info) => members::module_info(&info)?,
            other => return Err(unexpected(other)),
        },
        Verb::VerifyPaths { paths, json } => match client.ask(Request::VerifyPaths { paths })? {
            Answer::Paths { paths } if json => show::json(&paths)?,
            Answer::Paths { paths } => show::paths(&paths)?,
            other => return Err(unexpected(other)),
        },
    }
    Ok(DONE)
}

fn state(client: &mut Client, module: Option<String>, verbose: bool, json: bool) -> Result<()> {
    let single = module.is_some();
    let modules = states(client, module)?;
    match (json, single) {
        (true, true) => show::json(modules.first().context("no such module")?),
        (true, false) => show::json(&modules),
        (false, _) => {
            show::states(&modules)?;
            show::scrubs(&modules)?;
            if !verbose {
                return Ok(());
            }
            show::resources(&modules)?;
            modules.iter().try_for_each(|report| told_state(client, &report.module))
        }
    }
}

/// What a module's own `state` script says. One that is not configured well enough to run has said so in its row.
fn told_state(client: &mut Client, module: &str) -> Result<()> {
    match client.ask(Request::ToldState { module: module.to_owned() })? {
        Answer::Done { text } if !text.is_empty() => Ok(writeln!(stdout(), "\n{module}: {}", text.trim_end())?),
        Answer::Done { .. } | Answer::Refused { .. } => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn cluster(client: &mut Client, verb: Cluster) -> Result<()> {
    match verb {
        Cluster::Config { file } => done(client.ask(Request::ClusterConfigure { config: cluster_file(&file)? })?),
        Cluster::Confcheck { file } => done(client.ask(Request::ClusterCheck { config: cluster_file(&file)? })?),
        Cluster::Deconfig => done(client.ask(Request::ClusterLeave)?),
        Cluster::Show => match client.ask(Request::Cluster)? {
            Answer::Cluster { config: Some(config) } => show::json(&config),
            Answer::Cluster { config: None } => Err(anyhow!("no cluster configuration is held")),
            other => Err(unexpected(other)),
        },
        Cluster::State { json: true } => show::json(&remote::members(client)?),
        Cluster::State { json: false } => members::states(&remote::members(client)?),
        Cluster::Confinfo { json: true } => show::json(&members::configurations(&remote::members(client)?)),
        Cluster::Confinfo { json: false } => members::confinfo(&remote::members(client)?),
    }
}

fn cluster_file(file: &Path) -> Result<ClusterConfig> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.trim_ascii_start().starts_with(b"<") || bytes.starts_with(b"PK") {
        bail!(
            "{} is a cluster.xml or a zip of another product, which has no keys of these nodes: enter the nodes in the \
             console, or write them as JSON (`holdfast cluster show` prints one)",
            file.display()
        );
    }
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not a cluster configuration", file.display()))
}

fn command(client: &mut Client, control: Control, kind: ModuleCommand) -> Result<()> {
    let counted = control.identity.is_some();
    let actor = actor(control.identity.as_deref());
    done(client.ask_as(actor, Request::Command { module: control.module.module, kind, counted })?)
}

fn print(client: &mut Client, module: Module, error: bool, text: &[String]) -> Result<()> {
    done(client.ask(Request::Print { module: module.module, error, text: text.join(" ") })?)
}

/// Prints the state of one module; its number is the exit code, as scripts of other products count them.
fn state_code(client: &mut Client, module: Option<String>) -> Result<u8> {
    let name = module.map_or_else(|| Err(anyhow!("-q is about one module: -m NAME")), Ok);
    let found = name.and_then(|name| states(client, Some(name)));
    let report = match found.map(|found| found.into_iter().next()) {
        Ok(Some(report)) => report,
        Ok(None) => bail!("the agent answered with no module: use the same version"),
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            return Ok(UNKNOWN);
        }
    };
    writeln!(stdout(), "{}", report.state)?;
    Ok(code_of_state(report.state))
}

fn code_of_state(state: ModuleState) -> u8 {
    match state {
        ModuleState::Stop => 0,
        ModuleState::Wait => 1,
        ModuleState::Alone | ModuleState::Up => 2,
        ModuleState::Prim => 3,
        ModuleState::Second => 4,
    }
}

fn boot(client: &mut Client, module: MaybeModule, value: &str, json: bool) -> Result<()> {
    let kind = match value {
        "on" => ModuleCommand::BootOn,
        "auto" => ModuleCommand::BootAuto,
        "off" => ModuleCommand::BootOff,
        _ => return show::boot(&states(client, module.module)?, json),
    };
    let module = Module { module: module.module.with_context(|| format!("of which module? -m NAME boot {value}"))? };
    command(client, Control { module, identity: None }, kind)
}
