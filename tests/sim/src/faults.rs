//! Faults: drawn by weight, each ends by itself.

use super::cluster::{Cluster, Step};
use super::options::Fault;
use super::replica::Mode;
use holdfast_core::input::{CheckAction, Input, ModuleCommand};
use holdfast_core::replica::ReplicaEvent;

impl Cluster {
    /// Injects a fault and schedules the next.
    pub fn inject(&mut self) {
        if !self.faulty {
            return;
        }
        let next = self.rng.within(self.options.fault_every_ms);
        self.schedule.after(next, Step::Fault);
        let total: u64 = self.options.faults.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return;
        }
        let mut draw = self.rng.draw() % total;
        for (fault, weight) in self.options.faults.clone() {
            if draw < weight {
                return self.commit(fault);
            }
            draw -= weight;
        }
    }

    /// A time from much shorter to much longer than the heartbeat timeout.
    fn some_time(&mut self) -> u64 {
        let timeout = self.options.timeout_ms;
        match self.rng.draw() % 3 {
            0 => self.rng.within((1, timeout / 2)),
            1 => self.rng.within((timeout / 2, timeout * 3 / 2)),
            _ => self.rng.within((timeout, timeout * 6)),
        }
    }

    fn crash_both(&mut self, first: usize, time: u64) {
        let other = self.some_time();
        for (host, time) in [(first, time), (1 - first, other)] {
            if self.hosts[host].up {
                self.crash(host, time);
            }
        }
    }

    fn commit(&mut self, fault: Fault) {
        let host = self.rng.coin();
        let time = self.some_time();
        let now = self.schedule.now();
        self.faults += 1;
        self.say(|| format!("FAULT {fault:?} {} {time} ms", Self::name(host)));
        let runs = self.hosts[host].node.is_some();
        match fault {
            Fault::Crash if self.hosts[host].up => self.crash(host, time),
            Fault::CrashBoth => self.crash_both(host, time),
            Fault::Kill if runs => self.kill_agent(host, time.min(3000)),
            Fault::RestartAgent if runs => self.end_agent(host, time),
            Fault::CutAll => self.cut(0..2, time),
            Fault::CutOneWay => self.cut(host..host + 1, time),
            Fault::CutOne => {
                let link = (self.rng.draw() % self.net.links() as u64) as usize;
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
            Fault::ResourceDown => {
                let checker = (self.rng.draw() % self.options.checkers.len().max(1) as u64) as usize;
                if let Some((name, _)) = self.options.checkers.get(checker).cloned() {
                    self.hosts[host].bad.insert(name.clone());
                    self.schedule.after(time, Step::ResourceHeals { host, name });
                }
            }
            Fault::RegisterDown | Fault::RegisterRestored | Fault::RestoredApart | Fault::WitnessCut => {
                self.commit_of_witness(fault, host, time);
            }
            Fault::Reconfigure if runs && !self.hosts[host].reconfigured => {
                self.hosts[host].reconfigured = true;
                self.kill_agent(host, 50);
                self.schedule.after(time, Step::SameConfiguration { host });
            }
            Fault::ClockStep => self.hosts[host].wall_off = self.rng.draw() % 100_000,
            _ if runs => self.commit_order(fault, host, time),
            _ => {}
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
            Fault::Swap => self.command(host, ModuleCommand::Swap, "operator"),
            Fault::Restart => self.command(host, ModuleCommand::Restart, "operator"),
            Fault::Prim => self.command(host, ModuleCommand::Prim, "operator"),
            Fault::PrimForce => self.command(host, ModuleCommand::PrimForce, "operator"),
            Fault::StopStart => self.command(host, ModuleCommand::StopStart, "operator"),
            _ => {}
        }
    }

    fn commit_of_witness(&mut self, fault: Fault, host: usize, time: u64) {
        let now = self.schedule.now();
        match fault {
            Fault::RegisterDown => self.register_ends(time, false),
            Fault::RegisterRestored => self.register_ends(time, true),
            Fault::RestoredApart => {
                let won = self.options.timeout_ms * 3;
                self.cut(0..2, won * 3);
                self.register.cut_until[host] = now + won;
                self.schedule.after(won, Step::RegisterRestored);
            }
            Fault::WitnessCut => {
                let both = self.rng.chance(300);
                for host in (0..2).filter(|other| *other == host || both) {
                    self.register.cut_until[host] = self.register.cut_until[host].max(now + time);
                }
            }
            _ => {}
        }
    }

    /// The common configuration comes back to a node that had another.
    pub fn same_configuration(&mut self, host: usize) {
        if !std::mem::take(&mut self.hosts[host].reconfigured) {
            return;
        }
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
        for host in 0..2 {
            self.same_configuration(host);
            self.hosts[host].asleep_until = self.hosts[host].asleep_until.min(now);
            self.hosts[host].frozen_until = self.hosts[host].frozen_until.min(now);
            self.hosts[host].bad.clear();
        }
    }
}

/// The process checker finds a process missing.
pub(crate) fn process_missing(name: &str, action: CheckAction) -> Input {
    Input::ProcessMissing { name: name.to_owned(), problem: format!("process {name} is missing"), action }
}
