//! Routes: what nodes set aside of a module's copies that diverged.

use crate::app::App;
use crate::auth::{Admin, Monitor};
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::nodes::name_of;
use crate::http::operate::actor;
use crate::http::{Asked, In, download as attached};
use crate::serve::Ends;
use crate::tls::random;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, StreamExt};
use holdfast_api::agent::{ASIDE_ENTRIES_MAX, Answer, AsideCopy, AsidePage, Request};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::Problem;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

const LIST_TIMEOUT: Duration = Duration::from_secs(15);
/// Deleting a folder of a million files takes its time.
const DELETE_TIMEOUT: Duration = Duration::from_secs(300);
/// A piece of a download is a quarter of a mebibyte read from a disk that may be busy.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

/// What was set aside of a module on a node, oldest first.
#[utoipa::path(get, path = "/api/v1/modules/{id}/nodes/{node}/diverged", tag = "operate",
    params(("id" = u16, Path), ("node" = u16, Path)), responses((status = 200, body = Vec<AsideCopy>),
    (status = 404, body = Problem), (status = 502, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Monitor,
    In((id, node)): In<(ModuleId, NodeId)>,
) -> Outcome<axum::Json<Vec<AsideCopy>>> {
    let name = name_of(&app, node)?;
    app.db.call(move |tx| db::modules::get(tx, id)).await?;
    match app.hub.ask(node, &name, Request::ListSetAside { module: id }, LIST_TIMEOUT).await? {
        Answer::SetAside { copies } => Ok(axum::Json(copies)),
        _ => Err(Failure::node(format!("{name} answered something else than asked"))),
    }
}

/// Query of what one copy holds.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Number of the first entry, from 0.
    #[serde(default)]
    from: u64,
    /// Most entries (500 without it, and at most).
    limit: Option<u32>,
}

/// What was set aside under this name: a page of its files, with how each differs.
#[utoipa::path(get, path = "/api/v1/modules/{id}/nodes/{node}/diverged/{copy}", tag = "operate",
    params(("id" = u16, Path), ("node" = u16, Path), ("copy" = String, Path), PageQuery),
    responses((status = 200, body = AsidePage), (status = 404, body = Problem), (status = 502, body = Problem)))]
pub async fn tell(
    State(app): State<Arc<App>>,
    _: Monitor,
    In((id, node, copy)): In<(ModuleId, NodeId, String)>,
    Asked(query): Asked<PageQuery>,
) -> Outcome<axum::Json<AsidePage>> {
    let name = name_of(&app, node)?;
    app.db.call(move |tx| db::modules::get(tx, id)).await?;
    let limit = query.limit.unwrap_or(ASIDE_ENTRIES_MAX).min(ASIDE_ENTRIES_MAX);
    let request = Request::ReadSetAside { module: id, id: copy, from: query.from, limit };
    match app.hub.ask(node, &name, request, LIST_TIMEOUT).await? {
        Answer::SetAsidePage(page) => Ok(axum::Json(page)),
        _ => Err(Failure::node(format!("{name} answered something else than asked"))),
    }
}

/// Deletes what was set aside under this name, for ever.
#[utoipa::path(delete, path = "/api/v1/modules/{id}/nodes/{node}/diverged/{copy}", tag = "operate",
    params(("id" = u16, Path), ("node" = u16, Path), ("copy" = String, Path)), responses((status = 204),
    (status = 404, body = Problem), (status = 502, body = Problem)))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Admin(by): Admin,
    ends: Ends,
    In((id, node, copy)): In<(ModuleId, NodeId, String)>,
) -> Outcome<StatusCode> {
    let name = name_of(&app, node)?;
    let module = app.db.call(move |tx| db::modules::get(tx, id)).await?;
    let text = format!("deletes what {name} set aside of {} as {copy}", module.name);
    let (user, actor) = (by.name.clone(), actor(&by.name, &ends));
    app.db.call(move |tx| db::records::audit(tx, &user, &text)).await?;
    match app.hub.ask(node, &name, Request::DeleteSetAside { module: id, id: copy, actor }, DELETE_TIMEOUT).await? {
        Answer::Done { .. } => Ok(StatusCode::NO_CONTENT),
        _ => Err(Failure::node(format!("{name} answered something else than asked"))),
    }
}

/// What was set aside under this name, as a zip that is packed while it is sent: a download that breaks off is not whole.
#[utoipa::path(get, path = "/api/v1/modules/{id}/nodes/{node}/diverged/{copy}/copy.zip", tag = "operate",
    params(("id" = u16, Path), ("node" = u16, Path), ("copy" = String, Path)),
    responses((status = 200, content_type = "application/zip"), (status = 404, body = Problem),
    (status = 502, body = Problem)))]
pub async fn download(
    State(app): State<Arc<App>>,
    Admin(by): Admin,
    ends: Ends,
    In((id, node, copy)): In<(ModuleId, NodeId, String)>,
) -> Outcome<Response> {
    let name = name_of(&app, node)?;
    let module = app.db.call(move |tx| db::modules::get(tx, id)).await?;
    let file = format!("diverged_{}_{name}_{copy}.zip", module.name);
    let text = format!("downloads what {name} set aside of {} as {copy}", module.name);
    let (user, actor) = (by.name.clone(), actor(&by.name, &ends));
    let mut pieces = Pieces { app, node, name, module: id, copy, download: u64::from_le_bytes(random()), actor };
    // A copy that is not there is a problem to answer with, not a broken file.
    let (first, ended) = pieces.next(true).await?;
    pieces.app.db.call(move |tx| db::records::audit(tx, &user, &text)).await?;
    let rest = stream::try_unfold((pieces, ended), async |(mut pieces, ended)| {
        if ended {
            return Ok(None);
        }
        let (bytes, ended) = pieces.next(false).await.map_err(|failure| std::io::Error::other(failure.to_string()))?;
        Ok(Some((bytes, (pieces, ended))))
    });
    let whole = stream::iter([Ok::<_, std::io::Error>(first)]).chain(rest);
    Ok(attached(&file, "application/zip", Body::from_stream(whole)))
}

/// A download under way; each piece is asked of the node when the reader has taken the one before.
struct Pieces {
    app: Arc<App>,
    node: NodeId,
    name: String,
    module: ModuleId,
    copy: String,
    download: u64,
    actor: String,
}

impl Pieces {
    /// The next piece, and whether it is the last one.
    async fn next(&mut self, first: bool) -> Outcome<(Vec<u8>, bool)> {
        let Self { module, copy, download, actor, name, .. } = self;
        let (id, actor) = (copy.clone(), actor.clone());
        let request = Request::ExportSetAside { module: *module, id, download: *download, first, actor };
        let strange = || Failure::node(format!("{name} answered something else than asked"));
        match self.app.hub.ask(self.node, name, request, PIECE_TIMEOUT).await? {
            Answer::SnapshotChunk { data, last } => Ok((STANDARD.decode(data).map_err(|_| strange())?, last)),
            _ => Err(strange()),
        }
    }
}
