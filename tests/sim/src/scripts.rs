//! The module's scripts and checkers: how long they take, how they end, what they find.

use super::clock::Rng;
use super::cluster::{Cluster, Step};
use super::options::Options;
use holdfast_api::checker::When;
use holdfast_api::resource::ResourceValue;
use holdfast_core::input::{Input, ScriptOutcome};
use holdfast_core::output::Script;

/// A script that runs.
#[derive(Clone, Debug)]
pub struct Run {
    /// Number of the run.
    pub run: u64,
    /// Which script.
    pub script: Script,
    /// It was told to end.
    pub told: bool,
}

/// How long a script will take, in milliseconds, and how it will end.
pub fn draw(rng: &mut Rng, options: &Options) -> (u64, ScriptOutcome) {
    let took = rng.within(options.script_ms);
    if !rng.chance(options.script_fails) {
        return (took, ScriptOutcome::Exited(0));
    }
    let outcome = match rng.draw() % 4 {
        0 => ScriptOutcome::Exited(1),
        1 => ScriptOutcome::Signalled(11),
        2 => ScriptOutcome::TimedOut,
        _ => ScriptOutcome::NotStarted,
    };
    (took, outcome)
}

impl Cluster {
    /// One script at a time; and the application of a primary never starts beside that of a secondary.
    pub fn check_script(&mut self, host: usize, script: Script, force: bool) {
        let node = Self::name(host);
        let name = script.file_name();
        if let Some(running) = self.hosts[host].scripts.iter().find(|run| !run.told) {
            let running = running.script.file_name();
            return self.oracle_violated(format!("{node} runs {name} while {running} runs"));
        }
        if !self.options.scripts.contains(&script) {
            return self.oracle_violated(format!("{node} runs {name}, which the module does not have"));
        }
        let levels = &mut self.hosts[host].levels;
        match script {
            // Without a stop script nothing tells when a level has ended.
            Script::Start(level) if self.options.scripts.contains(&Script::Stop(level)) && level != When::Pre => {
                let other = if level == When::Prim { When::Second } else { When::Prim };
                let beside = matches!(level, When::Prim | When::Second) && levels.contains(&other);
                let twice = !levels.insert(level);
                if beside || twice {
                    let what = if twice { "a second time" } else { "beside the other role's" };
                    self.oracle_violated(format!("{node} runs {name} {what}"));
                }
            }
            Script::Stop(level) if force => {
                levels.remove(&level);
            }
            _ => {}
        }
    }

    /// The checkers of a level begin to look.
    pub fn start_checks(&mut self, host: usize, when: When) {
        let life = self.hosts[host].life;
        self.hosts[host].rounds += 1;
        let round = self.hosts[host].rounds;
        if self.hosts[host].checks.insert(when, round).is_some() {
            return self.oracle_violated(format!("{} starts the {when} checkers twice", Self::name(host)));
        }
        for index in 0..self.options.checkers.len() {
            if self.options.checkers[index].1 == when {
                let delay = self.rng.within(self.options.look_ms);
                self.schedule.after(delay, Step::CheckerLooks { host, life, index, round });
            }
        }
    }

    /// They look no longer, and will have to say again what they find.
    pub fn stop_checks(&mut self, host: usize, when: When) {
        self.hosts[host].checks.remove(&when);
        let forgotten = self.options.checkers.iter().filter(|(_, other)| *other == when);
        for (name, _) in forgotten {
            self.hosts[host].told.remove(name);
        }
    }

    /// A checker looks, and comes back later.
    pub fn checker_looks(&mut self, host: usize, index: usize, round: u64) {
        let (name, when) = self.options.checkers[index].clone();
        if self.hosts[host].checks.get(&when) != Some(&round) {
            return;
        }
        let life = self.hosts[host].life;
        let delay = self.rng.within(self.options.look_ms);
        self.schedule.after(delay, Step::CheckerLooks { host, life, index, round });
        let value = if self.hosts[host].bad.contains(&name) { ResourceValue::Down } else { ResourceValue::Up };
        let class = name.split('.').next().unwrap_or_default();
        let by = format!("{class}check");
        let told = self.hosts[host].told.insert(name.clone(), value.clone());
        if told.as_ref() != Some(&value) {
            self.input(host, Input::ResourceSet { name, value, by });
        }
    }
}
