//! Routes: the cluster configuration.

use crate::app::App;
use crate::auth::{Admin, Monitor};
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::operate::{start_push, started};
use crate::http::{Asked, In, Json};
use crate::tasks::Thing;
use crate::tls::{hex, random};
use axum::extract::State;
use axum::response::Response;
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::console::{ClusterForm, ClusterVersionView, ClusterView, RestoreForm, TaskStarted, VersionView};
use holdfast_api::problem::{FieldProblem, Problem};
use holdfast_api::state::ModuleState;
use serde::Deserialize;
use std::sync::Arc;

/// The latest saved cluster; version 0 if none was saved.
#[utoipa::path(get, path = "/api/v1/cluster", tag = "cluster", responses((status = 200, body = ClusterView)))]
pub async fn view(State(app): State<Arc<App>>, _: Monitor) -> axum::Json<ClusterView> {
    axum::Json(app.desired().cluster_view())
}

/// All versions, newest first.
#[utoipa::path(get, path = "/api/v1/cluster/versions", tag = "cluster", responses((status = 200, body = Vec<VersionView>)))]
pub async fn versions(State(app): State<Arc<App>>, _: Monitor) -> Outcome<axum::Json<Vec<VersionView>>> {
    Ok(axum::Json(app.db.read(db::cluster::versions).await?))
}

/// Saves a new version and pushes it to its nodes.
#[utoipa::path(put, path = "/api/v1/cluster", tag = "cluster", request_body = ClusterForm, responses(
    (status = 202, body = TaskStarted), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn save(State(app): State<Arc<App>>, Admin(user): Admin, Json(form): Json<ClusterForm>) -> Outcome<Response> {
    apply(&app, &user.name, form, None).await
}

/// Query of a version.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct VersionQuery {
    /// The version to compare with; without it, the one before.
    against: Option<u64>,
}

/// A version as it was saved, and what it changed.
#[utoipa::path(get, path = "/api/v1/cluster/versions/{version}", tag = "cluster",
    params(("version" = u64, Path), VersionQuery), responses((status = 200, body = ClusterVersionView),
    (status = 404, body = Problem)))]
pub async fn version(
    State(app): State<Arc<App>>,
    _: Monitor,
    In(version): In<u64>,
    Asked(query): Asked<VersionQuery>,
) -> Outcome<axum::Json<ClusterVersionView>> {
    let view = app.db.call(move |tx| {
        let cluster = db::cluster::get(tx, version)?.view();
        let against = match query.against {
            Some(against) => against,
            None => db::cluster::before(tx, version)?,
        };
        let before = if against == 0 { ClusterView::none() } else { db::cluster::get(tx, against)?.view() };
        let changes = cluster.changes_from(&before).iter().map(ToString::to_string).collect();
        Ok(ClusterVersionView { cluster, against, changes })
    });
    Ok(axum::Json(view.await?))
}

/// Saves an old version again as the newest and pushes it to its nodes. What a save refuses, this refuses too.
#[utoipa::path(post, path = "/api/v1/cluster/restore", tag = "cluster", request_body = RestoreForm, responses(
    (status = 202, body = TaskStarted), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn restore(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    Json(form): Json<RestoreForm>,
) -> Outcome<Response> {
    let old = app.db.read(move |tx| Ok(db::cluster::get(tx, form.version)?.view())).await?;
    apply(&app, &user.name, old.form(form.expected_version), Some(form.version)).await
}

/// Checks, saves and pushes; `again`: the old version that is restored.
async fn apply(app: &Arc<App>, user: &str, form: ClusterForm, again: Option<u64>) -> Outcome<Response> {
    let mut problems = form.validate();
    let enrolled = app.desired();
    for (i, node) in form.nodes.iter().enumerate() {
        if enrolled.node(node.id).is_none() {
            let message = format!("{} is not enrolled; add it with New node first", node.name);
            problems.push(FieldProblem::new(format!("nodes[{i}].id"), message));
        }
    }
    if form.nodes.is_empty() {
        problems.push(FieldProblem::new("nodes", "a cluster has at least one node"));
    }
    if !problems.is_empty() {
        return Err(Failure::invalid(problems));
    }
    check_stopped(app, &form)?;
    let held = app.hub.all().values().map(|live| live.held.cluster).max().unwrap_or(0);
    let author = user.to_owned();
    let config = app.db.call(move |tx| save_version(tx, &form, held, &author, again)).await?;
    app.reload().await?;
    let nodes: Vec<_> = config.nodes.iter().map(|node| node.id).collect();
    let title = format!("Apply cluster configuration, version {}", config.version);
    Ok(started(start_push(app, title, "cluster", None, user, Thing::Cluster(config.version), &nodes)))
}

fn save_version(
    tx: &rusqlite::Transaction<'_>,
    form: &ClusterForm,
    held: u64,
    author: &str,
    again: Option<u64>,
) -> Outcome<ClusterConfig> {
    let before = db::cluster::latest(tx)?;
    let rows = db::nodes::list(tx)?;
    let mut nodes = Vec::new();
    for node in &form.nodes {
        let row = rows.iter().find(|row| row.id == node.id);
        let row = row.ok_or_else(|| Failure::conflict(format!("{} was removed meanwhile", node.name)))?;
        nodes.push(ClusterNode {
            id: node.id,
            name: node.name.clone(),
            addresses: node.addresses.clone(),
            fingerprint: row.fingerprint.clone(),
        });
        if row.name != node.name {
            db::nodes::rename(tx, node.id, &node.name)?;
        }
    }
    let config = ClusterConfig {
        version: 0,
        name: form.name.clone(),
        secret: before.map_or_else(|| hex(&random::<32>()), |saved| saved.config.secret),
        lans: form.lans.clone(),
        nodes,
    };
    let names: Vec<_> = config.nodes.iter().map(|node| node.name.as_str()).collect();
    let nodes = format!("nodes {}", names.join(", "));
    let note = again.map_or(nodes.clone(), |version| format!("version {version} again: {nodes}"));
    let config = db::cluster::save(tx, form.expected_version, held, config, author, &note)?;
    db::records::audit(tx, author, &format!("saved cluster configuration {} ({note})", config.version))?;
    Ok(config)
}

/// A change of nodes, networks or addresses is taken only while every module is stopped; a new node alone is always.
fn check_stopped(app: &App, form: &ClusterForm) -> Outcome<()> {
    let desired = app.desired();
    let Some(saved) = &desired.cluster else {
        return Ok(());
    };
    let kept = saved.config.nodes.iter().all(|old| {
        let same = |new: &&holdfast_api::console::ClusterNodeForm| new.id == old.id;
        form.nodes.iter().find(same).is_some_and(|new| new.name == old.name && new.addresses == old.addresses)
    });
    if kept && saved.config.lans == form.lans && saved.config.name == form.name {
        return Ok(());
    }
    match running(app, None).first() {
        None => Ok(()),
        Some(text) => Err(Failure::conflict(format!(
            "names, networks and addresses of nodes change only while every module is stopped: {text}; stop it first"
        ))),
    }
}

/// Modules (or this one) that are not in STOP, as sentences, from the reports of connected nodes. A node that is away must
/// not keep an operator from taking it out; its agent checks by itself what it is sent when it comes back.
pub fn running(app: &App, module: Option<holdfast_api::ids::ModuleId>) -> Vec<String> {
    let desired = app.desired();
    let mut found = Vec::new();
    for (id, live) in app.hub.all().into_iter().filter(|(_, live)| live.session.is_some()) {
        let name = desired.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
        let reports = live.report.iter().flat_map(|report| &report.modules);
        for report in reports.filter(|report| module.is_none_or(|module| module == report.id)) {
            if report.state != ModuleState::Stop {
                found.push(format!("{} is {} on {name}", report.module, report.state));
            }
        }
    }
    found
}
