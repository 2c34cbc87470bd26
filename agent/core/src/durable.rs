//! What a node must not forget about a module: saved in the ledger before anything that relies on it is sent or done.

use crate::covered::{self, Covered};
use holdfast_api::ids::Generation;
use holdfast_api::state::DataState;
use holdfast_api::userconfig::Boot;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Generations kept in [`Durable::history`]; an older common ancestor counts as unrelated data, but for
/// [`Durable::shared`].
pub const HISTORY_MAX: usize = 16;

/// Durable state of one module on one node. All zero (`default()`) is a module that never ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durable {
    /// Generation of this copy of the data.
    pub generation: Generation,
    /// Earlier generations of this copy's lineage, newest first, at most [`HISTORY_MAX`].
    pub history: Vec<Generation>,
    /// The last generation that the peer may hold, too: it stays in `history` however many are gained without the peer.
    /// Zero: none, or saved by a program that did not keep it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub shared: Generation,
    /// How this copy relates to the reference.
    pub data: DataState,
    /// This node holds the grant to acknowledge alone: nobody else can hold a newer copy. Cleared, durably, *before*
    /// the peer is told that its resync is complete.
    pub solo: bool,
    /// This copy was declared out of date from this generation number on (0: it was not). Reporting it is what grants
    /// the peer that number, so this node never becomes primary with an older one.
    pub outdated_since: u64,
    /// A generation number this node has asked its peer or a witness for and must not forget (0: none).
    pub asked: u64,
    /// The generation number this node has last asked a register for (0: none), with the same nonce at each repetition.
    #[serde(default)]
    pub witness_asked: u64,
    /// See `witness_asked`.
    #[serde(default)]
    pub witness_nonce: u64,
    /// The generation was gained while being primary (true) or by taking over from a primary (false): at a reunion the
    /// former primary stays.
    pub continued: bool,
    /// This node was PRIM or ALONE when it last held a running role.
    pub was_primary: bool,
    /// The last replication session, drawn at each pairing and saved on both sides.
    pub session: u64,
    /// The operator wants the module running (survives a restart of the agent).
    pub running: bool,
    /// The module starts when the machine boots.
    pub boot_start: bool,
    /// It also starts at boot if it was running when the machine went down.
    #[serde(default)]
    pub boot_auto: bool,
    /// An operator's `failover on|off`; `None`: as configured.
    #[serde(default)]
    pub failover: Option<bool>,
    /// Reboots that the module has ordered by itself since an operator last stepped in.
    #[serde(default)]
    pub reboots: u32,
    /// Boot id under which `running` was last true: a new one means that the machine went down.
    pub boot_id: u64,
    /// What was replicated when this copy was last in step with its peer, or an operator last agreed to have it
    /// overwritten: what a later configuration covers beyond it is this node's own until then. `None`: never in step, or
    /// saved by a program that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "covered::shared")]
    pub covered: Option<Arc<Covered>>,
}

fn is_none(generation: &Generation) -> bool {
    generation.number == 0
}

impl Durable {
    /// Whether the module starts when the machine boots, where its configuration says `policy`.
    pub fn starts_at_boot(&self, policy: Boot) -> bool {
        match policy {
            Boot::On => true,
            Boot::Off => false,
            Boot::Auto => self.running,
            Boot::Ignore => self.boot_start || self.boot_auto && self.running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_decides_on_boot_unless_it_leaves_that_to_the_node() {
        let durable = |running, boot_start, boot_auto| Durable { running, boot_start, boot_auto, ..Durable::default() };
        for (policy, durable, starts) in [
            (Boot::On, durable(false, false, false), true),
            (Boot::Off, durable(true, true, true), false),
            (Boot::Auto, durable(false, true, false), false),
            (Boot::Auto, durable(true, false, false), true),
            (Boot::Ignore, durable(false, true, false), true),
            (Boot::Ignore, durable(true, false, false), false),
            (Boot::Ignore, durable(true, false, true), true),
            (Boot::Ignore, durable(false, false, true), false),
        ] {
            assert_eq!(durable.starts_at_boot(policy), starts, "{policy:?} {durable:?}");
        }
    }

    #[test]
    fn a_ledger_without_the_newer_fields_is_read() {
        let mut saved = serde_json::to_value(Durable { boot_start: true, ..Durable::default() }).unwrap();
        assert!(saved.get("covered").is_none(), "absent where nothing is kept");
        for newer in ["boot_auto", "failover", "reboots"] {
            saved.as_object_mut().unwrap().remove(newer).unwrap();
        }
        let read: Durable = serde_json::from_value(saved).unwrap();
        assert_eq!(read, Durable { boot_start: true, ..Durable::default() });
    }
}
