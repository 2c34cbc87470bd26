//! The management server's own settings: the certificate that browsers see, and how long records are kept.

use crate::problem::FieldProblem;
use serde::{Deserialize, Serialize};

/// Most support zips that the server may be told to keep.
pub const SNAPSHOTS_KEPT_MAX: u32 = 1000;
/// Longest time for which records may be told to be kept, in days.
pub const KEPT_DAYS_MAX: u32 = 36_500;

/// `GET /settings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerSettings {
    /// The certificate that browsers see.
    pub certificate: CertificateView,
    /// What is kept, and how long.
    pub retention: Retention,
    /// The console over plain http.
    #[serde(default)]
    pub plain_http: PlainHttp,
}

/// The console over plain http, on port 9010 of each node: off unless an administrator switches it on. Passwords and
/// sessions of those who use it can be read and used by everybody on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlainHttp {
    /// It is on.
    pub on: bool,
    /// Where it is reached while it is on: one address for each node that is connected.
    pub addresses: Vec<String>,
}

/// `PUT /settings/plain-http`: answered by [`PlainHttp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PlainHttpForm {
    /// Switch it on, or off. Sessions that began over plain http end with it.
    pub on: bool,
}

/// The certificate that browsers see. Agents always see the one of the server's own authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateView {
    /// True: files given by an administrator; false: made by the server's own authority, and renewed by itself.
    pub own: bool,
    /// Who it is for.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Names and addresses in it.
    pub names: Vec<String>,
    /// Its end.
    pub not_after_unix_ms: u64,
    /// SHA-256 of the certificate, hex: what browsers show.
    pub fingerprint: String,
    /// What an administrator should do about it soon; empty: nothing.
    pub warning: String,
}

/// `PUT /settings/certificate`: answered by [`CertificateView`].
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CertificateForm {
    /// PEM: the server's certificate first, then those of its issuers.
    pub certificate: String,
    /// PEM: its key, without passphrase. It is never shown again.
    pub key: String,
}

// A key must not come into a log by way of Debug.
impl std::fmt::Debug for CertificateForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateForm").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// `PUT /settings/retention`: what the server keeps, and how long; answered by itself. Versions of modules and of the
/// cluster are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Most support zips; when there are as many, new ones are refused.
    pub snapshots: u32,
    /// Support zips older than this many days are deleted; 0: never.
    pub snapshot_days: u32,
    /// Lines of "who did what" older than this many days are deleted; 0: never.
    pub audit_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { snapshots: 100, snapshot_days: 0, audit_days: 0 }
    }
}

impl Retention {
    /// Everything wrong with it.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        if !(1..=SNAPSHOTS_KEPT_MAX).contains(&self.snapshots) {
            problems.push(FieldProblem::new("snapshots", format!("keep between 1 and {SNAPSHOTS_KEPT_MAX} snapshots")));
        }
        for (field, days) in [("snapshot_days", self.snapshot_days), ("audit_days", self.audit_days)] {
            if days > KEPT_DAYS_MAX {
                let message = format!("at most {KEPT_DAYS_MAX} days; 0 keeps them for ever");
                problems.push(FieldProblem::new(field, message));
            }
        }
        problems
    }
}
