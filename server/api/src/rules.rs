//! Failover rules: conditions on resources, and what to do when they hold.

use crate::checker::CheckAction;
use crate::resource::ResourceValue;
use serde::{Deserialize, Serialize};

/// One rule: `label: if (condition) then action;`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, shown as the reason of what it does.
    pub label: String,
    /// When it holds.
    pub condition: Condition,
    /// What it does then.
    pub action: CheckAction,
}

/// A condition on resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// A resource has this value (`==`).
    Is(Selector, ResourceValue),
    /// A resource has another value than this (`!=`).
    IsNot(Selector, ResourceValue),
    /// All hold (`&&`).
    All(Vec<Condition>),
    /// One holds (`||`).
    Any(Vec<Condition>),
    /// It does not hold (`!`).
    Not(Box<Condition>),
}

/// Which resources: `[local.|remote.]class.id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// The peer's, not this node's.
    pub remote: bool,
    /// First half of the name.
    pub class: String,
    /// Second half.
    pub id: Id,
}

/// Second half of a resource's name in a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Id {
    /// This one.
    Named(String),
    /// `?`: at least one of the class; false if there is none.
    Any,
    /// `*`: all of the class; false if there is none.
    Every,
}
