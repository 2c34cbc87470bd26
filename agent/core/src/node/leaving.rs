//! Why a node stops, waits, hands over or restarts its application: orders, faults and rules, within the retry budget.

use super::Node;
use super::scripts::Recycle;
use super::serving::Serving;
use crate::automaton;
use crate::grant;
use crate::input::CheckAction;
use crate::output::{EventLevel, Script, ScriptAction};
use crate::procedure;
use holdfast_api::checker::When;
use holdfast_api::state::{DataState, ModuleState, Readiness};

/// What follows a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing.
    #[default]
    Stay,
    /// A start, by this actor.
    Start(String),
    /// A reboot of the machine.
    Reboot,
}

impl Node {
    /// The agent before this one died while the module ran, and nothing of that could be gone on with: what is left of the
    /// application is ended, with the first input, before anything else; a start that is ordered meanwhile comes after it.
    /// Not needed where `prestart` does that at once.
    pub fn finish_stop(&mut self) {
        let prestart = self.settings.scripts.contains(&Script::Start(When::Pre));
        if self.status != automaton::STOP || (self.durable.running && prestart) {
            return;
        }
        self.app.may_all_run();
        self.begin(procedure::FINISH, "the last agent died while the module ran: ends what is left of the application");
    }

    /// In STOP, with nothing under way: nothing of the application runs.
    pub fn is_stopped(&self) -> bool {
        self.status == automaton::STOP && self.procedure.is_none() && self.script.is_none()
    }

    /// Begins a stop.
    pub(super) fn begin_stop(&mut self, why: &str, after: After) {
        self.step_down("this node stops");
        self.durable.running = after != After::Stay;
        let mut procedure = procedure::STOP;
        if after != After::Stay {
            procedure.action = ScriptAction::StopStart;
        }
        self.after_stop = after;
        self.begin(procedure, why);
    }

    /// Begins a stop that asks nobody: writes are refused at once, and no graceful stop script is run.
    pub(super) fn begin_force_stop(&mut self, why: &str) {
        self.step_down("this node stops");
        self.durable.running = false;
        self.after_stop = After::Stay;
        if self.serving.holds_role() {
            self.serving = Serving::Refusing;
        }
        self.begin(procedure::FORCE_STOP, why);
    }

    /// Begins a stop that ends in WAIT.
    pub(super) fn begin_wait(&mut self, why: &str) {
        self.step_down("this node waits");
        self.begin(procedure::WAIT, why);
    }

    /// A secondary in sync that leaves declares itself out of date first, so that its primary goes on at once.
    fn step_down(&mut self, why: &str) {
        let in_sync = self.status.0 == ModuleState::Second && self.durable.data == DataState::UpToDate;
        if in_sync && self.peer_serves() {
            let number = grant::number_to_ask(&self.durable, self.heard_peer());
            self.promise(number, why);
        }
        self.live = false;
        self.forced = None;
        self.agreed = false;
        self.claims = false;
    }

    /// Begins a swap, or says why not.
    pub(super) fn begin_swap(&mut self, by: &str) -> Result<(), String> {
        let peer = &self.settings.peer_name;
        if self.status != automaton::PRIM || self.procedure.is_some() {
            return Err(format!("{} is {}, not PRIM Ready", self.settings.node_name, self.status));
        }
        if !self.peer_can_take_over() {
            return Err(format!("{peer} is not SECOND Ready; wait for its resync to end"));
        }
        self.begin(procedure::SWAP, by);
        Ok(())
    }

    /// Stops and starts the application here; what runs beside a secondary needs no procedure.
    pub(super) fn begin_restart(&mut self, why: &str, services: &[String]) {
        services.clone_into(&mut self.app.services);
        if self.status.0 == ModuleState::Second {
            self.event(EventLevel::Event, why.to_owned());
            self.end_script();
            self.app.recycle = Recycle::Stop;
        } else {
            self.begin(procedure::RESTART, why);
        }
    }

    /// A fault of this node: stop and start again, or give up once the retry budget is spent.
    pub(super) fn local_fault(&mut self, reason: &str) {
        self.event(EventLevel::Error, reason.to_owned());
        if self.status == automaton::STOP || self.leaves() {
            return;
        }
        self.counted_stopstart(reason);
    }

    /// Stops and starts the module on behalf of a checker, a script or a fault, within the retry budget; or reboots the
    /// machine, where the module says so.
    pub(super) fn counted_stopstart(&mut self, reason: &str) {
        if !self.spend_restart() {
            return self.begin_stop(&self.exhausted_text(reason), After::Stay);
        }
        if self.settings.automatic_reboot {
            self.durable.reboots = self.durable.reboots.saturating_add(1);
            return self.begin_stop(reason, After::Reboot);
        }
        self.begin_stop(reason, After::Start("automatic start after a stopstart".to_owned()));
    }

    /// Whether one more automatic restart is within the budget. Reboots are counted over the life of the agent, by the
    /// ledger; a module that has run for a whole interval since counts anew.
    pub(super) fn spend_restart(&mut self) -> bool {
        if self.now.since(self.born) >= self.settings.loop_interval_ms {
            self.durable.reboots = 0;
        }
        let within = self.durable.reboots < self.settings.maxloop || self.settings.loop_interval_ms == 0;
        let within = within && self.budget.spend(self.now);
        self.exhausted |= !within;
        within
    }

    pub(super) fn exhausted_text(&self, reason: &str) -> String {
        format!(
            "{reason}; {} restarts within {} s are used up (maxloop): the module stops here; look at the application log, \
             repair, then start it",
            self.settings.maxloop,
            self.settings.loop_interval_ms / 1000
        )
    }

    /// The process checker found too few processes of the application, or too many.
    pub(super) fn on_process_missing(&mut self, problem: &str, action: CheckAction, services: &[String]) {
        if self.status.1 != Readiness::Ready || self.procedure.is_some() {
            return;
        }
        self.event(EventLevel::Error, problem.to_owned());
        match action {
            CheckAction::NoAction | CheckAction::Wait | CheckAction::Swap => {}
            CheckAction::Stop => self.begin_stop(problem, After::Stay),
            CheckAction::StopStart => self.counted_stopstart(problem),
            CheckAction::Restart => self.counted_restart(problem, services),
        }
    }

    /// `services`: the only ones of the application that are meant; none: all of it.
    pub(super) fn counted_restart(&mut self, reason: &str, services: &[String]) {
        if self.spend_restart() {
            self.begin_restart(reason, services);
        } else {
            self.begin_stop(&self.exhausted_text(reason), After::Stay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Durable;
    use crate::input::{Command, Input, ModuleCommand, ScriptOutcome};
    use crate::node::witness::tests::node;
    use crate::output::{Act, Script};
    use crate::time::{Instant, Moment};
    use holdfast_api::checker::When;
    use holdfast_api::userconfig::Mode;
    use std::sync::Arc;

    /// Hands an input in and lets everything that follows succeed at once; the scripts run, each with its services.
    fn run(node: &mut Node, input: Input) -> Vec<(String, Vec<String>)> {
        let mut inputs = vec![input];
        let mut scripts = Vec::new();
        while let Some(input) = inputs.pop() {
            for act in node.handle(Moment { now: Instant(1), nonce: 7 }, input).acts {
                match act {
                    Act::RunScript { run, script, services, .. } => {
                        scripts.push((script.file_name().to_owned(), services));
                        inputs.push(Input::ScriptExited { run, outcome: ScriptOutcome::Exited(0) });
                    }
                    Act::SetAddresses { run } | Act::ReleaseAddresses { run } => {
                        inputs.push(Input::AddressesDone { run, error: None });
                    }
                    _ => {}
                }
            }
        }
        scripts
    }

    #[test]
    fn a_restart_for_one_service_names_it_to_the_scripts_and_the_next_restart_does_not() {
        let mut node = node(Durable::default());
        Arc::make_mut(&mut node.settings).mode = Mode::Light;
        Arc::make_mut(&mut node.settings).scripts = vec![Script::Start(When::Both), Script::Stop(When::Both)];
        let command =
            |kind| Input::CommandReceived(Command { id: 1, kind, actor: "operator".to_owned(), counted: false });
        let started = run(&mut node, command(ModuleCommand::Start));
        assert!(started.iter().all(|(_, services)| services.is_empty()), "{started:?}");
        assert_eq!(node.status, automaton::UP);
        let restarted = run(
            &mut node,
            Input::ProcessMissing {
                name: "web".to_owned(),
                problem: "service web is not running".to_owned(),
                action: CheckAction::Restart,
                services: vec!["web".to_owned()],
            },
        );
        let names: Vec<&str> = restarted.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"stop_both") && names.contains(&"start_both"), "{names:?}");
        assert!(restarted.iter().all(|(_, services)| *services == ["web"]), "{restarted:?}");
        let again = run(&mut node, command(ModuleCommand::Restart));
        assert!(!again.is_empty() && again.iter().all(|(_, services)| services.is_empty()), "{again:?}");
    }

    fn left(durable: Durable, scripts: &[Script]) -> Node {
        let mut node = node(durable);
        Arc::make_mut(&mut node.settings).mode = Mode::Light;
        Arc::make_mut(&mut node.settings).scripts = scripts.to_vec();
        node.finish_stop();
        node
    }

    const SCRIPTS: [Script; 4] =
        [Script::Start(When::Both), Script::Stop(When::Both), Script::Stop(When::Pre), Script::Transition];

    #[test]
    fn what_a_dead_agent_left_of_the_application_is_ended_by_force_before_anything_is_started() {
        let mut node = left(Durable::default(), &SCRIPTS);
        assert!(!node.is_stopped());
        let output = node.handle(Moment { now: Instant(1), nonce: 7 }, Input::Ticked);
        let [Act::RunScript { run: number, script: Script::Stop(When::Both), force: true, from, to, action, .. }] =
            output.acts[..]
        else {
            panic!("{output:?}");
        };
        assert_eq!((from, to, action), (ModuleState::Wait, ModuleState::Stop, ScriptAction::Stop));
        let start = Command { id: 1, kind: ModuleCommand::Start, actor: "boot".to_owned(), counted: false };
        assert!(run(&mut node, Input::CommandReceived(start)).is_empty(), "not before that has ended");
        let rest = run(&mut node, Input::ScriptExited { run: number, outcome: ScriptOutcome::Exited(0) });
        let rest: Vec<&str> = rest.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(rest, ["poststop", "transition", "transition", "transition", "start_both"]);
        assert_eq!(node.status, automaton::UP);
        let mut node = left(Durable::default(), &[]);
        assert_eq!(run(&mut node, Input::Ticked), []);
        assert!(node.is_stopped(), "nothing to run is nothing to wait for");
    }

    #[test]
    fn a_module_that_starts_again_and_has_a_prestart_leaves_that_to_it() {
        let scripts = [SCRIPTS.as_slice(), &[Script::Start(When::Pre)]].concat();
        assert!(left(Durable { running: true, ..Durable::default() }, &scripts).is_stopped());
        assert!(!left(Durable { running: false, ..Durable::default() }, &scripts).is_stopped());
        assert!(!left(Durable { running: true, ..Durable::default() }, &SCRIPTS).is_stopped());
    }
}
