//! What a node shows of itself: a view for reports, pages and the command line.

use crate::replica::{Inventory, ResyncProgress};
use crate::resources::Resources;
use crate::time::Instant;
use holdfast_api::ids::{Generation, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use std::fmt;

/// A node as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Name of the node.
    pub node: String,
    /// State.
    pub state: ModuleState,
    /// Readiness.
    pub readiness: Readiness,
    /// When state or readiness last changed.
    pub since: Instant,
    /// In WAIT (or while a secondary cannot follow): for what, and what an operator can do.
    pub waiting_for: Option<String>,
    /// One short line on what it is doing.
    pub detail: String,
    /// State of this copy of the data.
    pub data: DataState,
    /// Generation of this copy.
    pub generation: Generation,
    /// This node alone holds the right to acknowledge writes.
    pub solo: bool,
    /// The health URL answers 200.
    pub healthy: bool,
    /// The module starts at boot.
    pub boot_start: bool,
    /// The operator wants it running.
    pub running: bool,
    /// The peer, once it has been heard.
    pub peer: Option<PeerView>,
    /// Progress of the resync under way.
    pub resync: Option<ResyncProgress>,
    /// What the replicated directories held when last counted.
    pub inventory: Option<Inventory>,
    /// Its resources, by name.
    pub resources: Resources,
    /// Per link: the peer has been heard on it within the timeout.
    pub links_heard: Vec<bool>,
    /// The witness, if there is one.
    pub witness: Option<WitnessView>,
}

/// The witness as last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessView {
    /// What it said, in words.
    pub said: String,
    /// When; not known if only its record is.
    pub at: Option<Instant>,
    /// The resource `splitbrain.uptodate`.
    pub uptodate: ResourceValue,
}

/// The peer as last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Which node.
    pub id: NodeId,
    /// Its name.
    pub node: String,
    /// Its state as last heard.
    pub state: ModuleState,
    /// Its readiness as last heard.
    pub readiness: Readiness,
    /// Its data state as last heard.
    pub data: DataState,
    /// Its generation as last heard.
    pub generation: Generation,
    /// Heard within the timeout: if not, the rest is history.
    pub heard: bool,
    /// It hears this node.
    pub hears_us: bool,
}

impl fmt::Display for View {
    /// One line: `node1 PRIM Ready, up to date 3:0badcafe, peer SECOND Ready`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}, {} {}", self.node, self.state, self.readiness, self.data, self.generation)?;
        if self.solo {
            write!(f, " solo")?;
        }
        match &self.peer {
            None => write!(f, ", peer never heard")?,
            Some(peer) if !peer.heard => write!(f, ", peer silent")?,
            Some(peer) => write!(f, ", peer {} {}", peer.state, peer.readiness)?,
        }
        Ok(())
    }
}
