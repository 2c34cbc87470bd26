//! What an agent writes down of a node that is settled, so that the one that is started after it can go on with it.
//!
//! It grants nothing: the ledger stays the truth, and a record that differs from it in anything is worth nothing. The
//! driver removes it *before* it carries out anything by which a node leaves what the record says, and writes it again
//! once the node is settled again. It lives in the run folder: it does not outlast the machine's boot.

use crate::durable::Durable;
use crate::heartbeat::{Heartbeat, Incarnation};
use crate::levels::Levels;
use crate::time::Instant;
use holdfast_api::ids::Generation;
use holdfast_api::state::ModuleState;
use serde::{Deserialize, Serialize};

/// A node with nothing under way: Ready, no procedure, no script, no grant asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// When the agent last handled anything. Whoever reads it was away since then at most.
    pub at: Instant,
    /// The boot it belongs to.
    pub boot_id: u64,
    /// The configuration it belongs to.
    pub signature: u64,
    /// What the ledger held.
    pub durable: Durable,
    /// See [`Heartbeat::origin`].
    pub origin: Incarnation,
    /// What it is.
    pub role: Role,
    /// See [`crate::arbiter::Situation::live`].
    pub live: bool,
    /// Since when it is in its state.
    pub since: Instant,
    /// The health URL answers 200.
    pub healthy: bool,
    /// The virtual addresses are set.
    pub addresses_set: bool,
    /// The data plane holds the directories.
    pub data_plane_used: bool,
    /// It lost its secondary while it served.
    pub degraded: bool,
    /// See [`Heartbeat::claims`].
    pub claims: bool,
    /// The last pairing in which the role was handed to the preferred node.
    pub preferred_session: u64,
    /// The last swap request of the peer that was dealt with.
    pub swap_handled: u64,
    /// The application.
    pub application: Application,
    /// The peer as last heard.
    pub peer: Option<Heartbeat>,
    /// When it was last heard on any link; `None`: never, or an agent that did not say so has written this.
    #[serde(default)]
    pub heard: Option<Instant>,
}

impl Settled {
    /// Whether both say the same of the node itself; when that was, and what it knows of its peer, aside.
    pub fn same_as(&self, other: &Self) -> bool {
        let Self { at, peer, heard, .. } = other;
        Self { at: *at, peer: peer.clone(), heard: *heard, ..self.clone() } == *other
    }
}

/// What a settled node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// UP: a light module.
    Open,
    /// ALONE, maybe while the peer is resynced.
    Alone {
        /// The peer that was offered a session.
        follower: Option<Follower>,
    },
    /// PRIM.
    Paired {
        /// The peer that every write waits for.
        follower: Follower,
    },
    /// SECOND.
    Following {
        /// The session.
        session: u64,
        /// When it was begun.
        since: Instant,
        /// The primary's generation.
        generation: Generation,
        /// And its history.
        history: Vec<Generation>,
    },
}

/// The peer, as the one that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// The session it was offered.
    pub session: u64,
    /// Its origin.
    pub origin: Incarnation,
    /// Its heartbeat has named the session.
    pub confirmed: bool,
}

/// What runs of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Levels that run.
    pub started: Levels,
    /// Levels stopped since the module started.
    pub stopped: Levels,
    /// Levels whose checkers look.
    pub checked: Levels,
    /// The state that the scripts know.
    pub announced: ModuleState,
    /// And the one before it.
    pub left: ModuleState,
}
