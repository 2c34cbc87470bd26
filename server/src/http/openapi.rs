//! Route: the OpenAPI document of all routes.

use crate::http::{aside, cluster, logs, modules, nodes, operate, register, session, settings, snapshots, users};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Management interface of a Holdfast server. Log in with POST /api/v1/session \
        and keep the cookie; every request that changes something carries the server's own Origin header. Scripts send a \
        token instead (POST /api/v1/tokens) as Authorization: Bearer, without cookie and Origin."
    ),
    paths(
        session::view,
        session::login,
        session::logout,
        session::setup,
        session::users,
        session::add_user,
        session::remove_user,
        users::change,
        users::password,
        users::sessions,
        users::end_session,
        users::tokens,
        users::make_token,
        users::remove_token,
        cluster::view,
        cluster::save,
        cluster::versions,
        cluster::version,
        cluster::restore,
        settings::view,
        settings::set_certificate,
        settings::remove_certificate,
        settings::set_retention,
        nodes::list,
        nodes::probe,
        nodes::enrol,
        nodes::token,
        nodes::remove,
        nodes::paths,
        nodes::processes,
        nodes::snapshot,
        nodes::join,
        nodes::module_snapshot,
        modules::catalogue,
        modules::list,
        modules::create,
        modules::import,
        modules::get,
        modules::remove,
        modules::settings,
        modules::save_settings,
        modules::files,
        modules::save_files,
        modules::package,
        modules::versions,
        modules::restore,
        modules::validate,
        operate::configure,
        operate::command,
        operate::checks,
        logs::command_log,
        logs::log,
        logs::log_text,
        aside::list,
        aside::remove,
        aside::download,
        register::view,
        register::arm,
        operate::tasks,
        operate::task,
        operate::audit,
        snapshots::list,
        snapshots::make,
        snapshots::get,
        snapshots::remove,
        operate::live,
        operate::live_snapshot,
        document,
    )
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "session", responses((status = 200, body = Object)))]
pub async fn document() -> axum::Json<utoipa::openapi::OpenApi> {
    axum::Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_documented_and_nothing_else_is() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let mut documented = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            documented.extend(methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
        }
        let mut routes: Vec<_> =
            crate::http::ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        documented.sort();
        routes.sort();
        assert_eq!(documented, routes);
    }
}
