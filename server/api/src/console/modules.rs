//! The modules: made, edited, checked, configured and commanded, with their versions.

use crate::agent::{ChecksSwitch, ModuleCommand, PathFacts};
use crate::config::{ModuleMode, ModuleSettings};
use crate::ids::{ModuleId, NodeId};
use crate::problem::FieldProblem;
use serde::{Deserialize, Serialize};

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
    /// Kind of module.
    pub mode: ModuleMode,
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
    pub settings: Option<ModuleSettings>,
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
    pub settings: ModuleSettings,
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
    pub settings: Option<ModuleSettings>,
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

/// `POST /modules/{id}/configure`: makes a version the wanted one and pushes it; answered by 202 and `TaskStarted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ConfigureForm {
    /// Version to configure; none: the latest saved. It must be the latest (restore an older one first).
    pub version: Option<u64>,
    /// Push to these nodes only ("Retry on this node"); empty: all nodes of the cluster.
    pub nodes: Vec<NodeId>,
}

/// `POST /modules/{id}/commands`: answered by 202 and `TaskStarted`.
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

/// `POST /modules/{id}/checks`: switches checking on or off; answered by 202 and `TaskStarted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ChecksForm {
    /// What.
    pub which: ChecksSwitch,
    /// On, or off.
    pub on: bool,
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
