//! The routes: one table for router and OpenAPI test, reading of bodies, and what every request goes through.

pub mod aside;
pub mod cluster;
pub mod logs;
pub mod modules;
pub mod nodes;
pub mod openapi;
pub mod operate;
pub mod plain;
pub mod register;
pub mod session;
pub mod settings;
pub mod snapshots;
pub mod users;

use crate::app::App;
use crate::assets;
use crate::auth::check_origin;
use crate::error::{Failure, Outcome};
use crate::serve::Ends;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use holdfast_api::agent::{AGENT_PATH, CLIENT_HEADER};
use holdfast_api::problem::FieldProblem;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tower::ServiceExt;

/// Longest body of most requests, in bytes.
const BODY_MAX: usize = 256 * 1024;
/// Longest body of requests that carry files.
const FILES_BODY_MAX: usize = 8 * 1024 * 1024;

macro_rules! table {
    ($($method:ident $path:literal => $handler:path,)*) => {
        /// Every route below `/api/v1`: method and path.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        fn api() -> Router<Arc<App>> {
            Router::new()$(.route($path, $method($handler)))*
        }
    };
}

table! {
    get "/api/v1/session" => session::view,
    post "/api/v1/session" => session::login,
    delete "/api/v1/session" => session::logout,
    post "/api/v1/setup" => session::setup,
    get "/api/v1/users" => session::users,
    post "/api/v1/users" => session::add_user,
    put "/api/v1/users/{name}" => users::change,
    delete "/api/v1/users/{name}" => session::remove_user,
    put "/api/v1/session/password" => users::password,
    get "/api/v1/sessions" => users::sessions,
    delete "/api/v1/sessions/{id}" => users::end_session,
    get "/api/v1/tokens" => users::tokens,
    post "/api/v1/tokens" => users::make_token,
    delete "/api/v1/tokens/{id}" => users::remove_token,
    get "/api/v1/cluster" => cluster::view,
    put "/api/v1/cluster" => cluster::save,
    get "/api/v1/cluster/versions" => cluster::versions,
    get "/api/v1/cluster/versions/{version}" => cluster::version,
    post "/api/v1/cluster/restore" => cluster::restore,
    get "/api/v1/settings" => settings::view,
    put "/api/v1/settings/certificate" => settings::set_certificate,
    delete "/api/v1/settings/certificate" => settings::remove_certificate,
    put "/api/v1/settings/retention" => settings::set_retention,
    put "/api/v1/settings/plain-http" => settings::set_plain_http,
    get "/api/v1/nodes" => nodes::list,
    post "/api/v1/nodes/probe" => nodes::probe,
    post "/api/v1/nodes/enrol" => nodes::enrol,
    post "/api/v1/nodes/tokens" => nodes::token,
    delete "/api/v1/nodes/{id}" => nodes::remove,
    post "/api/v1/nodes/{id}/paths" => nodes::paths,
    get "/api/v1/nodes/{id}/processes" => nodes::processes,
    get "/api/v1/nodes/{id}/commands" => logs::command_log,
    get "/api/v1/nodes/{id}/snapshot.zip" => nodes::snapshot,
    post "/api/v1/join" => nodes::join,
    get "/api/v1/catalogue" => modules::catalogue,
    get "/api/v1/modules" => modules::list,
    post "/api/v1/modules" => modules::create,
    post "/api/v1/modules/import" => modules::import,
    get "/api/v1/modules/{id}" => modules::get,
    delete "/api/v1/modules/{id}" => modules::remove,
    get "/api/v1/modules/{id}/settings" => modules::settings,
    put "/api/v1/modules/{id}/settings" => modules::save_settings,
    get "/api/v1/modules/{id}/files" => modules::files,
    put "/api/v1/modules/{id}/files" => modules::save_files,
    get "/api/v1/modules/{id}/package.safe" => modules::package,
    get "/api/v1/modules/{id}/versions" => modules::versions,
    post "/api/v1/modules/{id}/restore" => modules::restore,
    post "/api/v1/modules/{id}/validate" => modules::validate,
    post "/api/v1/modules/{id}/configure" => operate::configure,
    post "/api/v1/modules/{id}/commands" => operate::command,
    post "/api/v1/modules/{id}/checks" => operate::checks,
    get "/api/v1/modules/{id}/nodes/{node}/log" => logs::log,
    get "/api/v1/modules/{id}/nodes/{node}/log.txt" => logs::log_text,
    get "/api/v1/modules/{id}/nodes/{node}/snapshot.zip" => nodes::module_snapshot,
    get "/api/v1/modules/{id}/nodes/{node}/diverged" => aside::list,
    get "/api/v1/modules/{id}/nodes/{node}/diverged/{copy}" => aside::tell,
    delete "/api/v1/modules/{id}/nodes/{node}/diverged/{copy}" => aside::remove,
    get "/api/v1/modules/{id}/nodes/{node}/diverged/{copy}/copy.zip" => aside::download,
    get "/api/v1/modules/{id}/register" => register::view,
    post "/api/v1/modules/{id}/register/arm" => register::arm,
    get "/api/v1/tasks" => operate::tasks,
    get "/api/v1/tasks/{id}" => operate::task,
    get "/api/v1/snapshots" => snapshots::list,
    post "/api/v1/snapshots" => snapshots::make,
    get "/api/v1/snapshots/{name}" => snapshots::get,
    delete "/api/v1/snapshots/{name}" => snapshots::remove,
    get "/api/v1/audit" => operate::audit,
    get "/api/v1/live" => operate::live,
    get "/api/v1/live/snapshot" => operate::live_snapshot,
    get "/api/v1/openapi.json" => openapi::document,
}

/// The router for browsers and scripts.
pub fn browsers(app: Arc<App>) -> Router {
    api()
        .route("/ca.pem", get(ca))
        .fallback(page)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(guard))
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// The router for agents: their socket, and what they carry for browsers that come by plain http. What is carried never
/// comes to the agents' socket, whatever path it asks for: there it would speak for the node.
pub fn agents(app: Arc<App>) -> Router {
    let carried = plain::Carried { browsers: browsers(Arc::clone(&app)), app: Arc::clone(&app) };
    let carried = Router::new().fallback(plain::carry).with_state(carried);
    let own = Router::new().route(AGENT_PATH, get(crate::hub::session::upgrade)).with_state(app);
    Router::new().fallback(move |request: Request| {
        let router = if request.headers().contains_key(CLIENT_HEADER) { carried.clone() } else { own.clone() };
        router.oneshot(request)
    })
}

/// What every request goes through: Origin and what plain http may not carry before, security headers after.
async fn guard(mut request: Request, next: Next) -> Response {
    let plain = request.extensions().get::<Ends>().is_some_and(|ends| ends.plain);
    crate::auth::keep_cookies_of(request.headers_mut(), plain);
    let api = request.uri().path().starts_with("/api/");
    // A node that joins is no browser: it shows its one-time token, no cookie.
    let joins = request.uri().path() == "/api/v1/join";
    let script = crate::auth::bearer_of(request.headers()).is_some();
    let origin = check_origin(request.method(), request.uri(), request.headers(), plain);
    let secret = if plain { plain::check(request.method(), request.uri().path(), request.headers()) } else { Ok(()) };
    let mut response = match secret.and(if joins || script { Ok(()) } else { origin }) {
        Err(failure) => failure.into_response(),
        Ok(()) => next.run(request).await,
    };
    assets::secure(response.headers_mut());
    if plain {
        // Browsers heed it over https only, and complain of it otherwise.
        response.headers_mut().remove("cross-origin-opener-policy");
    }
    if api {
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

async fn page(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return Failure::not_found(format!("there is no {path}; see /api/v1/openapi.json")).into_response();
    }
    app.console.respond(request.method(), path, request.headers())
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("{} is not known here; see /api/v1/openapi.json", request.method());
    Failure::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "method", "Not this method", detail).into_response()
}

async fn ca(State(app): State<Arc<App>>) -> Response {
    download("holdfast-ca.pem", "application/x-pem-file", app.tls.ca_pem.clone().into_bytes())
}

/// An answer that the browser saves under this name.
pub fn download(name: &str, mime: &'static str, bytes: impl Into<axum::body::Body>) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{safe}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

async fn body(request: Request, max: usize) -> Outcome<Bytes> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let too_long = || {
        let detail = format!("the body is longer than {max} bytes");
        Failure::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    };
    if declared.is_some_and(|length: usize| length > max) {
        return Err(too_long());
    }
    let read = axum::body::to_bytes(request.into_body(), max);
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), read).await;
    read.map_err(|_| Failure::bad_request("the body did not come in time"))?.map_err(|error| {
        let length =
            std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if length { too_long() } else { Failure::bad_request("the body broke off") }
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        Failure::invalid(vec![FieldProblem::new(field, error.inner().to_string())])
    })?;
    reader.end().map_err(|error| Failure::field("", error.to_string()))?;
    Ok(value)
}

/// A JSON body of at most [`BODY_MAX`] bytes; problems name the field.
pub struct Json<T>(pub T);

/// A JSON body that carries files: at most [`FILES_BODY_MAX`] bytes.
pub struct LongJson<T>(pub T);

fn check_json(request: &Request) -> Outcome<()> {
    let mime = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if mime.split(';').next().is_some_and(|mime| mime.trim() == "application/json") {
        return Ok(());
    }
    let detail = "send JSON, with Content-Type: application/json";
    Err(Failure::new(axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Not JSON", detail))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Outcome<Self> {
        check_json(&request)?;
        parse(&body(request, BODY_MAX).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for LongJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Outcome<Self> {
        check_json(&request)?;
        parse(&body(request, FILES_BODY_MAX).await?).map(Self)
    }
}

/// A body of bytes, at most [`FILES_BODY_MAX`].
pub struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Outcome<Self> {
        body(request, FILES_BODY_MAX).await.map(Self)
    }
}

/// The path's parameters; a bad one is 404, as is everything that does not exist.
pub struct In<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for In<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Outcome<Self> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        found.map(|Path(value)| Self(value)).map_err(|_| Failure::not_found("there is nothing under this address"))
    }
}

/// The query's parameters; a bad one is 422.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Outcome<Self> {
        let found = Query::<T>::from_request_parts(parts, state).await;
        found.map(|Query(value)| Self(value)).map_err(|error| Failure::field("", error.body_text()))
    }
}
