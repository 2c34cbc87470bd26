//! Carries procedures out: one step after the other, each act answered by an input.

use super::serving::Serving;
use super::{After, Node};
use crate::arbiter::{self, Decision, Wait};
use crate::automaton::{self, Trigger};
use crate::grant::{self, Source};
use crate::output::{Act, EventLevel, Script};
use crate::procedure::{self, Kind, Procedure, Step};
use crate::replica::ReplicaCommand;
use crate::time::Instant;
use holdfast_api::checker::When;
use holdfast_api::state::ModuleState;
use holdfast_api::userconfig::Mode;

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
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
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
pub(super) enum Progress {
    Done,
    Waits(Answer),
    /// The procedure is over (or another one has begun).
    Over,
}

impl Progress {
    pub(super) fn waits_for_script(run: u64) -> Self {
        Self::Waits(Answer::Script(run))
    }
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

    /// The procedure under way leads out of the role.
    pub(super) fn leaves(&self) -> bool {
        self.procedure.as_ref().is_some_and(|running| running.kind().leaves())
    }

    /// Begins a procedure; one under way is given up, and its script ended.
    pub(super) fn begin(&mut self, procedure: Procedure, why: &str) {
        if self.procedure.is_some() {
            self.end_script();
        }
        let leaves_role = procedure.kind.stops() || procedure.kind == Kind::Wait;
        let trigger = match (procedure.kind, self.status) {
            (Kind::Start, automaton::STOP) => Some(Trigger::StartOrdered),
            (_, automaton::ALONE | automaton::PRIM | automaton::UP) => Some(Trigger::Leaving),
            (_, automaton::BLOCKED | automaton::FOLLOWING | automaton::SECOND) if leaves_role => {
                Some(Trigger::StopOrdered)
            }
            _ => None,
        };
        match trigger {
            Some(trigger) => self.take_edge(trigger, why),
            None if why.is_empty() => {}
            None => self.event(EventLevel::Info, why.to_owned()),
        }
        if leaves_role {
            self.stop_following();
            self.asking = None;
        }
        self.waiting = None;
        self.app.procedure_begins(procedure.kind);
        self.machine.reset();
        self.procedure = Some(Running { procedure, at: 0, waiting: None, answer_until: None });
        self.run_steps();
    }

    fn run_steps(&mut self) {
        while let Some(running) = &self.procedure {
            if running.waiting.is_some() {
                return;
            }
            let Some(step) = running.procedure.step(running.at) else {
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
        let Some(Running { procedure, .. }) = &self.procedure else {
            return Progress::Over;
        };
        let (action, keep) = (procedure.action, procedure.keep);
        let towards = procedure.towards.unwrap_or(self.status.0);
        match step {
            Step::Transition(state) => {
                let runs = self.run_transition(state, action);
                self.after_script(runs)
            }
            Step::Prestart => {
                let runs = self.run_bracket(Script::Start(When::Pre), action);
                self.after_script(runs)
            }
            Step::Poststop => {
                let runs = self.run_bracket(Script::Stop(When::Pre), action);
                self.after_script(runs)
            }
            Step::StopLevels => {
                let runs = self.stop_next_level(keep, towards, action);
                self.after_script(runs)
            }
            // Suspended since the grant: not before it is sure that nobody else serves.
            Step::SetAddresses | Step::StartLevels if self.unproven() => Progress::Waits(Answer::Proof),
            Step::StartLevels => {
                let runs = self.start_next_level(action);
                self.after_script(runs)
            }
            Step::ForceLevels => {
                let runs = self.force_next_level(action);
                self.after_script(runs)
            }
            Step::AwaitScript if self.script.is_none() => Progress::Done,
            Step::AwaitScript => {
                self.end_script();
                Progress::Waits(Answer::AnyScript)
            }
            Step::WatchPre => self.watch_pre(true),
            Step::UnwatchPre => self.watch_pre(false),
            Step::AskWitness => self.ask_for_promotion(),
            Step::Grant => self.take_grant(),
            Step::Open => {
                self.take_edge(Trigger::Opened, "");
                Progress::Done
            }
            Step::Ready => {
                self.set_health(!self.addresses_dropped);
                self.take_edge(Trigger::Started, "");
                Progress::Done
            }
            Step::Unready => {
                self.set_health(false);
                Progress::Done
            }
            Step::HandOver => self.hand_over(),
            Step::Park => self.park(),
            Step::Stopped => self.stopped(),
            Step::SetAddresses | Step::ReleaseAddresses => self.run_address_step(step),
            Step::Inspect | Step::Fence | Step::Serve | Step::Refuse | Step::Release | Step::ReleaseAbort => {
                self.run_data_step(step)
            }
        }
    }

    fn run_address_step(&mut self, step: Step) -> Progress {
        let set = step == Step::SetAddresses;
        if !set {
            self.addresses_dropped = false;
            if !self.addresses_set {
                return Progress::Done;
            }
        }
        self.addresses_set = set;
        let run = self.next_run();
        self.act(if set { Act::SetAddresses { run } } else { Act::ReleaseAddresses { run } });
        Progress::Waits(Answer::Addresses(run))
    }

    fn run_data_step(&mut self, step: Step) -> Progress {
        match step {
            Step::Inspect if self.settings.mode == Mode::Light => Progress::Done,
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
            Step::Serve => {
                self.data_plane_used = true;
                self.replica(ReplicaCommand::Serve { generation: self.durable.generation });
                Progress::Waits(Answer::Serving)
            }
            Step::Refuse if !self.data_plane_used => Progress::Done,
            Step::Refuse => {
                self.replica(ReplicaCommand::Refuse);
                Progress::Done
            }
            Step::Release => self.release_and_wait(self.serving == Serving::Refusing),
            _ => self.release_and_wait(true),
        }
    }

    fn set_health(&mut self, ready: bool) {
        self.healthy = ready;
        self.act(Act::SetHealth { ready });
    }

    fn watch_pre(&mut self, look: bool) -> Progress {
        if look {
            self.act(Act::StartChecks { when: When::Pre });
        } else {
            self.act(Act::StopChecks { when: When::Pre });
            self.forget_checks(When::Pre);
        }
        Progress::Done
    }

    pub(super) fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs
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
        self.claims = false;
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
        if (planned || self.settings.failover) && !self.mute && self.peer_can_take_over() {
            let number = grant::number_to_ask(&self.durable, self.heard_peer());
            self.promise(number, "handed over");
        }
        Progress::Done
    }

    fn park(&mut self) -> Progress {
        if matches!(self.status.0, ModuleState::Alone | ModuleState::Prim | ModuleState::Up) {
            self.take_edge(Trigger::Released, "");
        }
        Progress::Done
    }

    fn stopped(&mut self) -> Progress {
        self.procedure = None;
        self.waiting = None;
        self.take_edge(Trigger::Stopped, "");
        match std::mem::take(&mut self.after_stop) {
            After::Stay => {}
            After::Start(actor) => self.begin(procedure::START, &actor),
            After::Reboot => {
                let text =
                    "the machine is rebooted, as the configuration wants instead of a stopstart (automatic_reboot)";
                self.event(EventLevel::Error, text.to_owned());
                self.act(Act::Reboot);
            }
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

    /// A script has ended: a step that calls several goes on with the next.
    pub(super) fn script_answered(&mut self, run: u64) {
        let Some(running) = &mut self.procedure else { return };
        match running.waiting {
            Some(Answer::AnyScript) => self.step_done(),
            Some(Answer::Script(awaited)) if awaited == run => {
                running.waiting = None;
                let several = [Step::StopLevels, Step::StartLevels, Step::ForceLevels];
                if !running.procedure.step(running.at).is_some_and(|step| several.contains(&step)) {
                    self.step_done();
                }
            }
            _ => return,
        }
        self.run_steps();
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

    /// It was suspended, and does not know yet whether somebody serves meanwhile.
    fn unproven(&self) -> bool {
        self.slept_until.is_some() && self.settings.mode == Mode::Mirror
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
            if self.restoring.take_if(|restoring| *restoring == run).is_some() {
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
        self.procedure.as_ref().and_then(|running| running.procedure.step(running.at))
    }
}
