//! The process checker (`<errd>`): are the processes of the application there, and not too many of them?

mod units;

use super::Inbox;
use super::checks::Setting;
use super::left;
use super::processes::{self, Process, Selection};
use super::program::{self, Program};
use super::watch::{INTERVAL_MIN, Stopped, Teller};
use holdfast_api::resource::ResourceValue;
use holdfast_api::userconfig::{Proc, ProcAction};
use holdfast_core::input::{CheckAction, Input};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Who says so.
const BY: &str = "errd";

/// Name of a `<proc>`'s resource.
pub(super) fn resource(proc: &Proc) -> String {
    format!("proc.{}", proc.name)
}

/// How many are wanted, for people.
pub(super) fn wanted(proc: &Proc) -> String {
    let least = proc.atleast.map(|least| format!("atleast={least}"));
    let most = proc.atmax.map(|most| format!("atmax={most}"));
    least.into_iter().chain(most).collect::<Vec<_>>().join(" ")
}

/// What is wrong with this number of processes, in plain words.
fn problem(proc: &Proc, found: usize) -> Option<String> {
    let (what, name) = (if proc.service { "service" } else { "process" }, &proc.name);
    let least = proc.atleast.map_or(0, |least| least as usize);
    let most = proc.atmax.map_or(usize::MAX, |most| most as usize);
    if found < least {
        return Some(match (proc.service, found) {
            (true, _) => format!("service {name} is not running"),
            (false, 0) => format!("process {name} is missing"),
            (false, _) => format!("process {name} runs {found} times, at least {least} are wanted"),
        });
    }
    (found > most).then(|| match most {
        0 => format!("{what} {name} runs, and must not"),
        _ => format!("{what} {name} runs {found} times, at most {most} are wanted"),
    })
}

/// One `<proc>` while it is watched.
#[derive(Debug)]
struct Watched {
    proc: Proc,
    selection: Selection,
    teller: Teller,
    failing: bool,
}

/// The watch on the processes of one class.
#[derive(Debug)]
pub(super) struct ClassWatch {
    setting: Arc<Setting>,
    inbox: Inbox,
    watched: Vec<Watched>,
    /// The lack of systemd was told.
    told: bool,
}

impl ClassWatch {
    /// Over these processes of the module.
    pub(super) fn new(setting: Arc<Setting>, procs: Vec<Proc>, inbox: &Inbox) -> Self {
        let watched = procs.into_iter().map(|proc| {
            // Expressions were checked when the module was configured.
            let selection = Selection::of(&proc).unwrap_or_default();
            let teller = Teller::new(inbox, resource(&proc), BY);
            Watched { proc, selection, teller, failing: false }
        });
        Self { watched: watched.collect(), setting, inbox: inbox.clone(), told: false }
    }

    /// Looks every `polltimer` until told to end; the first look comes after one `polltimer`, so that the application is
    /// up by then. At the end the resources are `init` again.
    pub(super) async fn run(mut self, mut stopped: Stopped) {
        let period = Duration::from_millis(self.setting.errd.polltimer_ms).max(INTERVAL_MIN);
        self.end_left_handlers().await;
        let looks = async {
            for look in 1u64.. {
                tokio::time::sleep(period).await;
                self.look(look).await;
            }
        };
        tokio::select! {
            biased;
            _ = &mut stopped => {}
            () = looks => {}
        }
        for watched in &mut self.watched {
            watched.teller.say(ResourceValue::Init, None).await;
        }
    }

    /// Handlers that a former agent has left running would act beside those of this one.
    async fn end_left_handlers(&self) {
        for Watched { proc, .. } in &self.watched {
            let (ProcAction::Handler(program), Some(programs)) = (&proc.action, &self.setting.programs) else {
                continue;
            };
            let (programs, module, name) = (programs.clone(), self.setting.module.clone(), resource(proc));
            let file = program::path(&programs, program);
            let end = move || left::end_handler(&programs, &module, &name, &file);
            let _ = tokio::task::spawn_blocking(end).await;
        }
    }

    async fn look(&mut self, look: u64) {
        // One that starts later skips its first looks.
        let due = |proc: &Proc| look >= u64::from(proc.start_after.max(1));
        let Ok(running) = tokio::task::spawn_blocking(|| processes::list(Path::new("/proc"))).await else {
            return;
        };
        for watched in self.watched.iter_mut().filter(|watched| due(&watched.proc)) {
            match found(watched, &running).await {
                Ok(found) => {
                    let problem = problem(&watched.proc, found);
                    watched.judge(&self.setting, &self.inbox, problem).await;
                }
                Err(reason) => {
                    watched.teller.say(ResourceValue::Unknown, Some(&reason)).await;
                    if !std::mem::replace(&mut self.told, true) {
                        let name = &watched.proc.name;
                        self.setting.warn(&format!(
                            "service {name} is not watched: {reason}; watch its process by name instead (service=\"no\")"
                        ));
                    }
                }
            }
        }
    }
}

/// How many processes, or services, answer to a `<proc>` now.
async fn found(watched: &Watched, running: &[Process]) -> Result<usize, String> {
    if watched.proc.service {
        return units::is_running(&watched.proc.name).await.map(usize::from);
    }
    Ok(running.iter().filter(|process| watched.selection.holds(process)).count())
}

impl Watched {
    /// Says how the processes are, and has the action taken if they are not as wanted.
    async fn judge(&mut self, setting: &Setting, inbox: &Inbox, problem: Option<String>) {
        let Some(problem) = problem else {
            self.failing = false;
            return self.teller.say(ResourceValue::Up, None).await;
        };
        let first = !std::mem::replace(&mut self.failing, true);
        self.teller.say(ResourceValue::Down, Some(&problem)).await;
        let action = match &self.proc.action {
            ProcAction::Restart => CheckAction::Restart,
            ProcAction::StopStart => CheckAction::StopStart,
            ProcAction::Stop => CheckAction::Stop,
            // Said once, not at each look.
            ProcAction::NoAction if first => CheckAction::NoAction,
            ProcAction::NoAction => return,
            ProcAction::Handler(program) => match self.handled(setting, program).await {
                Ok(()) => return,
                Err(why) => {
                    let problem = format!("{problem}, and its handler {program} {why}");
                    let name = self.proc.name.clone();
                    let (action, services) = (CheckAction::StopStart, Vec::new());
                    let _ = inbox.send(Input::ProcessMissing { name, problem, action, services }).await;
                    return;
                }
            },
        };
        // A failure means that the engine has ended.
        let (name, services) = (self.proc.name.clone(), self.proc.restart_services.clone());
        let _ = inbox.send(Input::ProcessMissing { name, problem, action, services }).await;
    }

    /// Runs the handler: exit code 0 is good. It counts its own restarts (`incloop`) and uses a class of its own.
    async fn handled(&self, setting: &Setting, program: &str) -> Result<(), String> {
        let Some(programs) = &setting.programs else {
            return Err("is not run: the module has no <user>".to_owned());
        };
        let limit = Duration::from_millis(programs.user.nicestop_timeout_ms);
        let mut running = Program::start(programs, &setting.module, &resource(&self.proc), program, &[])
            .map_err(|error| format!("cannot be started ({error})"))?;
        match tokio::time::timeout(limit, running.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("failed ({status})")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                running.end().await;
                Err(format!("ran longer than {} s", limit.as_secs()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::problem;
    use holdfast_api::userconfig::{Proc, ProcAction};

    #[test]
    fn too_few_and_too_many_are_told_in_words() {
        let proc = |service, atleast, atmax| Proc {
            name: "java".to_owned(),
            service,
            nameregex: None,
            argregex: None,
            atleast,
            atmax,
            action: ProcAction::Restart,
            class: "prim".to_owned(),
            start_after: 0,
            restart_services: Vec::new(),
        };
        let text = |proc: &Proc, found| problem(proc, found).unwrap();
        assert_eq!(problem(&proc(false, Some(1), None), 7), None);
        assert_eq!(problem(&proc(false, None, None), 0), None);
        assert_eq!(text(&proc(false, Some(1), None), 0), "process java is missing");
        assert!(text(&proc(false, Some(2), None), 1).contains("at least 2"));
        assert!(text(&proc(false, None, Some(1)), 2).contains("at most 1"));
        assert!(text(&proc(false, None, Some(0)), 1).contains("must not"));
        assert!(text(&proc(true, Some(1), None), 0).contains("service java"));
    }
}
