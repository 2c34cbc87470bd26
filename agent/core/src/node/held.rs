//! Writes held back: who decides whether a primary that lost its secondary goes on alone, and when it is too late.

use super::Node;
use super::serving::Serving;
use crate::arbiter;
use crate::automaton::Trigger;
use crate::grant::{self, Source};
use crate::output::EventLevel;
use crate::replica::ReplicaCommand;
use crate::settings::Witness;
use crate::time::Instant;
use crate::witness::Word;
use holdfast_api::state::{DataState, ModuleState, Readiness};

impl Node {
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
    /// three pulses after `timeout` (and the time of an urgent save, if it was saving); if it is heard and does not answer for `timeout`, this node loses.
    pub(super) fn decide_held(&mut self, since: Instant) {
        let number = grant::number_to_ask(&self.durable, self.heard_peer());
        if self.heard_peer().is_some_and(|peer| arbiter::granted(&self.durable, peer, number)) {
            return self.continue_alone(Source::Peer);
        }
        self.asking = Some(number);
        self.durable.asked = number;
        if self.decide_apart() {
            return;
        }
        // A peer that waits for its disk answers when that does, or falls silent.
        let saves = self.links.last_sign() >= Some(since);
        let saves_ms = if saves { self.settings.urgent_save_ms() + 2 * self.settings.pulse_ms } else { 0 };
        let patience = since.after(self.settings.patience_ms() + saves_ms);
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
            Witness::Register if self.apart_with_witness() || self.slept_until.is_some() => {
                return self.decide_by_register();
            }
            Witness::None | Witness::Ping | Witness::Register => return false,
        }
        true
    }

    /// Writes are held back until the register has spoken. A primary that is in good health asks at once, another a pulse
    /// later, so that a secondary may win.
    fn decide_by_register(&mut self) -> bool {
        let apart = self.apart_with_witness();
        let healthy = self.procedure.is_none() && self.status.1 == Readiness::Ready;
        let turn = healthy || self.now >= self.apart_from().after(self.settings.pulse_ms);
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
            Word::Later | Word::Hidden if apart => {
                self.lose("no link passes and the register cannot be asked whether this node may go on alone");
            }
            Word::Later | Word::Hidden => return false,
        }
        true
    }

    /// With a register, a node whose peer is silent may be the one that is cut off: while its writes are held back nobody
    /// is to be sent here.
    pub(super) fn show_health(&mut self) {
        if self.procedure.is_some() || self.status.1 != Readiness::Ready {
            return;
        }
        let apart = self.settings.witness == Witness::Register && self.apart_with_witness();
        let held = matches!(self.serving, Serving::Held { .. });
        if held && apart && self.healthy {
            self.set_health(false);
        } else if self.serving.settled() && !self.healthy && !self.addresses_dropped {
            self.set_health(true);
        }
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
            self.event(EventLevel::Event, format!("goes on alone: {why}"));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::automaton;
    use crate::durable::Durable;
    use crate::heartbeat::{Heartbeat, Incarnation};
    use crate::input::Input;
    use crate::node::serving::Follower;
    use crate::node::witness::tests::node;
    use crate::output::{Act, Output};
    use crate::replica::ReplicaEvent;
    use crate::time::Moment;
    use holdfast_api::ids::{Generation, NodeId};
    use std::sync::Arc;

    const SESSION: u64 = 9;
    const THEIRS: Incarnation = Incarnation { count: 1, id: 2 };

    pub(in crate::node) fn handle(node: &mut Node, at: u64, input: Input) -> Output {
        node.handle(Moment { now: Instant(at), nonce: 7 }, input)
    }

    /// The orders to the data plane.
    pub(in crate::node) fn orders(output: &Output) -> Vec<&ReplicaCommand> {
        let orders = output.acts.iter().filter_map(|act| match act {
            Act::Replica(command) => Some(command),
            _ => None,
        });
        orders.collect()
    }

    fn health(output: &Output) -> Option<bool> {
        output.acts.iter().rev().find_map(|act| match act {
            Act::SetHealth { ready } => Some(*ready),
            _ => None,
        })
    }

    /// A node that serves generation 4, in good health.
    pub(in crate::node) fn primary(solo: bool) -> Node {
        let generation = Generation { number: 4, id: 44 };
        let data = DataState::UpToDate;
        let mut node = node(Durable { generation, data, solo, running: true, was_primary: true, ..Durable::default() });
        node.status = if solo { automaton::ALONE } else { automaton::PRIM };
        (node.healthy, node.data_plane_used, node.live) = (true, true, !solo);
        let follower = Follower { session: SESSION, origin: THEIRS, since: Instant(0), confirmed: !solo };
        node.serving = if solo {
            Serving::Accepting { follower, connected: true, copied: true }
        } else {
            Serving::Paired { follower }
        };
        node
    }

    /// What its secondary says.
    pub(in crate::node) fn said_by_peer(node: &Node, sequence: u64) -> Heartbeat {
        Heartbeat {
            from: NodeId(2),
            incarnation: THEIRS,
            origin: THEIRS,
            echo: node.settings.incarnation,
            sequence,
            state: ModuleState::Second,
            session: SESSION,
            solo: false,
            was_primary: false,
            ..node.heartbeat()
        }
    }

    #[test]
    fn a_resync_is_not_completed_with_a_peer_that_has_promised_more_than_is_served() {
        let mut node = primary(true);
        let heartbeat = Heartbeat { data: DataState::Inconsistent, outdated_since: 5, ..said_by_peer(&node, 1) };
        let output = handle(&mut node, 1, Input::HeartbeatReceived { link: 0, heartbeat: heartbeat.clone() });
        assert_eq!(orders(&output), [&ReplicaCommand::ContinueAlone { generation: node.durable.generation }]);
        assert!(node.durable.solo, "nothing was given up");
        let heartbeat = Heartbeat { sequence: 2, ..heartbeat };
        let output = handle(&mut node, 200, Input::HeartbeatReceived { link: 0, heartbeat });
        assert_eq!(node.durable.generation.number, 5, "or the copy would be out of date as soon as it is complete");
        assert!(
            matches!(orders(&output)[..], [ReplicaCommand::ContinueAlone { .. }, ReplicaCommand::AcceptPeer { .. }]),
            "{output:?}"
        );
    }

    #[test]
    fn a_primary_that_may_be_the_one_cut_off_is_not_in_good_health_while_its_writes_are_held_back() {
        let mut node = primary(false);
        let heartbeat = said_by_peer(&node, 1);
        handle(&mut node, 1, Input::HeartbeatReceived { link: 0, heartbeat });
        for at in (100..=1000).step_by(100) {
            assert_eq!(health(&handle(&mut node, at, Input::Ticked)), None);
        }
        let output = handle(&mut node, 1001, Input::Ticked);
        let Some(Act::AskWitness { ask, .. }) = output.acts.iter().find(|act| matches!(act, Act::AskWitness { .. }))
        else {
            panic!("{output:?}");
        };
        assert_eq!(health(&output), Some(false));
        let answer = crate::input::WitnessAnswer::Granted;
        let output = handle(&mut node, 1005, Input::WitnessAnswered { ask: *ask, answer });
        assert_eq!((node.status, health(&output)), (automaton::ALONE, Some(true)));
    }

    #[test]
    fn a_primary_without_its_data_plane_does_not_ask_to_go_on_alone() {
        let mut node = primary(false);
        let heartbeat = said_by_peer(&node, 1);
        handle(&mut node, 1, Input::HeartbeatReceived { link: 0, heartbeat: heartbeat.clone() });
        Arc::make_mut(&mut node.settings).scripts =
            vec![crate::output::Script::Stop(holdfast_api::checker::When::Prim)];
        node.app.started = node.wanted_levels();
        handle(&mut node, 2, Input::Replica(ReplicaEvent::Exited { reason: "killed".to_owned() }));
        assert!(node.leaves());
        let heartbeat =
            Heartbeat { sequence: 2, session: 0, outdated_since: 5, data: DataState::Outdated, ..heartbeat };
        let output = handle(&mut node, 3, Input::HeartbeatReceived { link: 0, heartbeat });
        assert_eq!((orders(&output), node.durable.generation.number, node.asking), (vec![], 4, None));
    }

    #[test]
    fn addresses_dropped_after_a_suspension_are_gone_before_a_stop_goes_on() {
        let mut node = primary(true);
        node.addresses_set = true;
        let output = handle(&mut node, 5000, Input::Ticked);
        let Some(Act::ReleaseAddresses { run }) =
            output.acts.iter().find(|act| matches!(act, Act::ReleaseAddresses { .. }))
        else {
            panic!("{output:?}");
        };
        let command = crate::input::Command {
            id: 1,
            kind: crate::input::ModuleCommand::Stop,
            actor: "operator".to_owned(),
            counted: false,
        };
        assert!(orders(&handle(&mut node, 5001, Input::CommandReceived(command))).is_empty());
        let output = handle(&mut node, 5002, Input::AddressesDone { run: *run, error: None });
        assert_eq!(orders(&output), [&ReplicaCommand::Release { abort: false }]);
    }

    #[test]
    fn what_was_decided_with_nothing_to_save_is_decided_again_when_the_driver_could_not_begin() {
        let mut node = primary(true);
        Arc::make_mut(&mut node.settings).witness = Witness::None;
        node.addresses_set = true;
        let dropped = handle(&mut node, 5000, Input::Ticked);
        assert!(dropped.persist.is_none(), "{dropped:?}");
        let releases = |output: &Output| {
            let run = |act: &Act| if let Act::ReleaseAddresses { run } = act { Some(*run) } else { None };
            output.acts.iter().find_map(run)
        };
        assert!(releases(&dropped).is_some(), "{dropped:?}");
        // Nothing of it was done: the record for the next agent could not be removed.
        let mut output = handle(&mut node, 5001, Input::SaveFailed { reason: "read-only file system".to_owned() });
        let mut released = false;
        for at in 5002..5010 {
            let input = match releases(&output) {
                Some(run) => {
                    released = true;
                    Input::AddressesDone { run, error: None }
                }
                None if orders(&output).iter().any(|order| matches!(order, ReplicaCommand::Release { .. })) => {
                    Input::Replica(ReplicaEvent::Released)
                }
                None => Input::Ticked,
            };
            output = handle(&mut node, at, input);
        }
        assert!(released, "the addresses were left on the node");
        assert_eq!(node.status, automaton::STOP);
    }
}
