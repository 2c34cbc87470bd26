//! How a node brings effects about: acts, replies, events, edges of the automaton; collected until `handle` returns.

use super::Node;
use crate::automaton::{self, Trigger};
use crate::output::{Act, Event, EventLevel, Reply};
use crate::replica::ReplicaCommand;

impl Node {
    /// A random number, another one at each call.
    pub(super) fn draw(&mut self) -> u64 {
        self.nonce = self.nonce.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.nonce;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).max(1)
    }

    pub(super) fn act(&mut self, act: Act) {
        self.out.acts.push(act);
    }

    pub(super) fn replica(&mut self, command: ReplicaCommand) {
        self.act(Act::Replica(command));
    }

    pub(super) fn reply(&mut self, id: u64, result: Result<String, String>) {
        self.out.replies.push(Reply { id, result });
    }

    pub(super) fn event(&mut self, level: EventLevel, text: String) {
        self.out.events.push(Event { level, state: self.status.0, readiness: self.status.1, text });
    }

    /// Takes an edge of the automaton; the log gets the table's reason and `why`.
    pub(super) fn take_edge(&mut self, trigger: Trigger, why: &str) {
        let from = self.status;
        let Some(row) = automaton::transition(from, trigger) else {
            self.event(
                EventLevel::Error,
                format!("internal: no edge {trigger:?} from {from} ({why}); please report it"),
            );
            return;
        };
        self.status = row.to;
        self.degraded = match trigger {
            Trigger::SecondaryGone => true,
            Trigger::SecondaryReady | Trigger::Granted | Trigger::Released => false,
            _ => self.degraded,
        };
        self.since = self.now;
        let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
        self.event(EventLevel::Event, format!("{from} -> {}: {}{why}", row.to, row.reason));
    }
}
