//! Which of two nodes goes first: among equal copies, before a promise, and where both serve.

use super::{Situation, relation_to, serves, whole};
use crate::durable::Durable;
use crate::heartbeat::Heartbeat;
use crate::relation::Relation;
use crate::settings::Settings;
use holdfast_api::state::{DataState, ModuleState};

/// Among two equal copies of which neither serves, the node that goes first: compared field by field, the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    up_to_date: bool,
    /// It gives no promise to an equal copy. Beside one that says it is up to date that is so in a module without
    /// directories only: there nothing is copied, and the secondary is up to date before its primary has said so.
    solo: bool,
    running: bool,
    in_sync_second: bool,
    was_primary: bool,
    lower_id: std::cmp::Reverse<u16>,
}

pub(super) fn outranks(ours: &Rank, theirs: &Rank) -> bool {
    ours > theirs
}

/// The rank of this node, as its heartbeat shows it.
pub fn rank_own(s: &Situation<'_>) -> Rank {
    let up_to_date = s.durable.data == DataState::UpToDate;
    Rank {
        up_to_date,
        solo: s.durable.solo,
        running: s.durable.running && !s.held,
        // With failover off on either node the one that was primary goes first, always.
        in_sync_second: s.settings.failover
            && s.peer.is_none_or(|peer| peer.failover)
            && up_to_date
            && s.state == ModuleState::Second,
        was_primary: s.durable.was_primary,
        lower_id: std::cmp::Reverse(s.settings.node.0),
    }
}

/// The rank of the peer.
pub fn rank_of(settings: &Settings, peer: &Heartbeat) -> Rank {
    let up_to_date = peer.data == DataState::UpToDate;
    Rank {
        up_to_date,
        solo: peer.solo,
        running: peer.running,
        in_sync_second: settings.failover && peer.failover && up_to_date && peer.state == ModuleState::Second,
        was_primary: peer.was_primary,
        lower_id: std::cmp::Reverse(peer.from.0),
    }
}

/// Whether this node, which neither serves nor is about to, promises the peer the number it asks for.
pub fn may_promise(s: &Situation<'_>, peer: &Heartbeat) -> bool {
    let durable = s.durable;
    // A peer with another configuration gets the promise too: giving way is always safe, and must not depend on it.
    if peer.asks <= durable.generation.number || peer.asks <= durable.outdated_since {
        return false;
    }
    if !whole(durable.data) || s.agreed {
        return true;
    }
    match relation_to(durable, peer) {
        Relation::Ahead => !durable.solo,
        Relation::Equal if durable.solo => false,
        Relation::Equal => serves(peer) || !outranks(&rank_own(s), &rank_of(s.settings, peer)),
        // It does not know yet that this copy is newer, or another: it will hear.
        Relation::Behind | Relation::Diverged | Relation::Unrelated => false,
    }
}

/// The peer holds a later generation of this very data: whatever happens next, this copy is not the newest.
pub fn superseded(durable: &Durable, peer: &Heartbeat) -> bool {
    peer.data == DataState::UpToDate && !durable.solo && relation_to(durable, peer) == Relation::Ahead
}

/// What a serving node makes of a peer that serves too, or whose copy descends from its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// This node stays.
    Stay,
    /// The peer's copy holds all that was acknowledged here: give way, and follow later.
    Superseded,
    /// Both copies hold writes of their own, and the peer stays.
    Lost,
}

/// Two nodes serve and hear each other: the one whose generation was gained while serving stays (tie: the lower id).
pub fn contest(settings: &Settings, durable: &Durable, peer: &Heartbeat) -> Contest {
    let relation = relation_to(durable, peer);
    if !serves(peer) {
        // A later generation was served, if not at present: this one ended without this node knowing.
        let later = relation == Relation::Ahead && peer.data == DataState::UpToDate && !durable.solo;
        return if later { Contest::Superseded } else { Contest::Stay };
    }
    match relation {
        // The same generation cannot be served twice; if it seems so the word is stale.
        Relation::Equal | Relation::Behind => Contest::Stay,
        Relation::Ahead if !durable.solo => Contest::Superseded,
        Relation::Ahead => Contest::Lost,
        Relation::Diverged | Relation::Unrelated => {
            let key = |continued: bool, id: u16| (!continued, id);
            if key(durable.continued, settings.node.0) < key(peer.continued, peer.from.0) {
                Contest::Stay
            } else {
                Contest::Lost
            }
        }
    }
}
