//! What a node does while its state cannot be saved: it stops, falls silent, and starts again once the disk answers.

use super::serving::Serving;
use super::{After, Node};
use crate::automaton;
use crate::output::EventLevel;
use crate::procedure::{self, Kind};
use crate::time::Instant;

/// How long after a save that failed the next is tried, in milliseconds.
pub const SAVE_AGAIN_MS: u64 = 5_000;

/// Whether the ledger holds what this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saving {
    /// It does.
    Works,
    /// A save failed. What the disk holds is not known; nothing is said until it is, so that the peer counts this node as
    /// gone.
    Failed {
        /// When it is tried again, if the module has stopped by then.
        again_at: Instant,
    },
    /// It is tried again: the next input comes after that save, or is the word that it failed too.
    Tried,
}

impl Node {
    /// Losing the ledger: give up the addresses, refuse writes, stop, and fall silent.
    pub(super) fn on_save_failed(&mut self, reason: &str, lost_replies: &[u64]) {
        let text = format!(
            "the state of module {} cannot be saved ({reason}): the module stops on this node, and starts again by itself \
             once it can be saved; free or repair the disk that holds the agent's data folder",
            self.settings.module
        );
        for id in lost_replies {
            self.reply(*id, Err(text.clone()));
        }
        // A failed try after that is no news.
        if !self.is_mute() || !lost_replies.is_empty() {
            self.event(EventLevel::Error, text);
        }
        self.saving = Saving::Failed { again_at: self.now.after(SAVE_AGAIN_MS) };
        self.live = false;
        self.asking = None;
        self.swap_request = None;
        // What a halt under way waited for may have come with what is taken back now: it begins anew.
        let halts = self.procedure_is(Kind::Halt) && self.script.is_some();
        if self.status != automaton::STOP && !halts {
            self.begin_halt();
        }
    }

    fn begin_halt(&mut self) {
        if self.serving.holds_role() {
            self.serving = Serving::Refusing;
        }
        self.after_stop = After::Stay;
        // A later start is no order of `prim` or `second`.
        self.forced = None;
        self.agreed = false;
        self.begin(procedure::HALT, "the state cannot be saved");
    }

    /// Nothing could be saved: nothing is said either.
    pub(super) fn is_mute(&self) -> bool {
        self.saving != Saving::Works
    }

    /// When the disk is tried again.
    pub(super) fn saving_deadline(&self) -> Option<Instant> {
        match self.saving {
            Saving::Failed { again_at } if self.waits_for_the_disk() => Some(again_at),
            _ => None,
        }
    }

    fn waits_for_the_disk(&self) -> bool {
        self.status == automaton::STOP && self.procedure.is_none()
    }

    /// Saves what this node knows, as it was before the decision that could not be saved; then starts the module as a new
    /// agent would, unless somebody has ordered that it stays stopped.
    pub(super) fn save_again(&mut self) {
        match self.saving {
            Saving::Failed { again_at } if again_at <= self.now && self.waits_for_the_disk() => {
                if self.settings.broken.start_without_saving_again {
                    self.saving = Saving::Works;
                    return self.start_again();
                }
                self.save_anyway = true;
            }
            Saving::Tried if !self.waits_for_the_disk() => self.saving = Saving::Failed { again_at: self.now },
            Saving::Tried if self.durable.running => self.start_again(),
            Saving::Tried => self.saving = Saving::Works,
            Saving::Works | Saving::Failed { .. } => {}
        }
    }

    /// A save is under way.
    pub(super) fn saved_while_mute(&mut self) {
        if self.is_mute() {
            self.saving = Saving::Tried;
        }
    }

    /// Within the retry budget: a disk that fails again and again is a matter for somebody.
    fn start_again(&mut self) {
        let why = "the state can be saved again";
        if self.spend_restart() {
            self.begin_start(&format!("automatic start: {why}"));
        } else {
            let text = self.exhausted_text(why);
            self.event(EventLevel::Error, text);
            self.saving = Saving::Works;
            self.durable.running = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Durable;
    use crate::input::{Command, Input, ModuleCommand};
    use crate::node::witness::tests::node;
    use crate::output::{Act, Output};
    use crate::time::Moment;
    use holdfast_api::userconfig::Mode;
    use std::sync::Arc;

    /// A light module whose disk fails while it runs, at 10 ms; what it decides is carried out at once.
    struct Module {
        node: Node,
        now: u64,
        errors: Vec<String>,
    }

    impl Module {
        fn running() -> Self {
            let mut node = node(Durable::default());
            let settings = Arc::make_mut(&mut node.settings);
            (settings.mode, settings.maxloop, settings.loop_interval_ms) = (Mode::Light, 2, 3_600_000);
            node.budget.limit(2, 3_600_000);
            let mut module = Self { node, now: 10, errors: Vec::new() };
            module.hand_in(command(ModuleCommand::Start));
            assert_eq!(module.node.status, automaton::UP);
            module
        }

        fn hand_in(&mut self, input: Input) -> Output {
            let mut inputs = vec![input];
            let mut first = None;
            while let Some(input) = inputs.pop() {
                let output = self.node.handle(Moment { now: Instant(self.now), nonce: 7 }, input);
                for act in &output.acts {
                    if let Act::SetAddresses { run } | Act::ReleaseAddresses { run } = act {
                        inputs.push(Input::AddressesDone { run: *run, error: None });
                    }
                }
                let errors = output.events.iter().filter(|event| event.level == EventLevel::Error);
                self.errors.extend(errors.map(|event| event.text.clone()));
                first.get_or_insert(output);
            }
            first.unwrap_or_default()
        }

        fn save_fails(&mut self) -> Output {
            self.hand_in(Input::SaveFailed { reason: "input/output error".to_owned() })
        }

        fn tick_after(&mut self, ms: u64) -> Output {
            self.now += ms;
            self.hand_in(Input::Ticked)
        }

        /// The disk answers when it is tried next.
        fn disk_answers(&mut self) {
            assert!(self.tick_after(SAVE_AGAIN_MS).persist.is_some());
            self.tick_after(1);
        }
    }

    fn command(kind: ModuleCommand) -> Input {
        Input::CommandReceived(Command { id: 1, kind, actor: "operator".to_owned(), counted: false })
    }

    #[test]
    fn module_starts_again_once_its_state_can_be_saved_and_tells_the_failure_once() {
        let mut module = Module::running();
        let known = module.node.durable.clone();
        module.hand_in(command(ModuleCommand::BootOn));
        module.save_fails();
        assert_eq!((module.node.status, module.errors.len()), (automaton::STOP, 1), "{:?}", module.errors);
        assert!(module.tick_after(SAVE_AGAIN_MS - 1).persist.is_none());
        for _ in 0..3 {
            let tried = module.tick_after(SAVE_AGAIN_MS);
            assert_eq!(tried.persist.as_ref(), Some(&known), "not as before the decision that could not be saved");
            assert!(tried.send.is_none() && tried.acts.is_empty(), "{tried:?}");
            module.save_fails();
        }
        assert_eq!((module.node.status, module.errors.len()), (automaton::STOP, 1), "{:?}", module.errors);
        module.disk_answers();
        assert_eq!(module.node.status, automaton::UP);
        assert!(!module.node.is_mute());
    }

    #[test]
    fn module_that_was_ordered_to_stop_meanwhile_stays_stopped() {
        let mut module = Module::running();
        module.hand_in(command(ModuleCommand::BootOn));
        module.save_fails();
        assert!(module.hand_in(command(ModuleCommand::Stop)).persist.is_some_and(|durable| !durable.running));
        module.tick_after(1);
        assert!(!module.node.is_mute());
        module.tick_after(SAVE_AGAIN_MS);
        assert_eq!(module.node.status, automaton::STOP);
    }

    #[test]
    fn disk_that_fails_again_and_again_uses_up_the_restarts() {
        let mut module = Module::running();
        for (kind, then) in [
            (ModuleCommand::BootOn, automaton::UP),
            (ModuleCommand::BootAuto, automaton::UP),
            (ModuleCommand::BootOn, automaton::STOP),
        ] {
            assert!(module.hand_in(command(kind)).persist.is_some());
            module.save_fails();
            module.disk_answers();
            assert_eq!(module.node.status, then, "{kind:?}");
        }
        assert!(!module.node.durable.running && !module.node.is_mute());
        assert!(module.errors.last().unwrap().contains("maxloop"), "{:?}", module.errors);
    }
}
