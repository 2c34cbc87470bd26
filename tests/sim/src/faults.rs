//! What a fault does to one module's nodes; each ends by itself. (What it hits is drawn in `world/faults.rs`.)

use super::cluster::{Cluster, Step};
use super::fault::Fault;
use super::replica::Mode;
use holdfast_core::input::{CheckAction, Input, ModuleCommand};
use holdfast_core::replica::ReplicaEvent;

/// Where and for how long a fault hits a module: the same for all modules on a machine.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// The node.
    pub host: usize,
    /// How long it lasts, in milliseconds.
    pub time: u64,
    /// Chance.
    pub draw: u64,
}

impl Cluster {
    /// The fault happens to this module.
    pub fn commit(&mut self, fault: Fault, hit: Hit) {
        let Hit { host, time, draw } = hit;
        let now = self.schedule.now();
        self.say(|| format!("FAULT {fault:?} {} {time} ms", Self::name(host)));
        let runs = self.hosts[host].node.is_some();
        match fault {
            Fault::Crash | Fault::CrashAll if self.hosts[host].up => self.crash(host, time),
            Fault::Kill if runs => self.kill_agent(host, time.min(3000)),
            Fault::RestartAgent if runs => self.end_agent(host, time),
            Fault::RestartedApart if runs => {
                let timeout_ms = self.options.timeout_ms;
                self.cut(0..2, timeout_ms * 3);
                // At any moment until the peer counts it as silent.
                let (ends, back_in_ms) = (draw % timeout_ms, 1 + (draw >> 32) % timeout_ms);
                self.schedule.after(ends, Step::AgentEnds { host, back_in_ms });
            }
            Fault::CutAll | Fault::CutPair => self.cut(0..2, time),
            Fault::CutOneWay => self.cut(host..host + 1, time),
            Fault::CutOne | Fault::NetworkDown => {
                let link = (draw % self.net.links() as u64) as usize;
                for from in 0..2 {
                    self.cut_link(from, link, time);
                }
            }
            Fault::Flap => {
                let pulse = self.options.pulse_ms;
                self.cut(0..2, pulse * 2);
            }
            Fault::Suspend if self.hosts[host].up => {
                self.hosts[host].asleep_until = self.hosts[host].asleep_until.max(now + time);
            }
            Fault::Freeze if runs => {
                self.hosts[host].frozen_until = self.hosts[host].frozen_until.max(now + time);
            }
            Fault::BreakStream => {
                if let Some(stream) = self.stream.clone()
                    && stream.open[host]
                {
                    self.lose_stream(host, stream.session, "broken on purpose");
                }
            }
            Fault::ReplicaExits if runs && self.hosts[host].replica.mode != Mode::Idle => {
                self.end_replica(host);
                self.to_agent(host, Input::Replica(ReplicaEvent::Exited { reason: "signal 11".to_owned() }));
            }
            Fault::ProcessMissing if self.hosts[host].application => {
                let action = [CheckAction::Restart, CheckAction::StopStart, CheckAction::Stop][(time % 3) as usize];
                self.hosts[host].application = action == CheckAction::Stop;
                self.to_agent(host, process_missing("app", action));
            }
            Fault::ResourceDown => self.take_resource_down(host, time),
            Fault::WitnessCut => {
                self.register.cut_until[host] = self.register.cut_until[host].max(now + time);
            }
            Fault::RegisterDown => self.register_ends(time, None),
            Fault::RegisterRestored => self.register_ends(time, Some(draw % (now + 1))),
            Fault::RestoredApart => {
                self.cut(0..2, time * 3);
                self.register.cut_until[host] = now + time;
            }
            Fault::Reconfigure if runs && self.options.nodes == 2 && self.same_configurations() => {
                self.hosts[host].reconfigured ^= true;
                self.kill_agent(host, 50);
                self.schedule.after(time, Step::SameConfiguration { host });
            }
            Fault::ClockStep => self.hosts[host].wall_off = draw % 100_000,
            _ if runs => self.commit_order(fault, host, time),
            _ => {}
        }
    }

    /// Each node has a file of its own where the configuration does not reach until then.
    fn cover_later(&mut self, time: u64) {
        if !self.options.replicates || self.hosts.iter().any(|host| host.node.is_none()) {
            return;
        }
        if self.covers {
            self.cover(false);
        }
        (0..2).for_each(|host| self.put_own_file(host));
        self.schedule.after(time, Step::Cover);
    }

    /// Some checker finds its resource down for so long.
    fn take_resource_down(&mut self, host: usize, time: u64) {
        let checker = (self.rng.draw() % self.options.checkers.len().max(1) as u64) as usize;
        if let Some((name, _)) = self.options.checkers.get(checker).cloned() {
            self.hosts[host].bad.insert(name.clone());
            self.schedule.after(time, Step::ResourceHeals { host, name });
        }
    }

    /// An order of an operator who does not know better.
    fn commit_order(&mut self, fault: Fault, host: usize, time: u64) {
        match fault {
            Fault::StopStartLater => {
                self.command(host, ModuleCommand::Stop, "operator");
                self.schedule.after(time, Step::OperatorStarts { host });
            }
            Fault::ForceStopLater => {
                self.command(host, ModuleCommand::ForceStop, "operator");
                self.schedule.after(time, Step::OperatorStarts { host });
            }
            Fault::Failover => {
                let kind = if self.rng.coin() == 0 { ModuleCommand::FailoverOff } else { ModuleCommand::FailoverOn };
                self.command(host, kind, "operator");
            }
            Fault::StopAllStartLater => {
                let serves = |host: &usize| matches!(self.hosts[*host].replica.mode, Mode::Serving { .. });
                let primary = (0..self.options.nodes).find(serves).unwrap_or(0);
                let secondary = (0..self.options.nodes).find(|host| *host != primary);
                for host in secondary.into_iter().chain([primary]) {
                    self.command(host, ModuleCommand::Stop, "operator");
                    self.schedule.after(time, Step::OperatorStarts { host });
                }
            }
            Fault::Cover => self.cover_later(time),
            Fault::StartsRestored => self.restore_starts(host, time),
            Fault::Start => self.command(host, ModuleCommand::Start, "operator"),
            Fault::Second => self.command(host, ModuleCommand::Second, "operator"),
            Fault::Swap => self.command(host, ModuleCommand::Swap, "operator"),
            Fault::Restart => self.command(host, ModuleCommand::Restart, "operator"),
            Fault::Prim => self.command(host, ModuleCommand::Prim, "operator"),
            Fault::PrimForce => self.command(host, ModuleCommand::PrimForce, "operator"),
            Fault::StopStart => self.command(host, ModuleCommand::StopStart, "operator"),
            _ => {}
        }
    }

    /// The agent is back with a count of its starts, and a clock, of long ago.
    pub(crate) fn restore_starts(&mut self, host: usize, back_in_ms: u64) {
        (self.hosts[host].disk.starts, self.hosts[host].wall_off) = (0, 0);
        self.kill_agent(host, back_in_ms);
    }

    fn same_configurations(&self) -> bool {
        self.hosts[0].reconfigured == self.hosts[1].reconfigured
    }

    /// Both nodes get the same configuration: what one of them had more is taken back, or the other gets it too. (Each
    /// has its engine started anew with it.)
    pub fn same_configuration(&mut self, host: usize) {
        if self.same_configurations() {
            return;
        }
        let host = if self.rng.coin() == 0 { host } else { 1 - host };
        self.hosts[host].reconfigured ^= true;
        if self.hosts[host].node.is_some() {
            self.kill_agent(host, 50);
        }
    }

    fn cut(&mut self, from: std::ops::Range<usize>, time: u64) {
        for from in from {
            for link in 0..self.net.links() {
                self.cut_link(from, link, time);
            }
        }
    }

    fn cut_link(&mut self, from: usize, link: usize, time: u64) {
        self.net.set(from, link, true);
        // The two directions, and the links, rarely come back at the same instant.
        let jitter = self.rng.within((0, self.options.pulse_ms * 2));
        self.schedule.after(time + jitter, Step::Join { from, link });
    }

    /// No fault from now on; everything is repaired.
    pub fn heal(&mut self) {
        self.say(|| "HEAL".to_owned());
        self.faulty = false;
        self.operator.repairs = true;
        self.net.set_all(false);
        let now = self.schedule.now();
        self.register.cut_until = [0, 0];
        self.same_configuration(0);
        for host in 0..2 {
            self.hosts[host].asleep_until = self.hosts[host].asleep_until.min(now);
            self.hosts[host].frozen_until = self.hosts[host].frozen_until.min(now);
            self.hosts[host].record_stuck_until = 0;
            self.hosts[host].bad.clear();
        }
    }
}

/// The process checker finds a process missing.
pub(crate) fn process_missing(name: &str, action: CheckAction) -> Input {
    Input::ProcessMissing {
        name: name.to_owned(),
        problem: format!("process {name} is missing"),
        action,
        services: Vec::new(),
    }
}
