//! When a node was awake, and what follows from a time when it was not.

use super::Node;
use crate::output::EventLevel;
use crate::time::{Instant, Moment};

/// When it was awake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awake {
    /// When it last handled something.
    pub(super) handled_at: Instant,
    /// When it did that, or looked at its save.
    pub(super) looked_at: Instant,
    /// When the input that is handled arrived: before now, if it waited for a save.
    pub(super) arrived: Instant,
}

impl Awake {
    pub(super) fn new(now: Instant) -> Self {
        Self { handled_at: now, looked_at: now, arrived: now }
    }
}

impl Node {
    /// Time has passed: a gap that is too long was a sleep, or a save.
    pub(super) fn pass_time(&mut self, moment: Moment) {
        self.now = moment.now.max(self.now);
        self.nonce = moment.nonce;
        let gap = self.now.since(self.awake.handled_at);
        let asleep = self.now.since(self.awake.looked_at);
        self.awake.handled_at = self.now;
        self.awake.looked_at = self.now;
        let nap = self.settings.suspend_gap_ms();
        if gap <= nap || self.settings.broken.ignore_suspension {
            return;
        }
        let peer = &self.settings.peer_name;
        if asleep <= nap {
            let text = format!(
                "this node did nothing for {gap} ms: the disk that holds the agent's data folder took so long to save its \
                 state; see what keeps that disk busy, or move the folder to another"
            );
            return self.event(EventLevel::Warning, text);
        }
        let text = format!(
            "this node did nothing for {gap} ms (suspended, or its disk was slow): the silence of {peer} is counted anew"
        );
        self.event(EventLevel::Warning, text);
        self.links.count_anew(self.now);
        self.restart_hold();
        if asleep >= self.settings.timeout_ms {
            // The peer may have gone on alone meanwhile: until it is heard, this copy is not known to be the newest.
            self.live = false;
            self.slept_until = Some(self.now);
            self.drop_addresses();
        }
    }
}
