//! Pages of the logs.

use serde::{Deserialize, Serialize};

/// Most log lines in one page.
pub const LOG_LINES_MAX: u32 = 2000;

/// Which log of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// The dated events with their reasons.
    #[default]
    Module,
    /// Output of the scripts.
    Application,
}

/// Lines of a log. Positions are numbers that only rise along a log (a byte offset or a line number, as the agent
/// likes); a log that was cut off at its old end has a higher `first`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogPage {
    /// Position of the oldest line there is.
    pub first: u64,
    /// Position to go on from; equal to `end` when there is no more for now.
    pub next: u64,
    /// Position after the newest line.
    pub end: u64,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Its position.
    pub at: u64,
    /// When; 0 if unknown.
    pub unix_ms: u64,
    /// `I`, `S`, `U`, `E`, `W` or `C` (information, script, user, event, warning, error); empty in the application log.
    #[serde(default)]
    pub level: String,
    /// The text, without line end.
    pub text: String,
}
