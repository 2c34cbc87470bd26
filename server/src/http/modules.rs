//! Routes: modules as saved on the server: catalogue, drafts, settings, files, versions, validation.

use crate::app::App;
use crate::auth::{Admin, Control, Monitor};
use crate::db;
use crate::db::modules::NewVersion;
use crate::error::{Failure, Outcome};
use crate::http::nodes::ask_paths;
use crate::http::operate::{start_push, started};
use crate::http::{Asked, In, Json, LongJson, Raw, download};
use crate::modules as package_of;
use crate::placement;
use crate::tasks::Thing;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use holdfast_api::config::ModuleSettings;
use holdfast_api::console::{
    CatalogueEntry, FileChange, FilesForm, FilesView, ModuleView, NewModule, NodePaths, RestoreForm, SettingsForm,
    SettingsView, TaskStarted, ValidateForm, ValidateView, VersionView,
};
use holdfast_api::ids::ModuleId;
use holdfast_api::package::{Package, USERCONFIG};
use holdfast_api::problem::{FieldProblem, Problem};
use serde::Deserialize;
use std::sync::Arc;

/// Templates to make modules from.
#[utoipa::path(get, path = "/api/v1/catalogue", tag = "modules", responses((status = 200, body = Vec<CatalogueEntry>)))]
pub async fn catalogue(_: Monitor) -> axum::Json<Vec<CatalogueEntry>> {
    axum::Json(package_of::catalogue())
}

/// The modules.
#[utoipa::path(get, path = "/api/v1/modules", tag = "modules", responses((status = 200, body = Vec<ModuleView>)))]
pub async fn list(State(app): State<Arc<App>>, _: Monitor) -> axum::Json<Vec<ModuleView>> {
    axum::Json(app.desired().modules.clone())
}

/// One module.
#[utoipa::path(get, path = "/api/v1/modules/{id}", tag = "modules", params(("id" = u16, Path)), responses(
    (status = 200, body = ModuleView), (status = 404, body = Problem)))]
pub async fn get(State(app): State<Arc<App>>, _: Monitor, In(id): In<ModuleId>) -> Outcome<axum::Json<ModuleView>> {
    Ok(axum::Json(app.db.read(move |tx| db::modules::get(tx, id)).await?))
}

async fn add(app: &App, name: String, template: String, package: &Package, author: String) -> Outcome<Response> {
    let bytes = package_of::write(package)?;
    let module = app
        .db
        .call(move |tx| {
            let module = db::modules::create(tx, &name, &template, &bytes, &author)?;
            db::records::audit(tx, &author, &format!("made module {name} ({}) from {template}", module.id))?;
            Ok(module)
        })
        .await?;
    app.reload().await?;
    Ok((StatusCode::CREATED, axum::Json(module)).into_response())
}

/// Makes a module (a draft, until it is configured) from a template.
#[utoipa::path(post, path = "/api/v1/modules", tag = "modules", request_body = NewModule, responses(
    (status = 201, body = ModuleView), (status = 422, body = Problem)))]
pub async fn create(State(app): State<Arc<App>>, Admin(user): Admin, Json(new): Json<NewModule>) -> Outcome<Response> {
    let package = package_of::template(&new.template)?;
    add(&app, new.name, new.template, &package, user.name).await
}

/// Query of an import.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Name of the new module.
    name: String,
}

/// Makes a module from a `.safe` package (the body is the zip).
#[utoipa::path(post, path = "/api/v1/modules/import", tag = "modules", params(ImportQuery),
    request_body(content_type = "application/zip", content = Vec<u8>),
    responses((status = 201, body = ModuleView), (status = 422, body = Problem)))]
pub async fn import(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    Asked(query): Asked<ImportQuery>,
    Raw(body): Raw,
) -> Outcome<Response> {
    let package = package_of::read(&body)?;
    let (problems, ..) = package_of::check(&package);
    let broken: Vec<_> = problems.into_iter().filter(|problem| problem.field == USERCONFIG).collect();
    if !broken.is_empty() {
        return Err(Failure::invalid(broken));
    }
    add(&app, query.name, "imported.safe".into(), &package, user.name).await
}

/// Removes a module: the nodes forget it; its versions stay in the database.
#[utoipa::path(delete, path = "/api/v1/modules/{id}", tag = "modules", params(("id" = u16, Path)), responses(
    (status = 202, body = TaskStarted), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove(State(app): State<Arc<App>>, Admin(user): Admin, In(id): In<ModuleId>) -> Outcome<Response> {
    if let Some(text) = crate::http::cluster::running(&app, Some(id)).first() {
        return Err(Failure::conflict(format!("{text}; stop it on every node first")));
    }
    let author = user.name.clone();
    let module = app
        .db
        .call(move |tx| {
            let module = db::modules::remove(tx, id)?;
            db::records::audit(tx, &author, &format!("removed module {} ({id})", module.name))?;
            Ok(module)
        })
        .await?;
    let holders = app.hub.all().into_iter().filter(|(_, live)| live.held.modules.contains_key(&id));
    let nodes: Vec<_> = holders.map(|(node, _)| node).collect();
    app.reload().await?;
    let title = format!("Remove {}", module.name);
    Ok(started(start_push(&app, title, "remove", Some(id), &user.name, Thing::Removal(id), &nodes)))
}

/// Query for one version.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct VersionQuery {
    /// Which version; without it, the latest.
    version: Option<u64>,
}

/// A module with the package of one version, or the latest.
///
/// # Errors
/// 404.
pub async fn load(app: &App, id: ModuleId, version: Option<u64>) -> Outcome<(ModuleView, u64, Package)> {
    let (module, version, bytes) = app
        .db
        .read(move |tx| {
            let module = db::modules::get(tx, id)?;
            let version = version.unwrap_or(module.version);
            let bytes = db::modules::package(tx, id, version)?;
            Ok((module, version, bytes))
        })
        .await?;
    let package = Package::read(&bytes).map_err(Failure::internal)?;
    Ok((module, version, package))
}

/// Saves a package as the next version of a module.
///
/// # Errors
/// 404; 409 if another version was saved meanwhile.
async fn save(
    app: &App,
    id: ModuleId,
    expected: u64,
    package: &Package,
    author: &str,
    note: String,
) -> Outcome<ModuleView> {
    let held = app.hub.all().values().filter_map(|live| live.held.modules.get(&id).map(|held| held.1)).max();
    let new = NewVersion {
        expected,
        held: held.unwrap_or(0),
        package: package_of::write(package)?,
        author: author.to_owned(),
        note,
    };
    let module = app
        .db
        .call(move |tx| {
            let module = db::modules::save(tx, id, &new)?;
            let text = format!("saved {} version {} ({})", module.name, module.version, new.note);
            db::records::audit(tx, &new.author, &text)?;
            Ok(module)
        })
        .await?;
    app.reload().await?;
    Ok(module)
}

/// What the wizard shows of the latest version.
#[utoipa::path(get, path = "/api/v1/modules/{id}/settings", tag = "modules", params(("id" = u16, Path)), responses(
    (status = 200, body = SettingsView), (status = 404, body = Problem)))]
pub async fn settings(
    State(app): State<Arc<App>>,
    _: Monitor,
    In(id): In<ModuleId>,
) -> Outcome<axum::Json<SettingsView>> {
    let (module, version, package) = load(&app, id, None).await?;
    let view = match package_of::settings(&package, &module.name) {
        Ok(settings) => SettingsView { version, settings: Some(settings), problems: Vec::new() },
        Err(problems) => SettingsView { version, settings: None, problems },
    };
    Ok(axum::Json(view))
}

/// Saves the wizard's settings as a new version.
#[utoipa::path(put, path = "/api/v1/modules/{id}/settings", tag = "modules", params(("id" = u16, Path)),
    request_body = SettingsForm, responses((status = 200, body = ModuleView), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn save_settings(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    In(id): In<ModuleId>,
    LongJson(form): LongJson<SettingsForm>,
) -> Outcome<axum::Json<ModuleView>> {
    let (module, version, package) = load(&app, id, None).await?;
    if version != form.expected_version {
        return Err(Failure::stale(form.expected_version, version));
    }
    let new = package_of::with_settings(&package, &form.settings, &module.name)
        .map_err(|failure| within(failure, "settings"))?;
    check_overlaps(&app, id, &form.settings).await?;
    if module.name != form.settings.name {
        let name = form.settings.name.clone();
        app.db
            .call(move |tx| db::modules::rename(tx, id, &name))
            .await
            .map_err(|failure| within(failure, "settings"))?;
        app.reload().await?;
    }
    if new == package {
        return Ok(axum::Json(app.db.read(move |tx| db::modules::get(tx, id)).await?));
    }
    Ok(axum::Json(save(&app, id, version, &new, &user.name, "settings".into()).await?))
}

fn within(mut failure: Failure, prefix: &str) -> Failure {
    if !failure.0.errors.is_empty() {
        failure = Failure::invalid(failure.0.errors.into_iter().map(|problem| problem.within(prefix)).collect());
    }
    failure
}

/// Directories of two modules must not overlap.
async fn check_overlaps(app: &App, id: ModuleId, settings: &ModuleSettings) -> Outcome<()> {
    for other in app.desired().modules.iter().filter(|other| other.id != id) {
        let (other, _, package) = load(app, other.id, other.desired).await?;
        if other.desired.is_none() {
            continue;
        }
        let Ok(theirs) = package_of::settings(&package, &other.name) else {
            continue;
        };
        for (i, mine) in settings.directories.iter().enumerate() {
            for their in &theirs.directories {
                let pair = [their.clone(), mine.clone()];
                if !holdfast_api::config::check_directories("", &pair).is_empty() {
                    let message =
                        format!("module {} replicates {their}; two modules cannot share a directory", other.name);
                    return Err(Failure::field(&format!("settings.directories[{i}]"), message));
                }
            }
        }
    }
    Ok(())
}

/// The files of a version.
#[utoipa::path(get, path = "/api/v1/modules/{id}/files", tag = "modules", params(("id" = u16, Path), VersionQuery),
    responses((status = 200, body = FilesView), (status = 404, body = Problem)))]
pub async fn files(
    State(app): State<Arc<App>>,
    _: Monitor,
    In(id): In<ModuleId>,
    Asked(query): Asked<VersionQuery>,
) -> Outcome<axum::Json<FilesView>> {
    let (_, version, package) = load(&app, id, query.version).await?;
    Ok(axum::Json(FilesView { version, files: package_of::files(&package) }))
}

/// Changes some files; saves a new version. `userconfig.xml` must be readable.
#[utoipa::path(put, path = "/api/v1/modules/{id}/files", tag = "modules", params(("id" = u16, Path)),
    request_body = FilesForm, responses((status = 200, body = ModuleView), (status = 409, body = Problem),
    (status = 422, body = Problem)))]
pub async fn save_files(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    In(id): In<ModuleId>,
    LongJson(form): LongJson<FilesForm>,
) -> Outcome<axum::Json<ModuleView>> {
    let (_, version, package) = load(&app, id, None).await?;
    if version != form.expected_version {
        return Err(Failure::stale(form.expected_version, version));
    }
    let new = package_of::with_changes(&package, &form.changes)?;
    let (problems, ..) = package_of::check(&new);
    let broken: Vec<_> = problems.into_iter().filter(|problem| problem.field == USERCONFIG).collect();
    if !broken.is_empty() {
        return Err(Failure::invalid(broken));
    }
    let paths: Vec<_> = form.changes.iter().map(|change: &FileChange| change.path.as_str()).collect();
    Ok(axum::Json(save(&app, id, version, &new, &user.name, paths.join(", ")).await?))
}

/// The `.safe` package of a version.
#[utoipa::path(get, path = "/api/v1/modules/{id}/package.safe", tag = "modules", params(("id" = u16, Path), VersionQuery),
    responses((status = 200, content_type = "application/zip"), (status = 404, body = Problem)))]
pub async fn package(
    State(app): State<Arc<App>>,
    _: Control,
    In(id): In<ModuleId>,
    Asked(query): Asked<VersionQuery>,
) -> Outcome<Response> {
    let (module, _, package) = load(&app, id, query.version).await?;
    Ok(download(&format!("{}.safe", module.name), "application/zip", package_of::write(&package)?))
}

/// All versions, newest first.
#[utoipa::path(get, path = "/api/v1/modules/{id}/versions", tag = "modules", params(("id" = u16, Path)), responses(
    (status = 200, body = Vec<VersionView>), (status = 404, body = Problem)))]
pub async fn versions(
    State(app): State<Arc<App>>,
    _: Monitor,
    In(id): In<ModuleId>,
) -> Outcome<axum::Json<Vec<VersionView>>> {
    let versions = app
        .db
        .read(move |tx| {
            db::modules::get(tx, id)?;
            db::modules::versions(tx, id)
        })
        .await?;
    Ok(axum::Json(versions))
}

/// Saves an old version again as the newest.
#[utoipa::path(post, path = "/api/v1/modules/{id}/restore", tag = "modules", params(("id" = u16, Path)),
    request_body = RestoreForm, responses((status = 200, body = ModuleView), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub async fn restore(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    In(id): In<ModuleId>,
    Json(form): Json<RestoreForm>,
) -> Outcome<axum::Json<ModuleView>> {
    let (_, version, package) = load(&app, id, Some(form.version)).await?;
    let note = format!("version {version} again");
    Ok(axum::Json(save(&app, id, form.expected_version, &package, &user.name, note).await?))
}

/// Checks without saving: the form or file given, or what is saved; and what the nodes say about the directories.
#[utoipa::path(post, path = "/api/v1/modules/{id}/validate", tag = "modules", params(("id" = u16, Path)),
    request_body = ValidateForm, responses((status = 200, body = ValidateView), (status = 404, body = Problem)))]
pub async fn validate(
    State(app): State<Arc<App>>,
    _: Control,
    In(id): In<ModuleId>,
    LongJson(form): LongJson<ValidateForm>,
) -> Outcome<axum::Json<ValidateView>> {
    let (module, _, mut package) = load(&app, id, None).await?;
    let mut view = ValidateView::default();
    if let Some(text) = form.userconfig {
        let change = FileChange { path: USERCONFIG.into(), text: Some(text) };
        package = package_of::with_changes(&package, &[change])?;
    }
    if let Some(settings) = &form.settings {
        match package_of::with_settings(&package, settings, &module.name) {
            Ok(new) => package = new,
            Err(failure) => view.problems = failure.0.errors,
        }
        if let Err(failure) = check_overlaps(&app, id, settings).await {
            let problems = failure.0.errors.into_iter();
            view.problems.extend(problems.map(|problem| {
                let field = problem.field.trim_start_matches("settings.").to_owned();
                FieldProblem::new(field, problem.message)
            }));
        }
    }
    let mut directories = form.settings.map(|settings| settings.directories).unwrap_or_default();
    if view.problems.is_empty() {
        let (problems, warnings, config) = package_of::check(&package);
        (view.problems, view.warnings) = (problems, warnings);
        if let Some(config) = &config {
            view.problems.extend(placement::problems(&app, config).await);
        }
        directories = config.and_then(|config| config.rfs).map(|rfs| rfs.directories).unwrap_or_default();
    }
    view.userconfig = package.userconfig().map(str::to_owned).unwrap_or_default();
    if form.ask_nodes {
        directories.retain(|path| holdfast_api::config::check_directory(path).is_ok());
        view.nodes = ask_nodes(&app, &directories).await;
        for node in &view.nodes {
            for facts in &node.paths {
                warn(&mut view.warnings, &node.name, facts);
            }
        }
    }
    Ok(axum::Json(view))
}

fn warn(warnings: &mut Vec<FieldProblem>, node: &str, facts: &holdfast_api::agent::PathFacts) {
    if facts.exists && !facts.directory {
        warnings.push(FieldProblem::new("directories", format!("{} is no directory on {node}", facts.path)));
    } else if !facts.exists {
        warnings.push(FieldProblem::new("directories", format!("{} does not exist on {node}", facts.path)));
    }
    for warning in &facts.warnings {
        warnings.push(FieldProblem::new("directories", format!("{node}: {warning}")));
    }
}

async fn ask_nodes(app: &App, directories: &[String]) -> Vec<NodePaths> {
    let desired = app.desired();
    let asked = desired.members().into_iter().filter_map(|id| Some((id, desired.node(id)?.name.clone())));
    let asked = asked.map(|(id, name)| async move {
        let (error, paths) = match ask_paths(app, id, &name, directories.to_vec()).await {
            Ok(paths) => (String::new(), paths),
            Err(failure) => (failure.0.detail, Vec::new()),
        };
        NodePaths { node: id, name, error, paths }
    });
    futures_util::future::join_all(asked).await
}
