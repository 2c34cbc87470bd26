//! The serving side: from whom the right to acknowledge writes comes, the peer's resync, and losing the role.

use super::Node;
use crate::arbiter::{self, Contest};
use crate::automaton::{self, Trigger};
use crate::grant;
use crate::heartbeat::{Heartbeat, Incarnation};
use crate::output::EventLevel;
use crate::procedure::{self, Kind};
use crate::replica::ReplicaCommand;
use crate::settings::Witness;
use crate::time::Instant;
use holdfast_api::ids::Generation;
use holdfast_api::state::{DataState, ModuleState};

/// Pauses between resyncs that end early grow from one pulse to this many times doubled (a minute, by the template).
const RETRY_DOUBLINGS_MAX: u32 = 7;

/// What this node's data plane may acknowledge, and by whose leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Serving {
    /// Nothing.
    No,
    /// The grant is saved, the mount is not there yet.
    Opening,
    /// Alone.
    Alone {
        /// No session is offered before.
        retry_at: Instant,
    },
    /// Alone, while the peer is resynced.
    Accepting {
        /// The peer.
        follower: Follower,
        /// Its stream is there.
        connected: bool,
        /// It holds what this node holds.
        copied: bool,
    },
    /// `solo` is given up; the peer is to save that it is up to date.
    Completing {
        /// The peer.
        follower: Follower,
    },
    /// Every write waits for the peer.
    Paired {
        /// The peer.
        follower: Follower,
    },
    /// The peer is lost and so is the right to acknowledge: writes are held back until the solo rule decides.
    Held {
        /// Since when.
        since: Instant,
        /// When the witness was first asked: the application does not wait longer than one witness timeout from then.
        asked_at: Option<Instant>,
    },
    /// Nothing any more: writes are refused, the mount is about to go.
    Refusing,
}

/// The peer, as the one that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Follower {
    pub(super) session: u64,
    pub(super) origin: Incarnation,
    pub(super) since: Instant,
    /// Its heartbeat has named the session.
    pub(super) confirmed: bool,
}

impl Serving {
    /// It holds a grant.
    pub(super) fn holds_role(&self) -> bool {
        !matches!(self, Self::No | Self::Refusing)
    }

    /// The session offered to the peer, 0 if none is.
    pub(super) fn session(&self) -> u64 {
        self.follower().map_or(0, |follower| follower.session)
    }

    /// It serves, and by whose leave is not in question.
    pub(super) fn settled(&self) -> bool {
        matches!(self, Self::Alone { .. } | Self::Accepting { .. } | Self::Completing { .. } | Self::Paired { .. })
    }

    pub(super) fn follower(&self) -> Option<&Follower> {
        match self {
            Self::Accepting { follower, .. } | Self::Completing { follower } | Self::Paired { follower } => {
                Some(follower)
            }
            _ => None,
        }
    }
}

impl Node {
    /// What time and the peer's newest word mean for a node that serves.
    pub(super) fn serve(&mut self) {
        if self.give_way() {
            return;
        }
        self.confirm_follower();
        if self.slept_until.is_some() && self.after_suspension() {
            return;
        }
        match self.serving.clone() {
            // Stopped, or started anew: whatever kept it from following may be repaired.
            Serving::Alone { .. } if self.failed_resyncs > 0 && self.heard() && !self.peer_may_follow() => {
                self.failed_resyncs = 0;
                self.serving = Serving::Alone { retry_at: self.now };
            }
            Serving::Alone { retry_at } if self.now >= retry_at => self.offer_session(),
            Serving::Accepting { follower, connected, copied } => {
                self.renew_session(&follower, connected);
                self.complete_resync(&follower, copied);
            }
            Serving::Completing { follower } | Serving::Paired { follower } => {
                if let Some(reason) = self.follower_gone(&follower) {
                    self.hold(&reason);
                } else if self.apart_with_witness() {
                    // The other side asks the witness at about this time: do not wait for the stream to break.
                    self.hold("every link is silent");
                    if self.settings.witness == Witness::Ping && !self.links.silent(self.now) {
                        // This side asks it only once the silence is its own, and long: the other may serve by then.
                        self.drop_addresses();
                    }
                }
            }
            Serving::Held { since, .. } => self.decide_held(since),
            _ => {}
        }
    }

    pub(super) fn serving_deadline(&self) -> Option<Instant> {
        match &self.serving {
            Serving::Held { since, asked_at } => {
                let patience = since.after(self.settings.patience_ms());
                let witness = asked_at.map(|at| at.after(self.settings.witness_timeout_ms + 1));
                [Some(patience), witness].into_iter().flatten().filter(|at| *at > self.now).min()
            }
            Serving::Alone { retry_at } => Some(*retry_at).filter(|at| *at > self.now),
            _ => None,
        }
    }

    /// Makes sure that nobody else serves. Returns whether nothing else is to be done before.
    fn after_suspension(&mut self) -> bool {
        match &self.serving {
            Serving::Alone { .. } | Serving::Accepting { .. } => {
                self.prove_alone();
                self.slept_until.is_some()
            }
            Serving::Completing { .. } | Serving::Paired { .. } if self.settings.witness == Witness::Register => {
                self.hold("this node was suspended");
                true
            }
            _ => false,
        }
    }

    /// The peer serves, or has served later. Returns whether this node gives way.
    fn give_way(&mut self) -> bool {
        let Some(peer) = self.heard_peer() else {
            return false;
        };
        let contest = arbiter::contest(&self.settings, &self.durable, peer);
        let name = self.settings.peer_name.clone();
        match contest {
            Contest::Stay => return false,
            Contest::Superseded => self.lose(&format!("{name} has served a later generation of this data")),
            Contest::Lost => {
                self.durable.data = DataState::Diverged;
                self.durable.solo = false;
                let text = format!(
                    "both nodes served apart from each other and {name} stays: what was written here meanwhile is set \
                     aside before anything overwrites it"
                );
                self.event(EventLevel::Error, text);
                self.lose(&format!("diverged from {name}"));
            }
        }
        true
    }

    fn confirm_follower(&mut self) {
        let session = self.heard_peer().map_or(0, |peer| peer.session);
        if let Serving::Accepting { follower, .. } | Serving::Completing { follower } | Serving::Paired { follower } =
            &mut self.serving
        {
            follower.confirmed |= follower.session == session;
        }
    }

    /// The peer could follow: offer it a session.
    fn offer_session(&mut self) {
        if self.procedure.is_some() || self.status != automaton::ALONE || !self.peer_may_follow() {
            return;
        }
        if !self.outnumber_peer() {
            return;
        }
        let session = self.draw();
        let origin = self.peer_origin();
        self.durable.session = session;
        let follower = Follower { session, origin, since: self.now, confirmed: false };
        self.serving = Serving::Accepting { follower, connected: false, copied: false };
        self.resync = None;
        self.replica(ReplicaCommand::AcceptPeer { session });
    }

    /// A diverged copy may carry a higher number than this one. Before it follows, this node takes a number above it (by
    /// the peer's promise), so that generations never fall on either node. Returns whether there is nothing to do.
    ///
    /// So it does where the peer has promised a higher number than this node's: a copy of this generation would be out of
    /// date as soon as it is complete.
    fn outnumber_peer(&mut self) -> bool {
        let theirs = self.heard_peer().map(|peer| peer.generation).unwrap_or_default();
        let promised = self.heard_peer().and_then(|peer| self.promised_by(peer));
        if promised.is_none() && !self.outnumbered_by(theirs) {
            self.asking = None;
            return true;
        }
        let number = promised.unwrap_or_default().max(theirs.number.saturating_add(1));
        if self.heard_peer().is_some_and(|peer| arbiter::granted(&self.durable, peer, number)) {
            let (id, continued) = (self.draw(), self.durable.continued);
            grant::take(&mut self.durable, number, id, continued);
            self.asking = None;
            self.replica(ReplicaCommand::ContinueAlone { generation: self.durable.generation });
            return true;
        }
        self.asking = Some(number);
        self.durable.asked = number;
        false
    }

    fn outnumbered_by(&self, theirs: Generation) -> bool {
        theirs.number >= self.durable.generation.number && theirs != self.durable.generation
    }

    /// The number that the peer has promised to this node, if that is higher than this node's.
    fn promised_by(&self, peer: &Heartbeat) -> Option<u64> {
        let number = peer.outdated_since;
        let granted = number > self.durable.generation.number && arbiter::granted(&self.durable, peer, number);
        granted.then_some(number)
    }

    fn peer_may_follow(&self) -> bool {
        self.heard_peer().is_some_and(|peer| {
            (peer.signature == self.settings.signature || self.settings.broken.ignore_signature)
                && peer.running
                && matches!(peer.state, ModuleState::Wait | ModuleState::Second)
        })
    }

    /// The session offered is of no use to the peer any more: offer another one. (Still solo, so nothing is at stake.)
    fn renew_session(&mut self, follower: &Follower, connected: bool) {
        let renew_ms = self.settings.suspend_gap_ms();
        let Some(peer) = self.heard_peer() else {
            return;
        };
        let restarted = self.peer_origin() != follower.origin;
        let elsewhere = peer.state == ModuleState::Second
            && peer.session != follower.session
            && (follower.confirmed || !connected)
            && self.now.since(follower.since) >= renew_ms;
        if restarted || elsewhere || self.outnumbered_by(peer.generation) || self.promised_by(peer).is_some() {
            self.stay_alone("the peer does not follow this session");
        }
    }

    /// Gives up a resync that has not been completed: the grant to acknowledge alone was never given up.
    fn stay_alone(&mut self, reason: &str) {
        let name = self.settings.peer_name.clone();
        self.event(EventLevel::Warning, format!("the resync of {name} stops: {reason}; this node goes on alone"));
        self.resync = None;
        let pause_ms = self.settings.pulse_ms << self.failed_resyncs.min(RETRY_DOUBLINGS_MAX);
        self.failed_resyncs += 1;
        self.serving = Serving::Alone { retry_at: self.now.after(pause_ms) };
        self.replica(ReplicaCommand::ContinueAlone { generation: self.durable.generation });
    }

    /// Why the peer in sync no longer is, if so.
    fn follower_gone(&self, follower: &Follower) -> Option<String> {
        let peer = self.heard_peer()?;
        let name = &self.settings.peer_name;
        if self.peer_origin() != follower.origin {
            Some(format!("{name} was restarted"))
        } else if peer.outdated_since > self.durable.generation.number {
            Some(format!("{name} has declared its copy out of date"))
        } else if follower.confirmed && peer.session != follower.session {
            Some(format!("{name} no longer follows"))
        } else {
            None
        }
    }

    /// The right to serve is lost, or given up for safety: refuse at once, then stop the application.
    pub(super) fn lose(&mut self, reason: &str) {
        self.asking = None;
        self.serving = Serving::Refusing;
        self.resync = None;
        if self.leaves() {
            self.event(EventLevel::Error, format!("this node gives up serving: {reason}"));
            self.replica(ReplicaCommand::Refuse);
            self.hurry_release();
        } else {
            self.begin(procedure::LOSE, reason);
        }
    }

    /// The data plane has mounted.
    pub(super) fn on_serving(&mut self) {
        if self.serving == Serving::Opening {
            self.serving = Serving::Alone { retry_at: self.now };
        }
    }

    pub(super) fn on_peer_connected(&mut self, session: u64) {
        if let Serving::Accepting { follower, connected, .. } = &mut self.serving
            && follower.session == session
        {
            *connected = true;
            follower.since = self.now;
        }
    }

    pub(super) fn on_resync_copied(&mut self, session: u64) {
        if let Serving::Accepting { follower, copied, .. } = &mut self.serving
            && follower.session == session
        {
            *copied = true;
        }
    }

    /// Every write waits for the peer from now on. `solo` goes first, durably; then the peer is told.
    ///
    /// Not before the peer has named the session: one that has not seen the offer would look for a primary that is solo,
    /// and wait for ever beside one that is not. And not with a peer that would be given up at once: an order to go on alone
    /// must not follow in the same breath.
    fn complete_resync(&mut self, follower: &Follower, copied: bool) {
        let leaving = self.procedure.as_ref().is_some_and(|running| running.kind() != Kind::Restart);
        let still = self.serving.session() == follower.session;
        if !(copied && still && follower.confirmed)
            || leaving
            || !self.heard()
            || self.follower_gone(follower).is_some()
        {
            return;
        }
        if !self.settings.broken.complete_while_solo {
            self.durable.solo = false;
        }
        self.note_covered();
        self.live = true;
        self.slept_until = None;
        self.serving = Serving::Completing { follower: follower.clone() };
        self.replica(ReplicaCommand::CompleteResync);
    }

    pub(super) fn on_peer_up_to_date(&mut self, session: u64) {
        let Serving::Completing { follower } = &self.serving else {
            return;
        };
        if follower.session != session {
            return;
        }
        self.serving = Serving::Paired { follower: follower.clone() };
        let figures = self.resync.take().map(|resync| format!(": {resync}")).unwrap_or_default();
        self.failed_resyncs = 0;
        let why = format!("{}{figures}", self.settings.peer_name);
        self.take_edge(Trigger::SecondaryReady, &why);
    }

    /// The stream to the follower is gone.
    pub(super) fn on_serving_stream_lost(&mut self, session: u64, reason: &str) {
        if self.serving.session() != session || session == 0 {
            return;
        }
        match &self.serving {
            Serving::Accepting { .. } => self.stay_alone(reason),
            Serving::Completing { .. } | Serving::Paired { .. } => self.hold(&format!("the stream is lost ({reason})")),
            _ => {}
        }
    }

    /// The peer holds every acknowledged write and could take over.
    pub(super) fn peer_can_take_over(&self) -> bool {
        !self.durable.solo
            && self.durable.data == DataState::UpToDate
            && self.heard_peer().is_some_and(|peer: &Heartbeat| {
                peer.state == ModuleState::Second
                    && peer.running
                    && peer.data == DataState::UpToDate
                    && peer.generation == self.durable.generation
                    && peer.signature == self.settings.signature
            })
    }
}
