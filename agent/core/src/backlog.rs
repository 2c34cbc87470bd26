//! What happens to a module while its state is being saved: kept in order, each with when it arrived.

use crate::input::Input;
use crate::node::Node;
use crate::time::Instant;
use std::collections::VecDeque;

/// Inputs that wait for a save; the driver hands them in before any other, by [`Node::handle_later`].
#[derive(Debug, Default)]
pub struct Backlog(VecDeque<(Instant, Input)>);

impl Backlog {
    /// A save of `node` begins. Who waits for the node is heard at once, behind whatever is to be handled before.
    pub fn begin(&self, node: &mut Node) {
        self.0.iter().for_each(|(arrived, input)| node.overhear(*arrived, input));
    }

    /// Keeps what arrives during the save.
    pub fn keep(&mut self, node: &mut Node, now: Instant, input: Input) {
        node.overhear(now, &input);
        self.0.push_back((now, input));
    }

    /// The save has failed at `now`: the node hears of that before anything else.
    pub fn fail(&mut self, now: Instant, reason: String) {
        self.0.push_front((now, Input::SaveFailed { reason }));
    }

    /// What is to be handled next, and when it arrived.
    pub fn take(&mut self) -> Option<(Instant, Input)> {
        self.0.pop_front()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
