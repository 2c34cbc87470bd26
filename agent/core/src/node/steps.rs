//! Carries procedures out: one step after the other, each act answered by an input (`answers`).

use super::data::Aside;
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
pub(super) const RELEASE_PATIENCE_MS: u64 = 10_000;

/// A data plane that does not fence or mount in this time is given up.
const ANSWER_PATIENCE_MS: u64 = 30_000;

/// The procedure under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) procedure: Procedure,
    pub(super) at: usize,
    pub(super) waiting: Option<Answer>,
    /// The data plane has to answer until then.
    pub(super) answer_until: Option<Instant>,
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

    /// It waits to be sure, after a suspension, that nobody else serves.
    pub(super) fn waits_for_proof(&self) -> bool {
        self.waiting == Some(Answer::Proof)
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
            None => self.event(EventLevel::Event, why.to_owned()),
        }
        if leaves_role {
            self.stop_following();
            self.asking = None;
        }
        self.waiting = None;
        self.found.missing = None;
        self.app.procedure_begins(procedure.kind);
        self.machine.reset();
        self.procedure = Some(Running { procedure, at: 0, waiting: None, answer_until: None });
        self.run_steps();
    }

    pub(super) fn run_steps(&mut self) {
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

    pub(super) fn step_done(&mut self) {
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
                // Dropped after a suspension: the peer must not be told before they are gone.
                return self.dropping.map_or(Progress::Done, |run| Progress::Waits(Answer::Addresses(run)));
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
                self.tell_compare_all();
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

    pub(super) fn set_health(&mut self, ready: bool) {
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
            let text = format!("does not become primary after all: {}", self.decision_text(&verdict.decision));
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
        self.aside = Aside::No;
        self.served = true;
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

    fn hand_over(&mut self) -> Progress {
        let planned = self.procedure_is(Kind::Swap);
        if (planned || self.settings.failover) && !self.is_mute() && self.peer_can_take_over() {
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
        if self.status != automaton::STOP {
            self.take_edge(Trigger::Stopped, "");
        }
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
}
