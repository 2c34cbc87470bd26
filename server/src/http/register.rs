//! Routes: the register of a module: who holds its generation, whether it grants, and arming it by hand.

use crate::app::App;
use crate::auth::{Admin, Monitor};
use crate::error::Outcome;
use crate::http::In;
use axum::extract::State;
use holdfast_api::console::RegisterView;
use holdfast_api::ids::ModuleId;
use holdfast_api::problem::Problem;
use std::sync::Arc;

/// The register of a module: its record, and whether it grants.
#[utoipa::path(get, path = "/api/v1/modules/{id}/register", tag = "operate", params(("id" = u16, Path)), responses(
    (status = 200, body = RegisterView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn view(State(app): State<Arc<App>>, _: Monitor, In(id): In<ModuleId>) -> Outcome<axum::Json<RegisterView>> {
    Ok(axum::Json(crate::register::view(&app, id).await?))
}

/// Lets the register grant though not every node has reported since the server started. Only for an administrator who
/// knows that the silent nodes do not serve: a register restored from a backup may have granted them more than it says.
#[utoipa::path(post, path = "/api/v1/modules/{id}/register/arm", tag = "operate", params(("id" = u16, Path)), responses(
    (status = 200, body = RegisterView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn arm(
    State(app): State<Arc<App>>,
    Admin(user): Admin,
    In(id): In<ModuleId>,
) -> Outcome<axum::Json<RegisterView>> {
    Ok(axum::Json(crate::register::arm(&app, id, &user.name).await?))
}
