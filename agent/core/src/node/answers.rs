//! What the steps wait for has come, failed, or is overdue.

use super::Node;
use super::serving::Serving;
use super::steps::{Answer, RELEASE_PATIENCE_MS};
use crate::output::EventLevel;
use crate::procedure::Step;

impl Node {
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

    /// The data plane cannot do what it was told, or is gone.
    pub(super) fn on_data_plane_fault(&mut self, reason: &str, gone: bool) {
        let waiting = self.procedure.as_ref().and_then(|running| running.waiting);
        if gone {
            self.releases_pending = 0;
            self.stop_serving();
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

    /// Without its process nothing is acknowledged: there is nothing left to go on alone with.
    fn stop_serving(&mut self) {
        if self.serving.holds_role() {
            self.serving = Serving::Refusing;
            self.asking = None;
            self.resync = None;
        }
    }

    pub(super) fn on_addresses_done(&mut self, run: u64, error: Option<String>) {
        self.dropping.take_if(|dropping| *dropping == run);
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
