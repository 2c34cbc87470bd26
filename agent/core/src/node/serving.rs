//! The serving side: from whom the right to acknowledge writes comes, the peer's resync, and going on alone.

use super::Node;
use crate::arbiter::{self, Contest};
use crate::automaton::{self, Trigger};
use crate::grant::{self, Source};
use crate::heartbeat::{Heartbeat, Incarnation};
use crate::output::EventLevel;
use crate::procedure::{self, Kind};
use crate::replica::ReplicaCommand;
use crate::settings::Witness;
use crate::time::Instant;
use crate::witness::Word;
use holdfast_api::ids::Generation;
use holdfast_api::state::{DataState, ModuleState, Readiness};

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
    session: u64,
    incarnation: Incarnation,
    since: Instant,
    /// Its heartbeat has named the session.
    confirmed: bool,
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

    fn follower(&self) -> Option<&Follower> {
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
                } else if self.settings.witness != Witness::None && self.links.silent(self.now) {
                    // The other side asks the witness at about this time: do not wait for the stream to break.
                    self.hold("every link is silent");
                }
            }
            Serving::Held { since, .. } => self.decide_held(since),
            _ => {}
        }
    }

    pub(super) fn serving_deadline(&self) -> Option<Instant> {
        match &self.serving {
            Serving::Held { since, asked_at } => {
                let patience = since.after(self.settings.timeout_ms);
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
                    "both nodes served apart from each other and {name} stays: what was written here meanwhile is kept, \
                     and is overwritten only when an operator orders `second` on {}",
                    self.settings.node_name
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
        let incarnation = self.peer_incarnation();
        self.durable.session = session;
        let follower = Follower { session, incarnation, since: self.now, confirmed: false };
        self.serving = Serving::Accepting { follower, connected: false, copied: false };
        self.resync = None;
        self.replica(ReplicaCommand::AcceptPeer { session });
    }

    /// A diverged copy may carry a higher number than this one. Before it follows, this node takes a number above it (by
    /// the peer's promise), so that generations never fall on either node. Returns whether there is nothing to do.
    fn outnumber_peer(&mut self) -> bool {
        let theirs = self.heard_peer().map(|peer| peer.generation).unwrap_or_default();
        if theirs.number < self.durable.generation.number || theirs == self.durable.generation {
            self.asking = None;
            return true;
        }
        let number = theirs.number.saturating_add(1);
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
        let restarted = self.peer_incarnation() != follower.incarnation;
        let elsewhere = peer.state == ModuleState::Second
            && peer.session != follower.session
            && (follower.confirmed || !connected)
            && self.now.since(follower.since) >= renew_ms;
        if restarted || elsewhere || self.outnumbered_by(peer.generation) {
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
        if self.peer_incarnation() != follower.incarnation {
            Some(format!("{name} was restarted"))
        } else if peer.outdated_since > self.durable.generation.number {
            Some(format!("{name} has declared its copy out of date"))
        } else if follower.confirmed && peer.session != follower.session {
            Some(format!("{name} no longer follows"))
        } else {
            None
        }
    }

    /// The peer that every write waits for is lost: ask whether this node may go on alone.
    pub(super) fn hold(&mut self, reason: &str) {
        let text = format!("writes are held back: {reason}; asking {} whether to go on alone", self.settings.peer_name);
        self.event(EventLevel::Warning, text);
        self.resync = None;
        self.serving = Serving::Held { since: self.now, asked_at: None };
        if self.settings.broken.continue_without_asking {
            self.continue_alone(Source::Force);
        }
    }

    /// A suspension is not the peer's doing: wait a whole timeout again.
    pub(super) fn restart_hold(&mut self) {
        if let Serving::Held { since, .. } = &mut self.serving {
            *since = self.now;
        }
    }

    /// The solo rule, while writes are held back.
    ///
    /// If the peer falls silent shortly after its stream (a machine dies in some order), silence decides, at most
    /// three pulses after `timeout`; if it is heard and does not answer for `timeout`, this node loses.
    fn decide_held(&mut self, since: Instant) {
        let number = grant::number_to_ask(&self.durable, self.heard_peer());
        if self.heard_peer().is_some_and(|peer| arbiter::granted(&self.durable, peer, number)) {
            return self.continue_alone(Source::Peer);
        }
        self.asking = Some(number);
        self.durable.asked = number;
        if self.decide_apart() {
            return;
        }
        let patience = since.after(self.settings.timeout_ms);
        let silence_counts = self.live || self.settings.witness == Witness::Register;
        let silence_decides =
            silence_counts && self.links.silent_from() <= patience.after(self.settings.pulse_ms.saturating_mul(3));
        if self.now >= patience && !silence_decides {
            let name = self.settings.peer_name.clone();
            let reason = if self.live {
                format!("{name} is heard but does not answer whether this node may go on alone")
            } else {
                format!("this node slept longer than the timeout and cannot know whether {name} serves")
            };
            self.lose(&reason);
        }
    }

    /// What the silence of the peer, or the register, decides. Returns whether nothing else is to be done now.
    fn decide_apart(&mut self) -> bool {
        let silent = self.links.silent(self.now);
        match self.settings.witness {
            Witness::None if silent && self.live => self.continue_alone(Source::Silence),
            Witness::Ping if silent && self.live => match self.word(0) {
                Word::Nothing => self.ask_witness(0),
                Word::Asking => {}
                Word::Granted => self.continue_alone(Source::Ping),
                Word::Taken | Word::Hidden | Word::Later => {
                    self.lose("no link passes and the ping witness does not answer: this node is the isolated one");
                }
            },
            Witness::Register if self.settings.broken.silence_despite_register && silent && self.live => {
                self.continue_alone(Source::Silence);
            }
            Witness::Register if silent || self.slept_until.is_some() => return self.decide_by_register(silent),
            Witness::None | Witness::Ping | Witness::Register => return false,
        }
        true
    }

    /// Writes are held back until the register has spoken. A primary that is in good health asks at once, another a pulse
    /// later, so that a secondary may win.
    fn decide_by_register(&mut self, silent: bool) -> bool {
        let healthy = self.procedure.is_none() && self.status.1 == Readiness::Ready;
        let turn = healthy || self.now >= self.links.silent_from().after(self.settings.pulse_ms);
        let overdue = self.asked_long_ago();
        match self.word_on_next() {
            Word::Nothing | Word::Asking | Word::Later | Word::Hidden if overdue => {
                self.lose("the register has not said in time whether this node may go on alone");
            }
            Word::Nothing if turn => self.ask_witness(grant::number_of_register(&self.durable)),
            Word::Nothing | Word::Asking => {}
            Word::Granted => self.continue_alone(Source::Register),
            Word::Taken => {
                self.durable.data = DataState::Outdated;
                self.lose(&format!("the register refuses: {}", self.witness_said()));
            }
            Word::Later | Word::Hidden if silent => {
                self.lose("no link passes and the register cannot be asked whether this node may go on alone");
            }
            Word::Later | Word::Hidden => return false,
        }
        true
    }

    /// Notes the first ask of this hold. Returns whether it is longer ago than a witness may take.
    fn asked_long_ago(&mut self) -> bool {
        let (now, limit) = (self.now, self.settings.witness_timeout_ms);
        match &mut self.serving {
            Serving::Held { asked_at: Some(at), .. } => now.since(*at) > limit,
            Serving::Held { asked_at, .. } => {
                *asked_at = Some(now);
                false
            }
            _ => false,
        }
    }

    pub(super) fn continue_alone(&mut self, source: Source) {
        let number = match source {
            Source::Peer => grant::number_to_ask(&self.durable, self.heard_peer()),
            Source::Register => grant::number_of_register(&self.durable),
            Source::Silence | Source::Ping | Source::Force => grant::number_beyond(&self.durable, self.peer.as_ref()),
        };
        let id = self.draw();
        grant::take(&mut self.durable, number, id, true);
        self.asking = None;
        self.live = false;
        self.slept_until = None;
        self.serving = Serving::Alone { retry_at: self.now };
        self.replica(ReplicaCommand::ContinueAlone { generation: self.durable.generation });
        let why = source.reason(&self.settings.peer_name);
        if self.status.0 == ModuleState::Prim {
            self.take_edge(Trigger::SecondaryGone, &why);
        } else {
            self.event(EventLevel::Info, format!("goes on alone: {why}"));
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
    /// and wait for ever beside one that is not.
    fn complete_resync(&mut self, follower: &Follower, copied: bool) {
        let leaving = self.procedure.as_ref().is_some_and(|running| running.kind() != Kind::Restart);
        let still = self.serving.session() == follower.session;
        if !(copied && still && follower.confirmed) || leaving {
            return;
        }
        if !self.settings.broken.complete_while_solo {
            self.durable.solo = false;
        }
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
        self.resync = None;
        self.failed_resyncs = 0;
        let name = self.settings.peer_name.clone();
        self.take_edge(Trigger::SecondaryReady, &name);
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
