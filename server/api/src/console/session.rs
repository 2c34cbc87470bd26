//! Who is logged in, logging in, and the users with their roles.

use serde::{Deserialize, Serialize};

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
    /// This request came over plain http, where everybody on the way reads along: say so on every page.
    #[serde(default)]
    pub plain_http: bool,
    /// Where the console is reached by https instead, if this request came over plain http; else empty.
    #[serde(default)]
    pub https_address: String,
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

/// `PUT /users/{name}`: gives a user another role, another password, or both. A new password ends the user's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UserChange {
    /// The new role; none: it stays.
    pub role: Option<UserRole>,
    /// The new password; none: it stays.
    pub password: Option<String>,
}

/// `PUT /session/password`: gives the user who is logged in another password; the user's other sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordForm {
    /// The password there is.
    pub old: String,
    /// The new one.
    pub new: String,
}

/// A session in `GET /sessions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Number: `DELETE /sessions/{id}` ends it.
    pub id: i64,
    /// Whose.
    pub user: String,
    /// When it began.
    pub began_unix_ms: u64,
    /// When it was last used, to the minute.
    pub used_unix_ms: u64,
    /// It is the one that asks.
    pub own: bool,
}

/// `POST /tokens`: a token by which a script is let in (`Authorization: Bearer …`) instead of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    /// What it is for; also the actor in the audit.
    pub name: String,
    /// What its holder may do.
    pub role: UserRole,
}

/// A token in `GET /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiTokenView {
    /// Number: `DELETE /tokens/{id}` withdraws it.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// What its holder may do.
    pub role: UserRole,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_unix_ms: u64,
    /// When it was last used, to the minute; 0: never.
    pub used_unix_ms: u64,
}

/// Answer of `POST /tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MadeApiToken {
    /// The token; shown once.
    pub secret: String,
    /// The rest.
    pub token: ApiTokenView,
}

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
