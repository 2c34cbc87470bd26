//! Faults: drawn by weight; each hits a machine, networks, the register or one module, and with it all that stand on it.

use super::{Event, World};
use crate::fault::{Fault, Scope};
use crate::faults::Hit;

impl World {
    /// Injects a fault and schedules the next.
    pub(super) fn inject(&mut self) {
        if !self.faulty {
            return;
        }
        let next = self.rng.within(self.options.fault_every_ms);
        self.schedule.after(next, Event::Fault);
        let total: u64 = self.options.faults.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return;
        }
        let mut draw = self.rng.draw() % total;
        for (fault, weight) in self.options.faults.clone() {
            if draw < weight {
                return self.spread(fault);
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

    fn spread(&mut self, fault: Fault) {
        let machines = self.lives.len();
        let machine = self.rng.draw() as usize % machines;
        let (time, draw) = (self.some_time(), self.rng.draw());
        self.faults += 1;
        match fault.scope() {
            Scope::Machine => self.hit_machine(fault, machine, time, draw),
            Scope::Everything => {
                for machine in 0..machines {
                    let time = self.some_time();
                    self.hit_machine(fault, machine, time, draw);
                }
            }
            Scope::Networks => self.hit_networks(fault, machine, time, draw),
            Scope::Register => self.hit_register(fault, machine, time, draw),
            Scope::Module => {
                let module = self.rng.draw() as usize % self.modules.len();
                let cluster = &mut self.modules[module].cluster;
                let host = draw as usize % cluster.options.nodes;
                cluster.commit(fault, Hit { host, time, draw });
            }
        }
    }

    fn hit_machine(&mut self, fault: Fault, machine: usize, time: u64, draw: u64) {
        match fault {
            Fault::EndAgent => return self.order_end(machine, None, time.min(3000)),
            Fault::ShutDown => return self.order_end(machine, Some(time), time),
            Fault::Crash | Fault::CrashAll | Fault::Kill | Fault::StartsRestored => self.lives[machine] += 1,
            _ => {}
        }
        let everywhere = fault == Fault::WitnessCut && self.rng.chance(300);
        for machine in (0..self.lives.len()).filter(|other| *other == machine || everywhere) {
            for (module, host) in self.on(machine) {
                self.modules[module].cluster.commit(fault, Hit { host, time, draw });
            }
        }
    }

    /// The ways between a machine and one other, all others, or between all.
    fn hit_networks(&mut self, fault: Fault, machine: usize, time: u64, draw: u64) {
        let other = (machine + 1 + draw as usize % (self.lives.len() - 1)) % self.lives.len();
        for module in self.modules.iter_mut().filter(|module| module.machines.len() == 2) {
            let host = module.machines.iter().position(|own| *own == machine);
            let host = match fault {
                Fault::NetworkDown => Some(0),
                Fault::CutPair => host.filter(|_| module.machines.contains(&other)),
                _ => host,
            };
            if let Some(host) = host {
                module.cluster.commit(fault, Hit { host, time, draw });
            }
        }
    }

    /// The records of all modules are at the same place.
    fn hit_register(&mut self, fault: Fault, machine: usize, time: u64, draw: u64) {
        let now = self.schedule.now();
        if fault == Fault::RestoredApart {
            let won = self.options.timeout_ms * 3;
            for (module, host) in self.on(machine) {
                self.modules[module].cluster.commit(fault, Hit { host, time: won, draw });
            }
            return self.schedule.after(won, Event::RegisterRestored { then: draw % (now + 1) });
        }
        for module in &mut self.modules {
            module.cluster.commit(fault, Hit { host: 0, time, draw });
        }
    }

    /// No fault from now on; everything is repaired.
    pub(super) fn heal(&mut self) {
        self.faulty = false;
        self.modules.iter_mut().for_each(|module| module.cluster.heal());
        (0..self.modules.len()).for_each(|module| self.tell_dependents(module));
        self.gather();
    }
}
