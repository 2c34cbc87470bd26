//! What the data plane finds before its directories may be used.

use super::Node;
use super::steps::Answer;
use crate::automaton::{self, Trigger};
use crate::output::EventLevel;
use crate::replica::Inventory;

impl Node {
    /// A path that guards the replicated directories is not there: nothing starts until it is.
    pub(super) fn on_missing(&mut self, path: String) {
        let inspecting = self.procedure.as_ref().is_some_and(|running| running.waiting == Some(Answer::Inspected));
        if !inspecting || self.missing.as_ref() == Some(&path) {
            return;
        }
        self.missing = Some(path);
        if self.status == automaton::WAIT {
            self.take_edge(Trigger::Blocked, "");
        }
        let text = self.missing_text().unwrap_or_default();
        self.event(EventLevel::Warning, text);
    }

    pub(super) fn on_inspection(&mut self, inventory: Inventory) {
        self.inventory = Some(inventory);
        if self.missing.take().is_some() && self.status == automaton::BLOCKED {
            self.take_edge(Trigger::Unblocked, "every path of <tocheck> is there");
        }
        self.on_inspected();
    }

    pub(super) fn missing_text(&self) -> Option<String> {
        let path = self.missing.as_ref()?;
        Some(format!(
            "waits for {path}, which must be there before replication starts (<tocheck>): mount the disk it is on, and the \
             module goes on by itself; if the path itself is wrong, stop the module and correct its userconfig.xml"
        ))
    }
}
