//! Requests and answers of the REST interface under `/api/v1/`, and the snapshots of its live socket, by subject.

mod cluster;
mod live;
mod modules;
mod nodes;
mod register;
mod server_settings;
mod session;
mod snapshots;
mod tasks;

pub use cluster::{ClusterChange, ClusterForm, ClusterNodeForm, ClusterVersionView, ClusterView};
pub use live::{LiveSnapshot, ModuleFacts, ModuleLive, ModuleOnNode, NetworkFacts, RegisterLive};
pub use modules::{
    CatalogueEntry, ChecksForm, CommandForm, ConfigureForm, FileChange, FileView, FilesForm, FilesView, ModuleView,
    NewModule, NodePaths, RestoreForm, SettingsForm, SettingsView, ValidateForm, ValidateView, VersionView,
};
pub use nodes::{
    EnrolForm, NodeView, PathsForm, PathsView, ProbeCheck, ProbeForm, ProbeIdentity, ProbeView, ProcessesView,
    TokenForm, TokenView,
};
pub use register::{RegisterRecord, RegisterView};
pub use server_settings::{
    CertificateForm, CertificateView, KEPT_DAYS_MAX, PlainHttp, PlainHttpForm, Retention, SNAPSHOTS_KEPT_MAX,
    ServerSettings,
};
pub use session::{
    ApiTokenView, Login, MadeApiToken, NewApiToken, NewUser, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PasswordForm,
    SessionInfo, SessionView, Setup, UserChange, UserRole, UserView,
};
pub use snapshots::{SnapshotForm, SnapshotView};
pub use tasks::{AuditLine, TaskNode, TaskStarted, TaskState, TaskView};
