//! Carries procedures out: one step after the other, each act answered by an input.

use super::Node;
use super::serving::Serving;
use crate::arbiter::{self, Decision, Wait};
use crate::automaton::{self, Trigger};
use crate::grant::{self, Source};
use crate::input::{CheckAction, ScriptOutcome};
use crate::output::{Act, EventLevel, Script, ScriptAction};
use crate::procedure::{self, Kind, Procedure, Step};
use crate::replica::ReplicaCommand;
use crate::time::Instant;
use holdfast_api::checker::When;
use holdfast_api::state::{DataState, ModuleState};

/// A data plane that does not release in this time is aborted.
const RELEASE_PATIENCE_MS: u64 = 10_000;

/// A data plane that does not fence or mount in this time is given up.
const ANSWER_PATIENCE_MS: u64 = 30_000;

/// The procedure under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    procedure: Procedure,
    at: usize,
    waiting: Option<Answer>,
    /// The data plane has to answer until then.
    answer_until: Option<Instant>,
    /// Third argument of scripts; a stop that starts again says so.
    action: ScriptAction,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Script(u64),
    AnyScript,
    Addresses(u64),
    Inspected,
    Fenced,
    Witness,
    /// That nobody else serves, after a suspension.
    Proof,
    Serving,
    Released {
        until: Instant,
        aborted: bool,
    },
}

/// How a step went.
enum Progress {
    Done,
    Waits(Answer),
    /// The procedure is over (or another one has begun).
    Over,
}

impl Running {
    pub(super) fn kind(&self) -> Kind {
        self.procedure.kind
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.waiting {
            Some(Answer::Released { until, .. }) => Some(until),
            _ => self.answer_until,
        }
    }
}

impl Node {
    pub(super) fn procedure_is(&self, kind: Kind) -> bool {
        self.procedure.as_ref().is_some_and(|running| running.kind() == kind)
    }

    /// Begins a procedure; one under way is given up, and its script ended.
    pub(super) fn begin(&mut self, procedure: Procedure, why: &str) {
        if self.procedure.is_some()
            && let Some(run) = self.script
        {
            self.act(Act::EndScript { run });
        }
        let trigger = match (procedure.kind, self.status) {
            (Kind::Start, automaton::STOP) => Some(Trigger::StartOrdered),
            (_, automaton::ALONE | automaton::PRIM) => Some(Trigger::Leaving),
            (Kind::Stop | Kind::Halt, automaton::BLOCKED | automaton::FOLLOWING | automaton::SECOND) => {
                Some(Trigger::StopOrdered)
            }
            _ => None,
        };
        match trigger {
            Some(trigger) => self.take_edge(trigger, why),
            None => self.event(EventLevel::Info, why.to_owned()),
        }
        if matches!(procedure.kind, Kind::Stop | Kind::Halt) {
            self.stop_following();
            self.asking = None;
        }
        self.waiting = None;
        let action = procedure.action;
        self.procedure = Some(Running { procedure, at: 0, waiting: None, answer_until: None, action });
        self.run_steps();
    }

    pub(super) fn begin_halt(&mut self) {
        if self.serving.holds_role() {
            self.serving = Serving::Refusing;
        }
        self.stop_then_start = None;
        // A later start is no order of `prim` or `second`.
        self.forced = None;
        self.agreed = false;
        self.begin(procedure::HALT, "the state cannot be saved");
    }

    /// Begins a stop. A secondary in sync declares itself out of date first, so that its primary goes on at once.
    pub(super) fn begin_stop(&mut self, why: &str, then_start: Option<String>) {
        let in_sync = self.status.0 == ModuleState::Second && self.durable.data == DataState::UpToDate;
        if in_sync && self.peer_serves() {
            let number = grant::number_to_ask(&self.durable, self.heard_peer());
            self.promise(number, "this node stops");
        }
        self.live = false;
        self.forced = None;
        self.agreed = false;
        self.durable.running = then_start.is_some();
        let mut procedure = procedure::STOP;
        if then_start.is_some() {
            procedure.action = ScriptAction::StopStart;
        }
        self.stop_then_start = then_start;
        self.begin(procedure, why);
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

    /// A fault of this node: stop and start again, or give up once the retry budget is spent.
    pub(super) fn local_fault(&mut self, reason: &str) {
        self.event(EventLevel::Error, reason.to_owned());
        let leaving = [Kind::Stop, Kind::Swap, Kind::Lose, Kind::Halt];
        if self.status == automaton::STOP || leaving.into_iter().any(|kind| self.procedure_is(kind)) {
            return;
        }
        self.counted_stopstart(reason);
    }

    /// Stops and starts the module on behalf of a checker, a script or a fault, within the retry budget.
    pub(super) fn counted_stopstart(&mut self, reason: &str) {
        if self.budget.spend(self.now) {
            self.begin_stop(reason, Some("automatic start after a stopstart".to_owned()));
        } else {
            self.begin_stop(&self.exhausted(reason), None);
        }
    }

    pub(super) fn exhausted(&self, reason: &str) -> String {
        format!(
            "{reason}; {} restarts within {} s are used up (maxloop): the module stops here; look at the application log, \
             repair, then start it",
            self.settings.maxloop,
            self.settings.loop_interval_ms / 1000
        )
    }

    fn run_steps(&mut self) {
        while let Some(running) = &self.procedure {
            if running.waiting.is_some() {
                return;
            }
            let Some(step) = running.procedure.steps.get(running.at).copied() else {
                self.procedure = None;
                return;
            };
            match self.run_step(step) {
                Progress::Over => return,
                Progress::Done => self.step_done(),
                Progress::Waits(answer) => {
                    let until = self.now.after(ANSWER_PATIENCE_MS);
                    if let Some(running) = &mut self.procedure {
                        running.waiting = Some(answer);
                        running.answer_until = matches!(answer, Answer::Fenced | Answer::Serving).then_some(until);
                    }
                }
            }
        }
    }

    fn step_done(&mut self) {
        if let Some(running) = &mut self.procedure {
            running.at += 1;
            running.waiting = None;
            running.answer_until = None;
        }
    }

    fn run_step(&mut self, step: Step) -> Progress {
        match step {
            Step::Prestart => self.run_script(Script::Prestart, false),
            Step::Inspect => {
                self.data_plane_used = true;
                self.replica(ReplicaCommand::Inspect);
                Progress::Waits(Answer::Inspected)
            }
            Step::Fence if self.following.is_none() => Progress::Done,
            Step::Fence => {
                self.replica(ReplicaCommand::Fence);
                Progress::Waits(Answer::Fenced)
            }
            Step::AskWitness => self.ask_for_promotion(),
            Step::Grant => self.take_grant(),
            Step::Serve => {
                self.data_plane_used = true;
                self.replica(ReplicaCommand::Serve { generation: self.durable.generation });
                Progress::Waits(Answer::Serving)
            }
            // Suspended since the grant: not before it is sure that nobody else serves.
            Step::SetAddresses | Step::StartPrim if self.slept_until.is_some() => Progress::Waits(Answer::Proof),
            Step::SetAddresses => {
                self.addresses_set = true;
                let run = self.next_run();
                self.act(Act::SetAddresses { run });
                Progress::Waits(Answer::Addresses(run))
            }
            Step::StartPrim => {
                self.application_started = true;
                self.run_script(Script::StartPrim, false)
            }
            Step::Ready => {
                self.healthy = !self.addresses_dropped;
                self.act(Act::SetHealth { ready: self.healthy });
                self.act(Act::StartChecks { when: When::Prim });
                self.take_edge(Trigger::Started, "");
                Progress::Done
            }
            Step::Unready => {
                self.healthy = false;
                self.act(Act::SetHealth { ready: false });
                self.act(Act::StopChecks { when: When::Prim });
                Progress::Done
            }
            Step::Refuse if !self.data_plane_used => Progress::Done,
            Step::Refuse => {
                self.replica(ReplicaCommand::Refuse);
                Progress::Done
            }
            Step::ReleaseAddresses => self.release_addresses(),
            Step::AwaitScript if self.script.is_none() => Progress::Done,
            Step::AwaitScript => Progress::Waits(Answer::AnyScript),
            Step::StopPrim | Step::StopPrimForce if !self.application_started => Progress::Done,
            Step::StopPrim => self.run_script(Script::StopPrim, false),
            Step::StopPrimForce => self.run_script(Script::StopPrim, true),
            Step::Release => self.release_and_wait(self.serving == Serving::Refusing),
            Step::ReleaseAbort => self.release_and_wait(true),
            Step::HandOver => self.hand_over(),
            Step::Park => self.park(),
            Step::Poststop => self.run_script(Script::Poststop, false),
            Step::Stopped => self.stopped(),
        }
    }

    pub(super) fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs
    }

    fn run_script(&mut self, script: Script, force: bool) -> Progress {
        if !self.settings.has_scripts {
            return Progress::Done;
        }
        let run = self.next_run();
        let (kind, action) = match &self.procedure {
            Some(running) => (running.kind(), running.action),
            None => return Progress::Over,
        };
        let from = match (script, kind) {
            (Script::Prestart, _) => ModuleState::Stop,
            (Script::StartPrim, Kind::Promote) => ModuleState::Wait,
            _ => self.status.0,
        };
        let to = match (script, kind) {
            (Script::Prestart, _) => ModuleState::Wait,
            (Script::Poststop, _) => ModuleState::Stop,
            (Script::StartPrim, _) | (_, Kind::Restart) => self.status.0,
            _ => ModuleState::Wait,
        };
        self.script = Some(run);
        let call = if force { " force" } else { "" };
        self.event(EventLevel::State, format!("run {}{call}", script.file_name()));
        self.act(Act::RunScript { run, script, force, from, to, action });
        Progress::Waits(Answer::Script(run))
    }

    /// Decides again with what is known now, and saves the grant: from here on this node is the primary.
    fn take_grant(&mut self) -> Progress {
        let verdict = arbiter::decide(&self.situation());
        let Decision::Promote { source, number } = verdict.decision else {
            let spoken = if self.heard() { &self.settings.peer_name } else { "the witness" };
            let text = format!("does not become primary after all: {spoken} has spoken");
            self.event(EventLevel::Warning, text);
            self.procedure = None;
            if let Some(following) = &mut self.following {
                // The stream is fenced: only a new session can be followed.
                following.lost = true;
                following.connected = false;
            }
            if self.status == automaton::SECOND {
                self.take_edge(Trigger::FellBehind, "the stream is fenced");
            }
            return Progress::Over;
        };
        let continues = match source {
            Source::Force => true,
            _ if self.durable.solo => self.durable.continued,
            _ => self.durable.was_primary,
        };
        let id = self.draw();
        grant::take(&mut self.durable, number, id, continues);
        self.stop_following();
        self.live = false;
        self.slept_until = None;
        self.forced = None;
        self.agreed = false;
        self.asking = None;
        self.swap_request = None;
        self.serving = Serving::Opening;
        let why = format!("{}: {}", self.durable.generation, source.reason(&self.settings.peer_name));
        self.take_edge(Trigger::Granted, &why);
        Progress::Done
    }

    /// Orders the data plane to let go; the answer is not waited for.
    pub(super) fn release(&mut self, abort: bool) {
        self.releases_pending += 1;
        self.replica(ReplicaCommand::Release { abort });
    }

    fn release_and_wait(&mut self, abort: bool) -> Progress {
        if !self.data_plane_used {
            self.serving = Serving::No;
            return Progress::Done;
        }
        self.release(abort);
        Progress::Waits(Answer::Released { until: self.now.after(RELEASE_PATIENCE_MS), aborted: abort })
    }

    /// The graceful release under way is not fast enough any more.
    pub(super) fn hurry_release(&mut self) {
        let graceful = self
            .procedure
            .as_ref()
            .is_some_and(|running| matches!(running.waiting, Some(Answer::Released { aborted: false, .. })));
        if graceful {
            self.release(true);
            let until = self.now.after(RELEASE_PATIENCE_MS);
            if let Some(running) = &mut self.procedure {
                running.waiting = Some(Answer::Released { until, aborted: true });
            }
        }
    }

    /// Whatever this node did not release in time is aborted; what cannot be aborted is left dead.
    pub(super) fn check_step_deadline(&mut self) {
        let answer_until = self.procedure.as_ref().and_then(|running| running.answer_until);
        if answer_until.is_some_and(|until| self.now >= until) {
            return self.local_fault("the data plane does not answer: see the agent's log and the disk below it");
        }
        let Some(Answer::Released { until, aborted }) = self.procedure.as_ref().and_then(|running| running.waiting)
        else {
            return;
        };
        if self.now < until {
            return;
        }
        if aborted {
            let text = "the data plane does not release the replicated directories; going on, its mount is dead";
            self.event(EventLevel::Error, text.to_owned());
            self.releases_pending = 0;
            self.released();
        } else {
            let text = "processes still use the replicated directories: their mount is aborted";
            self.event(EventLevel::Warning, text.to_owned());
            self.hurry_release();
        }
    }

    fn hand_over(&mut self) -> Progress {
        let planned = self.procedure_is(Kind::Swap);
        if (planned || self.settings.failover) && self.peer_can_take_over() {
            let number = grant::number_to_ask(&self.durable, self.heard_peer());
            self.promise(number, "handed over");
        }
        Progress::Done
    }

    fn park(&mut self) -> Progress {
        if matches!(self.status.0, ModuleState::Alone | ModuleState::Prim) {
            self.take_edge(Trigger::Released, "");
        }
        Progress::Done
    }

    fn stopped(&mut self) -> Progress {
        self.procedure = None;
        self.waiting = None;
        self.take_edge(Trigger::Stopped, "");
        if let Some(actor) = self.stop_then_start.take() {
            self.begin(procedure::START, &actor);
        }
        Progress::Over
    }

    fn answered(&mut self, answer: Answer) {
        let waited = self.procedure.as_ref().is_some_and(|running| running.waiting == Some(answer));
        if waited {
            self.step_done();
            self.run_steps();
        }
    }

    pub(super) fn on_inspected(&mut self) {
        self.answered(Answer::Inspected);
    }

    pub(super) fn on_fenced(&mut self) {
        self.answered(Answer::Fenced);
    }

    /// Before the grant: ask the witness, where its word is needed and not there yet.
    fn ask_for_promotion(&mut self) -> Progress {
        match arbiter::decide(&self.situation()).decision {
            Decision::AskWitness { number } => self.ask_witness(number),
            Decision::Wait(Wait::Witness) => {}
            _ => return Progress::Done,
        }
        Progress::Waits(Answer::Witness)
    }

    fn release_addresses(&mut self) -> Progress {
        self.addresses_dropped = false;
        if !std::mem::take(&mut self.addresses_set) {
            return Progress::Done;
        }
        let run = self.next_run();
        self.act(Act::ReleaseAddresses { run });
        Progress::Waits(Answer::Addresses(run))
    }

    /// It is sure that nobody else serves: the step that waited for that is tried again.
    pub(super) fn on_proof(&mut self) {
        if let Some(running) = self.procedure.as_mut().filter(|running| running.waiting == Some(Answer::Proof)) {
            running.waiting = None;
            self.run_steps();
        }
    }

    pub(super) fn on_witness_word(&mut self) {
        self.answered(Answer::Witness);
    }

    pub(super) fn on_mounted(&mut self) {
        self.answered(Answer::Serving);
    }

    pub(super) fn on_released(&mut self) {
        self.releases_pending = self.releases_pending.saturating_sub(1);
        if self.releases_pending == 0 {
            self.released();
        }
    }

    fn released(&mut self) {
        let Some(answer @ Answer::Released { .. }) = self.procedure.as_ref().and_then(|running| running.waiting) else {
            return;
        };
        self.data_plane_used = false;
        self.serving = Serving::No;
        self.asking = None;
        self.answered(answer);
    }

    /// The data plane cannot do what it was told, or is gone.
    pub(super) fn on_data_plane_fault(&mut self, reason: &str, gone: bool) {
        let waiting = self.procedure.as_ref().and_then(|running| running.waiting);
        if gone {
            self.releases_pending = 0;
        }
        if let Some(Answer::Released { aborted, .. }) = waiting {
            self.event(EventLevel::Warning, format!("data plane: {reason}"));
            if aborted {
                self.releases_pending = 0;
                self.released();
            } else {
                self.hurry_release();
            }
            return;
        }
        if self.data_plane_used {
            let what = if gone { "the data plane is gone" } else { "the data plane failed" };
            self.local_fault(&format!("{what}: {reason}"));
        }
    }

    pub(super) fn on_addresses_done(&mut self, run: u64, error: Option<String>) {
        let step = self.current_step();
        if let Some(error) = error {
            if self.restoring.take() == Some(run) {
                return self.local_fault(&format!("the virtual addresses cannot be set again: {error}"));
            }
            let waited = self.procedure.as_ref().is_some_and(|running| running.waiting == Some(Answer::Addresses(run)));
            if waited && step == Some(Step::SetAddresses) {
                return self.local_fault(&format!("the virtual addresses cannot be set: {error}"));
            }
            self.event(EventLevel::Error, format!("the virtual addresses cannot be released: {error}"));
        }
        self.answered(Answer::Addresses(run));
    }

    fn current_step(&self) -> Option<Step> {
        self.procedure.as_ref().and_then(|running| running.procedure.steps.get(running.at).copied())
    }

    pub(super) fn on_script_exited(&mut self, run: u64, outcome: ScriptOutcome) {
        if self.script != Some(run) {
            return;
        }
        self.script = None;
        let step = self.current_step();
        let problem = match outcome {
            ScriptOutcome::Exited(0) | ScriptOutcome::Absent => None,
            ScriptOutcome::Exited(code) => Some(format!("ended with exit code {code}")),
            ScriptOutcome::Signalled(signal) => Some(format!("was ended by signal {signal}")),
            ScriptOutcome::TimedOut => Some("ran too long and was ended".to_owned()),
            ScriptOutcome::NotStarted => Some("could not be started".to_owned()),
        };
        let waited = self.procedure.as_ref().is_some_and(|running| running.waiting == Some(Answer::Script(run)));
        if waited && let Some(problem) = problem {
            let script = step.and_then(Step::script).map_or("a script", Script::file_name);
            let text = format!("{script} {problem}: see the application log");
            // An exit code is a hint, as in the reference: a script that wants the module stopped says so with
            // `safekit stop -i`. A start script that never came to its end is another matter.
            if step == Some(Step::StartPrim) && !matches!(outcome, ScriptOutcome::Exited(_)) {
                return self.local_fault(&text);
            }
            self.event(EventLevel::Warning, text);
        }
        self.answered(Answer::AnyScript);
        self.answered(Answer::Script(run));
    }

    /// A checker found too few processes of the application.
    pub(super) fn on_process_missing(&mut self, name: &str, action: CheckAction) {
        let ready = self.status == automaton::PRIM || self.status == automaton::ALONE;
        if !ready || self.procedure.is_some() {
            return;
        }
        let reason = format!("process {name} is missing");
        self.event(EventLevel::Error, reason.clone());
        match action {
            CheckAction::NoAction | CheckAction::Wait | CheckAction::Swap => {}
            CheckAction::Stop => self.begin_stop(&reason, None),
            CheckAction::StopStart => self.counted_stopstart(&reason),
            CheckAction::Restart => self.counted_restart(&reason),
        }
    }

    pub(super) fn counted_restart(&mut self, reason: &str) {
        if self.budget.spend(self.now) {
            self.begin(procedure::RESTART, reason);
        } else {
            self.begin_stop(&self.exhausted(reason), None);
        }
    }
}
