//! Routes: nodes, their enrolment, and what the wizard asks of them.

use crate::anonymous::{self, Names};
use crate::app::App;
use crate::auth::{Admin, Control, Monitor};
use crate::db::{self, now_ms};
use crate::enrol;
use crate::error::{Failure, Outcome};
use crate::http::{In, Json, download};
use crate::live::node_view;
use crate::serve::Ends;
use crate::tls::{hex, random};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use holdfast_api::agent::{Answer, PATHS_MAX, PathFacts, Request};
use holdfast_api::console::{
    EnrolForm, NodeView, PathsForm, PathsView, ProbeForm, ProbeView, ProcessesView, TokenForm, TokenView,
};
use holdfast_api::enrol::{JoinRequest, JoinToken};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::{FieldProblem, Problem};
use std::sync::Arc;
use std::time::Duration;

const ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest support zip.
const SNAPSHOT_MAX: usize = 64 * 1024 * 1024;

/// Name of an enrolled node.
///
/// # Errors
/// 404.
pub fn name_of(app: &App, id: NodeId) -> Outcome<String> {
    let desired = app.desired();
    let node = desired.node(id).ok_or_else(|| Failure::not_found(format!("there is no {id}")))?;
    Ok(node.name.clone())
}

/// The enrolled nodes.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", responses((status = 200, body = Vec<NodeView>)))]
pub async fn list(State(app): State<Arc<App>>, _: Monitor) -> axum::Json<Vec<NodeView>> {
    let (desired, all) = (app.desired(), app.hub.all());
    axum::Json(desired.nodes.iter().map(|node| node_view(&desired, &all, node.id)).collect())
}

/// Looks who is at an address: name, version, key, each step with its cure. Costs no attempt.
#[utoipa::path(post, path = "/api/v1/nodes/probe", tag = "nodes", request_body = ProbeForm, responses(
    (status = 200, body = ProbeView), (status = 422, body = Problem)))]
pub async fn probe(_: Admin, Json(form): Json<ProbeForm>) -> Outcome<axum::Json<ProbeView>> {
    Ok(axum::Json(enrol::probe(&form.address).await?))
}

/// Enrols the node with its pairing code.
#[utoipa::path(post, path = "/api/v1/nodes/enrol", tag = "nodes", request_body = EnrolForm, responses(
    (status = 201, body = NodeView), (status = 409, body = Problem), (status = 422, body = Problem),
    (status = 502, body = Problem)))]
pub async fn enrol(State(app): State<Arc<App>>, Admin(user): Admin, Json(form): Json<EnrolForm>) -> Outcome<Response> {
    let id = enrol::enrol(&app, &form, &user.name).await?;
    let view = node_view(&app.desired(), &app.hub.all(), id);
    Ok((StatusCode::CREATED, axum::Json(view)).into_response())
}

/// Makes a one-time token for an unattended `holdfast-agent join`.
#[utoipa::path(post, path = "/api/v1/nodes/tokens", tag = "nodes", request_body = TokenForm, responses(
    (status = 201, body = TokenView), (status = 422, body = Problem)))]
pub async fn token(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    ends: Ends,
    Json(form): Json<TokenForm>,
) -> Outcome<Response> {
    if !(1..=10_080).contains(&form.minutes) {
        return Err(Failure::field("minutes", "between 1 and 10080 minutes (a week)"));
    }
    let token = JoinToken { secret: hex(&random::<16>()), ca_fingerprint: app.tls.ca_key_fingerprint() };
    let expires_unix_ms = now_ms() + u64::from(form.minutes) * 60_000;
    let hash = blake3::hash(token.secret.as_bytes()).as_bytes().to_vec();
    app.db
        .call(move |tx| {
            db::nodes::add_token(tx, &hash, expires_unix_ms, &user.name)?;
            db::records::audit(tx, &user.name, "made a join token")
        })
        .await?;
    let server = app.server_addresses(Some(ends.local)).into_iter().next().unwrap_or_default();
    let command = format!("holdfast-agent join --server https://{server} --token {token}");
    let view = TokenView { token: token.to_string(), expires_unix_ms, command };
    Ok((StatusCode::CREATED, axum::Json(view)).into_response())
}

/// Enrols a node with a one-time token (for `holdfast-agent join`; no session). Body: `JoinRequest`, answer: `Enrolment`
/// of the agents' protocol.
#[utoipa::path(post, path = "/api/v1/join", tag = "nodes", request_body = Object, responses(
    (status = 200, body = Object), (status = 403, body = Problem), (status = 409, body = Problem),
    (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn join(State(app): State<Arc<App>>, ends: Ends, Json(request): Json<JoinRequest>) -> Outcome<Response> {
    app.gate.guess(ends.peer.ip(), "(join)")?;
    let enrolment = enrol::join(&app, request, ends.peer.ip(), ends.local).await;
    // Only unknown tokens count as wrong guesses.
    if !matches!(&enrolment, Err(failure) if failure.status() == StatusCode::FORBIDDEN) {
        app.gate.guessed_right(ends.peer.ip(), "(join)");
    }
    Ok(axum::Json(enrolment?).into_response())
}

/// Removes a node: its certificates are revoked and its session ends.
#[utoipa::path(delete, path = "/api/v1/nodes/{id}", tag = "nodes", params(("id" = u16, Path)), responses(
    (status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove(State(app): State<Arc<App>>, Admin(user): Admin, In(id): In<NodeId>) -> Outcome<StatusCode> {
    let name = name_of(&app, id)?;
    if app.desired().members().contains(&id) {
        let detail =
            format!("{name} is part of the cluster; take it out of the cluster configuration and save that first");
        return Err(Failure::conflict(detail));
    }
    if app.hub.connected(id) {
        // A courtesy: the revocation holds whether or not the agent answers.
        let _ = app.hub.ask(id, &name, Request::Leave, Duration::from_secs(5)).await;
    }
    let revoked = app
        .db
        .call(move |tx| {
            let row = db::nodes::revoke(tx, id)?;
            db::records::audit(tx, &user.name, &format!("removed {} ({id}); its certificates are revoked", row.name))?;
            db::nodes::revoked_certificates(tx)
        })
        .await?;
    app.tls.set_revoked(&revoked).map_err(Failure::internal)?;
    app.hub.forget(id);
    app.reload().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a node about paths.
///
/// # Errors
/// 502 if the node does not answer.
pub async fn ask_paths(app: &App, id: NodeId, name: &str, paths: Vec<String>) -> Outcome<Vec<PathFacts>> {
    match app.hub.ask(id, name, Request::InspectPaths { paths }, ASK_TIMEOUT).await? {
        Answer::Paths { paths } => Ok(paths),
        _ => Err(Failure::node(format!("{name} answered something else than asked"))),
    }
}

/// What is at these paths of a node.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/paths", tag = "nodes", params(("id" = u16, Path)),
    request_body = PathsForm, responses((status = 200, body = PathsView), (status = 422, body = Problem),
    (status = 502, body = Problem)))]
pub async fn paths(
    State(app): State<Arc<App>>,
    _: Control,
    In(id): In<NodeId>,
    Json(form): Json<PathsForm>,
) -> Outcome<axum::Json<PathsView>> {
    let name = name_of(&app, id)?;
    if form.paths.is_empty() || form.paths.len() > PATHS_MAX {
        return Err(Failure::field("paths", format!("1 to {PATHS_MAX} paths")));
    }
    let problem = |(i, path): (usize, &String)| {
        let message = holdfast_api::config::check_directory(path).err()?;
        Some(FieldProblem::new(format!("paths[{i}]"), message))
    };
    let problems: Vec<_> = form.paths.iter().enumerate().filter_map(problem).collect();
    if !problems.is_empty() {
        return Err(Failure::invalid(problems));
    }
    Ok(axum::Json(PathsView { paths: ask_paths(&app, id, &name, form.paths).await? }))
}

/// The running processes of a node.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/processes", tag = "nodes", params(("id" = u16, Path)), responses(
    (status = 200, body = ProcessesView), (status = 502, body = Problem)))]
pub async fn processes(
    State(app): State<Arc<App>>,
    _: Control,
    In(id): In<NodeId>,
) -> Outcome<axum::Json<ProcessesView>> {
    let name = name_of(&app, id)?;
    match app.hub.ask(id, &name, Request::ListProcesses, ASK_TIMEOUT).await? {
        Answer::Processes { processes } => Ok(axum::Json(ProcessesView { processes })),
        _ => Err(Failure::node(format!("{name} answered something else than asked"))),
    }
}

/// The support zip of a node: logs, configuration, states, versions, system facts; secrets masked.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/snapshot.zip", tag = "nodes", params(("id" = u16, Path)), responses(
    (status = 200, content_type = "application/zip"), (status = 502, body = Problem)))]
pub async fn snapshot(State(app): State<Arc<App>>, Control(user): Control, In(id): In<NodeId>) -> Outcome<Response> {
    collect(&app, &user.name, id, None).await
}

/// The support zip of a node, about one module.
#[utoipa::path(get, path = "/api/v1/modules/{id}/nodes/{node}/snapshot.zip", tag = "nodes",
    params(("id" = u16, Path), ("node" = u16, Path)), responses((status = 200, content_type = "application/zip"),
    (status = 502, body = Problem)))]
pub async fn module_snapshot(
    State(app): State<Arc<App>>,
    Control(user): Control,
    In((module, node)): In<(ModuleId, NodeId)>,
) -> Outcome<Response> {
    collect(&app, &user.name, node, Some(module)).await
}

/// Collects a zip whole before answering, so that a failure is a problem and never a broken file.
async fn collect(app: &App, user: &str, node: NodeId, module: Option<ModuleId>) -> Outcome<Response> {
    let (file, zip) = zip_of(app, user, node, module, None).await?;
    Ok(download(&file, "application/zip", zip))
}

/// Name and content of a support zip.
///
/// # Errors
/// The node is not known or not connected, or does not send all of it.
pub async fn zip_of(
    app: &App,
    user: &str,
    node: NodeId,
    module: Option<ModuleId>,
    names: Option<Arc<Names>>,
) -> Outcome<(String, Vec<u8>)> {
    let name = name_of(app, node)?;
    let about = match module {
        None => name.clone(),
        Some(id) => {
            let module = app.db.read(move |tx| db::modules::get(tx, id)).await?;
            format!("{}_{name}", module.name)
        }
    };
    let _slot = app.snapshots.acquire().await.map_err(Failure::internal)?;
    let mut answers = app.hub.send(node, &name, Request::Snapshot { module }).await?;
    let mut zip = Vec::new();
    loop {
        let answer = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await;
        let lost = || Failure::node(format!("{name} did not send its whole snapshot; try again"));
        match answer.map_err(|_| lost())?.ok_or_else(lost)? {
            Answer::SnapshotChunk { data, last } => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(data).map_err(|_| lost())?;
                if zip.len() + bytes.len() > SNAPSHOT_MAX {
                    return Err(Failure::node(format!("the snapshot of {name} is larger than {SNAPSHOT_MAX} bytes")));
                }
                zip.extend_from_slice(&bytes);
                if last {
                    break;
                }
            }
            Answer::Refused { reason } => return Err(Failure::refused(format!("{name}: {reason}"))),
            _ => return Err(lost()),
        }
    }
    let (actor, text) = (user.to_owned(), format!("took a snapshot of {about}"));
    app.db.call(move |tx| db::records::audit(tx, &actor, &text)).await?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d_%H%M%S");
    let Some(names) = names else { return Ok((format!("snapshot_{about}_{date}.zip"), zip)) };
    let about = names.replace(&about);
    let zip = tokio::task::spawn_blocking(move || anonymous::zip(&zip, &names)).await.map_err(Failure::internal)?;
    let zip = zip.map_err(|error| Failure::node(format!("{name}: {error:#}")))?;
    Ok((format!("snapshot_anonymised_{about}_{date}.zip"), zip))
}
