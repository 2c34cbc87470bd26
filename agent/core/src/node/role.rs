//! The role of a node that does not serve: wait, follow, ask, take over.

use super::Node;
use super::data::Aside;
use crate::arbiter::{self, Decision, Wait};
use crate::automaton::{self, Trigger};
use crate::grant::Source;
use crate::input::WitnessAnswer;
use crate::output::EventLevel;
use crate::procedure;
use crate::replica::{Inventory, ReplicaCommand, ReplicaEvent};
use crate::time::Instant;
use holdfast_api::ids::Generation;
use holdfast_api::state::{DataState, ModuleState};
use holdfast_api::userconfig::Mode;

/// The stream a secondary follows.
#[derive(Clone, Debug)]
pub(super) struct Following {
    pub(super) session: u64,
    /// When it was begun.
    pub(super) since: Instant,
    /// The primary's generation, and the history this copy takes over with it.
    pub(super) generation: Generation,
    pub(super) history: Vec<Generation>,
    pub(super) connected: bool,
    /// The stream broke: the primary has to offer a new session.
    pub(super) lost: bool,
}

impl Node {
    /// Decides the role and goes for it.
    pub(super) fn choose_role(&mut self) {
        if let Some(wait) = self.held() {
            self.asking = None;
            return self.wait_for(wait);
        }
        if self.waiting == Some(Wait::Rule) {
            self.waiting = None;
            self.event(EventLevel::Event, "wakes up: no wait rule holds any more".to_owned());
        }
        if self.settings.mode == Mode::Light {
            return self.open();
        }
        let mut verdict = arbiter::decide(&self.situation());
        if self.heard() && verdict.decision == Decision::Wait(Wait::PrimForceNeeded) {
            self.forced = None;
            let peer = &self.settings.peer_name;
            let text = format!(
                "not started as primary: {peer} holds newer data, or has this node's or the register's leave to serve; \
                 start the module there; to give its data up, order `primforce` here"
            );
            self.event(EventLevel::Error, text);
            verdict = arbiter::decide(&self.situation());
        }
        if let Some(mark) = verdict.mark {
            self.mark(mark);
        }
        let asked = self.asking.take();
        match verdict.decision {
            Decision::Promote { source, number } => self.promote(source, number),
            Decision::Ask { number } => {
                self.asking = Some(number);
                self.durable.asked = number;
                if asked != Some(number) {
                    let text = format!("asks {} to let this node serve generation {number}", self.settings.peer_name);
                    self.event(EventLevel::Info, text);
                }
                self.wait_for(Wait::Promise);
            }
            // Fence first: nothing is asked for while a stream still brings writes.
            Decision::AskWitness { .. } if self.following.is_some() => {
                self.waiting = None;
                let text = format!("{} is silent on every link: asks the witness", self.settings.peer_name);
                self.begin(procedure::PROMOTE, &text);
            }
            Decision::AskWitness { number } => {
                self.ask_witness(number);
                self.wait_for(Wait::Witness);
            }
            Decision::SetAside => self.set_aside(),
            Decision::Follow { session, generation } => self.follow(session, generation),
            Decision::Wait(wait) => self.wait_for(wait),
        }
    }

    /// An order to be primary ends once the peer serves, also where a rule or a script holds it back: or it would be
    /// carried out later, over what was written there.
    pub(super) fn drop_order(&mut self) {
        if self.forced.is_some() && self.peer_serves() {
            self.forced = None;
            let text =
                format!("not started as primary: {} is primary; stop it there first, or swap", self.settings.peer_name);
            self.event(EventLevel::Error, text);
        }
    }

    /// A light module has no role to choose.
    fn open(&mut self) {
        if self.status.0 == ModuleState::Wait {
            self.waiting = None;
            self.begin(procedure::OPEN, "");
        }
    }

    /// Saves what the copy has turned out to be.
    fn mark(&mut self, data: DataState) {
        if self.durable.data == data {
            return;
        }
        self.durable.data = data;
        self.live = false;
        if data == DataState::Diverged {
            self.durable.solo = false;
        }
        let text = match self.talk.said().map(|said| &said.answer) {
            Some(WitnessAnswer::Refused { reason, .. }) => format!("this copy is {data}: {reason}"),
            _ => format!("this copy is {data}: {} serves {}", self.settings.peer_name, self.peer_generation()),
        };
        self.event(EventLevel::Warning, text);
        if self.status == automaton::SECOND {
            self.take_edge(Trigger::FellBehind, &format!("{data}"));
        }
    }

    pub(super) fn peer_generation(&self) -> Generation {
        self.peer.as_ref().map(|peer| peer.generation).unwrap_or_default()
    }

    fn promote(&mut self, source: Source, number: u64) {
        self.waiting = None;
        let why = format!("generation {number}: {}", source.reason(&self.settings.peer_name));
        self.begin(procedure::PROMOTE, &why);
    }

    /// Waits for something with a name, in SECOND where that makes sense, else in WAIT.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        if wait == Wait::PeerNotOffering && self.follows_primary() {
            self.waiting = None;
            return;
        }
        if wait == Wait::Witness && self.waiting == Some(Wait::RegisterLater) {
            // Asked again and again: still waiting for the same.
            return;
        }
        let changed = self.waiting.replace(wait) != Some(wait);
        let stays_second = wait.passes() || wait == Wait::PeerPreferred;
        self.app.returning &= stays_second;
        match self.status.0 {
            ModuleState::Second if stays_second => {}
            ModuleState::Second => {
                let text = self.wait_text(wait);
                self.leave_second(&text);
                return;
            }
            _ if wait.passes() && self.status == automaton::BLOCKED => self.take_edge(Trigger::Unblocked, ""),
            _ if !wait.passes() && self.status == automaton::WAIT => self.take_edge(Trigger::Blocked, ""),
            _ => {}
        }
        if changed {
            let level = if wait.passes() { EventLevel::Info } else { EventLevel::Warning };
            let text = self.wait_text(wait);
            self.event(level, text);
        }
    }

    /// The stream stands, and the primary knows this session.
    fn follows_primary(&self) -> bool {
        self.following.as_ref().is_some_and(|following| {
            !following.lost && self.heard_peer().is_some_and(|peer| peer.session == following.session)
        })
    }

    pub(super) fn leave_second(&mut self, why: &str) {
        self.stop_following();
        self.take_edge(Trigger::PrimaryGone, why);
        self.release(false);
    }

    pub(super) fn stop_following(&mut self) {
        self.following = None;
        self.resync = None;
    }

    /// Follows the primary for `session`. Inconsistent is saved first: from here on this copy is being overwritten.
    fn follow(&mut self, session: u64, generation: Generation) {
        if let Some(following) = &self.following
            && following.session == session
        {
            if following.lost {
                self.wait_for(Wait::PeerNotOffering);
            } else {
                self.waiting = None;
            }
            return;
        }
        let history = self.peer.as_ref().map(|peer| peer.history.clone()).unwrap_or_default();
        self.waiting = None;
        self.agreed = false;
        self.aside = Aside::No;
        self.live = false;
        self.durable.session = session;
        self.durable.data = DataState::Inconsistent;
        self.durable.solo = false;
        self.note_covered();
        let since = self.now;
        self.following = Some(Following { session, since, generation, history, connected: false, lost: false });
        self.resync = None;
        let why = format!("{} serves {generation}", self.settings.peer_name);
        match self.status {
            automaton::SECOND => self.take_edge(Trigger::FellBehind, &why),
            automaton::FOLLOWING => self.event(EventLevel::Event, format!("a new resync begins: {why}")),
            _ => self.take_edge(Trigger::PrimaryFound, &why),
        }
        self.data_plane_used = true;
        self.tell_compare_all();
        self.replica(ReplicaCommand::Follow { session, generation });
    }

    pub(super) fn on_replica(&mut self, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Inspected { inventory, uncovered } => self.on_inspection(inventory, uncovered),
            ReplicaEvent::Missing { path } => self.on_missing(path),
            ReplicaEvent::Serving => {
                self.on_serving();
                self.on_mounted();
            }
            ReplicaEvent::PeerConnected { session } => self.on_peer_connected(session),
            ReplicaEvent::ResyncProgress { progress } => self.on_resync_progress(progress),
            ReplicaEvent::ResyncCopied { session } => self.on_resync_copied(session),
            ReplicaEvent::PeerUpToDate { session } => self.on_peer_up_to_date(session),
            ReplicaEvent::StreamLost { session, reason } if self.following.is_some() => {
                self.on_following_stream_lost(session, &reason);
            }
            ReplicaEvent::StreamLost { session, reason } => self.on_serving_stream_lost(session, &reason),
            ReplicaEvent::Following { session } => {
                if let Some(following) = &mut self.following
                    && following.session == session
                {
                    following.connected = true;
                }
            }
            ReplicaEvent::CaughtUp { session } => self.on_caught_up(session),
            ReplicaEvent::SetAside { run, entries, bytes, folder } => self.on_set_aside(run, entries, bytes, &folder),
            ReplicaEvent::NotSetAside { run, reason } => self.on_not_set_aside(run, reason),
            ReplicaEvent::Fenced => self.on_fenced(),
            ReplicaEvent::Refusing => {}
            ReplicaEvent::Released => self.on_released(),
            ReplicaEvent::Failed { reason } => self.on_data_plane_fault(&reason, false),
            ReplicaEvent::Exited { reason } => self.on_data_plane_fault(&reason, true),
        }
    }

    /// While the module runs, its data plane has counted at the start.
    pub(super) fn on_directories_counted(&mut self, inventory: Inventory) {
        if self.status == automaton::STOP && self.procedure.is_none() {
            self.found.inventory = Some(inventory);
        }
    }

    /// Everything up to the primary's "complete" is applied and synced: save UpToDate, then answer.
    ///
    /// If this node has meanwhile promised a higher number, or the primary has taken one, its copy is whole but out of
    /// date, and the answer is none.
    fn on_caught_up(&mut self, session: u64) {
        let fencing = self.procedure.is_some();
        let Some(following) = self.following.clone() else {
            return;
        };
        if following.session != session || following.lost || fencing || self.durable.data != DataState::Inconsistent {
            return;
        }
        self.durable.generation = following.generation;
        self.durable.history = following.history.clone();
        self.durable.solo = false;
        self.durable.asked = 0;
        self.durable.was_primary = false;
        self.durable.continued = false;
        let figures = self.resync.take().map(|resync| resync.to_string()).unwrap_or_default();
        let went_on = self.peer_generation() != self.durable.generation;
        if went_on || self.durable.outdated_since > self.durable.generation.number {
            self.durable.data = DataState::Outdated;
            return;
        }
        self.durable.data = DataState::UpToDate;
        // Asleep since this stream began, it may have lain about: the primary may have gone on alone. Then only
        // `trust_again` makes this node live.
        if self.slept_until.is_none_or(|until| until < following.since) {
            self.live = true;
            self.slept_until = None;
        }
        self.stream_ended = None;
        self.take_edge(Trigger::CaughtUp, &figures);
        self.replica(ReplicaCommand::ConfirmUpToDate);
    }

    fn on_following_stream_lost(&mut self, session: u64, reason: &str) {
        let Some(following) = &mut self.following else {
            return;
        };
        if following.session != session || following.lost {
            return;
        }
        following.lost = true;
        following.connected = false;
        self.resync = None;
        self.stream_ended = Some(reason.to_owned());
        let text = format!("the stream from {} is lost: {reason}", self.settings.peer_name);
        if self.status == automaton::SECOND {
            self.take_edge(Trigger::FellBehind, &text);
        } else {
            self.event(EventLevel::Warning, text);
        }
    }
}
