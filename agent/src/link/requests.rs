//! What the server asks of this node, carried out by the same functions as the command line's requests.

use crate::agent::Agent;
use crate::drivers::checks::Order;
use crate::{control, facts, snapshot};
use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::agent::{Answer, CHUNK_BYTES, ChecksSwitch, PATHS_MAX, Request};
use holdfast_api::ids::ModuleId;
use std::sync::Arc;
use tokio::sync::mpsc;

type Answers = mpsc::Sender<(u64, Answer)>;

/// Carries out a request and answers it.
pub(super) async fn answer(agent: &Arc<Agent>, id: u64, request: Request, answers: &Answers) {
    let entry = words(agent, &request).await.map(|(actor, words)| agent.commands.start(&at_console(&actor), &words));
    let answered = match request {
        Request::Snapshot { module } => match send_snapshot(agent, id, module, answers).await {
            Ok(()) => return,
            Err(error) => Err(error),
        },
        request => one(agent, request).await,
    };
    let answer = answered.unwrap_or_else(|error| Answer::Refused { reason: format!("{error:#}") });
    if let Some(entry) = entry {
        match &answer {
            Answer::Done { text } => entry.end(Ok(text)),
            Answer::Refused { reason } => entry.end(Err(reason)),
            _ => entry.end(Ok("")),
        }
    }
    let _ = answers.send((id, answer)).await;
}

/// Who asks from where; a server that knows the address says it.
fn at_console(actor: &str) -> String {
    if actor.contains('@') { actor.to_owned() } else { format!("{actor}@console") }
}

/// Who asks and for what, for the command log; `None` for questions.
async fn words(agent: &Agent, request: &Request) -> Option<(String, String)> {
    let named = async |id: ModuleId| agent.name_of(id).await.unwrap_or_else(|_| id.to_string());
    let server = "server".to_owned();
    Some(match request {
        Request::PushCluster { config } => (server, format!("cluster config (version {})", config.version)),
        Request::PushModule { config } => (server, format!("config -m {} (version {})", config.name, config.version)),
        Request::RemoveModule { module } => (server, format!("deconfig -m {}", named(*module).await)),
        Request::Command { module, kind, actor } => {
            (actor.clone(), format!("{} -m {}", control::command(*kind), named(*module).await))
        }
        Request::SwitchChecks { module, which, on, actor } => {
            let words = switched(*which, *on).words().unwrap_or_default();
            (actor.clone(), format!("{words} -m {}", named(*module).await))
        }
        Request::DeleteSetAside { module, id, actor } => {
            (actor.clone(), format!("diverged -m {} delete {id}", named(*module).await))
        }
        // A download is one act, whatever the number of its pieces.
        Request::ExportSetAside { module, id, first: true, actor, .. } => {
            (actor.clone(), format!("diverged -m {} export {id}", named(*module).await))
        }
        Request::Leave => (server, "cluster deconfig".to_owned()),
        Request::ReadLog { .. }
        | Request::ReadCommandLog { .. }
        | Request::ListSetAside { .. }
        | Request::ReadSetAside { .. }
        | Request::ExportSetAside { .. }
        | Request::InspectPaths { .. }
        | Request::ListProcesses
        | Request::Snapshot { .. } => return None,
    })
}

/// The same order as the command line gives it.
fn switched(which: ChecksSwitch, on: bool) -> Order {
    match which {
        ChecksSwitch::Checkers => Order::Checkers(on),
        ChecksSwitch::Processes => Order::Errd(on),
    }
}

async fn one(agent: &Arc<Agent>, request: Request) -> Result<Answer> {
    let done = |text: String| Answer::Done { text };
    Ok(match request {
        Request::PushCluster { config } => done(agent.configure_cluster(config).await?),
        Request::PushModule { config } => done(agent.configure(config).await?),
        Request::RemoveModule { module } => match agent.name_of(module).await {
            Ok(name) => done(agent.remove_module(&name).await?),
            // It is as wanted.
            Err(_) => done(format!("{module} is not on this node")),
        },
        Request::Command { module, kind: command, actor, .. } => {
            let name = agent.name_of(module).await?;
            match agent.command(&name, command, &actor, false).await {
                Ok(text) => done(text),
                Err(reason) => Answer::Refused { reason },
            }
        }
        Request::SwitchChecks { module, which, on, actor } => {
            let name = agent.name_of(module).await?;
            match agent.order_checks(&name, switched(which, on), &actor).await {
                Ok(text) => done(text),
                Err(reason) => Answer::Refused { reason },
            }
        }
        Request::ReadCommandLog { wanted } => {
            let log = agent.commands.file();
            Answer::LogPage(tokio::task::spawn_blocking(move || log.page(&wanted)).await??)
        }
        Request::ReadLog { module, which, wanted } => {
            let name = agent.name_of(module).await?;
            let log = agent.log(&name, which).await?;
            Answer::LogPage(tokio::task::spawn_blocking(move || log.page(&wanted)).await??)
        }
        Request::ListSetAside { module } => {
            let name = agent.name_of(module).await?;
            Answer::SetAside { copies: agent.set_aside(&name).await? }
        }
        Request::ReadSetAside { module, id, from, limit } => {
            let name = agent.name_of(module).await?;
            Answer::SetAsidePage(agent.read_set_aside(&name, &id, from, limit).await?)
        }
        Request::DeleteSetAside { module, id, .. } => {
            let name = agent.name_of(module).await?;
            done(agent.delete_set_aside(&name, &id).await?)
        }
        Request::ExportSetAside { module, id, download, first, .. } => {
            let name = agent.name_of(module).await?;
            let (bytes, last) = agent.download_set_aside(&name, &id, download, first).await?;
            Answer::SnapshotChunk { data: STANDARD.encode(bytes), last }
        }
        Request::InspectPaths { paths } => {
            ensure!(paths.len() <= PATHS_MAX, "at most {PATHS_MAX} paths at a time");
            Answer::Paths { paths: tokio::task::spawn_blocking(move || facts::inspect(&paths)).await? }
        }
        Request::ListProcesses => {
            Answer::Processes { processes: tokio::task::spawn_blocking(facts::list_processes).await? }
        }
        Request::Leave => done(agent.leave().await?),
        Request::Snapshot { .. } => Answer::Refused { reason: "a snapshot is answered in pieces".to_owned() },
    })
}

async fn send_snapshot(agent: &Arc<Agent>, id: u64, module: Option<ModuleId>, answers: &Answers) -> Result<()> {
    let name = match module {
        Some(module) => Some(agent.name_of(module).await?),
        None => None,
    };
    let bytes = snapshot::make(agent, name.as_deref(), snapshot::Span::Kept).await?;
    let count = bytes.chunks(CHUNK_BYTES).count();
    for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
        let answer = Answer::SnapshotChunk { data: STANDARD.encode(chunk), last: index + 1 == count };
        // The bounded queue lets only a few pieces be in flight.
        if answers.send((id, answer)).await.is_err() {
            break;
        }
    }
    Ok(())
}
