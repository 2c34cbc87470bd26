//! Route: the OpenAPI document of all routes.

use crate::http::{aside, cluster, logs, modules, nodes, operate, register, session, settings, snapshots, users};
use holdfast_api::problem::Problem;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    components(schemas(Problem)),
    modifiers(&Common),
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
        settings::set_plain_http,
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
        aside::tell,
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

/// Media type of refusals (RFC 9457).
const PROBLEM: &str = "application/problem+json";

/// What is the same for every operation and therefore said once: its name, and what anything may be refused with.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                operation.operation_id = Some(name(method, path));
                operation.responses.responses.iter_mut().for_each(|(status, response)| as_problem(status, response));
                for (status, why) in refusals(path, operation) {
                    let entry = operation.responses.responses.entry(status.to_owned());
                    entry.or_insert_with(|| problem(why).into());
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The one name of an operation, for programs made from this document.
fn name(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1/").split(['/', '.']).map(|word| word.trim_matches(['{', '}']));
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

/// What reading a request and finding out who asks may end with, before the operation itself says anything.
fn refusals(path: &str, operation: &Operation) -> Vec<(&'static str, &'static str)> {
    const OPEN: &[&str] = &["/api/v1/session", "/api/v1/setup", "/api/v1/join", "/api/v1/openapi.json"];
    let mut found = vec![("403", "Not with this role, or not from this origin")];
    if !OPEN.contains(&path) {
        found.push(("401", "No session and no token"));
    }
    if operation.responses.responses.contains_key("502") {
        found.push(("409", "The node refused; the detail is its reason"));
    }
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    if parameters.iter().any(|parameter| parameter.parameter_in == ParameterIn::Path) {
        found.push(("404", "There is nothing under this address"));
    }
    if parameters.iter().any(|parameter| parameter.parameter_in == ParameterIn::Query) {
        found.push(("422", "A parameter is not valid"));
    }
    if operation.request_body.is_some() {
        found.extend([
            ("400", "The body cannot be read"),
            ("413", "The body is too long"),
            ("415", "The body is not of this type"),
            ("422", "Not valid; `errors` names the fields"),
        ]);
    }
    found
}

/// Refusals are problem documents, and named so.
fn as_problem(status: &str, response: &mut RefOr<Response>) {
    if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response)
        && let Some(content) = response.content.shift_remove("application/json")
    {
        response.content.insert(PROBLEM.into(), content);
    }
}

fn problem(why: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(why).content(PROBLEM, content).build()
}

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

    #[test]
    fn every_operation_has_a_name_of_its_own_and_tells_every_refusal() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let mut names = std::collections::BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}: {operation}");
                let told = |status: &str| operation["responses"][status].is_object();
                assert!(told("403"), "{method} {path}");
                assert!(!path.contains('{') || told("404"), "{method} {path}");
                assert!(operation["requestBody"].is_null() || told("415") && told("422"), "{method} {path}");
            }
        }
        assert_eq!(name("get", "/api/v1/modules/{id}/package.safe"), "get_modules_id_package_safe");
    }
}
