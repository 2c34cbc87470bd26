//! Requests and answers of the REST interface under `/api/v1/`, and the snapshots of its live socket.

use crate::agent::{HeldModule, ModuleCommand, NodeModuleReport, PathFacts, ProcessFacts};
use crate::ids::{ModuleId, NodeId};
use crate::problem::FieldProblem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a user may do; each includes those after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Everything, users included.
    Admin,
    /// Commands, no change of configuration.
    Control,
    /// Look only.
    #[default]
    Monitor,
}

impl UserRole {
    /// True if this role may do what asks for `needed`.
    pub fn may(self, needed: Self) -> bool {
        self <= needed
    }
}

/// Answer of `GET /session` (also without a session) and of login and set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// Who is logged in; none: nobody.
    pub user: Option<UserView>,
    /// No administrator exists yet: show the set-up page (its link is on the server's terminal).
    pub setup_needed: bool,
    /// Version of the server's program.
    pub server_version: String,
    /// Hash of the console's build (the folder in `assets/`); reload when it changes.
    pub console_build: String,
    /// SHA-256 of the server's CA certificate (DER), hex, to compare with what the browser shows.
    pub ca_fingerprint: String,
}

/// A user of the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserView {
    /// Name.
    pub name: String,
    /// Role.
    pub role: UserRole,
}

/// `POST /session`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// `POST /setup`: makes the first administrator and logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What follows `#` in the set-up link.
    pub token: String,
    /// Name of the administrator.
    pub user: String,
    /// Password, at least [`PASSWORD_CHARS_MIN`] characters.
    pub password: String,
}

/// Shortest password.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// `POST /users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Name.
    pub name: String,
    /// Role.
    pub role: UserRole,
    /// Password.
    pub password: String,
}

/// The cluster, as the console sees it (without its secret).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterView {
    /// Version wanted on the nodes; 0: no cluster has been saved yet.
    pub version: u64,
    /// Name.
    pub name: String,
    /// Networks.
    pub lans: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<ClusterNodeForm>,
    /// Who saved this version.
    pub author: String,
    /// When.
    pub saved_unix_ms: u64,
}

/// A node in the cluster's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterNodeForm {
    /// Number of an enrolled node.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address or DNS name on each network.
    pub addresses: BTreeMap<String, String>,
}

/// `PUT /cluster`: saves a new version and pushes it; answered by 202 and [`TaskStarted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClusterForm {
    /// The version that was edited; another one now: 409.
    pub expected_version: u64,
    /// Name.
    pub name: String,
    /// Networks.
    pub lans: Vec<String>,
    /// Nodes: every one of them enrolled.
    pub nodes: Vec<ClusterNodeForm>,
}

impl ClusterForm {
    /// Everything wrong with it that can be seen without the server.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let nodes: Vec<_> = self.nodes.iter().map(|n| (n.name.as_str(), &n.addresses)).collect();
        let mut problems = crate::config::check_cluster_shape(&self.name, &self.lans, &nodes);
        for (i, node) in self.nodes.iter().enumerate() {
            if self.nodes[..i].iter().any(|other| other.id == node.id) {
                problems.push(FieldProblem::new(format!("nodes[{i}].id"), "this node is listed twice"));
            }
        }
        problems
    }
}

/// An enrolled node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Address it was enrolled at or last dialled from.
    pub address: String,
    /// Key fingerprint.
    pub fingerprint: String,
    /// It is part of the saved cluster.
    pub in_cluster: bool,
    /// Its agent is connected now.
    pub connected: bool,
    /// When it was last heard; 0: never.
    pub last_seen_unix_ms: u64,
    /// Version of its agent; empty: never connected.
    pub agent_version: String,
    /// Version of the cluster configuration it has; 0: none.
    pub cluster_version: u64,
    /// Its clock minus the server's, milliseconds.
    pub clock_offset_ms: i64,
    /// Busy share of its processors, percent.
    pub cpu_percent: f32,
    /// Used memory, percent.
    pub memory_percent: f32,
    /// What is wrong with the connection (refused session, newer configuration than the server's); empty: nothing.
    pub problem: String,
    /// Modules it holds.
    pub modules: Vec<HeldModule>,
}

/// `POST /nodes/probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProbeForm {
    /// Address or DNS name of the node, optionally with `:port` (else 9001).
    pub address: String,
}

/// What a probe found: checks in order, each with its cure, and the identity if the node answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeView {
    /// The address probed.
    pub address: String,
    /// The checks.
    pub checks: Vec<ProbeCheck>,
    /// Who answered.
    pub identity: Option<ProbeIdentity>,
}

/// One check of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeCheck {
    /// `resolve`, `connect`, `identity`, `version` or `pairing`.
    pub name: String,
    /// It passed.
    pub ok: bool,
    /// What was found, or what is wrong and what to do.
    pub detail: String,
}

/// Who answered a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeIdentity {
    /// Name of the node.
    pub name: String,
    /// Version of its agent.
    pub version: String,
    /// Key fingerprint.
    pub fingerprint: String,
    /// Guesses of the pairing code left.
    pub attempts_left: u32,
}

/// `POST /nodes/enrol`: answered by 201 and [`NodeView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EnrolForm {
    /// Address, as probed.
    pub address: String,
    /// Fingerprint, as shown by the probe: another key now is refused.
    pub fingerprint: String,
    /// Pairing code, as printed by the agent.
    pub code: String,
    /// Name of the node in the cluster; empty: its own.
    #[serde(default)]
    pub name: String,
}

/// `POST /nodes/tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenForm {
    /// Minutes until it expires, 1 to 10080.
    pub minutes: u32,
}

/// A new join token; shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenView {
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires_unix_ms: u64,
    /// What to type on the node.
    pub command: String,
}

/// `POST /nodes/{id}/paths`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PathsForm {
    /// Absolute paths.
    pub paths: Vec<String>,
}

/// Answer of `POST /nodes/{id}/paths`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PathsView {
    /// One for each path, in order.
    pub paths: Vec<PathFacts>,
}

/// Answer of `GET /nodes/{id}/processes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProcessesView {
    /// Sorted by name.
    pub processes: Vec<ProcessFacts>,
}

/// A template in `GET /catalogue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CatalogueEntry {
    /// File name, such as `mirror.safe`.
    pub template: String,
    /// What it does, in one line.
    pub title: String,
    /// Name offered for the module.
    pub suggested_name: String,
}

/// `POST /modules`: makes a draft from a template; answered by 201 and [`ModuleView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewModule {
    /// From the catalogue.
    pub template: String,
    /// Name, unique.
    pub name: String,
}

/// A module as saved on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleView {
    /// Number.
    pub id: ModuleId,
    /// Name.
    pub name: String,
    /// Template it was made from.
    pub template: String,
    /// Latest saved version.
    pub version: u64,
    /// Version wanted on the nodes; none: never configured (a draft).
    pub desired: Option<u64>,
    /// Who saved the latest version.
    pub author: String,
    /// When.
    pub saved_unix_ms: u64,
}

/// Answer of `GET /modules/{id}/settings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SettingsView {
    /// Version these settings are of.
    pub version: u64,
    /// The settings; none if the file on the server cannot be read as such (see `problems`).
    pub settings: Option<crate::config::ModuleSettings>,
    /// What is wrong with `userconfig.xml`, with line and column.
    pub problems: Vec<FieldProblem>,
}

/// `PUT /modules/{id}/settings`: saves a new version; answered by [`ModuleView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SettingsForm {
    /// The version that was edited; another one now: 409.
    pub expected_version: u64,
    /// All settings.
    pub settings: crate::config::ModuleSettings,
}

/// Answer of `GET /modules/{id}/files?version=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FilesView {
    /// Version these files are of.
    pub version: u64,
    /// The files, sorted by path.
    pub files: Vec<FileView>,
}

/// A file of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileView {
    /// Path in the module, such as `bin/start_prim`.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// It is a script.
    pub executable: bool,
    /// Its text; none: not UTF-8.
    pub text: Option<String>,
}

/// `PUT /modules/{id}/files`: changes some files, saves a new version; answered by [`ModuleView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FilesForm {
    /// The version that was edited; another one now: 409.
    pub expected_version: u64,
    /// The changes.
    pub changes: Vec<FileChange>,
}

/// One change of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// Path in the module.
    pub path: String,
    /// New text; none: the file is deleted.
    pub text: Option<String>,
}

/// `POST /modules/{id}/validate`: checks without saving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ValidateForm {
    /// Check these settings instead of the saved ones.
    pub settings: Option<crate::config::ModuleSettings>,
    /// Check this `userconfig.xml` instead of the saved one.
    pub userconfig: Option<String>,
    /// Also ask the nodes about the directories.
    pub ask_nodes: bool,
}

/// Answer of a validation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ValidateView {
    /// What forbids configuring; empty: nothing.
    pub problems: Vec<FieldProblem>,
    /// What to mind.
    pub warnings: Vec<FieldProblem>,
    /// What each node says about the directories.
    pub nodes: Vec<NodePaths>,
    /// The `userconfig.xml` that would be saved.
    pub userconfig: String,
}

/// What a node says about directories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodePaths {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Why it could not be asked; empty: it was.
    pub error: String,
    /// One for each directory.
    pub paths: Vec<PathFacts>,
}

/// `POST /modules/{id}/configure`: makes a version the wanted one and pushes it; answered by 202 and [`TaskStarted`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ConfigureForm {
    /// Version to configure; none: the latest saved. It must be the latest (restore an older one first).
    pub version: Option<u64>,
    /// Push to these nodes only ("Retry on this node"); empty: all nodes of the cluster.
    pub nodes: Vec<NodeId>,
}

/// `POST /modules/{id}/commands`: answered by 202 and [`TaskStarted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandForm {
    /// What.
    pub command: ModuleCommand,
    /// On these nodes; empty: on all nodes of the cluster.
    #[serde(default)]
    pub nodes: Vec<NodeId>,
}

/// One version in `GET /modules/{id}/versions` or `GET /cluster/versions`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionView {
    /// Version.
    pub version: u64,
    /// Who saved it.
    pub author: String,
    /// When.
    pub saved_unix_ms: u64,
    /// What changed, in one line.
    pub note: String,
}

/// `POST /modules/{id}/restore`: saves an old version again as the newest; answered by [`ModuleView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RestoreForm {
    /// The old version.
    pub version: u64,
    /// The latest version as known; another one now: 409.
    pub expected_version: u64,
}

/// Body of every 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskStarted {
    /// Number of the task: `GET /tasks/{id}`, and in every live snapshot.
    pub task: u64,
}

/// A long action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Number.
    pub id: u64,
    /// What, in one line ("Configure mirror, version 3").
    pub title: String,
    /// `cluster`, `configure`, `remove`, or the command's name.
    pub kind: String,
    /// The module it is about.
    pub module: Option<ModuleId>,
    /// Who started it.
    pub author: String,
    /// When it began.
    pub began_unix_ms: u64,
    /// When it ended; none: it goes on.
    pub ended_unix_ms: Option<u64>,
    /// As a whole: running, done (all nodes), or failed (some node).
    pub state: TaskState,
    /// One for each node.
    pub nodes: Vec<TaskNode>,
}

/// Progress of a task on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskNode {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// How far.
    pub state: TaskState,
    /// The node's message; may have several lines.
    pub message: String,
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Not yet sent: the node is not connected; it gets configuration when it comes back.
    Waiting,
    /// Sent, not answered.
    Running,
    /// Done.
    Done,
    /// Failed; the message says why.
    Failed,
}

/// A line of `GET /audit`: who did what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditLine {
    /// When.
    pub unix_ms: u64,
    /// Who.
    pub actor: String,
    /// What.
    pub text: String,
}

/// The server's register of one module: who holds its latest generation, and whether the register decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterView {
    /// The record; none: no generation was granted or reported yet.
    pub record: Option<RegisterRecord>,
    /// It grants. After each start of the server it does not, until every node of the module has told its generation or
    /// an administrator has armed it: the record may come from a backup.
    pub armed: bool,
    /// Who armed it, if it was an administrator.
    pub armed_by: Option<String>,
    /// The nodes it waits for, by name.
    pub waits_for: Vec<String>,
    /// Why it grants or does not, in one sentence.
    pub reason: String,
    /// Earlier records, newest first, at most 50.
    pub earlier: Vec<RegisterRecord>,
}

/// A generation number in the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegisterRecord {
    /// The number.
    pub number: u64,
    /// The node that holds it.
    pub owner: NodeId,
    /// The register granted it; otherwise the node reported to hold it already.
    pub granted: bool,
    /// When it was recorded.
    pub unix_ms: u64,
}

/// Each message of `/api/v1/live`: everything, again. The server sends one on connecting, at every change (at most ten a
/// second) and every 5 s when nothing changes; silence for 15 s means that the page is stale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveSnapshot {
    /// Rises with each message of a connection.
    pub sequence: u64,
    /// The server's clock.
    pub unix_ms: u64,
    /// Version of the server's program.
    pub server_version: String,
    /// Hash of the console's build: reload when it changes.
    pub console_build: String,
    /// The saved cluster.
    pub cluster: ClusterView,
    /// Enrolled nodes, by number.
    pub nodes: Vec<NodeView>,
    /// Modules, by number.
    pub modules: Vec<ModuleLive>,
    /// Tasks that go on, and the latest ended ones, newest first (at most 20).
    pub tasks: Vec<TaskView>,
}

/// A module in a live snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleLive {
    /// What is saved and wanted.
    pub module: ModuleView,
    /// One for each node of the cluster, and for nodes that still hold the module.
    pub nodes: Vec<ModuleOnNode>,
}

/// A module on a node in a live snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModuleOnNode {
    /// Which.
    pub node: NodeId,
    /// Version held by the node; none: it does not hold the module.
    pub held: Option<u64>,
    /// The node is connected and `report` is fresh; otherwise `report` is what was last known.
    pub fresh: bool,
    /// When the report came; 0: never.
    pub reported_unix_ms: u64,
    /// The report.
    pub report: Option<NodeModuleReport>,
    /// Why the wanted version is not in force ("applying…", the node's refusal); empty: it is.
    pub pending: String,
}
