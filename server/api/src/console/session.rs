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
