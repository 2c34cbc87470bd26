//! The world: two or three machines, their networks and a register, below one cluster for each of several modules.
//!
//! Every module lives on two machines (a light one on one) and is simulated by a [`Cluster`] of its own, in one common
//! time. What happens to a machine, a network or the register happens to all modules that stand on it, at that moment.

mod ending;
mod faults;
mod plan;

use super::clock::{Rng, Schedule};
use super::cluster::Cluster;
use super::options::Options;
use super::states::States;
use ending::Ending;

/// Everything.
pub struct World {
    /// Of the first module: what it says of machines, networks and register holds for all.
    pub options: Options,
    /// The modules.
    pub modules: Vec<Module>,
    /// Per machine: how often its agent, or all of it, has ended.
    lives: Vec<u64>,
    schedule: Schedule<Event>,
    rng: Rng,
    faulty: bool,
    faults: u64,
    steps: u64,
    log: Option<Vec<String>>,
    violation: Option<String>,
}

/// A module and where it lives.
pub struct Module {
    /// Its name.
    pub name: String,
    /// The machines of its nodes, in their order.
    pub machines: Vec<usize>,
    /// The light module without which it waits, by index.
    pub needs: Option<usize>,
    /// Its nodes.
    pub cluster: Cluster,
}

/// Something that happens to the world.
#[derive(Clone, Debug)]
enum Event {
    /// A fault, and then another.
    Fault,
    /// The register is restored as it was then, in no time.
    RegisterRestored { then: u64 },
    /// Has an agent that was told to end stopped all its modules?
    EndingLooked(Ending),
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Seed.
    pub seed: u64,
    /// What rule was broken, where and when.
    pub violation: Option<String>,
    /// Lines, if asked for.
    pub log: Vec<String>,
    /// Modules simulated.
    pub modules: u64,
    /// Events handled.
    pub steps: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Grants taken.
    pub grants: u64,
    /// Numbers granted by the register.
    pub register_grants: u64,
    /// Faults injected.
    pub faults: u64,
    /// Two nodes of a module served at once.
    pub split_brain: bool,
    /// States reached.
    pub states: States,
}

impl World {
    /// All machines up and agents started, nothing ordered by an operator yet.
    pub fn new(options: Options, verbose: bool) -> Self {
        let mut rng = Rng::new(options.seed ^ 0xbeef);
        let (machines, modules) = plan::draw(&mut rng, &options, verbose);
        let log = verbose.then(Vec::new);
        let mut world = Self {
            options,
            modules,
            lives: vec![0; machines],
            schedule: Schedule::default(),
            rng,
            faulty: false,
            faults: 0,
            steps: 0,
            log,
            violation: None,
        };
        (0..world.modules.len()).for_each(|module| world.tell_dependents(module));
        world
    }

    /// Faults first, then healing; stops at the first violation.
    pub fn run(mut self) -> Report {
        let timeout_ms = self.options.timeout_ms;
        self.faulty = true;
        self.modules.iter_mut().for_each(|module| module.cluster.begin());
        let first = timeout_ms * 4 + self.rng.within((0, timeout_ms * 20));
        self.schedule.after(first, Event::Fault);
        self.run_for(self.options.chaos_ms);
        self.heal();
        // What was in sync at the last moment of the faults may not have noticed them yet.
        self.run_for(timeout_ms * 2);
        let until = self.schedule.now() + self.options.heal_ms;
        while self.violation.is_none() && !self.in_sync() && self.schedule.now() < until {
            self.run_for(100);
        }
        if let Some(module) = self.modules.iter().position(|module| !module.cluster.in_sync()) {
            let cluster = &self.modules[module].cluster;
            let views: Vec<String> = (0..cluster.options.nodes).map(|host| cluster.describe(host)).collect();
            self.violated(module, &format!("liveness: healed, but not PRIM and SECOND: {}", views.join(" | ")));
        }
        self.check_copies_equal();
        if self.violation.is_none() {
            self.modules.iter_mut().for_each(|module| module.cluster.check_replies());
            self.gather();
        }
        self.report()
    }

    fn report(self) -> Report {
        let clusters = || self.modules.iter().map(|module| &module.cluster);
        let mut states = States::default();
        clusters().for_each(|cluster| states.extend(&cluster.states));
        Report {
            seed: self.options.seed,
            violation: self.violation.clone(),
            modules: self.modules.len() as u64,
            steps: self.steps,
            acknowledged: clusters().map(|cluster| cluster.oracle.acknowledged() as u64).sum(),
            grants: clusters().map(|cluster| cluster.oracle.grants() as u64).sum(),
            register_grants: clusters().map(|cluster| cluster.register.granted.len() as u64).sum(),
            faults: self.faults,
            split_brain: clusters().any(|cluster| cluster.oracle.split_brain),
            states,
            log: self.log.unwrap_or_default(),
        }
    }

    /// Lets simulated time pass, or stops at a violation.
    fn run_for(&mut self, ms: u64) {
        let until = self.schedule.now() + ms;
        while self.violation.is_none() {
            let next = (0..self.modules.len())
                .filter_map(|module| Some((self.modules[module].cluster.schedule.next_at()?, module)))
                .min();
            let next = next.filter(|(at, _)| *at <= until);
            let own = self.schedule.next_at().filter(|at| *at <= until);
            match (own, next) {
                (Some(own), next) if next.is_none_or(|(at, _)| own <= at) => self.happen(own),
                (_, Some((at, module))) => {
                    self.steps += 1;
                    self.modules[module].cluster.step(at);
                    self.follow_up(module);
                }
                (_, None) => break,
            }
        }
        self.advance(until);
    }

    /// Nothing happens anywhere before `now`.
    fn advance(&mut self, now: u64) {
        self.schedule.advance(now);
        self.modules.iter_mut().for_each(|module| module.cluster.schedule.advance(now));
    }

    fn happen(&mut self, at: u64) {
        self.advance(at);
        let Some(event) = self.schedule.pop(at) else {
            return;
        };
        match event {
            Event::Fault => self.inject(),
            Event::RegisterRestored { then } => {
                self.modules.iter_mut().for_each(|module| module.cluster.register_ends(1, Some(then)));
            }
            Event::EndingLooked(ending) => self.look_at_ending(ending),
        }
        self.gather();
    }

    /// What a step of one module means to the others.
    fn follow_up(&mut self, module: usize) {
        if let Some((host, time)) = self.modules[module].cluster.rebooted.take() {
            let machine = self.modules[module].machines[host];
            self.lives[machine] += 1;
            for (other, host) in self.on(machine) {
                let cluster = &mut self.modules[other].cluster;
                if other != module && cluster.hosts[host].up {
                    cluster.crash(host, time);
                }
            }
        }
        self.tell_dependents(module);
        self.gather_of(module);
    }

    /// Whoever needs this module finds it healthy, or not.
    fn tell_dependents(&mut self, module: usize) {
        if self.modules[module].cluster.options.nodes == 2 {
            return;
        }
        let (name, healthy) =
            (plan::resource(&self.modules[module].name), self.modules[module].cluster.hosts[0].healthy);
        for dependent in self.modules.iter_mut().filter(|other| other.needs == Some(module)) {
            for host in &mut dependent.cluster.hosts {
                if healthy {
                    host.bad.remove(&name);
                } else if !host.bad.contains(&name) {
                    host.bad.insert(name.clone());
                }
            }
        }
    }

    /// The nodes on a machine: module and host.
    fn on(&self, machine: usize) -> Vec<(usize, usize)> {
        let modules = self.modules.iter().enumerate();
        modules
            .filter_map(|(index, module)| Some((index, module.machines.iter().position(|other| *other == machine)?)))
            .collect()
    }

    fn gather(&mut self) {
        (0..self.modules.len()).for_each(|module| self.gather_of(module));
    }

    /// Takes over what a module has said, with its name and those of its machines.
    fn gather_of(&mut self, module: usize) {
        if let Some(violation) = self.modules[module].cluster.oracle.violation.clone()
            && self.violation.is_none()
        {
            self.violation = Some(self.named(module, &violation));
        }
        let lines = self.modules[module].cluster.log.as_mut().map(std::mem::take).unwrap_or_default();
        for line in lines {
            let line = self.named(module, &line);
            self.log.get_or_insert_default().push(line);
        }
    }

    /// A line of a module, whose nodes are node1 and node2 for itself.
    fn named(&self, module: usize, line: &str) -> String {
        let Module { name, machines, .. } = &self.modules[module];
        let second = machines.get(1).copied().unwrap_or(1);
        let line = line.replace("node2", &format!("node{}", second + 1));
        let line = line.replace("node1", &format!("node{}", machines[0] + 1));
        if self.modules.len() == 1 { line } else { format!("{name:<8}{line}") }
    }

    fn violated(&mut self, module: usize, what: &str) {
        if self.violation.is_none() {
            self.modules[module].cluster.oracle_violated(what.to_owned());
            self.gather_of(module);
        }
    }

    fn in_sync(&self) -> bool {
        self.modules.iter().all(|module| module.cluster.in_sync())
    }

    /// At the end, in sync and with nothing under way, the copies are equal.
    fn check_copies_equal(&mut self) {
        for module in &mut self.modules {
            module.cluster.hosts.iter_mut().for_each(|host| host.application = false);
        }
        let differs = |module: &Module| module.cluster.hosts[0].disk.content != module.cluster.hosts[1].disk.content;
        for _ in 0..600 {
            self.run_for(100);
            if self.violation.is_some() || self.in_sync() && !self.modules.iter().any(differs) {
                return;
            }
        }
        let module = self.modules.iter().position(differs).unwrap_or(0);
        self.violated(module, "in sync, but the copies differ");
    }
}
