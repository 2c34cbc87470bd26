//! What the data plane does before its directories may be used: paths that guard them are looked for, and what a diverged
//! copy holds alone is set aside before anything overwrites it.

use super::Node;
use super::steps::Answer;
use crate::arbiter::Wait;
use crate::automaton::{self, Trigger};
use crate::output::EventLevel;
use crate::replica::{Inventory, ReplicaCommand};
use crate::time::Instant;
use holdfast_api::ids::Generation;

/// What could not be set aside is tried again after this time: space may be free by then, or the primary reachable.
const AGAIN_MS: u64 = 30_000;

/// Whether what this copy would lose is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// Not asked for.
    No,
    /// Asked for, as this run, beside a primary that serves this generation.
    Asked(u64, Generation),
    /// It could not be, for this reason; to be asked again then.
    Failed(String, Instant),
    /// It is, complete: all that a primary of this generation lacked. Another one may lack more.
    Done(Generation),
}

impl Aside {
    /// An operator orders it again: at once.
    pub(super) fn try_again(&mut self) {
        if matches!(self, Self::Failed(..)) {
            *self = Self::No;
        }
    }
}

impl Node {
    /// A path that guards the replicated directories is not there: nothing starts until it is.
    pub(super) fn on_missing(&mut self, path: String) {
        let inspecting = self.procedure.as_ref().is_some_and(|running| running.waiting == Some(Answer::Inspected));
        if !inspecting || self.missing.as_ref() == Some(&path) {
            return;
        }
        self.missing = Some(path);
        if self.status == automaton::WAIT {
            self.take_edge(Trigger::Blocked, "");
        }
        let text = self.missing_text().unwrap_or_default();
        self.event(EventLevel::Warning, text);
    }

    pub(super) fn on_inspection(&mut self, inventory: Inventory) {
        self.inventory = Some(inventory);
        if self.missing.take().is_some() && self.status == automaton::BLOCKED {
            self.take_edge(Trigger::Unblocked, "every path of <tocheck> is there");
        }
        self.on_inspected();
    }

    pub(super) fn missing_text(&self) -> Option<String> {
        let path = self.missing.as_ref()?;
        Some(format!(
            "waits for {path}, which must be there before replication starts (<tocheck>): mount the disk it is on, and the \
             module goes on by itself; if the path itself is wrong, stop the module and correct its userconfig.xml"
        ))
    }

    /// Goes on only when the answer is there.
    pub(super) fn set_aside(&mut self) {
        if self.following.is_some() {
            // Nothing is compared under a stream.
            return self.leave_second("what this copy would lose is set aside first");
        }
        let theirs = self.peer_generation();
        match &self.aside {
            Aside::Failed(_, again) if self.now < *again => return self.wait_for(Wait::NotSetAside),
            Aside::Asked(_, beside) | Aside::Done(beside) if *beside == theirs => {}
            _ => {
                let run = self.next_run();
                self.aside = Aside::Asked(run, theirs);
                self.data_plane_used = true;
                self.replica(ReplicaCommand::SetAside { run, generation: self.durable.generation });
            }
        }
        self.wait_for(Wait::SettingAside);
    }

    pub(super) fn on_set_aside(&mut self, run: u64, entries: u64, bytes: u64, folder: &str) {
        let Aside::Asked(asked, beside) = self.aside else { return };
        if asked != run {
            return;
        }
        self.aside = Aside::Done(beside);
        let text = if entries == 0 {
            format!("nothing here differs from the data of {}: there is nothing to set aside", self.settings.peer_name)
        } else {
            format!(
                "{entries} entries ({bytes} bytes) that {} lacks are set aside in {folder}",
                self.settings.peer_name
            )
        };
        self.event(EventLevel::Warning, text);
    }

    pub(super) fn on_not_set_aside(&mut self, run: u64, reason: String) {
        if matches!(self.aside, Aside::Asked(asked, _) if asked == run) {
            self.aside = Aside::Failed(reason, self.now.after(AGAIN_MS));
        }
    }

    pub(super) fn aside_deadline(&self) -> Option<Instant> {
        match &self.aside {
            Aside::Failed(_, again) if self.waiting == Some(Wait::NotSetAside) => Some(*again),
            _ => None,
        }
    }

    pub(super) fn aside_text(&self, wait: Wait) -> String {
        let peer = &self.settings.peer_name;
        match &self.aside {
            Aside::Failed(reason, _) if wait == Wait::NotSetAside => format!(
                "waits until what this copy holds and {peer} lacks can be set aside, for nothing overwrites it before ({reason}): \
                 free space, or save what is needed and remove it from the replicated directories; it is tried again by \
                 itself, and at once by `second`"
            ),
            _ => format!("sets aside what this copy holds and {peer} lacks, before it is overwritten"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Durable;
    use crate::heartbeat::Heartbeat;
    use crate::input::Input;
    use crate::node::Following;
    use crate::node::held::tests::{handle, orders, said_by_peer};
    use crate::node::witness::tests::node;
    use crate::replica::ReplicaEvent;
    use holdfast_api::state::{DataState, ModuleState};

    fn generation(number: u64) -> Generation {
        Generation { number, id: number * 11 }
    }

    /// A primary that offers a session, and has nothing to do with the copy here.
    fn stranger(node: &Node, sequence: u64, number: u64) -> Heartbeat {
        Heartbeat {
            state: ModuleState::Alone,
            data: DataState::UpToDate,
            generation: generation(number),
            history: Vec::new(),
            solo: true,
            session: number,
            outdated_since: 0,
            ..said_by_peer(node, sequence)
        }
    }

    fn copy(data: DataState) -> Node {
        let durable = Durable { generation: generation(4), data, running: true, ..Durable::default() };
        let mut node = node(durable);
        node.status = automaton::WAIT;
        node
    }

    #[test]
    fn what_was_set_aside_beside_one_primary_is_not_enough_beside_another() {
        let mut node = copy(DataState::Diverged);
        node.agreed = true;
        let heartbeat = stranger(&node, 1, 6);
        let output = handle(&mut node, 1, Input::HeartbeatReceived { link: 0, heartbeat });
        let [ReplicaCommand::SetAside { run, .. }] = orders(&output)[..] else { panic!("{output:?}") };
        let heartbeat = stranger(&node, 2, 7);
        let again = handle(&mut node, 2, Input::HeartbeatReceived { link: 0, heartbeat });
        let [ReplicaCommand::SetAside { run: second, .. }] = orders(&again)[..] else { panic!("{again:?}") };
        let answer =
            |run| Input::Replica(ReplicaEvent::SetAside { run, entries: 1, bytes: 1, folder: "diverged/1".to_owned() });
        let output = handle(&mut node, 3, answer(*run));
        assert!(orders(&output).is_empty(), "that was another comparison: {output:?}");
        let output = handle(&mut node, 4, answer(*second));
        assert_eq!(orders(&output), [&ReplicaCommand::Follow { session: 7, generation: generation(7) }]);
    }

    #[test]
    fn a_copy_that_follows_lets_go_of_its_stream_before_it_is_set_aside() {
        let mut node = copy(DataState::UpToDate);
        (node.status, node.served, node.data_plane_used) = (automaton::SECOND, true, true);
        let following = Following {
            session: 3,
            since: Instant(0),
            generation: generation(4),
            history: Vec::new(),
            connected: true,
            lost: false,
        };
        node.following = Some(following);
        let heartbeat = stranger(&node, 1, 6);
        let output = handle(&mut node, 1, Input::HeartbeatReceived { link: 0, heartbeat });
        assert!(
            matches!(orders(&output)[..], [ReplicaCommand::Release { .. }, ReplicaCommand::SetAside { .. }]),
            "{output:?}"
        );
    }
}
