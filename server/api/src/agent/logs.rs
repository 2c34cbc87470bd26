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

/// Which lines of a log are wanted. A page is bounded: where a filter leaves few lines it may be empty although more
/// follow; `next` (or `start`, going back) is where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogWanted {
    /// From this position on; none: the last `limit` lines before `before`.
    pub from: Option<u64>,
    /// Lines before this position only, where `from` is none; none: up to the newest.
    #[serde(default)]
    pub before: Option<u64>,
    /// Most lines, at most [`LOG_LINES_MAX`].
    pub limit: u32,
    /// Only lines of these levels (letters as in [`LogLine::level`]); empty: of every level.
    #[serde(default)]
    pub levels: String,
    /// Only lines that hold this text, capital or not; empty: every line.
    #[serde(default)]
    pub holding: String,
}

impl LogWanted {
    /// The last lines.
    pub fn last(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }

    /// True if the line passes both filters.
    pub fn holds(&self, line: &LogLine) -> bool {
        let level = self.levels.is_empty() || (!line.level.is_empty() && self.levels.contains(&line.level));
        level && (self.holding.is_empty() || line.text.to_lowercase().contains(&self.holding.to_lowercase()))
    }
}

/// Lines of a log. Positions are numbers that only rise along a log (a byte offset or a line number, as the agent
/// likes); a log that was cut off at its old end has a higher `first`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogPage {
    /// Position of the oldest line there is.
    pub first: u64,
    /// Position from which everything was looked through; what is older is asked for with `before` it.
    #[serde(default)]
    pub start: u64,
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
