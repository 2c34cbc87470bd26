//! Routes: login, logout, set-up, users.

use crate::app::{App, VERSION};
use crate::auth::{self, Admin};
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::{In, Json};
use crate::serve::Ends;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_api::config::check_name;
use holdfast_api::console::{Login, NewUser, SessionView, Setup, UserRole, UserView};
use holdfast_api::problem::Problem;
use std::sync::Arc;

async fn session_view(app: &App, user: Option<UserView>, plain: bool) -> Outcome<SessionView> {
    Ok(SessionView {
        user,
        setup_needed: app.db.read(db::users::none).await?,
        server_version: VERSION.to_owned(),
        console_build: app.console.build(),
        ca_fingerprint: app.tls.ca_fingerprint(),
        plain_http: plain,
        https_address: if plain { https_address(app) } else { String::new() },
    })
}

/// Where browsers reach this server by https: the name that an administrator prefers, else this machine's.
fn https_address(app: &App) -> String {
    app.server_addresses(None).first().map_or_else(String::new, |address| format!("https://{address}/"))
}

/// Who is logged in, and what a login page needs.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = SessionView)))]
pub async fn view(State(app): State<Arc<App>>, ends: Ends, headers: HeaderMap) -> Outcome<axum::Json<SessionView>> {
    let user = match auth::token_of(&headers) {
        None => None,
        Some(token) => {
            let hash = auth::token_hash(token);
            auth::session_user(&app, hash).await?
        }
    };
    Ok(axum::Json(session_view(&app, user, ends.plain).await?))
}

async fn log_in(app: &App, user: i64, plain: bool) -> Outcome<Response> {
    let token = auth::new_session(plain);
    let hash = auth::token_hash(&token);
    let user = app
        .db
        .call(move |tx| {
            let user = db::users::begin_session(tx, user, &hash)?;
            let text = if plain { "logged in, over plain http" } else { "logged in" };
            db::records::audit(tx, &user.name, text)?;
            Ok(user)
        })
        .await?;
    let view = session_view(app, Some(user), plain).await?;
    Ok(([(header::SET_COOKIE, auth::cookie(&token, plain))], axum::Json(view)).into_response())
}

/// Logs in; sets the session cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = Login, responses(
    (status = 200, body = SessionView), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub async fn login(State(app): State<Arc<App>>, ends: Ends, Json(login): Json<Login>) -> Outcome<Response> {
    app.gate.guess(ends.peer.ip(), &login.user)?;
    let name = login.user.clone();
    let found = app.db.read(move |tx| db::users::password(tx, &name)).await?;
    let (id, hash) = found.map_or((0, None), |(id, hash)| (id, Some(hash)));
    if !app.gate.verify(login.password, hash).await? {
        let detail = "user or password is wrong";
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "login", "Not logged in", detail));
    }
    app.gate.guessed_right(ends.peer.ip(), &login.user);
    log_in(&app, id, ends.plain).await
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204)))]
pub async fn logout(State(app): State<Arc<App>>, ends: Ends, headers: HeaderMap) -> Outcome<Response> {
    if let Some(token) = auth::token_of(&headers) {
        let hash = auth::token_hash(token);
        app.db.call(move |tx| db::users::end_session(tx, &hash)).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, auth::cookie("", ends.plain))]).into_response())
}

fn check_user(name: &str) -> Outcome<()> {
    check_name(name).map_err(|message| Failure::field("user", message))
}

/// Makes the first administrator, with the token of the set-up link; logs in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "session", request_body = Setup, responses(
    (status = 200, body = SessionView), (status = 403, body = Problem), (status = 409, body = Problem),
    (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn setup(State(app): State<Arc<App>>, ends: Ends, Json(setup): Json<Setup>) -> Outcome<Response> {
    app.gate.guess(ends.peer.ip(), "(set-up)")?;
    if !app.gate.is_setup_token(&setup.token) {
        let detail =
            "this set-up link does not hold; start the server again, it prints a new one while there is no user";
        return Err(Failure::forbidden(detail));
    }
    app.gate.guessed_right(ends.peer.ip(), "(set-up)");
    check_user(&setup.user)?;
    let hash = app.gate.hash(setup.password).await?;
    let id = app.db.call(move |tx| first_admin(tx, &setup.user, &hash)).await?;
    app.gate.close_setup();
    log_in(&app, id, ends.plain).await
}

/// Adds the first administrator.
///
/// # Errors
/// 409 if there is a user already.
pub fn first_admin(tx: &rusqlite::Transaction<'_>, name: &str, hash: &str) -> Outcome<i64> {
    if !db::users::none(tx)? {
        return Err(Failure::conflict("there is an administrator already; log in"));
    }
    db::users::add(tx, name, UserRole::Admin, hash)?;
    db::records::audit(tx, name, "made the first administrator")?;
    db::users::id(tx, name)
}

/// The users.
#[utoipa::path(get, path = "/api/v1/users", tag = "session", responses((status = 200, body = Vec<UserView>)))]
pub async fn users(State(app): State<Arc<App>>, _: Admin) -> Outcome<axum::Json<Vec<UserView>>> {
    Ok(axum::Json(app.db.read(db::users::list).await?))
}

/// Adds a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "session", request_body = NewUser, responses(
    (status = 201, body = UserView), (status = 422, body = Problem)))]
pub async fn add_user(State(app): State<Arc<App>>, Admin(by): Admin, Json(new): Json<NewUser>) -> Outcome<Response> {
    check_name(&new.name).map_err(|message| Failure::field("name", message))?;
    let hash = app.gate.hash(new.password).await?;
    let user = UserView { name: new.name, role: new.role };
    let added = user.clone();
    app.db
        .call(move |tx| {
            db::users::add(tx, &added.name, added.role, &hash)?;
            db::records::audit(tx, &by.name, &format!("added user {} ({:?})", added.name, added.role))
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(user)).into_response())
}

/// Removes a user; its sessions end.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "session", params(("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove_user(State(app): State<Arc<App>>, Admin(by): Admin, In(name): In<String>) -> Outcome<StatusCode> {
    app.db
        .call(move |tx| {
            db::users::remove(tx, &name)?;
            db::records::audit(tx, &by.name, &format!("removed user {name}"))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
