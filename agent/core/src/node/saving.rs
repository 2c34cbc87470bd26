//! While what was decided is being saved: the node says that it lives, so that a slow disk is no failure; and it gives the
//! save up where somebody waits for what it would do.

use super::Node;
use super::serving::Serving;
use crate::arbiter;
use crate::heartbeat::Heartbeat;
use crate::input::Input;
use crate::liveness::Liveness;
use crate::output::{Act, Output, WhileSaving};
use crate::replay::{Belief, Replay};
use crate::replica::{ReplicaCommand, ReplicaEvent};
use crate::settings::{Settings, Witness};
use crate::time::Instant;

/// Where to return to if nothing of the last output may be done.
#[derive(Clone, Debug)]
pub(super) struct Rollback {
    pub(super) before: Box<Node>,
    /// The commands whose replies would be lost with it.
    pub(super) replies: Vec<u64>,
    /// While it is saved.
    pub(super) save: Option<Save>,
}

/// A save under way, and what is heard meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Save {
    begun: Instant,
    first_look: Instant,
    /// Since when somebody waits for this node.
    urgent_since: Option<Instant>,
    links: Liveness,
    replay: Replay,
}

impl Node {
    /// A save begins, with `output` to be carried out after it.
    pub(super) fn begin_save(&self, before: &Self, output: &Output) -> Save {
        let asked = self.heard_peer().is_some_and(|peer| peer.asks != 0);
        let promises = self.durable.outdated_since > before.durable.outdated_since;
        let holds_back = matches!(self.serving, Serving::Held { .. });
        // Signs of a start that has not proven itself to the peer are not believed.
        let proven = before.sent.as_ref().is_some_and(|sent| Some(sent.echo) == self.replay.believed());
        let due = before.pulses.next().unwrap_or_default();
        let urgent = asked || promises || holds_back || !proven || takes_away(output);
        Save {
            begun: self.now,
            first_look: due.max(self.now.after(self.sign_ms() / 4)).min(self.now.after(self.sign_ms())),
            urgent_since: Some(self.now).filter(|_| urgent),
            links: self.links.clone(),
            replay: self.replay.clone(),
        }
    }

    /// Milliseconds between two looks at a save under way.
    pub fn sign_ms(&self) -> u64 {
        self.settings.pulses_ms().min().unwrap_or(self.settings.pulse_ms)
    }

    /// When to look at the save under way for the first time: when a word is due, though most saves end before.
    pub fn first_look(&self) -> Instant {
        let save = self.rollback.as_ref().and_then(|rollback| rollback.save.as_ref());
        save.map_or(self.now, |save| save.first_look)
    }

    /// An input arrives that waits for the save. It is handled later; who waits for this node is heard at once.
    pub(crate) fn overhear(&mut self, now: Instant, input: &Input) {
        let Some(Rollback { before, save: Some(save), .. }) = &mut self.rollback else { return };
        let holds_role = before.serving.holds_role();
        let waits = match input {
            Input::HeartbeatReceived { link, heartbeat } if heartbeat.from == before.settings.peer => {
                save.overhear(*link, heartbeat, now) || holds_role && !heartbeat.saving && arbiter::serves(heartbeat)
            }
            // Writes are held back from now on.
            Input::Replica(
                ReplicaEvent::StreamLost { .. } | ReplicaEvent::Failed { .. } | ReplicaEvent::Exited { .. },
            ) => holds_role,
            _ => false,
        };
        if waits {
            save.urgent_since.get_or_insert(now);
        }
    }

    /// What to do while the save of the last output is under way.
    pub fn while_saving(&mut self, now: Instant) -> WhileSaving {
        let slept_ms = now.since(self.awake.looked_at);
        let mute = self.is_mute() || self.settings.links == 0;
        // What a witness has granted, or what is held alone, nobody else can be granted.
        let replaceable = self.settings.witness != Witness::None && !self.durable.solo;
        let Some(Rollback { before, save: Some(save), .. }) = &mut self.rollback else { return WhileSaving::Wait };
        let settings = &before.settings;
        if slept_ms > settings.suspend_gap_ms() {
            save.links.count_anew(now);
        }
        if settings.links > 0 && slept_ms >= settings.shortest_timeout_ms() && !settings.broken.sleep_while_saving {
            return WhileSaving::GiveUp(format!(
                "this node was suspended for {slept_ms} ms while its state was being saved"
            ));
        }
        self.awake.looked_at = now;
        let apart = replaceable && before.serving.holds_role() && !before.durable.solo && save.links.silent(now);
        let took_ms = now.since(save.begun);
        if took_ms >= save.limit_ms(settings, apart) && !settings.broken.save_for_ever {
            return WhileSaving::GiveUp(format!("the disk did not answer within {took_ms} ms"));
        }
        if mute || before.is_mute() {
            return WhileSaving::Wait;
        }
        self.sequence += 1;
        WhileSaving::Say(Box::new(Heartbeat { sequence: self.sequence, saving: true, ..before.heartbeat() }))
    }

    /// The save is done: what is sent now is newer than what was said meanwhile.
    pub fn saved(&mut self, output: &mut Output) {
        if let Some(heartbeat) = &mut output.send
            && heartbeat.sequence < self.sequence
        {
            self.sequence += 1;
            heartbeat.sequence = self.sequence;
        }
        if let Some(save) = self.rollback.as_mut().and_then(|rollback| rollback.save.take()) {
            self.learn_overheard(&save);
        }
    }

    /// Nothing of the last output was done. The commands whose replies are lost with it.
    pub(super) fn take_back(&mut self, Rollback { before, replies, save }: Rollback) -> Vec<u64> {
        // Numbers that were said meanwhile are not said again.
        let sequence = self.sequence;
        *self = Self { sequence, ..*before };
        save.iter().for_each(|save| self.learn_overheard(save));
        replies
    }

    /// Who was heard while it saved counts as heard then, not as heard when the word is handled.
    fn learn_overheard(&mut self, save: &Save) {
        self.links.learn(&save.links);
    }
}

impl Save {
    /// A word or a sign of the peer arrives; whether the peer waits for this node.
    fn overhear(&mut self, link: usize, heartbeat: &Heartbeat, now: Instant) -> bool {
        let believed = self.replay.believed();
        let belief = self.replay.judge(link, heartbeat);
        match belief {
            Belief::Alive | Belief::Newest | Belief::Restarted if heartbeat.saving => self.links.alive_on(link, now),
            Belief::Alive | Belief::Newest | Belief::Restarted => self.links.heard_on(link, now),
            Belief::Older | Belief::Refused(_) => {
                // A start of the peer's agent that believes no sign before it is echoed: it takes this node for dead.
                return believed.is_none_or(|believed| heartbeat.incarnation.count > believed.count);
            }
        }
        !heartbeat.saving && heartbeat.asks != 0
    }

    /// Milliseconds since its begin after which it is given up.
    fn limit_ms(&self, settings: &Settings, apart: bool) -> u64 {
        let urgent_ms = settings.urgent_save_ms();
        let waits = self.urgent_since.map(|at| at.since(self.begun) + urgent_ms);
        let apart = Some(urgent_ms).filter(|_| apart);
        [waits, apart].into_iter().flatten().fold(settings.save_limit_ms, u64::min)
    }
}

/// What takes something away is not to wait long.
fn takes_away(output: &Output) -> bool {
    output.acts.iter().any(|act| {
        matches!(
            act,
            Act::ReleaseAddresses { .. } | Act::Replica(ReplicaCommand::Refuse | ReplicaCommand::Release { .. })
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::Backlog;
    use crate::heartbeat::Incarnation;
    use crate::input::{Command, ModuleCommand};
    use crate::node::held::tests::{handle, orders, primary, said_by_peer};
    use crate::settings::SAVE_LIMIT_MS;
    use crate::time::Moment;
    use holdfast_api::state::DataState;

    /// A primary that was heard and has heard its secondary, and saves something at 100 ms.
    fn saving() -> (Node, Output) {
        let mut node = primary(false);
        for at in [1, 2] {
            let heartbeat = said_by_peer(&node, at);
            handle(&mut node, at, Input::HeartbeatReceived { link: 0, heartbeat });
        }
        let output = handle(&mut node, 100, order(ModuleCommand::BootOn));
        assert!(output.persist.is_some());
        (node, output)
    }

    fn order(kind: ModuleCommand) -> Input {
        Input::CommandReceived(Command { id: 1, kind, actor: "operator".to_owned(), counted: false })
    }

    fn overhear(node: &mut Node, at: u64, said: Heartbeat) {
        node.overhear(Instant(at), &Input::HeartbeatReceived { link: 0, heartbeat: said });
    }

    /// Looks each 100 ms, while the peer says `said`; when and why it gives up.
    fn gives_up(node: &mut Node, from: u64, said: impl Fn(u64) -> Option<Heartbeat>) -> (u64, String) {
        for at in (from..).step_by(100) {
            if let Some(heartbeat) = said(at) {
                overhear(node, at, heartbeat);
            }
            match node.while_saving(Instant(at)) {
                WhileSaving::Say(heartbeat) => assert!(heartbeat.saving),
                WhileSaving::Wait => panic!("silent at {at} ms"),
                WhileSaving::GiveUp(reason) => return (at, reason),
            }
        }
        unreachable!("it is waited for without end")
    }

    #[test]
    fn what_is_said_during_a_save_is_older_than_what_follows_it() {
        let (mut node, mut output) = saving();
        let mut said = output.send.as_ref().expect("a change is said at once").sequence - 1;
        for at in [200, 300] {
            let WhileSaving::Say(heartbeat) = node.while_saving(Instant(at)) else { panic!("nothing said") };
            assert!(heartbeat.saving && heartbeat.sequence > said);
            said = heartbeat.sequence;
        }
        node.saved(&mut output);
        assert!(output.send.is_some_and(|heartbeat| !heartbeat.saving && heartbeat.sequence > said));
    }

    #[test]
    fn slow_disk_is_waited_for_and_changes_nothing() {
        let (mut node, _) = saving();
        let template = said_by_peer(&node, 0);
        let said = |at: u64| Some(Heartbeat { sequence: at, ..template.clone() });
        let (at, reason) = gives_up(&mut node, 200, said);
        assert_eq!(at, 100 + SAVE_LIMIT_MS);
        assert!(reason.contains("within 10000 ms"), "{reason}");
        let (mut node, mut output) = saving();
        for at in (200..5000).step_by(100) {
            overhear(&mut node, at, Heartbeat { sequence: at, ..template.clone() });
            assert!(matches!(node.while_saving(Instant(at)), WhileSaving::Say(_)));
        }
        node.saved(&mut output);
        let output = handle(&mut node, 5000, Input::Ticked);
        assert!(orders(&output).is_empty() && node.serving.settled(), "{output:?}");
        assert!(output.events.iter().any(|event| event.text.contains("took so long")), "{output:?}");
    }

    #[test]
    fn who_waits_for_this_node_is_not_kept_waiting() {
        let (mut node, _) = saving();
        let template = said_by_peer(&node, 0);
        let said = |at: u64| {
            let asks = if at >= 2000 { 5 } else { 0 };
            Some(Heartbeat { sequence: at, asks, ..template.clone() })
        };
        assert_eq!(gives_up(&mut node, 200, said).0, 2500);
    }

    #[test]
    fn who_waits_behind_what_is_still_to_be_handled_is_heard_by_the_next_save() {
        let (mut node, mut output) = saving();
        let mut backlog = Backlog::default();
        let said = Heartbeat { asks: 5, ..said_by_peer(&node, 3) };
        backlog.keep(&mut node, Instant(200), order(ModuleCommand::BootOff));
        backlog.keep(&mut node, Instant(201), Input::HeartbeatReceived { link: 0, heartbeat: said });
        node.saved(&mut output);
        let (arrived, input) = backlog.take().expect("the order");
        let moment = Moment { now: Instant(300), nonce: 7 };
        assert!(node.handle_later(moment, arrived, input).persist.is_some());
        backlog.begin(&mut node);
        assert_eq!(gives_up(&mut node, 400, |_| None).0, 800);
    }

    #[test]
    fn primary_that_loses_every_link_while_it_saves_does_not_wait_for_its_disk() {
        let (mut node, _) = saving();
        assert!((1000..=1100).contains(&gives_up(&mut node, 200, |_| None).0));
    }

    #[test]
    fn primary_whose_peer_dies_asks_the_register_over_a_slow_disk() {
        let (mut node, mut output) = saving();
        node.saved(&mut output);
        let mut at = 100;
        let output = loop {
            at += 100;
            let output = handle(&mut node, at, Input::Ticked);
            if output.persist.is_some() {
                break output;
            }
        };
        assert!(output.acts.iter().any(|act| matches!(act, Act::AskWitness { .. })), "{output:?}");
        assert_eq!(gives_up(&mut node, at + 100, |_| None).0, at + node.settings.urgent_save_ms());
    }

    #[test]
    fn right_to_serve_alone_is_worth_waiting_for() {
        let (mut node, mut output) = saving();
        node.saved(&mut output);
        let heartbeat =
            Heartbeat { outdated_since: 5, data: DataState::Outdated, session: 0, ..said_by_peer(&node, 3) };
        handle(&mut node, 200, Input::Replica(ReplicaEvent::StreamLost { session: 9, reason: "gone".to_owned() }));
        let output = handle(&mut node, 201, Input::HeartbeatReceived { link: 0, heartbeat });
        assert!(output.persist.is_some_and(|durable| durable.solo), "{:?}", output.acts);
        assert_eq!(gives_up(&mut node, 300, |_| None).0, 300 + SAVE_LIMIT_MS);
    }

    #[test]
    fn lost_stream_and_a_restarted_peer_are_not_kept_waiting() {
        let (mut node, _) = saving();
        node.overhear(
            Instant(150),
            &Input::Replica(ReplicaEvent::StreamLost { session: 9, reason: "gone".to_owned() }),
        );
        assert_eq!(gives_up(&mut node, 200, |_| None).0, 700);
        let (mut node, _) = saving();
        let template = said_by_peer(&node, 0);
        let incarnation = Incarnation { count: 2, id: 3 };
        let said =
            |at: u64| Some(Heartbeat { sequence: at, incarnation, echo: Incarnation::default(), ..template.clone() });
        assert_eq!(gives_up(&mut node, 200, said).0, 700);
    }

    #[test]
    fn machine_that_slept_during_a_save_says_nothing_more() {
        let (mut node, _) = saving();
        assert!(matches!(node.while_saving(Instant(200)), WhileSaving::Say(_)));
        assert!(
            matches!(node.while_saving(Instant(1200)), WhileSaving::GiveUp(reason) if reason.contains("suspended"))
        );
    }

    #[test]
    fn numbers_are_not_used_again_after_a_save_that_was_given_up() {
        let (mut node, _) = saving();
        let WhileSaving::Say(last) = node.while_saving(Instant(200)) else { panic!("nothing said") };
        let reason = "late".to_owned();
        handle(&mut node, 300, Input::SaveFailed { reason });
        assert!(node.is_mute() && node.sequence >= last.sequence);
    }

    #[test]
    fn secondary_that_waits_for_its_disk_is_asked_longer_before_its_primary_gives_up() {
        let mut node = primary(false);
        let mut at = 0;
        let mut hear = |node: &mut Node, saving: bool| {
            at += 100;
            let heartbeat = Heartbeat { saving, session: 0, sequence: at, ..said_by_peer(node, at) };
            handle(node, at, Input::HeartbeatReceived { link: 0, heartbeat });
            node.serving.clone()
        };
        hear(&mut node, false);
        // Its stream is lost: writes are held back, for a timeout and the time of a save.
        let held = (0..16).all(|_| !matches!(hear(&mut node, true), crate::node::serving::Serving::Refusing));
        assert!(held && node.asking.is_some(), "{:?}", node.serving);
        assert!((0..5).any(|_| matches!(hear(&mut node, true), crate::node::serving::Serving::Refusing)));
    }
}
