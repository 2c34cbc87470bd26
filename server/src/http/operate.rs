//! Routes: what is done with configured modules (configure, commands, logs), tasks, audit and the live socket.

use crate::app::App;
use crate::auth::{self, Admin, Control, Monitor};
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::modules::load;
use crate::http::{In, Json};
use crate::live::{Live, snapshot};
use crate::modules as package_of;
use crate::placement;
use crate::serve::Ends;
use crate::tasks::{NewTask, Thing};
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use holdfast_api::agent::{Answer, ChecksSwitch, ModuleCommand, Request};
use holdfast_api::console::{
    AuditLine, ChecksForm, CommandForm, ConfigureForm, LiveSnapshot, TaskNode, TaskStarted, TaskState, TaskView,
};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::Problem;
use holdfast_api::state::ModuleState;
use std::sync::Arc;
use std::time::Duration;

/// Scripts may take their 300 s twice.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(900);

/// 202 with the task's number.
pub fn started(task: u64) -> Response {
    (StatusCode::ACCEPTED, axum::Json(TaskStarted { task })).into_response()
}

/// Begins a task that ends when pushes have brought `thing` to the nodes; returns its number.
pub fn start_push(
    app: &App,
    title: String,
    kind: &str,
    module: Option<ModuleId>,
    author: &str,
    thing: Thing,
    nodes: &[NodeId],
) -> u64 {
    let desired = app.desired();
    let node = |id: &NodeId| {
        let live = app.hub.get(*id);
        let there = match thing {
            Thing::Cluster(version) => live.held.cluster >= version,
            Thing::Module(id, version) => live.held.modules.get(&id).is_some_and(|held| held.1 >= version),
            Thing::Removal(id) => !live.held.modules.contains_key(&id),
        };
        let name = desired.node(*id).map_or_else(|| id.to_string(), |row| row.name.clone());
        let (state, message) = if live.session.is_none() {
            (TaskState::Waiting, format!("{name} is not connected; it gets this when it comes back"))
        } else if there {
            (TaskState::Done, "the node has this version already".to_owned())
        } else {
            (TaskState::Running, "applying…".to_owned())
        };
        TaskNode { node: *id, name, state, message }
    };
    let nodes: Vec<_> = nodes.iter().map(node).collect();
    let retried: Vec<_> = nodes.iter().filter(|node| node.state == TaskState::Running).map(|node| node.node).collect();
    let task =
        app.tasks.begin(NewTask { title, kind: kind.into(), module, author: author.into(), thing: Some(thing), nodes });
    for node in retried {
        app.hub.retry(node);
        // The push may have ended between the look above and the task's beginning.
        let live = app.hub.get(node);
        if let Thing::Module(id, version) = thing
            && live.held.modules.get(&id).is_some_and(|held| held.1 >= version)
        {
            app.tasks.progress(task, node, TaskState::Done, "the node has this version");
        }
        if let Thing::Cluster(version) = thing
            && live.held.cluster >= version
        {
            app.tasks.progress(task, node, TaskState::Done, "the node has this version");
        }
    }
    task
}

/// The nodes meant by a form: those named, or all of the cluster.
///
/// # Errors
/// 409 without a cluster; 422 naming a node that is not in it.
pub fn targets(app: &App, named: &[NodeId]) -> Outcome<Vec<NodeId>> {
    let members = app.desired().members();
    if members.is_empty() {
        return Err(Failure::conflict("there is no cluster yet; save the cluster configuration first"));
    }
    for (i, id) in named.iter().enumerate() {
        if !members.contains(id) {
            return Err(Failure::field(&format!("nodes[{i}]"), format!("{id} is not part of the cluster")));
        }
    }
    let mut targets = if named.is_empty() { members } else { named.to_vec() };
    targets.sort();
    targets.dedup();
    Ok(targets)
}

/// Makes the latest version the wanted one and pushes it: one result for each node.
#[utoipa::path(post, path = "/api/v1/modules/{id}/configure", tag = "operate", params(("id" = u16, Path)),
    request_body = ConfigureForm, responses((status = 202, body = TaskStarted), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn configure(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    In(id): In<ModuleId>,
    Json(form): Json<ConfigureForm>,
) -> Outcome<Response> {
    let (module, version, package) = load(&app, id, None).await?;
    if let Some(wanted) = form.version.filter(|wanted| *wanted != version) {
        return Err(Failure::stale(wanted, version));
    }
    let nodes = targets(&app, &form.nodes)?;
    let (mut problems, _, config) = package_of::check(&package);
    if let Some(config) = &config {
        problems.extend(placement::problems(&app, config).await);
    }
    if !problems.is_empty() {
        return Err(Failure::invalid(problems));
    }
    let before = match module.desired {
        Some(desired) => package_of::check(&load(&app, id, Some(desired)).await?.2).2,
        None => None,
    };
    let changed = before.is_some_and(|old| config.as_ref().is_some_and(|new| new.signature() != old.signature()));
    if changed && let Some(text) = crate::http::cluster::running(&app, Some(id)).first() {
        return Err(Failure::conflict(format!(
            "heartbeat and replication change only while the module is stopped everywhere: {text}; stop it first"
        )));
    }
    let author = user.name.clone();
    let name = module.name.clone();
    app.db
        .call(move |tx| {
            let latest = db::modules::get(tx, id)?.version;
            if latest != version {
                return Err(Failure::stale(version, latest));
            }
            db::modules::want(tx, id, version, &author)?;
            db::records::audit(tx, &author, &format!("configured {name} version {version}"))
        })
        .await?;
    app.reload().await?;
    let title = format!("Configure {}, version {version}", module.name);
    Ok(started(start_push(&app, title, "configure", Some(id), &user.name, Thing::Module(id, version), &nodes)))
}

/// What a command does, as an operator reads it.
fn title(command: ModuleCommand, module: &str, nodes: &str) -> String {
    match command {
        ModuleCommand::Start => format!("Start {module} on {nodes}"),
        ModuleCommand::Prim | ModuleCommand::PrimFullSync => format!("Start {module} as primary on {nodes}"),
        ModuleCommand::PrimForce => format!("Force {module} to start as primary on {nodes}"),
        ModuleCommand::Second | ModuleCommand::SecondFullSync => format!("Start {module} as secondary on {nodes}"),
        ModuleCommand::Stop => format!("Stop {module} on {nodes}"),
        ModuleCommand::ForceStop => format!("Stop {module} by force on {nodes}"),
        ModuleCommand::Restart => format!("Restart the application of {module} on {nodes}"),
        ModuleCommand::StopStart => format!("Stop and start {module} on {nodes}"),
        ModuleCommand::Swap => format!("Swap the roles of {module} from {nodes}"),
        ModuleCommand::BootOn => format!("Let {module} start at boot on {nodes}"),
        ModuleCommand::BootOff => format!("Let {module} not start at boot on {nodes}"),
        ModuleCommand::BootAuto => format!("Let {module} start at boot on {nodes} if it was running"),
        ModuleCommand::FailoverOn => format!("Let a secondary of {module} take over by itself on {nodes}"),
        ModuleCommand::FailoverOff => format!("Let only an operator fail {module} over on {nodes}"),
    }
}

/// The node to which a swap of the whole module goes: the primary.
fn primary(app: &App, id: ModuleId, members: &[NodeId]) -> Option<NodeId> {
    members.iter().copied().find(|node| state(app, id, *node) == Some(ModuleState::Prim))
}

/// In which turns nodes get a command: a stop of several reaches the one that serves only once the others have stopped, so
/// that none of them takes over from it meanwhile. `serves` says which node that is.
fn turns(command: ModuleCommand, nodes: Vec<NodeId>, serves: impl Fn(NodeId) -> bool) -> Vec<Vec<NodeId>> {
    if !matches!(command, ModuleCommand::Stop | ModuleCommand::ForceStop) {
        return vec![nodes];
    }
    let (last, first): (Vec<NodeId>, Vec<NodeId>) = nodes.into_iter().partition(|node| serves(*node));
    [first, last].into_iter().filter(|turn| !turn.is_empty()).collect()
}

/// The state of a module on a node, as last reported.
fn state(app: &App, id: ModuleId, node: NodeId) -> Option<ModuleState> {
    let report = app.hub.get(node).report?;
    report.modules.iter().find(|module| module.id == id).map(|module| module.state)
}

/// Gives a command to a module on some nodes, or all. A stop of several nodes stops the secondary first.
#[utoipa::path(post, path = "/api/v1/modules/{id}/commands", tag = "operate", params(("id" = u16, Path)),
    request_body = CommandForm, responses((status = 202, body = TaskStarted), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn command(
    State(app): State<Arc<App>>,
    Control(user): Control,
    ends: Ends,
    In(id): In<ModuleId>,
    Json(form): Json<CommandForm>,
) -> Outcome<Response> {
    let module = app.db.read(move |tx| db::modules::get(tx, id)).await?;
    if module.desired.is_none() {
        return Err(Failure::conflict(format!("{} is a draft; configure it first", module.name)));
    }
    let mut nodes = targets(&app, &form.nodes)?;
    let one = matches!(form.command, ModuleCommand::Prim | ModuleCommand::PrimForce | ModuleCommand::Second);
    if one && form.nodes.len() != 1 {
        return Err(Failure::field("nodes", "name the one node that is meant"));
    }
    if form.command == ModuleCommand::Swap && form.nodes.is_empty() {
        let primary = primary(&app, id, &nodes);
        nodes = vec![primary.ok_or_else(|| {
            Failure::conflict(format!("no node is PRIM with a secondary in {}: there is nothing to swap", module.name))
        })?];
    }
    let (what, actor) = (form.command, actor(&user.name, &ends));
    let order = Order {
        module: id,
        name: form.command.as_str().to_owned(),
        text: format!("{} {}", form.command.as_str(), module.name),
        request: Box::new(move || Request::Command { module: id, kind: what, actor: actor.clone() }),
    };
    let serves = |node| matches!(state(&app, id, node), Some(ModuleState::Prim | ModuleState::Alone));
    let turns = turns(what, nodes, serves);
    let task = give(&app, &user.name, turns, order, |names| title(what, &module.name, names)).await?;
    Ok(started(task))
}

/// Switches a module's checkers, or its process checker, on or off on some nodes, or all.
#[utoipa::path(post, path = "/api/v1/modules/{id}/checks", tag = "operate", params(("id" = u16, Path)),
    request_body = ChecksForm, responses((status = 202, body = TaskStarted), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn checks(
    State(app): State<Arc<App>>,
    Control(user): Control,
    ends: Ends,
    In(id): In<ModuleId>,
    Json(form): Json<ChecksForm>,
) -> Outcome<Response> {
    let module = app.db.read(move |tx| db::modules::get(tx, id)).await?;
    if module.desired.is_none() {
        return Err(Failure::conflict(format!("{} is a draft; configure it first", module.name)));
    }
    let nodes = targets(&app, &form.nodes)?;
    let (which, on) = (form.which, form.on);
    let what = match which {
        ChecksSwitch::Checkers => "checkers",
        ChecksSwitch::Processes => "process checker",
    };
    let word = if on { "on" } else { "off" };
    let actor = actor(&user.name, &ends);
    let order = Order {
        module: id,
        name: "checks".to_owned(),
        text: format!("{what} {word} of {}", module.name),
        request: Box::new(move || Request::SwitchChecks { module: id, which, on, actor: actor.clone() }),
    };
    let title = |names: &str| format!("Switch the {what} of {} {word} on {names}", module.name);
    Ok(started(give(&app, &user.name, vec![nodes], order, title).await?))
}

/// Who gives an order, as the nodes note it.
pub fn actor(user: &str, ends: &Ends) -> String {
    format!("{user}@{}", ends.peer.ip().to_canonical())
}

/// An order for nodes: what is asked of each, and how it is told.
struct Order {
    module: ModuleId,
    /// The task's kind.
    name: String,
    /// For the audit, before the nodes.
    text: String,
    request: Box<dyn Fn() -> Request + Send + Sync>,
}

/// Gives an order to nodes, as a task that ends with their answers; `title` gets their names. Each turn begins when every
/// node of the one before has answered, well or not.
async fn give(
    app: &Arc<App>,
    user: &str,
    turns: Vec<Vec<NodeId>>,
    order: Order,
    title: impl FnOnce(&str) -> String,
) -> Outcome<u64> {
    let desired = app.desired();
    let name = |node: &NodeId| desired.node(*node).map_or_else(|| node.to_string(), |row| row.name.clone());
    let listed = |nodes: &[NodeId]| nodes.iter().map(name).collect::<Vec<_>>().join(", ");
    // In the order of the cluster, whoever comes first.
    let mut members = turns.concat();
    members.sort();
    let names = listed(&members);
    let (actor, audit) = (user.to_owned(), format!("{} on {names}", order.text));
    app.db.call(move |tx| db::records::audit(tx, &actor, &audit)).await?;
    let first = turns.first().map_or(&[][..], Vec::as_slice);
    let wait = listed(first);
    let entry = |node: &NodeId| TaskNode {
        node: *node,
        name: name(node),
        state: TaskState::Running,
        message: if first.contains(node) { "sent".to_owned() } else { format!("its turn comes after {wait}") },
    };
    let nodes: Vec<TaskNode> = members.iter().map(entry).collect();
    let task = app.tasks.begin(NewTask {
        title: title(&names),
        kind: order.name,
        module: Some(order.module),
        author: user.to_owned(),
        thing: None,
        nodes: nodes.clone(),
    });
    let (app, request) = (Arc::clone(app), order.request);
    tokio::spawn(async move {
        for turn in turns {
            let of_turn = nodes.iter().filter(|entry| turn.contains(&entry.node));
            let asked = of_turn.map(|entry| ask(&app, task, entry, request()));
            futures_util::future::join_all(asked).await;
        }
    });
    Ok(task)
}

/// Gives an order to one node of a task, and notes what it answers.
async fn ask(app: &App, task: u64, entry: &TaskNode, request: Request) {
    app.tasks.progress(task, entry.node, TaskState::Running, "sent");
    let (state, message) = match app.hub.ask(entry.node, &entry.name, request, COMMAND_TIMEOUT).await {
        Ok(Answer::Done { text }) => (TaskState::Done, text),
        Ok(_) => (TaskState::Failed, "the node answered something else than asked".to_owned()),
        Err(failure) => (TaskState::Failed, failure.0.detail),
    };
    app.tasks.progress(task, entry.node, state, &message);
}

/// Tasks that go on, and the latest ended ones, newest first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "operate", responses((status = 200, body = Vec<TaskView>)))]
pub async fn tasks(State(app): State<Arc<App>>, _: Monitor) -> axum::Json<Vec<TaskView>> {
    axum::Json(app.tasks.recent(100))
}

/// One task.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "operate", params(("id" = u64, Path)), responses(
    (status = 200, body = TaskView), (status = 404, body = Problem)))]
pub async fn task(State(app): State<Arc<App>>, _: Monitor, In(id): In<u64>) -> Outcome<axum::Json<TaskView>> {
    let task = app.tasks.get(id).ok_or_else(|| Failure::not_found(format!("there is no task {id} (any more)")))?;
    Ok(axum::Json(task))
}

/// Who did what: the latest 500 lines, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "operate", responses((status = 200, body = Vec<AuditLine>)))]
pub async fn audit(State(app): State<Arc<App>>, _: Monitor) -> Outcome<axum::Json<Vec<AuditLine>>> {
    Ok(axum::Json(app.db.read(|tx| db::records::audit_lines(tx, 500)).await?))
}

/// The live socket (WebSocket): a full snapshot on connecting, at every change and every few seconds.
#[utoipa::path(get, path = "/api/v1/live", tag = "operate", responses((status = 101, description = "WebSocket; each \
    text frame is a LiveSnapshot", body = LiveSnapshot), (status = 400, description = "Not asked for as a WebSocket",
    body = Problem)))]
pub async fn live(
    State(app): State<Arc<App>>,
    _: Monitor,
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Outcome<Response> {
    let socket = socket.map_err(|why| Failure::bad_request(format!("this is a WebSocket: {}", why.body_text())))?;
    let session = auth::token_hash(auth::token_of(&headers).ok_or_else(Failure::unauthorized)?);
    let socket = socket.max_message_size(4096).max_frame_size(4096);
    Ok(socket.on_upgrade(move |socket| Live::serve(app, socket, session)))
}

/// What the live socket would say now, for scripts.
#[utoipa::path(get, path = "/api/v1/live/snapshot", tag = "operate", responses((status = 200, body = LiveSnapshot)))]
pub async fn live_snapshot(State(app): State<Arc<App>>, _: Monitor) -> axum::Json<LiveSnapshot> {
    axum::Json(snapshot(&app))
}
