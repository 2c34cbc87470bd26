//! The orderly end of an agent, or of its machine: the modules stop, and hand over, before it goes.

use super::{Event, World};

/// Time between two looks at whether the modules are stopped, in milliseconds.
const LOOK_MS: u64 = 50;

/// An agent that was told to end.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    machine: usize,
    /// Which life of its agent.
    life: u64,
    since: u64,
    /// The machine is switched off then, for so many milliseconds.
    off_ms: Option<u64>,
    /// The agent is back after so many.
    back_in_ms: u64,
    hurried: bool,
}

impl World {
    /// The agent of a machine is told to end; with `off_ms` the machine is switched off after it.
    pub(super) fn order_end(&mut self, machine: usize, off_ms: Option<u64>, back_in_ms: u64) {
        let (life, since) = (self.lives[machine], self.schedule.now());
        if self.tell_to_end(machine, false) {
            let ending = Ending { machine, life, since, off_ms, back_in_ms, hurried: false };
            self.schedule.after(LOOK_MS, Event::EndingLooked(ending));
        }
    }

    /// Whether the agent could hear it.
    fn tell_to_end(&mut self, machine: usize, hurry: bool) -> bool {
        let now = self.schedule.now();
        let nodes = self.on(machine);
        let hears = |(module, host): &(usize, usize)| {
            let host = &self.modules[*module].cluster.hosts[*host];
            host.node.is_some() && host.awake(now) && host.frozen_until <= now
        };
        if !nodes.iter().any(hears) {
            return false;
        }
        for (module, host) in nodes {
            let cluster = &mut self.modules[module].cluster;
            cluster
                .say(|| format!("{} is told to end{}", crate::Cluster::name(host), if hurry { " again" } else { "" }));
            cluster.shut_down(host, hurry);
        }
        true
    }

    /// Ends the agent once its modules are stopped. It is told again after a while, and then not waited for.
    pub(super) fn look_at_ending(&mut self, mut ending: Ending) {
        let Ending { machine, life, since, off_ms, back_in_ms, hurried } = ending;
        if life != self.lives[machine] {
            return;
        }
        let (nodes, waited) = (self.on(machine), self.schedule.now() - since);
        let stopped = nodes.iter().all(|(module, host)| self.modules[*module].cluster.may_end(*host));
        let patience = self.options.timeout_ms * 6;
        if !stopped && waited < patience * 2 {
            if waited >= patience && !hurried {
                ending.hurried = self.tell_to_end(machine, true);
            }
            return self.schedule.after(LOOK_MS, Event::EndingLooked(ending));
        }
        self.lives[machine] += 1;
        for (module, host) in nodes {
            let cluster = &mut self.modules[module].cluster;
            match off_ms {
                Some(off_ms) => cluster.power_off(host, off_ms),
                None => cluster.kill_agent(host, back_in_ms),
            }
        }
    }
}
