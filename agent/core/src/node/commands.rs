//! Operators' commands: each gets exactly one reply, at once: accepted (what will happen) or refused (why, and the cure).

use super::Node;
use crate::arbiter::{self, Force};
use crate::automaton;
use crate::input::{Command, ModuleCommand};
use crate::output::EventLevel;
use crate::procedure::{self, Kind};
use holdfast_api::state::{DataState, ModuleState, Readiness};

type Answer = Result<String, String>;

impl Node {
    pub(super) fn on_command(&mut self, command: Command) {
        let Command { id, kind, actor, counted } = command;
        if !counted && !matches!(kind, ModuleCommand::BootOn | ModuleCommand::BootOff) {
            self.budget.reset();
        }
        let by = format!("{} by {actor}", name(kind));
        let result = match kind {
            ModuleCommand::Start => self.start(&by),
            ModuleCommand::Prim | ModuleCommand::PrimForce => self.prim(kind == ModuleCommand::PrimForce, &by),
            ModuleCommand::Second => self.second(&by),
            ModuleCommand::Stop => self.stop(&by),
            ModuleCommand::Restart => self.restart(counted, &by),
            ModuleCommand::StopStart => self.stopstart(counted, &by),
            ModuleCommand::Swap => self.swap(&by),
            ModuleCommand::BootOn => self.set_boot_start(true),
            ModuleCommand::BootOff => self.set_boot_start(false),
        };
        if let Err(reason) = &result {
            self.event(EventLevel::Warning, format!("{by} refused: {reason}"));
        }
        self.reply(id, result);
    }

    fn module(&self) -> String {
        format!("module {} on {}", self.settings.module, self.settings.node_name)
    }

    fn leaving(&self) -> bool {
        [Kind::Stop, Kind::Halt].into_iter().any(|kind| self.procedure_is(kind))
    }

    /// Whether the module is stopped; if it is stopping, a start would have to wait.
    fn stopped_or_refuse(&self) -> Result<bool, String> {
        if self.leaving() {
            return Err(format!("{} is stopping; order it again when it is in STOP", self.module()));
        }
        Ok(self.status == automaton::STOP)
    }

    fn begin_start(&mut self, by: &str) {
        // After a save that failed, what the disk holds is not known: write it anew before a word is said.
        self.save_anyway = self.mute;
        self.mute = false;
        let broken = self.settings.broken.resume_across_reboot;
        self.live = broken && self.durable.data == DataState::UpToDate;
        self.talk.forget();
        self.stop_then_start = None;
        self.durable.running = true;
        self.durable.boot_id = self.settings.boot_id;
        self.begin(procedure::START, by);
    }

    fn start(&mut self, by: &str) -> Answer {
        if self.leaving() && self.procedure_is(Kind::Stop) {
            self.stop_then_start = Some(by.to_owned());
            self.durable.running = true;
            return Ok(format!("{} is stopping and starts again after that", self.module()));
        }
        if !self.stopped_or_refuse()? {
            return Ok(format!("{} is started already: {}", self.module(), self.status));
        }
        self.begin_start(by);
        Ok(format!("{} starts", self.module()))
    }

    fn prim(&mut self, whatever: bool, by: &str) -> Answer {
        let stopped = self.stopped_or_refuse()?;
        match self.status.0 {
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
        self.check_prim(whatever)?;
        self.forced = Some(if whatever { Force::PrimForce } else { Force::Prim });
        self.talk.forget();
        self.agreed = false;
        if stopped {
            self.begin_start(by);
        } else {
            self.event(EventLevel::Info, by.to_owned());
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
    fn check_prim(&self, whatever: bool) -> Result<(), String> {
        let peer_name = &self.settings.peer_name;
        let heard = self.heard_peer();
        if let Some(peer) = heard.filter(|peer| arbiter::serves(peer)) {
            return Err(format!(
                "{peer_name} is {} {}: start this node with `start` to follow it, or stop {peer_name} first",
                peer.state, peer.readiness
            ));
        }
        if whatever {
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

    fn second(&mut self, by: &str) -> Answer {
        let stopped = self.stopped_or_refuse()?;
        match self.status.0 {
            ModuleState::Alone | ModuleState::Prim => {
                return Err(format!("{} is primary: order `swap`, or stop it first", self.module()));
            }
            ModuleState::Second => return Ok(format!("{} is secondary already", self.module())),
            _ => {}
        }
        self.agreed = true;
        self.forced = None;
        if stopped {
            self.begin_start(by);
        } else {
            self.event(EventLevel::Info, by.to_owned());
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
        if self.status == automaton::STOP && self.procedure.is_none() {
            self.durable.running = false;
            return Ok(format!("{} is stopped already", self.module()));
        }
        if self.leaving() {
            self.stop_then_start = None;
            self.durable.running = false;
            return Ok(format!("{} is stopping already", self.module()));
        }
        self.begin_stop(by, None);
        Ok(format!("{} stops", self.module()))
    }

    fn restart(&mut self, counted: bool, by: &str) -> Answer {
        match self.status.0 {
            ModuleState::Alone | ModuleState::Prim => {}
            ModuleState::Second => {
                return Err(format!("the application runs on {}: restart it there", self.settings.peer_name));
            }
            _ => {
                return Err(format!("{} is {}: nothing runs here; start it", self.module(), self.status));
            }
        }
        if self.procedure.is_some() || self.status.1 != Readiness::Ready {
            return Err(format!("{} is {}: order it again when it is Ready", self.module(), self.status));
        }
        if counted {
            self.counted_restart(by);
        } else {
            self.begin(procedure::RESTART, by);
        }
        Ok(format!("the application of {} is stopped and started here", self.module()))
    }

    fn stopstart(&mut self, counted: bool, by: &str) -> Answer {
        if self.status == automaton::STOP && self.procedure.is_none() {
            return Err(format!("{} is stopped; start it", self.module()));
        }
        if self.leaving() {
            if self.procedure_is(Kind::Halt) {
                return Err(format!("{} stops because its state cannot be saved", self.module()));
            }
            self.stop_then_start = Some(by.to_owned());
            self.durable.running = true;
            return Ok(format!("{} is stopping and starts again after that", self.module()));
        }
        if counted {
            self.counted_stopstart(by);
        } else {
            self.begin_stop(by, Some(format!("automatic start after {by}")));
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
            let until = self.now.after(self.settings.timeout_ms);
            self.swap_request = Some((number, until));
            self.event(EventLevel::Info, by.to_owned());
            return Ok(answer);
        }
        self.begin_swap(by)?;
        Ok(format!("{} hands over to {}", self.module(), self.settings.peer_name))
    }

    fn set_boot_start(&mut self, on: bool) -> Answer {
        self.durable.boot_start = on;
        Ok(format!("{} {} when the machine boots", self.module(), if on { "starts" } else { "stays stopped" }))
    }
}

fn name(kind: ModuleCommand) -> &'static str {
    match kind {
        ModuleCommand::Start => "start",
        ModuleCommand::Prim => "prim",
        ModuleCommand::PrimForce => "primforce",
        ModuleCommand::Second => "second",
        ModuleCommand::Stop => "stop",
        ModuleCommand::Restart => "restart",
        ModuleCommand::StopStart => "stopstart",
        ModuleCommand::Swap => "swap",
        ModuleCommand::BootOn => "boot on",
        ModuleCommand::BootOff => "boot off",
    }
}
