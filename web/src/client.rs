//! The REST interface, typed: one function per route the console uses.

mod aside;
mod logs;

pub use aside::{remove_set_aside, set_aside, set_aside_href, set_aside_page};
pub use logs::{LogPlace, command_log, log, log_text_href};

use crate::language::{self, tf};
use gloo_net::http::{Method, RequestBuilder, Response};
use holdfast_api::agent::{ChecksSwitch, ModuleCommand};
use holdfast_api::console::{
    ApiTokenView, CatalogueEntry, CertificateForm, CertificateView, ChecksForm, ClusterChange, ClusterForm,
    ClusterVersionView, ClusterView, CommandForm, ConfigureForm, EnrolForm, FilesForm, FilesView, Login, MadeApiToken,
    ModuleView, NewApiToken, NewModule, NewUser, NodeView, PasswordForm, PathsForm, PathsView, PlainHttp,
    PlainHttpForm, ProbeForm, ProbeView, ProcessesView, RegisterView, RestoreForm, Retention, ServerSettings,
    SessionInfo, SessionView, SettingsForm, SettingsView, Setup, SnapshotForm, SnapshotView, TaskStarted, TokenForm,
    TokenView, UserChange, UserView, ValidateForm, ValidateView, VersionView,
};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::problem::{FieldProblem, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;

/// Why a request had no answer to use.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiError {
    /// The server was not reached, or its answer not understood.
    Network(String),
    /// The server said no, and why.
    Problem(Box<Problem>),
}

impl ApiError {
    /// In words for people, with the cure.
    pub fn text(&self) -> String {
        match self {
            Self::Network(text) => text.clone(),
            Self::Problem(problem) => {
                let said = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
                let mut text = language::heard(said).into_owned();
                for error in &problem.errors {
                    let message = language::heard(error.message.trim_end_matches('.'));
                    text.push_str(&format!(" {}: {}.", error.field, message));
                }
                text
            }
        }
    }

    /// The fields at fault.
    pub fn problems(&self) -> Vec<FieldProblem> {
        match self {
            Self::Network(_) => Vec::new(),
            Self::Problem(problem) => problem.errors.clone(),
        }
    }

    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Network(_) => None,
            Self::Problem(problem) => Some(problem.status),
        }
    }
}

/// What a request gives.
pub type Answer<T> = Result<T, ApiError>;

const BASE: &str = "/api/v1";

/// Who is logged in, and what the login page needs.
pub async fn session() -> Answer<SessionView> {
    get("/session").await
}

/// Logs in.
pub async fn login(form: &Login) -> Answer<SessionView> {
    send(Method::POST, "/session", form).await
}

/// Logs out.
pub async fn logout() -> Answer<()> {
    send_for_nothing(Method::DELETE, "/session").await
}

/// Makes the first administrator and logs in.
pub async fn setup(form: &Setup) -> Answer<SessionView> {
    send(Method::POST, "/setup", form).await
}

/// Saves the cluster and pushes it.
pub async fn save_cluster(form: &ClusterForm) -> Answer<TaskStarted> {
    send(Method::PUT, "/cluster", form).await
}

/// The versions of the cluster, newest first.
pub async fn cluster_versions() -> Answer<Vec<VersionView>> {
    get("/cluster/versions").await
}

/// A version of the cluster, and what differs from version `against`, or from the one before.
async fn cluster_version(version: u64, against: Option<u64>) -> Answer<ClusterVersionView> {
    let against = against.map(|against| format!("?against={against}")).unwrap_or_default();
    get(&format!("/cluster/versions/{version}{against}")).await
}

/// A version of the cluster and what it changed, compared with version `against`, or with the one before.
pub async fn compared(version: u64, against: Option<u64>) -> Answer<Compared> {
    let ClusterVersionView { cluster, against, .. } = cluster_version(version, against).await?;
    let before = match against {
        0 => ClusterView::none(),
        against => cluster_version(against, None).await?.cluster,
    };
    Ok(Compared { version: cluster.version, against, changes: cluster.changes_from(&before) })
}

/// What one version of the cluster changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The version.
    pub version: u64,
    /// The version it is compared with; 0: with no cluster at all.
    pub against: u64,
    /// What differs.
    pub changes: Vec<ClusterChange>,
}

/// Saves an old version of the cluster again as the newest and pushes it.
pub async fn restore_cluster(form: &RestoreForm) -> Answer<TaskStarted> {
    send(Method::POST, "/cluster/restore", form).await
}

/// Looks who answers at an address.
pub async fn probe(address: &str) -> Answer<ProbeView> {
    send(Method::POST, "/nodes/probe", &ProbeForm { address: address.to_owned() }).await
}

/// Enrols a node by its pairing code.
pub async fn enrol(form: &EnrolForm) -> Answer<NodeView> {
    send(Method::POST, "/nodes/enrol", form).await
}

/// Makes a token for `holdfast-agent join`.
pub async fn join_token(minutes: u32) -> Answer<TokenView> {
    send(Method::POST, "/nodes/tokens", &TokenForm { minutes }).await
}

/// Removes a node and revokes its certificate.
pub async fn remove_node(node: NodeId) -> Answer<()> {
    send_for_nothing(Method::DELETE, &format!("/nodes/{}", node.0)).await
}

/// What is at paths of a node.
pub async fn paths(node: NodeId, paths: Vec<String>) -> Answer<PathsView> {
    send(Method::POST, &format!("/nodes/{}/paths", node.0), &PathsForm { paths }).await
}

/// The processes of a node.
pub async fn processes(node: NodeId) -> Answer<ProcessesView> {
    get(&format!("/nodes/{}/processes", node.0)).await
}

/// The templates.
pub async fn catalogue() -> Answer<Vec<CatalogueEntry>> {
    get("/catalogue").await
}

/// Makes a draft.
pub async fn new_module(form: &NewModule) -> Answer<ModuleView> {
    send(Method::POST, "/modules", form).await
}

/// Removes a module from the server and its nodes.
pub async fn remove_module(module: ModuleId) -> Answer<TaskStarted> {
    read(&fetch(Method::DELETE, &format!("/modules/{}", module.0), None).await?)
}

/// The saved settings.
pub async fn settings(module: ModuleId) -> Answer<SettingsView> {
    get(&format!("/modules/{}/settings", module.0)).await
}

/// Saves settings as a new version.
pub async fn save_settings(module: ModuleId, form: &SettingsForm) -> Answer<ModuleView> {
    send(Method::PUT, &format!("/modules/{}/settings", module.0), form).await
}

/// Checks the saved settings, on the nodes too.
pub async fn validate(module: ModuleId) -> Answer<ValidateView> {
    let form = ValidateForm { ask_nodes: true, ..ValidateForm::default() };
    send(Method::POST, &format!("/modules/{}/validate", module.0), &form).await
}

/// Pushes the latest version to `nodes`, or to all if none is named.
pub async fn configure(module: ModuleId, nodes: Vec<NodeId>) -> Answer<TaskStarted> {
    send(Method::POST, &format!("/modules/{}/configure", module.0), &ConfigureForm { version: None, nodes }).await
}

/// Gives a command.
pub async fn command(module: ModuleId, command: ModuleCommand, nodes: Vec<NodeId>) -> Answer<TaskStarted> {
    send(Method::POST, &format!("/modules/{}/commands", module.0), &CommandForm { command, nodes }).await
}

/// Switches checkers or the process checker on or off.
pub async fn checks(module: ModuleId, which: ChecksSwitch, on: bool, nodes: Vec<NodeId>) -> Answer<TaskStarted> {
    send(Method::POST, &format!("/modules/{}/checks", module.0), &ChecksForm { which, on, nodes }).await
}

/// Arms the register of a module.
pub async fn arm(module: ModuleId) -> Answer<RegisterView> {
    send(Method::POST, &format!("/modules/{}/register/arm", module.0), &()).await
}

/// The files of the latest version of a module.
pub async fn latest_files(module: ModuleId) -> Answer<FilesView> {
    get(&format!("/modules/{}/files", module.0)).await
}

/// Saves changed files as a new version.
pub async fn save_files(module: ModuleId, form: &FilesForm) -> Answer<ModuleView> {
    send(Method::PUT, &format!("/modules/{}/files", module.0), form).await
}

/// The versions of a module, newest first.
pub async fn versions(module: ModuleId) -> Answer<Vec<VersionView>> {
    get(&format!("/modules/{}/versions", module.0)).await
}

/// Saves an old version again as the newest.
pub async fn restore(module: ModuleId, form: &RestoreForm) -> Answer<ModuleView> {
    send(Method::POST, &format!("/modules/{}/restore", module.0), form).await
}

/// Makes a module from a package.
pub async fn import(name: &str, file: web_sys::File) -> Answer<ModuleView> {
    let request = RequestBuilder::new(&format!("{BASE}/modules/import?name={name}"))
        .method(Method::POST)
        .header("content-type", "application/zip")
        .body(file)
        .map_err(unreached)?;
    read(&accepted(request.send().await.map_err(unreached)?).await?)
}

/// Where the package of a module is had.
pub fn package_href(module: ModuleId) -> String {
    format!("{BASE}/modules/{}/package.safe", module.0)
}

/// The files of a version of a module.
pub async fn files(module: ModuleId, version: u64) -> Answer<FilesView> {
    get(&format!("/modules/{}/files?version={version}", module.0)).await
}

/// The users.
pub async fn users() -> Answer<Vec<UserView>> {
    get("/users").await
}

/// Adds a user.
pub async fn add_user(form: &NewUser) -> Answer<UserView> {
    send(Method::POST, "/users", form).await
}

/// Gives a user another role or password.
pub async fn change_user(name: &str, form: &UserChange) -> Answer<UserView> {
    send(Method::PUT, &format!("/users/{name}"), form).await
}

/// Removes a user.
pub async fn remove_user(name: &str) -> Answer<()> {
    send_for_nothing(Method::DELETE, &format!("/users/{name}")).await
}

/// Gives the user who is logged in another password.
pub async fn change_password(form: &PasswordForm) -> Answer<()> {
    fetch(Method::PUT, "/session/password", Some(written(form)?)).await.map(drop)
}

/// Has the nodes serve the console over plain http too, or not any more.
pub async fn set_plain_http(form: &PlainHttpForm) -> Answer<PlainHttp> {
    send(Method::PUT, "/settings/plain-http", form).await
}

/// The server's settings.
pub async fn server_settings() -> Answer<ServerSettings> {
    get("/settings").await
}

/// Gives browsers a certificate of one's own.
pub async fn set_certificate(form: &CertificateForm) -> Answer<CertificateView> {
    send(Method::PUT, "/settings/certificate", form).await
}

/// Goes back to the certificate of the server's own authority.
pub async fn remove_certificate() -> Answer<CertificateView> {
    send(Method::DELETE, "/settings/certificate", &()).await
}

/// Says what is kept, and how long.
pub async fn set_retention(form: &Retention) -> Answer<Retention> {
    send(Method::PUT, "/settings/retention", form).await
}

/// The sessions.
pub async fn sessions() -> Answer<Vec<SessionInfo>> {
    get("/sessions").await
}

/// Ends a session.
pub async fn end_session(id: i64) -> Answer<()> {
    send_for_nothing(Method::DELETE, &format!("/sessions/{id}")).await
}

/// The tokens of scripts.
pub async fn tokens() -> Answer<Vec<ApiTokenView>> {
    get("/tokens").await
}

/// Makes a token for scripts; shown once.
pub async fn make_token(form: &NewApiToken) -> Answer<MadeApiToken> {
    send(Method::POST, "/tokens", form).await
}

/// Withdraws a token.
pub async fn remove_token(id: i64) -> Answer<()> {
    send_for_nothing(Method::DELETE, &format!("/tokens/{id}")).await
}

/// Makes support zips of nodes, or of all if none is named; with stand-ins for names if they are to be `anonymous`.
pub async fn make_snapshots(nodes: Vec<NodeId>, anonymous: bool) -> Answer<TaskStarted> {
    send(Method::POST, "/snapshots", &SnapshotForm { module: None, nodes, anonymous }).await
}

/// The support zips that the server keeps.
pub async fn snapshots() -> Answer<Vec<SnapshotView>> {
    get("/snapshots").await
}

/// Deletes a support zip.
pub async fn remove_snapshot(name: &str) -> Answer<()> {
    send_for_nothing(Method::DELETE, &format!("/snapshots/{name}")).await
}

/// Where a support zip is had.
pub fn snapshot_href(name: &str) -> String {
    format!("{BASE}/snapshots/{name}")
}

/// Where the server's CA certificate is had.
pub const CA_HREF: &str = "/ca.pem";
/// Where the interface is described.
pub const OPENAPI_HREF: &str = "/api/v1/openapi.json";

async fn get<T: DeserializeOwned>(path: &str) -> Answer<T> {
    read(&fetch(Method::GET, path, None).await?)
}

async fn send<B: Serialize, T: DeserializeOwned>(method: Method, path: &str, body: &B) -> Answer<T> {
    read(&fetch(method, path, Some(written(body)?)).await?)
}

async fn send_for_nothing(method: Method, path: &str) -> Answer<()> {
    fetch(method, path, None).await.map(drop)
}

/// Asks the server; the text of its answer. Boxed: what waits in here is in the program once, not once for every route.
fn fetch(method: Method, path: &str, body: Option<String>) -> Pin<Box<dyn Future<Output = Answer<String>>>> {
    let request = RequestBuilder::new(&format!("{BASE}{path}")).method(method);
    Box::pin(async move {
        let response = match body {
            Some(body) => {
                request.header("content-type", "application/json").body(body).map_err(unreached)?.send().await
            }
            None => request.send().await,
        };
        accepted(response.map_err(unreached)?).await
    })
}

/// The text of the response, if the server agreed.
async fn accepted(response: Response) -> Answer<String> {
    let (status, words) = (response.status(), response.status_text());
    let agreed = response.ok();
    let text = response.text().await.map_err(unreached)?;
    if agreed {
        return Ok(text);
    }
    let problem = serde_json::from_str::<Problem>(&text).unwrap_or_else(|_| Problem {
        title: tf!("The server answered {status}", status),
        status,
        detail: tf!("The server answered {status} {0}", status, 0 = words),
        ..Problem::default()
    });
    Err(ApiError::Problem(Box::new(problem)))
}

fn read<T: DeserializeOwned>(text: &str) -> Answer<T> {
    serde_json::from_str(text).map_err(|error| not_understood(&error.to_string()))
}

fn not_understood(error: &str) -> ApiError {
    ApiError::Network(tf!(
        "The server's answer is not understood ({error}); reload the page, it may be older than the server.",
        error
    ))
}

fn written<B: Serialize>(body: &B) -> Answer<String> {
    serde_json::to_string(body).map_err(|error| not_understood(&error.to_string()))
}

fn unreached(error: gloo_net::Error) -> ApiError {
    ApiError::Network(tf!(
        "The server was not reached ({error}). Failover does not depend on it; try again when it is back.",
        error
    ))
}
