//! Routes: pages of the logs on the nodes, and a whole log as a text file.

use crate::app::App;
use crate::auth::Monitor;
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::nodes::name_of;
use crate::http::{Asked, In, download};
use axum::extract::State;
use axum::response::Response;
use holdfast_api::agent::{Answer, LOG_LINES_MAX, LogKind, LogPage, LogWanted, Request};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::Problem;
use serde::Deserialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

const LOG_TIMEOUT: Duration = Duration::from_secs(15);
/// Lines of a page where the query does not say.
const LINES: u32 = 500;
/// Longest text to look for, in bytes.
const HOLDING_MAX: usize = 200;
const LEVELS: &str = "CWEUSID";

/// Query of a node's command log.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct CommandLogQuery {
    /// Position to read from; without it, the last `limit` lines.
    from: Option<u64>,
    /// Without `from`: the last lines before this position.
    before: Option<u64>,
    /// Most lines (500 without it, at most 2000).
    limit: Option<u32>,
}

/// Query of a log.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// `module` or `application`.
    #[serde(default)]
    #[param(value_type = String)]
    which: LogKind,
    /// Position to read from; without it, the last `limit` lines.
    from: Option<u64>,
    /// Without `from`: the last lines before this position (`start` of the page that was read).
    before: Option<u64>,
    /// Most lines (500 without it, at most 2000). A page may hold fewer, or none, although there are more: go on from
    /// its `next`, or before its `start`.
    limit: Option<u32>,
    /// Only lines of these levels, by their letters: `CWE` for errors, warnings and events.
    levels: Option<String>,
    /// Only lines that hold this text, capital or not.
    holding: Option<String>,
}

impl LogQuery {
    fn wanted(&self) -> Outcome<LogWanted> {
        let (levels, holding) = (self.levels.clone().unwrap_or_default(), self.holding.clone().unwrap_or_default());
        if let Some(letter) = levels.chars().find(|letter| !LEVELS.contains(*letter)) {
            return Err(Failure::field(
                "levels",
                format!("there is no level {letter}; levels are the letters {LEVELS}"),
            ));
        }
        if holding.len() > HOLDING_MAX {
            return Err(Failure::field("holding", format!("the text is longer than {HOLDING_MAX} bytes")));
        }
        Ok(LogWanted { from: self.from, before: self.before, limit: lines(self.limit), levels, holding })
    }
}

fn lines(limit: Option<u32>) -> u32 {
    limit.unwrap_or(LINES).clamp(1, LOG_LINES_MAX)
}

/// A log on a node, as the routes read it.
#[derive(Clone)]
struct Source {
    app: Arc<App>,
    module: ModuleId,
    node: NodeId,
    name: String,
    which: LogKind,
}

impl Source {
    async fn page(&self, wanted: &LogWanted) -> Outcome<LogPage> {
        let request = Request::ReadLog { module: self.module, which: self.which, wanted: wanted.clone() };
        ask(&self.app, self.node, &self.name, request).await
    }
}

async fn ask(app: &App, node: NodeId, name: &str, request: Request) -> Outcome<LogPage> {
    match app.hub.ask(node, name, request, LOG_TIMEOUT).await? {
        Answer::LogPage(page) => Ok(page),
        _ => Err(Failure::node(format!("{name} answered something else than asked"))),
    }
}

/// A page of a node's command log: who asked for what there, and what came of it.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/commands", tag = "operate", params(("id" = u16, Path), CommandLogQuery),
    responses((status = 200, body = LogPage), (status = 404, body = Problem), (status = 502, body = Problem)))]
pub async fn command_log(
    State(app): State<Arc<App>>,
    _: Monitor,
    In(node): In<NodeId>,
    Asked(query): Asked<CommandLogQuery>,
) -> Outcome<axum::Json<LogPage>> {
    let name = name_of(&app, node)?;
    let (from, before) = (query.from, query.before);
    let wanted = LogWanted { from, before, limit: lines(query.limit), ..LogWanted::default() };
    Ok(axum::Json(ask(&app, node, &name, Request::ReadCommandLog { wanted }).await?))
}

/// A page of a module's log on a node.
#[utoipa::path(get, path = "/api/v1/modules/{id}/nodes/{node}/log", tag = "operate",
    params(("id" = u16, Path), ("node" = u16, Path), LogQuery), responses((status = 200, body = LogPage),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 502, body = Problem)))]
pub async fn log(
    State(app): State<Arc<App>>,
    _: Monitor,
    In((module, node)): In<(ModuleId, NodeId)>,
    Asked(query): Asked<LogQuery>,
) -> Outcome<axum::Json<LogPage>> {
    let (wanted, name) = (query.wanted()?, name_of(&app, node)?);
    app.db.read(move |tx| db::modules::get(tx, module)).await?;
    Ok(axum::Json(Source { app, module, node, name, which: query.which }.page(&wanted).await?))
}

/// The lines of a page as text.
fn log_lines(page: &LogPage) -> String {
    let mut text = String::new();
    for line in &page.lines {
        if line.unix_ms > 0 {
            let stamp = i64::try_from(line.unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let stamp = stamp.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S%.3fZ");
            let _ = write!(text, "{stamp} ");
        }
        if !line.level.is_empty() {
            let _ = write!(text, "{} ", line.level);
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

/// A whole log as a text file, or the lines of it that hold, streamed from the node.
#[utoipa::path(get, path = "/api/v1/modules/{id}/nodes/{node}/log.txt", tag = "operate",
    params(("id" = u16, Path), ("node" = u16, Path), LogQuery), responses((status = 200, content_type = "text/plain"),
    (status = 404, body = Problem), (status = 422, body = Problem), (status = 502, body = Problem)))]
pub async fn log_text(
    State(app): State<Arc<App>>,
    _: Monitor,
    In((id, node)): In<(ModuleId, NodeId)>,
    Asked(query): Asked<LogQuery>,
) -> Outcome<Response> {
    let wanted = LogWanted { from: Some(0), before: None, limit: LOG_LINES_MAX, ..query.wanted()? };
    let name = name_of(&app, node)?;
    let module = app.db.read(move |tx| db::modules::get(tx, id)).await?;
    let kind = match query.which {
        LogKind::Module => "",
        LogKind::Application => "_application",
    };
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let file = format!("{}_{name}{kind}_{date}.txt", module.name);
    let source = Source { app, module: id, node, name, which: query.which };
    // The first page is read before answering, so that a node that is away is a problem and not a broken file.
    let first = source.page(&wanted).await?;
    Ok(download(&file, "text/plain; charset=utf-8", axum::body::Body::from_stream(pages(source, wanted, first))))
}

/// The text of all pages from the first on, up to the end there was then.
fn pages(
    source: Source,
    wanted: LogWanted,
    first: LogPage,
) -> impl futures_util::Stream<Item = std::io::Result<String>> {
    let end = first.end;
    futures_util::stream::unfold(Some(first), move |page| {
        let (source, wanted) = (source.clone(), wanted.clone());
        async move {
            let page = page?;
            let text = log_lines(&page);
            if page.next >= end {
                return Some((Ok(text), None));
            }
            match source.page(&LogWanted { from: Some(page.next), ..wanted }).await {
                Ok(next) if next.next > page.next => Some((Ok(text), Some(next))),
                Ok(_) => Some((Ok(text), None)),
                Err(failure) => Some((Err(std::io::Error::other(failure.0.detail)), None)),
            }
        }
    })
}
