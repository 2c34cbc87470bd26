//! The solo rule: where the right to acknowledge writes alone comes from, and what it does to the durable state.
//!
//! Nothing but [`take`] raises a generation. A grant is *taken* the moment it is saved; an unsaved one is worth nothing.

use crate::durable::{Durable, HISTORY_MAX};
use crate::heartbeat::Heartbeat;
use holdfast_api::ids::Generation;

/// Why a node may serve alone under a higher generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// (a) The peer has durably recorded "Outdated since" this number.
    Peer,
    /// (c) All links were silent for the timeout, and this copy was in sync (or solo) when the silence began.
    Silence,
    /// (c) As `Silence`, and a ping witness answered, which isolation hides from one side.
    Ping,
    /// (b) The register has recorded that the number is this node's.
    Register,
    /// (d) An operator's force.
    Force,
}

impl Source {
    /// For the module log.
    pub fn reason(self, peer: &str) -> String {
        match self {
            Self::Peer => format!("{peer} has recorded that its copy is out of date"),
            Self::Silence => format!("{peer} has been silent on every link for the timeout"),
            Self::Ping => {
                format!("{peer} has been silent on every link for the timeout, and the ping witness answers here")
            }
            Self::Register => "the register granted it".to_owned(),
            Self::Force => "an operator chose this copy".to_owned(),
        }
    }
}

/// The number a node asks its peer for: above both generations and above every promise it has given itself.
///
/// It is above the node's own `outdated_since`, so two nodes that promised each other the same number can still find a
/// way out: the one that asks next asks for a number that neither has promised. The peer's generation may be the higher
/// one if its copy is diverged or incomplete.
pub fn number_to_ask(durable: &Durable, peer: Option<&Heartbeat>) -> u64 {
    let theirs = peer.map_or(0, |peer| peer.generation.number);
    durable.generation.number.max(durable.outdated_since).max(theirs).saturating_add(1)
}

/// The number taken without the peer's word: above all that either node is known to have held, asked or promised.
pub fn number_beyond(durable: &Durable, peer: Option<&Heartbeat>) -> u64 {
    let known = peer.map_or(0, |peer| peer.outdated_since.max(peer.asks));
    number_to_ask(durable, peer).max(known.saturating_add(1)).max(durable.asked)
}

/// The number a node asks a register for: the one after its own copy's, and no other. Only so does the record of a grant
/// to somebody who went on from this very copy rule this node out.
pub fn number_of_register(durable: &Durable) -> u64 {
    durable.generation.number.saturating_add(1)
}

/// Takes the grant: raises the generation, and with it this copy becomes the reference.
///
/// `continues`: this node was serving (or was primary last), so at a reunion it stays.
pub fn take(durable: &mut Durable, number: u64, id: u64, continues: bool) {
    debug_assert!(number > durable.generation.number, "a grant always raises the generation");
    if durable.generation.number > 0 {
        durable.history.insert(0, durable.generation);
        if !durable.solo {
            durable.shared = durable.generation;
        }
        forget_oldest(durable);
    }
    durable.generation = Generation { number, id: id.max(1) };
    durable.data = holdfast_api::state::DataState::UpToDate;
    durable.solo = true;
    durable.asked = 0;
    durable.continued = continues;
    durable.was_primary = true;
}

/// Keeps the history bounded. The peer's copy has the last generation that was shared with it: were that one forgotten,
/// the copy would pass for one that has nothing to do with this.
fn forget_oldest(durable: &mut Durable) {
    while durable.history.len() > HISTORY_MAX {
        let oldest = durable.history.len() - 1;
        let kept = durable.history[oldest] == durable.shared;
        durable.history.remove(oldest - usize::from(kept));
    }
}

/// Promises the peer that this node never becomes primary with a number below or equal to `number`.
pub fn promise(durable: &mut Durable, number: u64) {
    use holdfast_api::state::DataState;
    durable.outdated_since = durable.outdated_since.max(number);
    durable.solo = false;
    if durable.data == DataState::UpToDate {
        durable.data = DataState::Outdated;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::{Lineage, Relation, relation};

    #[test]
    fn the_generation_shared_with_the_peer_outlives_any_number_of_grants_without_it() {
        let mut durable = Durable::default();
        take(&mut durable, 1, 11, true);
        for (shared, first) in [(20, 2), (60, 42)] {
            for number in first..=shared {
                // In step each time.
                durable.solo = false;
                take(&mut durable, number, number * 11, true);
            }
            durable.solo = false;
            let peer = durable.clone();
            for number in shared + 1..=shared + 21 {
                take(&mut durable, number, number * 11, true);
                let lineage = |of: &Durable| (of.generation, of.history.clone());
                let ((ours, older), (theirs, their_older)) = (lineage(&durable), lineage(&peer));
                let ours = Lineage { generation: ours, history: &older };
                let theirs = Lineage { generation: theirs, history: &their_older };
                assert_eq!(relation(ours, theirs), Relation::Behind, "{number}");
                assert!(durable.history.len() <= HISTORY_MAX);
            }
            assert!(
                durable.history.contains(&Generation { number: shared + 20, id: (shared + 20) * 11 }),
                "the newest too"
            );
        }
    }
}
