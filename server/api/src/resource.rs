//! Resources: what checkers and the module itself say, one value each, and what rules read.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Value of a resource, such as `tcp.web` or `heartbeat.flow`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ResourceValue {
    /// Nothing is known yet: the checker has not looked.
    #[default]
    Init,
    /// Good.
    Up,
    /// Bad.
    Down,
    /// The node that knows is stopped or silent.
    Unknown,
    /// A number or a word, such as `PRIM Ready` or `3`.
    Other(String),
}

impl From<String> for ResourceValue {
    fn from(text: String) -> Self {
        match text.as_str() {
            "init" => Self::Init,
            "up" => Self::Up,
            "down" => Self::Down,
            "unknown" => Self::Unknown,
            _ => Self::Other(text),
        }
    }
}

impl From<ResourceValue> for String {
    fn from(value: ResourceValue) -> Self {
        value.to_string()
    }
}

impl fmt::Display for ResourceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "init",
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Other(text) => text,
        })
    }
}
