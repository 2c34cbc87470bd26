//! Operators' commands: each gets exactly one reply, at once: accepted (what will happen) or refused (why, and the cure).

use super::{After, Node, data};
use crate::arbiter::{self, Force};
use crate::automaton;
use crate::input::{Command, LoopOrder, ModuleCommand};
use crate::output::EventLevel;
use crate::procedure::{self, Kind};
use holdfast_api::state::{DataState, ModuleState, Readiness};
use holdfast_api::userconfig::{Boot, Mode};
use std::sync::Arc;

type Answer = Result<String, String>;

/// Actors of a start that nobody ordered: it does not make up for the reboots before it.
const NOBODY: [&str; 2] = ["boot", "agent restart"];

/// Settings, which touch nothing that runs.
fn is_setting(kind: ModuleCommand) -> bool {
    matches!(
        kind,
        ModuleCommand::BootOn
            | ModuleCommand::BootOff
            | ModuleCommand::BootAuto
            | ModuleCommand::FailoverOn
            | ModuleCommand::FailoverOff
    )
}

/// What makes sense between two nodes only.
fn of_two_nodes(kind: ModuleCommand) -> bool {
    matches!(
        kind,
        ModuleCommand::Prim
            | ModuleCommand::PrimForce
            | ModuleCommand::PrimFullSync
            | ModuleCommand::Second
            | ModuleCommand::SecondFullSync
            | ModuleCommand::Swap
            | ModuleCommand::FailoverOn
            | ModuleCommand::FailoverOff
    )
}

impl Node {
    pub(super) fn on_command(&mut self, command: Command) {
        let Command { id, kind, actor, counted } = command;
        if !counted && !is_setting(kind) {
            self.budget.reset();
            self.exhausted = false;
            if !NOBODY.contains(&actor.as_str()) {
                self.durable.reboots = 0;
            }
        }
        let by = format!("{} by {actor}", kind.as_str());
        let person = !counted && !NOBODY.contains(&actor.as_str());
        self.event(if person { EventLevel::User } else { EventLevel::Event }, by.clone());
        let result = match kind {
            _ if self.settings.mode == Mode::Light && of_two_nodes(kind) => Err(format!(
                "{} is a light module: it has no second node; order `start`, `stop` or `restart`",
                self.module()
            )),
            ModuleCommand::Start => self.start(&by),
            ModuleCommand::Prim => self.prim(Force::Prim, &by),
            ModuleCommand::PrimFullSync => self.prim_full(&by),
            ModuleCommand::PrimForce => self.prim(Force::PrimForce, &by),
            ModuleCommand::Second => self.second(&by),
            ModuleCommand::SecondFullSync => self.second_full(&by),
            ModuleCommand::Stop => self.stop(&by),
            ModuleCommand::ForceStop => self.force_stop(&by),
            ModuleCommand::Restart => self.restart(counted, &by),
            ModuleCommand::StopStart => self.stopstart(counted, &by),
            ModuleCommand::Swap => self.swap(&by),
            ModuleCommand::BootOn => self.set_boot(true, false),
            ModuleCommand::BootOff => self.set_boot(false, false),
            ModuleCommand::BootAuto => self.set_boot(false, true),
            ModuleCommand::FailoverOn => self.set_failover(true),
            ModuleCommand::FailoverOff => self.set_failover(false),
        };
        if let Err(reason) = &result {
            self.event(EventLevel::Warning, format!("{by} refused: {reason}"));
        }
        self.reply(id, result);
    }

    /// A script counts restarts of its own, within the same budget as checkers and counted commands.
    pub(super) fn on_loop_order(&mut self, id: u64, order: LoopOrder, by: &str) {
        let now = self.now;
        let within = match order {
            LoopOrder::Count => self.spend_restart(),
            LoopOrder::Reset => {
                self.budget.reset();
                self.exhausted = false;
                true
            }
            LoopOrder::Check => !self.budget.used_up(now),
        };
        let (spent, max) = (self.budget.count(), self.settings.maxloop);
        let text = format!(
            "{spent} of {max} restarts (maxloop) are used up within {} s",
            self.settings.loop_interval_ms / 1000
        );
        if order != LoopOrder::Check {
            let word = if order == LoopOrder::Count { "incloop" } else { "resetloop" };
            self.event(EventLevel::Event, format!("{word} by {by}: {text}"));
        }
        self.reply(
            id,
            if within { Ok(text) } else { Err(format!("{text}: `resetloop` or an operator's command counts anew")) },
        );
    }

    fn module(&self) -> String {
        format!("module {} on {}", self.settings.module, self.settings.node_name)
    }

    fn stopping(&self) -> bool {
        self.procedure.as_ref().is_some_and(|running| running.kind().stops())
    }

    /// Whether the module is stopped; if it is stopping, a start would have to wait.
    fn stopped_or_refuse(&self) -> Result<bool, String> {
        if self.stopping() {
            return Err(format!("{} is stopping; order it again when it is in STOP", self.module()));
        }
        Ok(self.status == automaton::STOP)
    }

    fn begin_start(&mut self, by: &str) {
        // After a save that failed, what the disk holds is not known: write it anew before a word is said.
        self.save_anyway |= self.mute;
        self.mute = false;
        let broken = self.settings.broken.resume_across_reboot;
        self.live = broken && self.durable.data == DataState::UpToDate;
        self.talk.forget();
        self.after_stop = After::Stay;
        self.keeps_running = false;
        self.hurried = false;
        self.stream_ended = None;
        self.claims = false;
        self.aside = data::Aside::No;
        self.served = false;
        self.durable.running = true;
        self.durable.boot_id = self.settings.boot_id;
        self.begin(procedure::START, by);
    }

    fn start(&mut self, by: &str) -> Answer {
        if self.stopping() && self.procedure_is(Kind::Stop) {
            self.after_stop = After::Start(by.to_owned());
            self.durable.running = true;
            return Ok(format!("{} is stopping and starts again after that", self.module()));
        }
        if !self.stopped_or_refuse()? {
            return Ok(format!("{} is started already: {}", self.module(), self.status));
        }
        self.begin_start(by);
        self.claims = self.durable.was_primary;
        Ok(format!("{} starts", self.module()))
    }

    pub(super) fn prim(&mut self, force: Force, by: &str) -> Answer {
        let stopped = self.stopped_or_refuse()?;
        match self.status.0 {
            ModuleState::Alone | ModuleState::Prim if self.leaves() => {
                return Err(format!(
                    "{} is still primary, but {}: order it again when that has ended",
                    self.module(),
                    self.detail()
                ));
            }
            ModuleState::Alone | ModuleState::Prim => {
                return Ok(format!("{} is primary already", self.module()));
            }
            ModuleState::Second => {
                return Err(format!(
                    "{} follows {}; order `swap` to exchange the roles, or stop it first",
                    self.module(),
                    self.settings.peer_name
                ));
            }
            _ => {}
        }
        self.check_prim(force)?;
        self.forced = Some(force);
        self.talk.forget();
        self.agreed = false;
        if stopped {
            self.begin_start(by);
        }
        if self.heard() || self.links.silent(self.now) {
            return Ok(format!("{} starts as primary", self.module()));
        }
        Ok(format!(
            "{} starts as primary once it is sure that {} does not serve",
            self.module(),
            self.settings.peer_name
        ))
    }

    /// What `prim` refuses, and `primforce` too.
    fn check_prim(&self, force: Force) -> Result<(), String> {
        let peer_name = &self.settings.peer_name;
        let heard = self.heard_peer();
        if let Some(peer) = heard.filter(|peer| arbiter::serves(peer)) {
            return Err(format!(
                "{peer_name} is {} {}: start this node with `start` to follow it, or stop {peer_name} first",
                peer.state, peer.readiness
            ));
        }
        if force == Force::PrimForce {
            return Ok(());
        }
        if self.durable.data == DataState::Inconsistent {
            return Err(format!(
                "the copy on {} is half overwritten by a resync that did not end: start the module on {peer_name}, which \
                 holds the whole copy; only if that is lost for good, order `primforce`",
                self.settings.node_name
            ));
        }
        let newer = heard.is_some_and(|peer| arbiter::prim_unsafe(&self.durable, peer));
        if newer {
            return Err(format!(
                "{peer_name} holds newer data, or has this node's leave to serve: start the module there; to give its data up, \
                 order `primforce` here"
            ));
        }
        Ok(())
    }

    pub(super) fn second(&mut self, by: &str) -> Answer {
        let stopped = self.stopped_or_refuse()?;
        match self.status.0 {
            ModuleState::Alone | ModuleState::Prim => {
                return Err(format!("{} is primary: order `swap`, or stop it first", self.module()));
            }
            ModuleState::Second => return Ok(format!("{} is secondary already", self.module())),
            _ => {}
        }
        self.agreed = true;
        self.aside.try_again();
        self.forced = None;
        if stopped {
            self.begin_start(by);
        }
        let peer = &self.settings.peer_name;
        if self.peer_serves() {
            Ok(format!("{} starts as secondary of {peer}; its files are overwritten", self.module()))
        } else {
            Ok(format!("{} waits for {peer} to be primary, then its files are overwritten", self.module()))
        }
    }

    fn stop(&mut self, by: &str) -> Answer {
        self.forced = None;
        self.agreed = false;
        self.compare_all = false;
        self.save_anyway |= std::mem::take(&mut self.keeps_running);
        if self.status == automaton::STOP && self.procedure.is_none() {
            self.durable.running = false;
            return Ok(format!("{} is stopped already", self.module()));
        }
        if self.stopping() {
            self.after_stop = After::Stay;
            self.durable.running = false;
            return Ok(format!("{} is stopping already", self.module()));
        }
        self.begin_stop(by, After::Stay);
        Ok(format!("{} stops", self.module()))
    }

    /// The agent ends; in a hurry, what the stop waits for is cut short, and what it has yet to run is bounded. A stop
    /// ordered by an operator stays a stop; anything else starts again with the agent.
    pub(super) fn on_shutdown_ordered(&mut self, id: u64, by: &str, hurry: bool) {
        let stopped = self.status == automaton::STOP && self.procedure.is_none();
        if hurry && self.stopping() {
            self.hurried = true;
            self.end_script();
            self.hurry_release();
        } else if !hurry && !stopped && !self.procedure_is(Kind::Halt) {
            let running = self.durable.running;
            if self.stopping() {
                self.after_stop = After::Stay;
                self.durable.running = false;
            } else {
                self.begin_stop(&format!("the agent ends by {by}"), After::Stay);
            }
            self.keeps_running = running;
        }
        self.reply(id, Ok(format!("{} stops until its agent is back", self.module())));
    }

    fn force_stop(&mut self, by: &str) -> Answer {
        if self.status == automaton::STOP && self.procedure.is_none() {
            return self.stop(by);
        }
        if self.procedure_is(Kind::ForceStop) {
            self.end_script();
            return Ok(format!("{} is stopping by force already; the script that runs is ended", self.module()));
        }
        self.save_anyway |= std::mem::take(&mut self.keeps_running);
        self.begin_force_stop(by);
        Ok(format!("{} stops by force: no graceful stop script is run", self.module()))
    }

    fn restart(&mut self, counted: bool, by: &str) -> Answer {
        match self.status.0 {
            ModuleState::Alone | ModuleState::Prim | ModuleState::Second | ModuleState::Up => {}
            _ => {
                return Err(format!("{} is {}: nothing runs here; start it", self.module(), self.status));
            }
        }
        if self.procedure.is_some() || self.status.1 != Readiness::Ready {
            return Err(format!("{} is {}: order it again when it is Ready", self.module(), self.status));
        }
        if counted {
            self.counted_restart(by, &[]);
        } else {
            self.begin_restart(by, &[]);
        }
        Ok(format!("the application of {} is stopped and started here", self.module()))
    }

    fn stopstart(&mut self, counted: bool, by: &str) -> Answer {
        if self.status == automaton::STOP && self.procedure.is_none() {
            return Err(format!("{} is stopped; start it", self.module()));
        }
        if self.stopping() {
            if self.procedure_is(Kind::Halt) {
                return Err(format!("{} stops because its state cannot be saved", self.module()));
            }
            self.after_stop = After::Start(by.to_owned());
            self.durable.running = true;
            return Ok(format!("{} is stopping and starts again after that", self.module()));
        }
        if counted {
            self.counted_stopstart(by);
        } else {
            self.begin_stop(by, After::Start(format!("automatic start after {by}")));
        }
        Ok(format!("{} stops and starts again", self.module()))
    }

    fn swap(&mut self, by: &str) -> Answer {
        if self.status == automaton::SECOND {
            let peer = &self.settings.peer_name;
            if !self
                .heard_peer()
                .is_some_and(|peer| peer.state == ModuleState::Prim && peer.readiness == Readiness::Ready)
            {
                return Err(format!("{peer} is not PRIM Ready: wait until it is"));
            }
            let answer = format!("{peer} is asked to hand over");
            let number = self.draw();
            let until = self.now.after(self.settings.patience_ms());
            self.swap_request = Some((number, until));
            return Ok(answer);
        }
        self.begin_swap(by)?;
        Ok(format!("{} hands over to {}", self.module(), self.settings.peer_name))
    }

    fn set_boot(&mut self, start: bool, auto: bool) -> Answer {
        if self.settings.boot != Boot::Ignore {
            return Err(format!(
                "the configuration of {} decides that (`boot` of <service>): set boot=\"ignore\" there to decide it on the node",
                self.module()
            ));
        }
        self.durable.boot_start = start;
        self.durable.boot_auto = auto;
        let what = match (start, auto) {
            (true, _) => "starts when the machine boots",
            (_, true) => "starts when the machine boots if it was running when it went down",
            _ => "stays stopped when the machine boots",
        };
        Ok(format!("{} {what}", self.module()))
    }

    fn set_failover(&mut self, on: bool) -> Answer {
        self.durable.failover = Some(on);
        Arc::make_mut(&mut self.settings).failover = on;
        let peer = &self.settings.peer_name;
        Ok(if on {
            format!("{} takes over by itself; order the same on {peer}", self.module())
        } else {
            format!(
                "{} becomes primary in place of {peer} only by an operator's `prim`; order the same on {peer}",
                self.module()
            )
        })
    }
}
