//! What the data plane does before its directories may be used: paths that guard them are looked for, and what a diverged
//! copy holds alone is set aside before anything overwrites it.

use super::Node;
use super::steps::Answer;
use crate::arbiter::Wait;
use crate::automaton::{self, Trigger};
use crate::covered::Covered;
use crate::output::EventLevel;
use crate::replica::{Inventory, ReplicaCommand};
use crate::time::Instant;
use holdfast_api::ids::Generation;
use std::sync::Arc;

/// What could not be set aside is tried again after this time: space may be free by then, or the primary reachable.
const AGAIN_MS: u64 = 30_000;

/// What was found in the directories.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// What they hold.
    pub(super) inventory: Option<Inventory>,
    /// See [`crate::arbiter::Situation::uncovered`].
    pub(super) uncovered: Inventory,
    /// A path of `<tocheck>` that is not there.
    pub(super) missing: Option<String>,
}

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
        if !inspecting || self.found.missing.as_ref() == Some(&path) {
            return;
        }
        self.found.missing = Some(path);
        if self.status == automaton::WAIT {
            self.take_edge(Trigger::Blocked, "");
        }
        let text = self.missing_text().unwrap_or_default();
        self.event(EventLevel::Warning, text);
    }

    pub(super) fn on_inspection(&mut self, inventory: Inventory, uncovered: Inventory) {
        self.found.inventory = Some(inventory);
        self.found.uncovered = uncovered;
        if self.found.missing.take().is_some() && self.status == automaton::BLOCKED {
            self.take_edge(Trigger::Unblocked, "every path of <tocheck> is there");
        }
        self.on_inspected();
    }

    /// What the configuration covers now is what a resync may overwrite here from now on without asking.
    pub(super) fn note_covered(&mut self) {
        self.durable.covered = Some(Arc::clone(&self.settings.covered));
    }

    /// What the configuration leaves out is each node's own from now on, even if a later one covers it again before the
    /// copies are next in step. A copy in the ledger of a program that did not keep what was covered: it was what is
    /// configured now. Saved with the first output, or the next configuration would not know of this one.
    pub(super) fn limit_covered(&mut self) {
        let configured = &self.settings.covered;
        let limited = match &self.durable.covered {
            Some(covered) => Some(covered.limited_to(configured)).filter(|limited| !limited.same_as(covered)),
            None => Some(Covered::clone(configured)).filter(|_| self.durable.generation.number > 0),
        };
        if let Some(limited) = limited {
            self.durable.covered = Some(Arc::new(limited));
            self.save_anyway = true;
        }
    }

    /// What a resync would overwrite that was this node's own when its copy was last in step.
    pub(super) fn uncovered(&self) -> Inventory {
        let before = self.durable.covered.as_ref();
        let changed = before.is_some_and(|covered| !covered.same_as(&self.settings.covered));
        if changed { self.found.uncovered } else { Inventory::default() }
    }

    pub(super) fn missing_text(&self) -> Option<String> {
        let path = self.found.missing.as_ref()?;
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
    use crate::settings::Settings;
    use crate::time::Moment;
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

    fn covering(directories: &[&str]) -> Arc<Covered> {
        let directories: Vec<String> = directories.iter().map(|path| (*path).to_owned()).collect();
        Arc::new(Covered::new(&directories, &[]))
    }

    /// A node made anew with this configuration.
    fn configured(durable: Durable, directories: &[&str]) -> Node {
        let settings =
            Settings { covered: covering(directories), ..Settings::clone(node(Durable::default()).settings()) };
        Node::new(settings, durable, Moment { now: Instant(0), nonce: 5 })
    }

    #[test]
    fn a_copy_of_a_program_that_kept_nothing_is_asked_about_from_the_next_configuration_on() {
        let durable = Durable { generation: generation(4), data: DataState::UpToDate, ..Durable::default() };
        let mut upgraded = configured(durable, &["/a"]);
        let saved = handle(&mut upgraded, 1, Input::Ticked).persist.expect("or the next configuration finds nothing");
        assert_eq!(saved.covered, Some(covering(&["/a"])));
        assert!(handle(&mut upgraded, 2, Input::Ticked).persist.is_none(), "once is enough");
        let mut same = configured(saved.clone(), &["/a"]);
        assert!(handle(&mut same, 1, Input::Ticked).persist.is_none());
        let own = Inventory { entries: 3, bytes: 30, changed_unix_ms: 0 };
        for (directories, in_danger) in [(&["/a"][..], 0), (&["/a", "/b"], 3)] {
            let mut node = configured(saved.clone(), directories);
            node.on_inspection(own, own);
            assert_eq!(node.uncovered().entries, in_danger);
        }
        let never_ran = configured(Durable::default(), &["/a"]);
        assert_eq!(never_ran.durable.covered, None);
    }

    #[test]
    fn what_a_configuration_leaves_out_is_forgotten_at_once() {
        let covered = Some(covering(&["/a", "/b"]));
        let durable = Durable { generation: generation(4), covered, ..Durable::default() };
        let mut narrowed = configured(durable, &["/a"]);
        let saved = handle(&mut narrowed, 1, Input::Ticked).persist.expect("saved");
        assert_eq!(saved.covered, Some(covering(&["/a"])));
    }
}
