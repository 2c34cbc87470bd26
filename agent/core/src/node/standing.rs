//! Where a node stands: what it tells its peer, what it has heard of it, and what a decision rests on.

use super::Node;
use super::data::Aside;
use crate::arbiter::{self, Situation};
use crate::heartbeat::{Heartbeat, Incarnation};
use crate::settings::Witness;
use crate::time::Instant;

impl Node {
    /// What this node says of itself; the sequence number is put in when it is sent.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            from: self.settings.node,
            boot_id: self.settings.boot_id,
            incarnation: self.settings.incarnation,
            origin: self.origin,
            sequence: 0,
            echo: self.replay.echo(),
            saving: false,
            hears_you: self.heard(),
            signature: self.settings.signature,
            state: self.status.0,
            readiness: self.status.1,
            running: self.durable.running && !self.blocked_by_rule(),
            data: self.durable.data,
            generation: self.durable.generation,
            history: self.durable.history.clone(),
            solo: self.durable.solo,
            outdated_since: self.durable.outdated_since.max(self.unsaved_promise),
            continued: self.durable.continued,
            was_primary: self.durable.was_primary,
            claims: self.claims,
            failover: self.settings.failover,
            asks: self.asking.unwrap_or(0),
            session: self.session(),
            swap_request: self.swap_request.map_or(0, |(number, _)| number),
            inventory: self.found.inventory.unwrap_or_default(),
            resources: self.said_resources(),
        }
    }

    pub(super) fn session(&self) -> u64 {
        match &self.following {
            Some(following) if !following.lost => following.session,
            Some(_) => 0,
            None => self.serving.session(),
        }
    }

    pub(super) fn situation(&self) -> Situation<'_> {
        Situation {
            settings: &self.settings,
            durable: &self.durable,
            state: self.status.0,
            live: self.live,
            agreed: self.agreed,
            set_aside: self.aside == Aside::Done(self.peer_generation()),
            yields: self.served,
            forced: self.forced,
            held: self.blocked_by_rule(),
            inventory: self.found.inventory.unwrap_or_default(),
            uncovered: self.uncovered(),
            peer: self.peer.as_ref(),
            heard: self.heard(),
            silent: self.links.silent(self.now),
            long_silent: self.now >= self.links.silent_from().after(self.settings.pulse_ms / 2),
            talk: &self.talk,
            now: self.now,
            retry_ms: self.retry_ms(),
        }
    }

    pub(super) fn heard(&self) -> bool {
        self.peer.is_some() && self.links.heard(self.now)
    }

    /// The peer's newest word, if it was heard within the timeout.
    pub(super) fn heard_peer(&self) -> Option<&Heartbeat> {
        self.peer.as_ref().filter(|_| self.links.heard(self.now))
    }

    /// When every link will have been silent for the timeout, counting what the agent before this one heard: the peer may
    /// count so. (What silence alone grants is counted anew, see [`crate::liveness::Liveness::silent`].)
    pub(super) fn apart_from(&self) -> Instant {
        let own = self.links.silent_from();
        match self.apart_from {
            Some(at) if self.links.last_alive().is_none() => at.min(own),
            _ => own,
        }
    }

    /// Every link is silent, and a witness may let the peer serve: a primary may have lost its right to.
    pub(super) fn apart_with_witness(&self) -> bool {
        self.settings.witness != Witness::None && self.now >= self.apart_from()
    }

    pub(super) fn peer_serves(&self) -> bool {
        self.heard_peer().is_some_and(arbiter::serves)
    }

    /// Since which start of its agent the peer holds what it holds.
    pub(super) fn peer_origin(&self) -> Incarnation {
        self.peer.as_ref().map(|peer| peer.origin).unwrap_or_default()
    }
}
