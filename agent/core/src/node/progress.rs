//! How far a resync is, as resources: for rules, scripts and the history, at most every three seconds.

use super::Node;
use super::rules::SELF;
use crate::replica::ResyncProgress;
use holdfast_api::resource::ResourceValue;

/// Shortest time between two values.
const PERIOD_MS: u64 = 3000;

impl Node {
    pub(super) fn on_resync_progress(&mut self, progress: ResyncProgress) {
        self.resync = Some(progress);
        let ended = progress.left_ms == Some(0);
        if self.progress_told.is_some_and(|told| self.now < told.after(PERIOD_MS)) && !ended {
            return;
        }
        self.progress_told = Some(self.now);
        let done = |done: u64, total: u64| format!("{done}/{total}");
        let said = [
            ("rfs.rei_bandwidth", (progress.bytes_per_s / 1024).to_string()),
            ("rfs.rei_size", done(progress.bytes_done >> 10, progress.bytes_total >> 10)),
            ("rfs.rei_entries", done(progress.entries_done, progress.entries_total)),
            ("rfs.rei_left", progress.left_ms.map_or("unknown".to_owned(), |left| left.div_ceil(1000).to_string())),
        ];
        for (name, value) in said {
            self.set_resource(name, ResourceValue::Other(value), SELF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Input;
    use crate::node::held::tests::{handle, primary};
    use crate::replica::ReplicaEvent;

    #[test]
    fn progress_becomes_resources_every_few_seconds() {
        let mut node = primary(true);
        let mut progress = ResyncProgress { bytes_total: 8 << 20, entries_total: 3, ..ResyncProgress::default() };
        for second in 0..10u64 {
            progress.bytes_done = second << 19;
            progress.bytes_per_s = 512 << 10;
            progress.left_ms = Some(16_000 - second * 1000);
            handle(&mut node, second * 1000, Input::Replica(ReplicaEvent::ResyncProgress { progress }));
        }
        let value = |node: &Node, name: &str| node.resources.get(name).map(|resource| resource.value.to_string());
        assert_eq!(value(&node, "rfs.rei_bandwidth").as_deref(), Some("512"));
        assert_eq!(value(&node, "rfs.rei_size").as_deref(), Some("4608/8192"));
        assert_eq!(value(&node, "rfs.rei_left").as_deref(), Some("7"));
        let left = node.resources.get("rfs.rei_left").map(|resource| resource.history.len());
        assert_eq!(left, Some(3), "ten reports gave more than four values");
    }
}
