//! Failover rules: conditions on resources, and what to do when they hold.

#[cfg(feature = "userconfig")]
mod defaults;
mod parse;
#[cfg(test)]
mod tests;

use crate::checker::CheckAction;
use crate::resource::ResourceValue;
use serde::{Deserialize, Serialize};
use std::fmt;

#[cfg(feature = "userconfig")]
pub use defaults::{default_rules, effective_rules};
pub use parse::parse;
#[cfg(feature = "userconfig")]
pub(crate) use parse::{Fault, RULES_MAX, parse_block};

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

/// What is wrong with a text of rules, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, problem, cure } = self;
        write!(f, "rules, line {line}, column {column}: {problem}; {cure}")
    }
}

impl std::error::Error for RuleError {}

impl Condition {
    /// It reads a resource of the peer.
    pub fn reads_peer(&self) -> bool {
        match self {
            Self::Is(selector, _) | Self::IsNot(selector, _) => selector.remote,
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::reads_peer),
            Self::Not(inner) => inner.reads_peer(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match &self.id {
            Id::Named(name) => name.as_str(),
            Id::Any => "?",
            Id::Every => "*",
        };
        write!(f, "{}{}.{id}", if self.remote { "remote." } else { "" }, self.class)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], sign: &str| {
            f.write_str("(")?;
            for (i, part) in parts.iter().enumerate() {
                write!(f, "{}{part}", if i == 0 { "" } else { sign })?;
            }
            f.write_str(")")
        };
        match self {
            Self::Is(selector, value) => write!(f, "{selector} == {}", Quoted(value)),
            Self::IsNot(selector, value) => write!(f, "{selector} != {}", Quoted(value)),
            Self::All(parts) => joined(f, parts, " && "),
            Self::Any(parts) => joined(f, parts, " || "),
            Self::Not(inner) => write!(f, "!({inner})"),
        }
    }
}

/// As the language writes it; what it prints is read back as the same.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: if ({}) then {}();", self.label, self.condition, self.action.as_str())
    }
}

struct Quoted<'a>(&'a ResourceValue);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ResourceValue::Other(text) => write!(f, "\"{text}\""),
            known => write!(f, "{known}"),
        }
    }
}
