//! Routes: support zips made as a task, kept in the data folder until they are deleted.

use crate::anonymous::Names;
use crate::app::App;
use crate::auth::Control;
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::nodes::{name_of, zip_of};
use crate::http::operate::{started, targets};
use crate::http::{In, Json, download};
use crate::live;
use crate::tasks::NewTask;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use holdfast_api::console::{SnapshotForm, SnapshotView, TaskNode, TaskStarted, TaskState};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::Problem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Makes a support zip of each node: logs, configuration, states, versions, system facts; secrets masked.
#[utoipa::path(post, path = "/api/v1/snapshots", tag = "operate", request_body = SnapshotForm, responses(
    (status = 202, body = TaskStarted), (status = 404, body = Problem), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn make(
    State(app): State<Arc<App>>,
    Control(user): Control,
    Json(form): Json<SnapshotForm>,
) -> Outcome<Response> {
    let nodes = targets(&app, &form.nodes)?;
    let about = match form.module {
        Some(id) => app.db.read(move |tx| db::modules::get(tx, id)).await?.name,
        None => "the nodes".to_owned(),
    };
    let most = app.db.read(db::settings::retention).await?.snapshots;
    if found(&app).await?.len() + nodes.len() > most as usize {
        return Err(Failure::conflict(format!(
            "the server keeps at most {most} snapshots: delete old ones first, or let it keep more (Settings)"
        )));
    }
    let names = if form.anonymous { Some(names(&app).await?) } else { None };
    let mut entries = Vec::new();
    for node in &nodes {
        let (name, message) = (name_of(&app, *node)?, "collecting…".to_owned());
        entries.push(TaskNode { node: *node, name, state: TaskState::Running, message });
    }
    let task = app.tasks.begin(NewTask {
        title: format!("Snapshots of {about}"),
        kind: "snapshot".into(),
        module: form.module,
        author: user.name.clone(),
        thing: None,
        nodes: entries,
    });
    for node in nodes {
        let (app, user, names) = (Arc::clone(&app), user.name.clone(), names.clone());
        tokio::spawn(async move {
            let (state, message) = match keep(&app, &user, node, form.module, names).await {
                Ok(name) => (TaskState::Done, name),
                Err(failure) => (TaskState::Failed, failure.0.detail),
            };
            app.tasks.progress(task, node, state, &message);
        });
    }
    Ok(started(task))
}

/// What is replaced in the zips of one task.
async fn names(app: &App) -> Outcome<Arc<Names>> {
    let users = app.db.read(db::users::list).await?;
    let users: Vec<String> = users.into_iter().map(|user| user.name).collect();
    Names::of(&live::snapshot(app), &users).map(Arc::new).map_err(Failure::internal)
}

/// Collects one zip and saves it; its file's name.
async fn keep(
    app: &App,
    user: &str,
    node: NodeId,
    module: Option<ModuleId>,
    names: Option<Arc<Names>>,
) -> Outcome<String> {
    let (name, zip) = zip_of(app, user, node, module, names).await?;
    let (folder, file) = (folder(app), name.clone());
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        // Under another name until it is whole.
        let partial = folder.join(format!("{file}.part"));
        std::fs::write(&partial, zip)?;
        std::fs::rename(partial, folder.join(file))
    })
    .await
    .map_err(Failure::internal)?
    .map_err(Failure::internal)?;
    Ok(name)
}

fn folder(app: &App) -> PathBuf {
    app.data_dir.join("snapshots")
}

/// The zips that are kept, newest first.
async fn found(app: &App) -> Outcome<Vec<SnapshotView>> {
    let folder = folder(app);
    let read = move || {
        let mut found = Vec::new();
        let Ok(entries) = std::fs::read_dir(folder) else { return found };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(meta) = entry.metadata().ok().filter(|meta| meta.is_file() && is_name(&name)) else { continue };
            let made = meta.modified().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            let made_unix_ms = u64::try_from(made.as_millis()).unwrap_or(0);
            found.push(SnapshotView { name, bytes: meta.len(), made_unix_ms });
        }
        found.sort_by_key(|view: &SnapshotView| std::cmp::Reverse(view.made_unix_ms));
        found
    };
    tokio::task::spawn_blocking(read).await.map_err(Failure::internal)
}

/// Deletes the zips made before this (Unix milliseconds).
///
/// # Errors
/// The folder cannot be read.
pub async fn forget(app: &App, before_ms: u64) -> Outcome<()> {
    for view in found(app).await?.into_iter().filter(|view| view.made_unix_ms < before_ms) {
        if let Err(error) = tokio::fs::remove_file(folder(app).join(&view.name)).await {
            tracing::warn!("{} is too old but cannot be deleted: {error}", view.name);
        }
    }
    Ok(())
}

/// True for the name of a zip: nothing else of the folder, and nothing outside it, can be named.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    name.len() <= 200 && name.starts_with("snapshot_") && name.ends_with(".zip") && name.chars().all(plain)
}

fn path_of(app: &App, name: &str) -> Outcome<PathBuf> {
    let missing = || Failure::not_found("there is no such snapshot");
    if is_name(name) { Ok(folder(app).join(name)) } else { Err(missing()) }
}

/// The zips that are kept, newest first.
#[utoipa::path(get, path = "/api/v1/snapshots", tag = "operate", responses((status = 200, body = Vec<SnapshotView>)))]
pub async fn list(State(app): State<Arc<App>>, _: Control) -> Outcome<axum::Json<Vec<SnapshotView>>> {
    Ok(axum::Json(found(&app).await?))
}

/// A zip that is kept.
#[utoipa::path(get, path = "/api/v1/snapshots/{name}", tag = "operate", params(("name" = String, Path)), responses(
    (status = 200, content_type = "application/zip"), (status = 404, body = Problem)))]
pub async fn get(State(app): State<Arc<App>>, _: Control, In(name): In<String>) -> Outcome<Response> {
    let path = path_of(&app, &name)?;
    let bytes = tokio::fs::read(path).await.map_err(|_| Failure::not_found("there is no such snapshot"))?;
    Ok(download(&name, "application/zip", bytes))
}

/// Deletes a zip.
#[utoipa::path(delete, path = "/api/v1/snapshots/{name}", tag = "operate", params(("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn remove(State(app): State<Arc<App>>, Control(user): Control, In(name): In<String>) -> Outcome<StatusCode> {
    let path = path_of(&app, &name)?;
    tokio::fs::remove_file(path).await.map_err(|_| Failure::not_found("there is no such snapshot"))?;
    app.db.call(move |tx| db::records::audit(tx, &user.name, &format!("deleted {name}"))).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn only_zips_of_the_folder_can_be_named() {
        assert!(is_name("snapshot_node1_2026-11-27_101112.zip"));
        for bad in ["", "snapshot_../x.zip", "snapshot_a/b.zip", "other.zip", "snapshot_a.zip.part", "snapshot_a"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
