//! The agent's end of the command line's socket.

use super::{Answer, Ask, CHUNK, LINE_MAX, ListedModule, ModuleInfo, PROTOCOL, Request};
use crate::agent::Agent;
use crate::cluster_link::message::Mark;
use crate::complaint::Complaint;
use crate::engine::CommandResult;
use crate::{cluster_link, facts, modules, snapshot};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::config::ClusterConfig;
use holdfast_api::ids::ModuleId;
use holdfast_api::package::Package;
use holdfast_core::output::EventLevel;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

const CONNECTIONS_MAX: usize = 64;
/// Answers given and not yet written.
const ANSWERS: usize = 2;
/// A connection on which nothing is asked for this long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// Accepting fails when file descriptors or memory are short: it waits for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the socket, for the owner only.
pub fn listen(path: &Path) -> Result<UnixListener> {
    // The data folder is locked: whatever lies here is left from an agent that is gone.
    let _ = std::fs::remove_file(path);
    let shown = path.display();
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {shown}: give --run-dir"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves for ever.
pub async fn serve(listener: UnixListener, agent: Arc<Agent>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut complaint = Complaint::default();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                if complaint.is_new(&error) {
                    tracing::warn!(
                        "the command line's socket takes no connection ({error}); it is tried until it does"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if complaint.is_over() {
            tracing::info!("the command line's socket takes connections again");
        }
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = serve_one(stream, &agent).await {
                tracing::debug!("command line: {error:#}");
            }
        });
    }
}

async fn serve_one(stream: UnixStream, agent: &Arc<Agent>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LINE_MAX as u64 + 1);
        let length = tokio::time::timeout(IDLE, limited.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        let ask = if length > LINE_MAX { Err(refused("the request is too long")) } else { parse(&line) };
        let ask = match ask {
            Ok(ask) => ask,
            Err(answer) => {
                write(&mut writer, &answer).await?;
                return Ok(());
            }
        };
        let (answers, mut answered) = mpsc::channel(ANSWERS);
        let work = async move { carry_out(agent, ask, &answers).await };
        let writing = async move {
            while let Some(answer) = answered.recv().await {
                write(&mut writer, &answer).await?;
            }
            anyhow::Ok(writer)
        };
        let ((), written) = tokio::join!(work, writing);
        writer = written?;
    }
}

/// Carries out a request here or has another node do it; gives the answers, a snapshot's in pieces.
pub async fn carry_out(agent: &Arc<Agent>, ask: Ask, answers: &mpsc::Sender<Answer>) {
    let entry = ask.request.words().map(|words| {
        let on = ask.on.as_ref().map(|node| format!("-H {node} ")).unwrap_or_default();
        agent.commands.start(&ask.actor, &format!("{on}{words}"))
    });
    let last = match ask.on.as_deref() {
        Some(node) if node != agent.reports.node() => cluster_link::forward(agent, node, &ask, answers).await,
        _ => match ask.request {
            Request::Snapshot { module } => send_snapshot(agent, module, answers).await,
            Request::Export { module, to } => export(agent, module, &to, &ask.actor, answers).await,
            Request::Verify { ref module, start } => match agent.verify(module, start).await {
                Ok(Ok(report)) => Ok(Answer::Verify { report }),
                // A secondary asks its primary.
                Ok(Err(Some(primary))) => cluster_link::forward(agent, &primary, &ask, answers).await,
                Ok(Err(None)) => {
                    Ok(refused("the module is neither PRIM nor SECOND here: there are no two copies to compare"))
                }
                Err(error) => Err(error),
            },
            request => answer(agent, request, &ask.actor).await,
        },
    };
    let last = last.unwrap_or_else(|error| refused(&format!("{error:#}")));
    if let Some(entry) = entry {
        match &last {
            Answer::Done { text } => entry.end(Ok(text)),
            Answer::Refused { reason } | Answer::Unreachable { reason } => entry.end(Err(reason)),
            _ => entry.end(Ok("")),
        }
    }
    // An error means that nobody waits any more.
    let _ = answers.send(last).await;
}

fn refused(reason: &str) -> Answer {
    Answer::Refused { reason: reason.to_owned() }
}

/// Reads a request.
///
/// # Errors
/// The answer that says why it is none.
pub fn parse(line: &[u8]) -> Result<Ask, Answer> {
    #[derive(serde::Deserialize)]
    struct Version {
        protocol: u32,
    }
    let version =
        serde_json::from_slice::<Version>(line).map_err(|error| refused(&format!("not understood: {error}")))?;
    if version.protocol != PROTOCOL {
        let reason =
            format!("the agent speaks protocol {PROTOCOL}, not {}: install the same version", version.protocol);
        return Err(refused(&reason));
    }
    serde_json::from_slice::<Ask>(line).map_err(|error| refused(&format!("not understood: {error}")))
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> Result<()> {
    let mut bytes = serde_json::to_vec(answer)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await?;
    Ok(())
}

/// Gives all pieces but the last, which is the answer.
async fn send_snapshot(agent: &Arc<Agent>, module: Option<String>, answers: &mpsc::Sender<Answer>) -> Result<Answer> {
    let bytes = snapshot::make(agent, module.as_deref(), snapshot::Span::Kept).await?;
    let count = bytes.chunks(CHUNK).count();
    for chunk in bytes.chunks(CHUNK).take(count.saturating_sub(1)) {
        answers.send(Answer::Chunk { data: STANDARD.encode(chunk), last: false }).await?;
    }
    let last = bytes.chunks(CHUNK).next_back().unwrap_or_default();
    Ok(Answer::Chunk { data: STANDARD.encode(last), last: true })
}

/// Gives another node what this one holds, as a request of the same person.
async fn export(
    agent: &Arc<Agent>,
    module: Option<String>,
    to: &str,
    actor: &str,
    answers: &mpsc::Sender<Answer>,
) -> Result<Answer> {
    ensure!(to != agent.reports.node(), "{to} is this node: name the others");
    let request = match module {
        None => Request::ClusterConfigure {
            config: agent.cluster().await.context("this node holds no cluster configuration")?,
        },
        Some(module) => match agent.module_config(&module).await {
            Ok(config) => Request::ModuleTake { config },
            Err(_) => {
                let config = modules::configured(&agent.layout, &module, 1)?;
                Request::ModuleInstall { module, id: Some(config.id), package: config.package }
            }
        },
    };
    let ask = Ask { protocol: PROTOCOL, actor: actor.to_owned(), on: None, request };
    cluster_link::forward(agent, to, &ask, answers).await
}

async fn answer(agent: &Arc<Agent>, request: Request, actor: &str) -> Result<Answer> {
    let done = |text: String| Answer::Done { text };
    Ok(match request {
        Request::State { module } => states(agent, module.as_deref())?,
        Request::Command { module, kind, counted } => result(agent.command(&module, kind, actor, counted).await),
        Request::SetResource { module, name, value } => done(agent.set_resource(&module, &name, &value, actor).await?),
        Request::Checks { module, order } => result(agent.order_checks(&module, order, actor).await),
        Request::Loop { module, order } => result(agent.order_loop(&module, order, actor).await),
        Request::Log { module, which, wanted } => {
            let log = agent.log(&module, which).await?;
            Answer::Log { page: tokio::task::spawn_blocking(move || log.page(&wanted)).await?? }
        }
        Request::Print { module, error, text } => {
            let level = if error { EventLevel::Event } else { EventLevel::Info };
            agent.print(&module, level, &text).await?;
            done(String::new())
        }
        Request::Pairing { reopen } => {
            if reopen {
                agent.pairing.reopen();
            }
            let fingerprint = agent.identity().fingerprint.clone();
            Answer::Pairing { status: agent.pairing.status(), node: agent.reports.node(), fingerprint }
        }
        Request::Key => done(agent.identity().fingerprint.clone()),
        Request::ClusterConfigure { config } => done(agent.configure_cluster(config).await?),
        Request::Cluster => Answer::Cluster { config: shown_cluster(agent).await },
        Request::ModuleInstall { module, id, package } => done(install(agent, &module, id, &package).await?),
        Request::ModuleConfigure { module } => done(agent.configure_installed(&module).await?),
        Request::ModuleCheck { module } => done(agent.check_installed(&module).await?),
        Request::ModuleUninstall { module } => done(agent.uninstall(&module).await?),
        Request::ModuleUpdate { module } => done(agent.update(&module).await?),
        Request::ModulePackage { module } => {
            Answer::Package { package: modules::configured(&agent.layout, &module, 1)?.package }
        }
        Request::Level { module } => Answer::Level(Box::new(agent.level(module.as_deref()).await?)),
        Request::ToldState { module } => done(agent.told_state(&module).await?),
        Request::Places { module } => Answer::Places { places: agent.places(module.as_deref()).await? },
        Request::Clean { module, part } => done(agent.clean(&module, part).await?),
        Request::Dump { module } => done(agent.dump(&module).await?),
        Request::ModuleRemove { module } => done(agent.remove_module(&module).await?),
        Request::ModuleList => Answer::Modules { modules: list(agent).await },
        Request::VerifyPaths { paths } => {
            Answer::Paths { paths: tokio::task::spawn_blocking(move || facts::inspect(&paths)).await? }
        }
        Request::ClusterCheck { config } => done(agent.check_cluster(&config).await?),
        Request::ClusterLeave => done(agent.leave().await?),
        Request::ModuleInfo { module } => Answer::ModuleInfo(info(agent, module).await?),
        Request::ClusterState => Answer::Members { members: cluster_link::members(agent).await },
        Request::ModuleTake { config } => done(agent.configure(config).await?),
        Request::ClusterGive => {
            Answer::ClusterGiven { config: agent.cluster().await.context("this node holds no cluster configuration")? }
        }
        Request::ModuleGive { module } => Answer::ModuleGiven { config: agent.module_config(&module).await? },
        Request::CommandLog { wanted } => {
            let log = agent.commands.file();
            Answer::Log { page: tokio::task::spawn_blocking(move || log.page(&wanted)).await?? }
        }
        Request::Diff { module, start } => difference(agent, &module, start).await?,
        Request::Diverged { module } => Answer::Diverged { copies: agent.set_aside(&module).await? },
        Request::DivergedExport { module, id, to } => done(agent.export_set_aside(&module, &id, &to).await?),
        Request::DivergedDelete { module, id } => done(agent.delete_set_aside(&module, &id).await?),
        Request::Snapshot { .. } | Request::Export { .. } | Request::Verify { .. } => {
            refused("this is answered in another way")
        }
    })
}

/// The cluster configuration without its secret.
async fn shown_cluster(agent: &Agent) -> Option<ClusterConfig> {
    let mut config = agent.cluster().await;
    if let Some(config) = &mut config {
        config.secret = "0".repeat(64);
    }
    config
}

async fn difference(agent: &Agent, module: &str, start: bool) -> Result<Answer> {
    Ok(match agent.diff(module, start).await? {
        Ok(report) => Answer::Verify { report },
        Err(reason) => refused(&reason),
    })
}

fn result(result: CommandResult) -> Answer {
    match result {
        Ok(text) => Answer::Done { text },
        Err(reason) => Answer::Refused { reason },
    }
}

fn states(agent: &Agent, module: Option<&str>) -> Result<Answer> {
    let Some(name) = module else {
        return Ok(Answer::States { modules: agent.reports.all() });
    };
    let report = agent.reports.get(name).with_context(|| {
        format!("module {name} is not configured on this node: `holdfast module list` shows what is there")
    })?;
    Ok(Answer::States { modules: vec![report] })
}

async fn list(agent: &Agent) -> Vec<ListedModule> {
    let mut all = BTreeMap::new();
    for (module, id) in modules::installed(&agent.layout) {
        all.insert(module.clone(), ListedModule { module, id, installed: true, version: None });
    }
    for held in agent.held().await {
        let blank = ListedModule { module: held.name.clone(), id: held.id, installed: false, version: None };
        let entry = all.entry(held.name).or_insert(blank);
        (entry.id, entry.version) = (held.id, Some(held.version));
    }
    all.into_values().collect()
}

/// Installs a package under the number asked for, its old one, or the lowest free one.
async fn install(agent: &Agent, module: &str, id: Option<ModuleId>, package: &str) -> Result<String> {
    holdfast_api::config::check_name(module).map_err(|reason| anyhow::anyhow!("module name: {reason}"))?;
    let package = Package::read(&STANDARD.decode(package).context("the package is not base64")?)?;
    let listed = list(agent).await;
    let taken = |id: ModuleId| listed.iter().find(|other| other.module != module && other.id == id);
    let own = listed.iter().find(|other| other.module == module).map(|own| own.id);
    let id = match id.or(own) {
        Some(id) => id,
        None => (1..=holdfast_api::config::MODULE_ID_MAX)
            .map(ModuleId)
            .find(|id| taken(*id).is_none())
            .context("every module number is taken: remove a module")?,
    };
    ensure!((1..=holdfast_api::config::MODULE_ID_MAX).contains(&id.0), "{id}: module numbers go from 1 to 200");
    if let Some(other) = taken(id) {
        anyhow::bail!("{id} is {}: choose another number with -M", other.module);
    }
    modules::install(&agent.layout, module, id, &package)?;
    let dir = agent.layout.installed(module);
    Ok(format!(
        "{module} is installed as {id} in {}; edit it there, then `holdfast config -m {module}` (on every node, with the same number)",
        dir.display()
    ))
}

/// The configuration in use and what the editable folder would make of it.
async fn info(agent: &Agent, module: String) -> Result<ModuleInfo> {
    let used = agent.module_marks().await.remove(&module);
    let edited = modules::configured(&agent.layout, &module, 1).and_then(|config| modules::check(&config)).ok();
    ensure!(used.is_some() || edited.is_some(), "module {module} is neither configured nor installed on this node");
    let unix_ms = modules::edited_unix_ms(&agent.layout, &module);
    let edited = edited.map(|checked| Mark { version: 0, signature: checked.signature, unix_ms });
    Ok(ModuleInfo { module, used, edited })
}
