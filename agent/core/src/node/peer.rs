//! What is made of a heartbeat: liveness, promises to the peer, requests of its operator.

use super::Node;
use super::serving::Serving;
use crate::arbiter;
use crate::automaton::{self, Trigger};
use crate::grant;
use crate::heartbeat::{Heartbeat, Incarnation};
use crate::output::EventLevel;
use crate::replay::Belief;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use std::sync::Arc;

impl Node {
    pub(super) fn on_heartbeat(&mut self, link: usize, heartbeat: Heartbeat) {
        if heartbeat.from != self.settings.peer {
            return;
        }
        if heartbeat.saving {
            return self.on_sign_of_life(link, &heartbeat);
        }
        match self.replay.judge(link, &heartbeat) {
            Belief::Refused(_) => return,
            Belief::Older => return self.challenge(&heartbeat),
            Belief::Alive => {
                self.links.heard_on(link, self.awake.arrived);
                return;
            }
            Belief::Newest => {}
            Belief::Restarted => self.on_peer_restarted(&heartbeat),
        }
        self.end_silence();
        self.links.heard_on(link, self.awake.arrived);
        self.peer = Some(heartbeat);
        self.speak_after_primary(link);
        self.trust_again();
        self.learn_of_later();
        self.answer_ask();
        self.answer_swap_request();
    }

    /// The peer waits for its disk. Only a start of it that has proven itself can be alive.
    fn on_sign_of_life(&mut self, link: usize, heartbeat: &Heartbeat) {
        let proven = self.replay.believed() == Some(heartbeat.incarnation);
        if proven && matches!(self.replay.judge(link, heartbeat), Belief::Alive | Belief::Newest) {
            self.end_silence();
            self.links.alive_on(link, self.awake.arrived);
        }
    }

    /// Something of the peer arrives: a silence ends, if there was one.
    fn end_silence(&mut self) {
        if !self.links.silent(self.now) || self.peer.is_none() {
            return;
        }
        if self.serving == Serving::No {
            // What the witness said in the silence ends with it.
            self.talk.forget();
        }
        let text = format!("{} is heard again", self.settings.peer_name);
        self.event(EventLevel::Info, text);
    }

    /// Somebody speaks for the peer whose agent counts its starts lower than the one that was believed: a machine restored
    /// from an image, after its clock ran ahead. While that one is heard it stays refused; else it may prove itself.
    fn challenge(&mut self, heartbeat: &Heartbeat) {
        if self.replay.challenged() || !self.links.silent(self.now) || self.settings.broken.refuse_older_for_good {
            return;
        }
        let own = Incarnation { count: self.settings.incarnation.count + 1, id: self.draw() };
        Arc::make_mut(&mut self.settings).incarnation = own;
        self.replay.challenge(own);
        let peer = &self.settings.peer_name;
        let text = format!(
            "{peer} is heard, but its agent counts its starts lower ({}) than the one heard before: it was restored from an \
             image, or its clock ran ahead then; it is believed as soon as it answers what this node says from now on; if \
             it does not, look for a second machine that runs as {peer}, and set the clocks of both nodes",
            heartbeat.incarnation.count
        );
        self.event(EventLevel::Warning, text);
    }

    /// A secondary sends its pulse right after its primary's. So when every link is cut, each was heard last by the other
    /// at about the same time, and half a pulse is enough for the primary to ask the witness first.
    fn speak_after_primary(&mut self, link: usize) {
        if self.status.0 == ModuleState::Second {
            self.pulses.hasten(link, self.now);
        }
    }

    fn on_peer_restarted(&mut self, heartbeat: &Heartbeat) {
        let before = self.peer.as_ref().map(|before| (before.boot_id, before.origin));
        if before == Some((heartbeat.boot_id, heartbeat.origin)) {
            let text = format!("{} has a restarted agent, which goes on with all it held", self.settings.peer_name);
            return self.event(EventLevel::Info, text);
        }
        let rebooted = self.peer.as_ref().is_some_and(|before| before.boot_id != heartbeat.boot_id);
        let what = if rebooted { "was booted" } else { "has a restarted agent" };
        let text = format!("{} {what}: nothing it held before goes on", self.settings.peer_name);
        self.event(EventLevel::Warning, text);
    }

    /// After a long sleep, two nodes that still find each other in sync a whole timeout later are in sync. (Datagrams
    /// that waited in the socket meanwhile are long drained by then.)
    fn trust_again(&mut self) {
        let Some(slept_until) = self.slept_until else {
            return;
        };
        if self.now < slept_until.after(self.settings.patience_ms()) {
            return;
        }
        let Some(peer) = &self.peer else { return };
        let same = peer.generation == self.durable.generation
            && peer.data == DataState::UpToDate
            && self.durable.data == DataState::UpToDate
            && peer.session == self.session()
            && peer.session != 0;
        let partner = match self.status.0 {
            ModuleState::Prim => peer.state == ModuleState::Second && peer.readiness == Readiness::Ready,
            ModuleState::Second => peer.state == ModuleState::Prim && self.status.1 == Readiness::Ready,
            _ => false,
        };
        if same && partner {
            self.live = true;
            self.slept_until = None;
        }
    }

    /// The peer holds a later generation: save that at once, in any state and in the midst of any procedure. If it fell
    /// silent before this node looked again, this copy would still seem the newest.
    pub(super) fn learn_of_later(&mut self) {
        let Some(peer) = &self.peer else { return };
        if self.is_mute() || self.durable.data != DataState::UpToDate || !arbiter::superseded(&self.durable, peer) {
            return;
        }
        let text = format!("this copy is outdated: {} holds {}", self.settings.peer_name, peer.generation);
        self.durable.data = DataState::Outdated;
        self.live = false;
        self.event(EventLevel::Warning, text);
        if self.status == automaton::SECOND {
            self.take_edge(Trigger::FellBehind, "out of date");
        }
    }

    /// The peer asks for the promise that this node never becomes primary with a number as low as the one it wants.
    fn answer_ask(&mut self) {
        let Some(peer) = &self.peer else { return };
        let number = peer.asks;
        if number == 0
            || self.is_mute()
            || self.serving != Serving::No
            || !arbiter::may_promise(&self.situation(), peer)
        {
            return;
        }
        self.promise(number, "it asked");
    }

    /// Records "Outdated since `number`"; the next heartbeat tells the peer, once it is saved.
    pub(super) fn promise(&mut self, number: u64, why: &str) {
        if self.settings.broken.promise_without_saving {
            self.unsaved_promise = self.unsaved_promise.max(number);
            return;
        }
        grant::promise(&mut self.durable, number);
        self.live = false;
        self.asking = None;
        let text = format!(
            "{} may serve generation {number} without this node ({why}); this copy is {} from then on",
            self.settings.peer_name, self.durable.data
        );
        self.event(EventLevel::Event, text);
        if self.status == automaton::SECOND {
            self.take_edge(Trigger::FellBehind, "out of date");
        }
    }

    /// The operator of the secondary asked for a swap: this node carries it out if it can.
    fn answer_swap_request(&mut self) {
        let Some(peer) = &self.peer else { return };
        let request = peer.swap_request;
        if request == 0 || request == self.swap_handled {
            return;
        }
        self.swap_handled = request;
        let by = format!("swap asked for on {}", self.settings.peer_name);
        if let Err(reason) = self.begin_swap(&by) {
            self.event(EventLevel::Warning, format!("{by} cannot be carried out: {reason}"));
        }
    }
}
