//! A heartbeat on its way: two are the same if they say the same, whatever their sequence numbers.

use crate::model::world::relative;
use holdfast_core::heartbeat::Heartbeat;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A heartbeat on its way.
#[derive(Clone, Debug)]
pub struct Spoken {
    shown: Arc<str>,
    heartbeat: Arc<Heartbeat>,
}

impl Spoken {
    /// What a node says now.
    pub(super) fn new(heartbeat: &Heartbeat, now: u64) -> Self {
        let shown = relative(&format!("{heartbeat:?}"), now, 0).into();
        Self { shown, heartbeat: Arc::new(heartbeat.clone()) }
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat::clone(&self.heartbeat)
    }
}

impl PartialEq for Spoken {
    fn eq(&self, other: &Self) -> bool {
        self.shown == other.shown
    }
}

impl Eq for Spoken {}

impl PartialOrd for Spoken {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Spoken {
    fn cmp(&self, other: &Self) -> Ordering {
        self.shown.cmp(&other.shown)
    }
}

impl Hash for Spoken {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.shown.hash(hasher);
    }
}
