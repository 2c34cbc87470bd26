//! Carries a command out: asks the agent, shows its answer, gives the exit code.

use super::pieces::{log, save_log, snapshot};
use super::verbs::{Cluster, Control, Module, Package, Verb};
use super::{DONE, LATE, actor, checks, data, done, members, remote, show, states, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, Request};
use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::agent::LogKind;
use holdfast_api::config::ClusterConfig;
use holdfast_api::ids::ModuleId;
use holdfast_core::input::ModuleCommand;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two looks at a state that is waited for.
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Carries out one command on the node that `client` asks; its exit code.
pub(super) fn verb(client: &mut Client, verb: Verb) -> Result<u8> {
    match verb {
        Verb::State { module, verbose, json } => state(client, module.module, verbose, json)?,
        Verb::Checks(verb) => checks::run(client, verb)?,
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
        Verb::Failover { module, value } => {
            let kind = if value == "on" { ModuleCommand::FailoverOn } else { ModuleCommand::FailoverOff };
            command(client, Control { module, identity: None }, kind)?;
        }
        Verb::Boot { module, value } => {
            let kind = match value.as_str() {
                "on" => ModuleCommand::BootOn,
                "auto" => ModuleCommand::BootAuto,
                _ => ModuleCommand::BootOff,
            };
            command(client, Control { module, identity: None }, kind)?;
        }
        Verb::Waitstate { module, state, timeout } => return wait_state(client, &module.module, &state, timeout),
        Verb::Log { module, lines, app, follow, json, save } => {
            let which = if app { LogKind::Application } else { LogKind::Module };
            match save {
                Some(file) => save_log(client, &module.module, which, &file)?,
                None => log(client, &module.module, which, lines, follow, json)?,
            }
        }
        Verb::Printi { module, text } => print(client, module, false, &text)?,
        Verb::Printe { module, text } => print(client, module, true, &text)?,
        Verb::Pairing { reopen, json } => match client.ask(Request::Pairing { reopen })? {
            Answer::Pairing { status, node, fingerprint } => show::pairing(&status, &node, &fingerprint, json)?,
            other => return Err(unexpected(other)),
        },
        Verb::Key => done(client.ask(Request::Key)?)?,
        Verb::Snapshot { module, file } => snapshot(client, module.module, &file)?,
        Verb::Cluster(verb) => cluster(client, verb)?,
        Verb::Module(verb) => package(client, verb)?,
        Verb::Config(module) => done(client.ask(Request::ModuleConfigure { module: module.module })?)?,
        Verb::Confcheck(module) => done(client.ask(Request::ModuleCheck { module: module.module })?)?,
        Verb::Confinfo { module, json } => match client.ask(Request::ModuleInfo { module: module.module })? {
            Answer::ModuleInfo(info) if json => show::json(&info)?,
            Answer::ModuleInfo(info) => members::module_info(&info)?,
            other => return Err(unexpected(other)),
        },
        Verb::Cmdlog { lines, json } => match client.ask(Request::CommandLog { from: None, limit: lines })? {
            Answer::Log { page } => show::log(&page, json)?,
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
            if verbose { show::resources(&modules) } else { Ok(()) }
        }
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
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not a cluster configuration", file.display()))
}

fn package(client: &mut Client, verb: Package) -> Result<()> {
    match verb {
        Package::Install { module, id, file } => {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let (package, module) = (STANDARD.encode(bytes), module.module);
            done(client.ask(Request::ModuleInstall { module, id: id.map(ModuleId), package })?)
        }
        Package::List { json } => match client.ask(Request::ModuleList)? {
            Answer::Modules { modules } if json => show::json(&modules),
            Answer::Modules { modules } => show::modules(&modules),
            other => Err(unexpected(other)),
        },
        Package::Uninstall(module) => done(client.ask(Request::ModuleRemove { module: module.module })?),
    }
}

fn command(client: &mut Client, control: Control, kind: ModuleCommand) -> Result<()> {
    let counted = control.identity.is_some();
    let actor = actor(control.identity.as_deref());
    done(client.ask_as(actor, Request::Command { module: control.module.module, kind, counted })?)
}

fn print(client: &mut Client, module: Module, error: bool, text: &[String]) -> Result<()> {
    done(client.ask(Request::Print { module: module.module, error, text: text.join(" ") })?)
}

pub(super) fn wait_state(client: &mut Client, module: &str, wanted: &str, timeout_s: f64) -> Result<u8> {
    let wanted = wanted.to_uppercase();
    if !["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP"].contains(&wanted.as_str()) {
        return Err(anyhow!("{wanted} is no state: write STOP, WAIT, ALONE, PRIM, SECOND or UP"));
    }
    let end = Instant::now() + Duration::try_from_secs_f64(timeout_s).context("the timeout is not a time")?;
    loop {
        let modules = states(client, Some(module.to_owned()))?;
        let report = modules.first().context("no such module")?;
        let state = report.state.to_string();
        let settled = matches!(wanted.as_str(), "STOP" | "WAIT") || report.readiness.to_string() == "Ready";
        if state == wanted && settled {
            return Ok(DONE);
        }
        if Instant::now() >= end {
            let waiting = report.waiting_for.as_deref().unwrap_or(&report.detail);
            eprintln!("holdfast: {module} is {state} {} after {timeout_s} s: {waiting}", report.readiness);
            return Ok(LATE);
        }
        std::thread::sleep(LOOK_PERIOD);
    }
}
