//! The application's scripts: which levels run, what runs next, and what the end of a script means.
//!
//! Inside a procedure its steps ask for the next script. Beside everything else ([`Node::accompany`]) the levels follow
//! the state: entering and leaving SECOND, ALONE to PRIM and back. Those scripts delay no decision, and no decision
//! waits for them.

use super::Node;
use super::steps::Progress;
use crate::automaton;
use crate::input::ScriptOutcome;
use crate::levels::Levels;
use crate::output::{Act, EventLevel, Script, ScriptAction};
use crate::procedure::Kind;
use crate::time::Instant;
use holdfast_api::checker::When;
use holdfast_api::state::ModuleState;

/// A script of a hurried stop that takes longer than this is ended.
const HURRIED_PATIENCE_MS: u64 = 5000;

/// What is known of the application.
#[derive(Clone, Debug)]
pub(super) struct Application {
    /// Levels whose start has begun and whose stop has not ended.
    pub(super) started: Levels,
    /// Of these, those with a script that was ended before its time: they are stopped before they count again.
    broken: Levels,
    /// Levels whose checkers look.
    pub(super) checked: Levels,
    /// The graceful stop of this level has ended, the forced one is next.
    forcing: Option<When>,
    /// Levels stopped since the module started: those that are stopped by force once more at its end.
    pub(super) stopped: Levels,
    /// What is left of that.
    to_force: Option<Levels>,
    /// The state that the scripts know, and the one before it.
    pub(super) announced: ModuleState,
    pub(super) left: ModuleState,
    /// A restart of a secondary's application.
    pub(super) recycle: Recycle,
    /// The services that a restart is about, if it is not about all.
    pub(super) services: Vec<String>,
    /// On the way from PRIM to SECOND by a swap: WAIT is only passed through, and no script hears of it.
    pub(super) returning: bool,
}

impl Default for Application {
    fn default() -> Self {
        Self {
            started: Levels::NONE,
            broken: Levels::NONE,
            checked: Levels::NONE,
            forcing: None,
            stopped: Levels::NONE,
            to_force: None,
            announced: ModuleState::Stop,
            left: ModuleState::Stop,
            recycle: Recycle::No,
            services: Vec::new(),
            returning: false,
        }
    }
}

impl Application {
    /// Nothing is being changed about it.
    pub(super) fn quiet(&self) -> bool {
        self.broken == Levels::NONE
            && self.forcing.is_none()
            && self.to_force.is_none()
            && self.recycle == Recycle::No
            && !self.returning
    }

    /// Nothing is known of what runs: every level may.
    pub(super) fn may_all_run(&mut self) {
        self.stopped = Levels::ALL;
        self.announced = ModuleState::Wait;
    }

    /// A procedure begins.
    pub(super) fn procedure_begins(&mut self, kind: Kind) {
        self.to_force = None;
        self.recycle = Recycle::No;
        self.returning = kind == Kind::Swap;
        if kind == Kind::Start {
            self.stopped = Levels::NONE;
        }
    }
}

/// Where the restart of a secondary's application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recycle {
    /// There is none.
    No,
    /// Every level is to stop.
    Stop,
    /// Every level is to start.
    Start,
}

/// A script that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Its number.
    pub(super) run: u64,
    script: Script,
    force: bool,
    /// It was told to end.
    told: bool,
    /// It is told to end then.
    until: Option<Instant>,
}

impl Call {
    /// When somebody has to look after it.
    pub(super) fn deadline(self) -> Option<Instant> {
        self.until.filter(|_| !self.told)
    }
}

impl Node {
    /// Levels that the present state wants.
    pub(super) fn wanted_levels(&self) -> Levels {
        match self.status.0 {
            ModuleState::Wait if self.app.returning => Levels::BOTH,
            state => Levels::of(state),
        }
    }

    /// Lets the levels follow the state, one script at a time, while no procedure runs.
    pub(super) fn accompany(&mut self) {
        if self.procedure.is_some() || self.script.is_some() || self.is_mute() || self.status == automaton::STOP {
            return;
        }
        if self.status.0 != ModuleState::Wait {
            self.app.returning = false;
        }
        if self.status.0 != ModuleState::Second {
            self.app.recycle = Recycle::No;
        }
        let keep = if self.app.recycle == Recycle::Stop { Levels::NONE } else { self.wanted_levels() };
        let towards = self.status.0;
        let action = self.accompanying_action();
        if self.stop_next_level(keep, towards, action) {
            return;
        }
        if self.app.recycle == Recycle::Stop {
            self.app.recycle = Recycle::Start;
        }
        let passing = towards == ModuleState::Wait && self.app.returning;
        if !passing && self.run_transition(towards, action) {
            return;
        }
        if !self.start_next_level(action) {
            self.app.recycle = Recycle::No;
        }
    }

    fn accompanying_action(&self) -> ScriptAction {
        match self.status.0 {
            _ if self.app.recycle != Recycle::No => ScriptAction::StopStart,
            ModuleState::Wait => ScriptAction::StopWait,
            _ => ScriptAction::Start,
        }
    }

    /// Whether scripts are told that the state stays as it is.
    fn restarting(&self) -> bool {
        self.app.recycle != Recycle::No || self.procedure_is(Kind::Restart)
    }

    /// Runs the next stop script of the levels that are not kept; false if there is none left.
    pub(super) fn stop_next_level(&mut self, keep: Levels, towards: ModuleState, action: ScriptAction) -> bool {
        let from = if self.restarting() { towards } else { self.app.announced };
        loop {
            let leaving = self.app.started.minus(keep.minus(self.app.broken));
            let Some(level) = self.app.forcing.or_else(|| leaving.next_to_stop()) else {
                return false;
            };
            self.stop_checks(level);
            let force = self.hurried || self.app.forcing == Some(level);
            if self.run_script(Script::Stop(level), force, [from, towards], action) {
                return true;
            }
            self.level_stopped(level);
        }
    }

    /// Runs the next start script of the levels that are wanted; false if there is none left.
    pub(super) fn start_next_level(&mut self, action: ScriptAction) -> bool {
        let to = self.status.0;
        let from = if self.restarting() { to } else { self.app.left };
        while let Some(level) = self.wanted_levels().minus(self.app.started).next_to_start() {
            self.app.started = self.app.started.with(level);
            if self.run_script(Script::Start(level), false, [from, to], action) {
                return true;
            }
            self.start_checks(level);
        }
        false
    }

    /// Runs the next stop script with `force`, of all levels that have run; false if there is none left.
    pub(super) fn force_next_level(&mut self, action: ScriptAction) -> bool {
        let from = self.app.announced;
        let ends = matches!(self.status.0, ModuleState::Wait | ModuleState::Stop);
        let to = if ends { ModuleState::Stop } else { ModuleState::Wait };
        self.app.forcing = None;
        let all = self.app.stopped.union(self.app.started);
        let mut left = *self.app.to_force.get_or_insert(all);
        while let Some(level) = left.next_to_stop() {
            left = left.without(level);
            self.app.to_force = Some(left);
            self.stop_checks(level);
            if self.run_script(Script::Stop(level), true, [from, to], action) {
                return true;
            }
            self.level_stopped(level);
        }
        self.app.to_force = None;
        false
    }

    /// Tells the scripts of a new state; false if they know, or there is nobody to tell.
    pub(super) fn run_transition(&mut self, to: ModuleState, action: ScriptAction) -> bool {
        let from = self.app.announced;
        if from == to {
            return false;
        }
        self.app.left = from;
        self.app.announced = to;
        self.run_script(Script::Transition, false, [from, to], action)
    }

    /// Runs `prestart` or `poststop`; false if the module has none.
    pub(super) fn run_bracket(&mut self, script: Script, action: ScriptAction) -> bool {
        let states = match script {
            Script::Start(_) => [self.app.left, self.app.announced],
            _ => [self.app.announced, ModuleState::Stop],
        };
        self.run_script(script, false, states, action)
    }

    /// Runs a script; false if the module does not have it.
    fn run_script(&mut self, script: Script, force: bool, states: [ModuleState; 2], action: ScriptAction) -> bool {
        if !self.settings.scripts.contains(&script) {
            return false;
        }
        let run = self.next_run();
        let until = self.hurried.then(|| self.now.after(HURRIED_PATIENCE_MS));
        self.script = Some(Call { run, script, force, told: false, until });
        let call = if force { " force" } else { "" };
        self.event(EventLevel::Script, format!("run {}{call}", script.file_name()));
        let [from, to] = states;
        let services = if self.restarting() { self.app.services.clone() } else { Vec::new() };
        self.act(Act::RunScript { run, script, force, from, to, action, services });
        true
    }

    /// Ends the script that runs; it still comes back as exited.
    pub(super) fn end_script(&mut self) {
        if let Some(call) = &mut self.script
            && !call.told
        {
            call.told = true;
            let run = call.run;
            self.act(Act::EndScript { run });
        }
    }

    /// In a hurried stop no script takes long.
    pub(super) fn check_script_deadline(&mut self) {
        let late = self.script.filter(|call| call.deadline().is_some_and(|until| self.now >= until));
        if let Some(call) = late {
            let text = format!("{} takes too long for a stop in a hurry: it is ended", call.script.file_name());
            self.event(EventLevel::Warning, text);
            self.end_script();
        }
    }

    pub(super) fn start_checks(&mut self, level: When) {
        if !self.app.checked.has(level) {
            self.app.checked = self.app.checked.with(level);
            self.act(Act::StartChecks { when: level });
        }
    }

    fn stop_checks(&mut self, level: When) {
        if self.app.checked.has(level) {
            self.app.checked = self.app.checked.without(level);
            self.act(Act::StopChecks { when: level });
            self.forget_checks(level);
        }
    }

    /// Its checkers look now.
    pub(super) fn looks(&self, level: When) -> bool {
        level == When::Pre || self.app.checked.has(level)
    }

    fn level_stopped(&mut self, level: When) {
        let app = &mut self.app;
        app.started = app.started.without(level);
        app.broken = app.broken.without(level);
        app.stopped = app.stopped.with(level);
        app.forcing = app.forcing.filter(|forcing| *forcing != level);
    }

    /// What the end of a script means for its level.
    fn note_end(&mut self, call: Call) {
        // It is not called again; a start script always has to be made up for.
        let last_call = matches!(call.script, Script::Stop(_)) && (self.hurried || self.app.to_force.is_some());
        match call.script {
            Script::Start(When::Pre) | Script::Stop(When::Pre) | Script::Transition => {}
            Script::Start(level) | Script::Stop(level) if call.told && !last_call => {
                if self.app.started.has(level) {
                    self.app.broken = self.app.broken.with(level);
                }
            }
            Script::Start(level) => self.start_checks(level),
            Script::Stop(level) if call.force => self.level_stopped(level),
            Script::Stop(level) => self.app.forcing = Some(level),
        }
    }

    pub(super) fn on_script_exited(&mut self, run: u64, outcome: ScriptOutcome) {
        let Some(call) = self.script.filter(|call| call.run == run) else {
            return;
        };
        self.script = None;
        self.note_end(call);
        let problem = match outcome {
            ScriptOutcome::Exited(0) | ScriptOutcome::Absent => None,
            ScriptOutcome::Exited(code) => Some(format!("ended with exit code {code}")),
            ScriptOutcome::Signalled(signal) => Some(format!("was ended by signal {signal}")),
            ScriptOutcome::TimedOut => Some("ran too long and was ended".to_owned()),
            ScriptOutcome::NotStarted => Some("could not be started".to_owned()),
        };
        if let Some(problem) = problem.filter(|_| !call.told) {
            let text = format!("{} {problem}: see the application log", call.script.file_name());
            // An exit code is a hint, as in the reference: a script that wants the module stopped says so with
            // `safekit stop -i`. A start script that never came to its end is another matter.
            let starts = matches!(call.script, Script::Start(level) if level != When::Pre);
            if starts && !matches!(outcome, ScriptOutcome::Exited(_)) {
                return self.local_fault(&text);
            }
            self.event(EventLevel::Warning, text);
        }
        self.script_answered(run);
    }

    /// A step that needs one script: waits for it, or is done.
    pub(super) fn after_script(&self, runs: bool) -> Progress {
        match (runs, self.script) {
            (true, Some(call)) => Progress::waits_for_script(call.run),
            _ => Progress::Done,
        }
    }
}
