//! Routes: changes of users, sessions, and the tokens of scripts.

use crate::app::App;
use crate::auth::{self, Admin, Monitor};
use crate::db;
use crate::error::{Failure, Outcome};
use crate::http::{In, Json};
use crate::serve::Ends;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use holdfast_api::config::check_name;
use holdfast_api::console::{ApiTokenView, MadeApiToken, NewApiToken, PasswordForm, SessionInfo, UserChange, UserView};
use holdfast_api::problem::Problem;
use std::sync::Arc;

/// Gives a user another role or password.
#[utoipa::path(put, path = "/api/v1/users/{name}", tag = "users", params(("name" = String, Path)),
    request_body = UserChange, responses((status = 200, body = UserView), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn change(
    State(app): State<Arc<App>>,
    Admin(by): Admin,
    In(name): In<String>,
    Json(form): Json<UserChange>,
) -> Outcome<axum::Json<UserView>> {
    let hash = match form.password {
        Some(password) => Some(app.gate.hash(password).await?),
        None => None,
    };
    let changed = app
        .db
        .call(move |tx| {
            if let Some(role) = form.role {
                db::users::set_role(tx, &name, role)?;
                db::records::audit(tx, &by.name, &format!("gave user {name} the role {role:?}"))?;
            }
            if let Some(hash) = hash {
                db::users::set_password(tx, &name, &hash, None)?;
                db::records::audit(tx, &by.name, &format!("gave user {name} another password"))?;
            }
            db::users::get(tx, &name)
        })
        .await?;
    Ok(axum::Json(changed))
}

/// Gives the user who is logged in another password.
#[utoipa::path(put, path = "/api/v1/session/password", tag = "users", request_body = PasswordForm, responses(
    (status = 204), (status = 401, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
pub async fn password(
    State(app): State<Arc<App>>,
    Monitor(user): Monitor,
    ends: Ends,
    headers: HeaderMap,
    Json(form): Json<PasswordForm>,
) -> Outcome<StatusCode> {
    let own = auth::token_of(&headers).map(auth::token_hash).ok_or_else(Failure::unauthorized)?;
    app.gate.guess(ends.peer.ip(), &user.name)?;
    let name = user.name.clone();
    let known = app.db.read(move |tx| db::users::password(tx, &name)).await?.map(|(_, hash)| hash);
    if !app.gate.verify(form.old, known).await? {
        return Err(Failure::field("old", "this is not your password"));
    }
    app.gate.guessed_right(ends.peer.ip(), &user.name);
    let new = app.gate.hash(form.new).await.map_err(|mut failure| {
        failure.0.errors.iter_mut().for_each(|problem| problem.field = "new".to_owned());
        failure
    })?;
    app.db
        .call(move |tx| {
            db::users::set_password(tx, &user.name, &new, Some(&own))?;
            db::records::audit(tx, &user.name, "changed the own password")
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The sessions that stand.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "users", responses((status = 200, body = Vec<SessionInfo>)))]
pub async fn sessions(
    State(app): State<Arc<App>>,
    _: Admin,
    headers: HeaderMap,
) -> Outcome<axum::Json<Vec<SessionInfo>>> {
    let own = auth::token_of(&headers).map(auth::token_hash).unwrap_or_default();
    Ok(axum::Json(app.db.read(move |tx| db::users::sessions(tx, &own)).await?))
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "users", params(("id" = i64, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn end_session(State(app): State<Arc<App>>, Admin(by): Admin, In(id): In<i64>) -> Outcome<StatusCode> {
    app.db
        .call(move |tx| {
            let user = db::users::end_session_of(tx, id)?;
            db::records::audit(tx, &by.name, &format!("ended a session of {user}"))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tokens of scripts.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "users", responses((status = 200, body = Vec<ApiTokenView>)))]
pub async fn tokens(State(app): State<Arc<App>>, _: Admin) -> Outcome<axum::Json<Vec<ApiTokenView>>> {
    Ok(axum::Json(app.db.read(db::tokens::list).await?))
}

/// Makes a token for scripts, which is shown this once: send it as `Authorization: Bearer TOKEN`, without cookie.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "users", request_body = NewApiToken, responses(
    (status = 201, body = MadeApiToken), (status = 422, body = Problem)))]
pub async fn make_token(
    State(app): State<Arc<App>>,
    Admin(by): Admin,
    Json(form): Json<NewApiToken>,
) -> Outcome<Response> {
    check_name(&form.name).map_err(|message| Failure::field("name", message))?;
    let secret = auth::new_token();
    let hash = auth::token_hash(&secret);
    let token = app
        .db
        .call(move |tx| {
            let token = db::tokens::add(tx, &form.name, form.role, &hash, &by.name)?;
            db::records::audit(tx, &by.name, &format!("made the token {} ({:?})", form.name, form.role))?;
            Ok(token)
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(MadeApiToken { secret, token })).into_response())
}

/// Withdraws a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "users", params(("id" = i64, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn remove_token(State(app): State<Arc<App>>, Admin(by): Admin, In(id): In<i64>) -> Outcome<StatusCode> {
    app.db
        .call(move |tx| {
            let name = db::tokens::remove(tx, id)?;
            db::records::audit(tx, &by.name, &format!("withdrew the token {name}"))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
