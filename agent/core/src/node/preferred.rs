//! `defaultprim`: once both nodes are in sync, the role goes to the node that the configuration prefers, by a swap.
//!
//! Once per pairing only. The swap is nobody's order, so it neither counts towards `maxloop` nor resets it: if the
//! preferred node fails each time it serves, its own stopstarts use its budget up and it stops, which ends the pairings.

use super::Node;
use crate::automaton;
use crate::output::EventLevel;
use holdfast_api::state::Readiness;
use holdfast_api::userconfig::DefaultPrim;

impl Node {
    /// Hands over to the preferred node, if that is the peer and it can take over.
    pub(super) fn prefer(&mut self) {
        let session = self.session();
        if self.status != automaton::PRIM
            || self.procedure.is_some()
            || session == 0
            || self.preferred_session == session
        {
            return;
        }
        let Some(peer) = self.heard_peer() else { return };
        let peer_name = &self.settings.peer_name;
        let why = match &self.settings.defaultprim {
            DefaultPrim::Alone => return,
            DefaultPrim::Lastprim if !peer.claims => return,
            DefaultPrim::Lastprim => format!("{peer_name} was primary before it stopped"),
            DefaultPrim::Node(name) if name != peer_name => return,
            DefaultPrim::Node(name) => format!("{name} is the preferred node"),
        };
        if peer.readiness != Readiness::Ready || !self.peer_can_take_over() {
            return;
        }
        self.preferred_session = session;
        if let Err(reason) = self.begin_swap(&format!("automatic swap by defaultprim: {why}")) {
            self.event(EventLevel::Warning, format!("no automatic swap by defaultprim: {reason}"));
        }
    }
}
