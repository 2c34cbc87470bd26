//! The stream between the two replicas of a module: the primary sends changes in order, the secondary applies them.
//!
//! ```text
//! front, resync ─▶ Sender ─▶ Channel ═▶ Follower ─▶ Applier ─▶ backing directories
//!        answers ◀─ Table ◀─ reader ◀═ acknowledgements (cumulative, after each received batch)
//! ```
//! The serving replica listens ([`server`]), the following one connects ([`follower`]).

pub mod applier;
pub(crate) mod cover;
pub mod follower;
mod pace;
pub mod sender;
pub mod server;
pub(crate) mod table;

use crate::frame::Hello;
use holdfast_api::ids::Generation;
use holdfast_core::replica::ReplicaEvent;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where events go; called from any thread, must not block for long.
pub type Events = Arc<dyn Fn(ReplicaEvent) + Send + Sync>;

/// Who this replica is, and how long it waits.
#[derive(Clone, Debug)]
pub struct Local {
    /// The module.
    pub module: u16,
    /// This node.
    pub node: u16,
    /// The other node.
    pub peer_node: u16,
    /// Boot of this node.
    pub boot_id: String,
    /// Drawn at random for this process.
    pub incarnation: u64,
    /// Longest time a frame may wait to be taken or acknowledged.
    pub send_timeout: Duration,
    /// How long a broken stream may take to resume.
    pub resume_window: Duration,
}

impl Local {
    /// This replica's greeting.
    pub fn hello(&self, session: u64, generation: Generation, applied: u64) -> Hello {
        let (module, node, boot_id) = (self.module, self.node, self.boot_id.clone());
        let standing = [0; 4];
        Hello { module, node, boot_id, incarnation: self.incarnation, session, generation, applied, standing }
    }
}

/// The stream of a session is over, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// Locks, also after a panic of another holder (which ends the process anyway).
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
