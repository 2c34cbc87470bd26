//! What a module on a node is: state, readiness and the state of its data, as reported and as shown.

use serde::{Deserialize, Serialize};
use std::fmt;

/// State of a module on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum ModuleState {
    /// Stopped; can be started.
    #[default]
    Stop,
    /// Starting, stopping, or blocked on something that has a name.
    Wait,
    /// Primary without a secondary: the application runs here, nothing is replicated.
    Alone,
    /// Primary with a secondary that holds every acknowledged write.
    Prim,
    /// Secondary of a primary.
    Second,
    /// Active in a farm or light module.
    Up,
}

/// Second half of a state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Readiness {
    /// Stopped, or blocked until something named changes (red).
    #[default]
    NotReady,
    /// On its way: scripts running, resync under way (orange).
    Transient,
    /// Doing its job (green).
    Ready,
}

/// How this node's copy of the data relates to the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DataState {
    /// Nobody has said yet which copy is the reference (before the first start).
    #[default]
    Unknown,
    /// Holds every acknowledged write of its generation.
    UpToDate,
    /// Whole, but the peer has served a later generation or was allowed to.
    Outdated,
    /// Being overwritten by a resync that is not complete.
    Inconsistent,
    /// Served apart from the peer: holds writes the other copy lacks, and the other way round.
    Diverged,
}

impl fmt::Display for ModuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "STOP",
            Self::Wait => "WAIT",
            Self::Alone => "ALONE",
            Self::Prim => "PRIM",
            Self::Second => "SECOND",
            Self::Up => "UP",
        })
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "NotReady",
            Self::Transient => "Transient",
            Self::Ready => "Ready",
        })
    }
}

impl fmt::Display for DataState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::UpToDate => "up to date",
            Self::Outdated => "outdated",
            Self::Inconsistent => "inconsistent",
            Self::Diverged => "diverged",
        })
    }
}
