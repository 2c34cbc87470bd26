//! Newtypes for the numbers and names that identify things.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A node's number in its cluster, from 1; never reused within a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct NodeId(pub u16);

/// A module's number in its cluster, from 1: it decides the module's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ModuleId(pub u16);

impl ModuleId {
    /// UDP port of the module's heartbeat: 8888 + (id − 1).
    pub fn heartbeat_port(self) -> u16 {
        8888 + (self.0 - 1)
    }

    /// TCP port of the module's replication: 5600 + 4 (id − 1).
    pub fn replication_port(self) -> u16 {
        5600 + 4 * (self.0 - 1)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "module {}", self.0)
    }
}

/// Which primaryship data belongs to: a number that only rises and an id drawn at random with it.
///
/// Two generations are the same only if both parts are; the same number with another id means that two
/// nodes served apart from each other (ARCHITECTURE §6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Generation {
    /// Raised by one with each grant; 0 means "never served".
    pub number: u64,
    /// Drawn at random when the number was raised; 0 with number 0.
    pub id: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:08x}", self.number, self.id as u32)
    }
}
