//! When checkers look, and what their failure does.

use serde::{Deserialize, Serialize};
use std::fmt;

/// When a checker looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// From the end of `prestart` to before `poststop`.
    Pre,
    /// While the application runs as primary: from the end of `start_prim` to before `stop_prim`.
    Prim,
    /// While it runs as secondary: from the end of `start_second` to before `stop_second`.
    Second,
    /// In PRIM, ALONE, SECOND and UP: from the end of `start_both` to before `stop_both`.
    Both,
    /// In SECOND and ALONE: from the end of `start_sec` to before `stop_sec`.
    Sec,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum CheckAction {
    /// Stop the module and wait until the rule no longer holds.
    Wait,
    /// Stop and start the application here.
    Restart,
    /// Stop the module (which fails over), then start it.
    StopStart,
    /// Stop the module.
    Stop,
    /// Exchange the roles.
    Swap,
    /// Only show the resource.
    NoAction,
}

/// What a failed process check does: `action` of a `<proc>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ProcAction {
    /// Stop and start the application here.
    #[default]
    Restart,
    /// Stop the module (which fails over), then start it.
    StopStart,
    /// Stop the module.
    Stop,
    /// Only say so.
    NoAction,
    /// Run this program of the module's `bin`: exit code 0 is good, any other a `stopstart`.
    Handler(String),
}

impl ProcAction {
    /// As written in the XML.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Restart => "restart",
            Self::StopStart => "stopstart",
            Self::Stop => "stop",
            Self::NoAction => "noaction",
            Self::Handler(program) => program,
        }
    }
}

impl From<String> for ProcAction {
    fn from(text: String) -> Self {
        match text.as_str() {
            "restart" => Self::Restart,
            "stopstart" => Self::StopStart,
            "stop" => Self::Stop,
            "noaction" => Self::NoAction,
            _ => Self::Handler(text),
        }
    }
}

impl From<ProcAction> for String {
    fn from(action: ProcAction) -> Self {
        action.as_str().to_owned()
    }
}

impl When {
    /// As written in the XML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Prim => "prim",
            Self::Second => "second",
            Self::Both => "both",
            Self::Sec => "sec",
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CheckAction {
    /// As written in the XML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Restart => "restart",
            Self::StopStart => "stopstart",
            Self::Stop => "stop",
            Self::Swap => "swap",
            Self::NoAction => "noaction",
        }
    }
}
