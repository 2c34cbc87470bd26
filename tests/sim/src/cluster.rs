//! One module on its two nodes (or one), around real `Node`s: the driver's part, done in simulated time.

use super::clock::{Rng, Schedule};
use super::disk::Disk;
use super::net::Net;
use super::operator::Operator;
use super::options::Options;
use super::oracle::Oracle;
use super::replica::{Replica, Stream};
use super::scripts::Run;
use super::states::States;
use super::witness::{Kind, Register};
use holdfast_api::checker::When;
use holdfast_api::register::Ask;
use holdfast_api::resource::ResourceValue;
use holdfast_core::automaton;
use holdfast_core::backlog::Backlog;
use holdfast_core::covered::Covered;
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::Heartbeat;
use holdfast_core::input::{Input, ScriptOutcome};
use holdfast_core::node::Node;
use holdfast_core::output::Output;
use holdfast_core::settled::Settled;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A module, what its machines do for it, and the ways between them.
pub struct Cluster {
    /// What it may do.
    pub options: Options,
    /// Chance.
    pub rng: Rng,
    /// Time and what happens next.
    pub schedule: Schedule<Step>,
    /// The machines.
    pub hosts: [Host; 2],
    /// The networks.
    pub net: Net,
    /// The register, if there is one, and the ways to the witness.
    pub register: Register,
    /// The last stream, if there was one.
    pub stream: Option<Stream>,
    /// Streams so far.
    pub streams: u64,
    /// Writes so far.
    pub writes: u64,
    /// The configuration reaches a directory more, where the nodes have files of their own.
    pub covers: bool,
    /// Faults are injected.
    pub faulty: bool,
    /// What must hold.
    pub oracle: Oracle,
    /// The person at the console.
    pub operator: Operator,
    /// Lines, if asked for.
    pub log: Option<Vec<String>>,
    /// Its configuration has ordered a reboot of this machine, which is down for so many milliseconds.
    pub rebooted: Option<(usize, u64)>,
    pub(super) states: States,
}

/// One machine.
#[derive(Default)]
pub struct Host {
    /// It has power.
    pub up: bool,
    /// Boot id.
    pub boot_id: u64,
    /// It sleeps until then.
    pub asleep_until: u64,
    /// Its agent (not its data plane) is stopped until then.
    pub frozen_until: u64,
    /// Counts agents, so that events of an older one are dropped.
    pub life: u64,
    /// The agent's node, while the agent runs.
    pub node: Option<Node>,
    /// What it saves at present, and all that waits for that.
    pub saving: Option<Saving>,
    /// Saves so far.
    pub saves: u64,
    /// When the node wants to be called.
    pub tick_at: Option<u64>,
    /// Inputs that wait for the save.
    pub backlog: Backlog,
    /// Every save fails, and nothing lands.
    pub ledger_broken: bool,
    /// The same, until then.
    pub ledger_away_until: u64,
    /// The ledger as it was before a save that failed, though its bytes landed: the agent knows nothing of them.
    pub before_failure: Option<Durable>,
    /// Disk.
    pub disk: Disk,
    /// Data plane.
    pub replica: Replica,
    /// Scripts that run.
    pub scripts: Vec<Run>,
    /// Levels whose start script has begun and whose stop script has not been called by force since.
    pub levels: BTreeSet<When>,
    /// Checkers that look, since which round.
    pub checks: BTreeMap<When, u64>,
    /// Counts rounds, so that looks of an older one are dropped.
    pub rounds: u64,
    /// What the checkers find bad.
    pub bad: BTreeSet<String>,
    /// What each checker has said last.
    pub told: BTreeMap<String, ResourceValue>,
    /// What was covered when its copy was last in step, as its data plane was told.
    pub covered_before: Option<Arc<Covered>>,
    /// Its configuration differs from the other's.
    pub reconfigured: bool,
    /// Seconds by which its wall clock is off.
    pub wall_off: u64,
    /// The application runs.
    pub application: bool,
    /// Its addresses are set.
    pub addresses: bool,
    /// Its health URL answers 200.
    pub healthy: bool,
    /// What its agent has written down for the next one.
    pub settled: Option<Settled>,
    /// That cannot be removed before.
    pub record_stuck_until: u64,
}

/// A save under way and the rest of its output.
pub struct Saving {
    /// Counts the saves of this machine.
    pub number: u64,
    /// When the output was made.
    pub at: u64,
    /// Whether the peer was truly silent then.
    pub silent: bool,
    /// The output.
    pub output: Output,
}

impl Host {
    /// It runs (its agent may not).
    pub fn awake(&self, now: u64) -> bool {
        self.up && now >= self.asleep_until
    }
}

/// Something that happens.
#[expect(
    missing_docs,
    reason = "the fields say which node, and which life of it; an event of an older life is dropped"
)]
#[derive(Debug)]
pub enum Step {
    /// A deadline of a node.
    Tick { host: usize, life: u64 },
    /// A datagram arrives.
    Datagram { to: usize, link: usize, heartbeat: Box<Heartbeat> },
    /// A driver reports to its node.
    Report { host: usize, life: u64, input: Input },
    /// The ledger is saved, or not.
    SaveEnds { host: usize, life: u64, number: u64 },
    /// The driver looks at a save under way.
    SaveGoesOn { host: usize, life: u64, number: u64 },
    /// A script ends.
    ScriptEnds { host: usize, life: u64, run: u64, outcome: ScriptOutcome },
    /// An order to the data plane takes effect.
    OrderDone { host: usize, life: u64, number: u64 },
    /// An ask arrives at the register.
    RegisterAsked { host: usize, life: u64, ask: u64, wanted: Ask },
    /// The register's process starts.
    RegisterStarts { life: u64, restored: Option<u64> },
    /// It asks who has not reported.
    RegisterQuestions { life: u64 },
    /// A report arrives at the register.
    RegisterReported { host: usize, life: u64, number: u64 },
    /// A node gets the common configuration again, and its agent a restart.
    SameConfiguration { host: usize },
    /// The configuration covers the nodes' own files, too.
    Cover,
    /// A data plane tries to connect.
    Connect { host: usize, life: u64, session: u64 },
    /// A message of the stream arrives.
    StreamDeliver { stream: u64, to: usize },
    /// The stream is looked after.
    StreamCheck { stream: u64 },
    /// The application writes.
    Write { host: usize },
    /// A data plane that no agent has come back to lets its addresses, or everything, go.
    OrphanLimit { host: usize, life: u64, all: bool },
    /// The machine has booted, or the agent is started again.
    AgentStarts { host: usize, life: u64 },
    /// All links of both directions that a fault cut are joined again.
    Join { from: usize, link: usize },
    /// The operator looks at the console.
    Look,
    /// A checker looks.
    CheckerLooks { host: usize, life: u64, index: usize, round: u64 },
    /// What a checker found bad is good again.
    ResourceHeals { host: usize, name: String },
    /// The operator starts the module.
    OperatorStarts { host: usize },
    /// The agent is ended in order, and is back later.
    AgentEnds { host: usize, back_in_ms: u64 },
}

impl Cluster {
    /// Both machines up, agents started, nothing configured by an operator yet.
    pub fn new(options: Options, verbose: bool) -> Self {
        let mut cluster = Self {
            rng: Rng::new(options.seed ^ 0xfeed),
            schedule: Schedule::default(),
            hosts: [Host::default(), Host::default()],
            net: Net::new(options.links),
            register: Register::new(),
            stream: None,
            streams: 0,
            writes: 0,
            covers: false,
            faulty: false,
            oracle: Oracle::default(),
            operator: Operator::default(),
            log: verbose.then(Vec::new),
            rebooted: None,
            states: States::default(),
            options,
        };
        for host in 0..cluster.options.nodes {
            cluster.power_on(host);
            cluster.start_agent(host);
            cluster.schedule.after(1, Step::Write { host });
        }
        if cluster.options.witness == Kind::Register {
            cluster.register_questions(1);
        }
        cluster
    }

    /// Faults begin, and the operator looks.
    pub fn begin(&mut self) {
        self.faulty = true;
        self.operator.first_start = Some(self.rng.coin() % self.options.nodes);
        self.schedule.after(10, Step::Look);
    }

    /// Lets simulated time pass, or stops at a violation.
    pub fn run_for(&mut self, ms: u64) {
        let until = self.schedule.now() + ms;
        while self.oracle.violation.is_none() && self.step(until) {}
    }

    /// The next event that is not later than `until` happens; else time passes.
    pub fn step(&mut self, until: u64) -> bool {
        let Some(step) = self.schedule.pop(until) else {
            return false;
        };
        self.happen(step);
        self.oracle_check();
        self.note_state();
        true
    }

    /// A line for the log.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        let now = self.schedule.now();
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} {}", now as f64 / 1000.0, text()));
        }
    }

    /// Name of a node.
    pub fn name(host: usize) -> &'static str {
        ["node1", "node2"][host]
    }

    /// The state of a node in one line.
    pub fn describe(&self, host: usize) -> String {
        match &self.hosts[host].node {
            None => format!("{} off", Self::name(host)),
            Some(node) => {
                let view = node.view();
                let waiting = view.waiting_for.clone().unwrap_or_default();
                format!("{view} [{}] {waiting}", view.detail)
            }
        }
    }

    fn happen(&mut self, step: Step) {
        let now = self.schedule.now();
        if let Some(later) = self.put_off(&step, now) {
            self.schedule.at(later, step);
            return;
        }
        match step {
            Step::Tick { host, life } if life == self.hosts[host].life => self.tick(host),
            Step::Datagram { to, link, heartbeat } if self.hosts[to].node.is_some() => {
                let heartbeat = *heartbeat;
                self.input(to, Input::HeartbeatReceived { link, heartbeat });
            }
            Step::Report { host, life, input } if life == self.hosts[host].life => self.input(host, input),
            Step::SaveEnds { host, life, number } if life == self.hosts[host].life => self.save_ends(host, number),
            Step::SaveGoesOn { host, life, number } if life == self.hosts[host].life => {
                self.save_goes_on(host, number);
            }
            Step::ScriptEnds { host, life, run, outcome } if life == self.hosts[host].life => {
                self.script_ends(host, run, outcome);
            }
            Step::OrderDone { host, life, number }
                if (life, number) == (self.hosts[host].replica.life, self.hosts[host].replica.order_number) =>
            {
                self.order_done(host)
            }
            Step::Connect { host, life, session } if life == self.hosts[host].replica.life => {
                self.connect(host, session);
            }
            Step::RegisterAsked { host, life, ask, wanted } => self.register_asked(host, life, ask, wanted),
            Step::RegisterStarts { life, restored } => self.register_starts(life, restored),
            Step::RegisterQuestions { life } => self.register_questions(life),
            Step::RegisterReported { host, life, number } => self.register_reported(host, life, number),
            Step::SameConfiguration { host } => self.same_configuration(host),
            Step::Cover if !self.covers && self.faulty => self.cover(true),
            Step::StreamDeliver { stream, to } => self.stream_deliver(stream, to),
            Step::StreamCheck { stream } => self.stream_check(stream),
            Step::Write { host } => {
                if self.hosts[host].awake(now) && self.hosts[host].application {
                    self.app_write(host);
                }
                let every = self.rng.within(self.options.write_every_ms);
                self.schedule.after(every, Step::Write { host });
            }
            Step::AgentStarts { host, life } if life == self.hosts[host].life => {
                self.power_on(host);
                self.start_agent(host);
            }
            Step::OrphanLimit { host, life, all } if life == self.hosts[host].life => self.orphan_limit(host, all),
            Step::Join { from, link } => {
                self.net.set(from, link, false);
                self.say(|| format!("net   link {link} of {} passes again", Self::name(from)));
            }
            Step::Look => self.look(),
            Step::CheckerLooks { host, life, index, round } if life == self.hosts[host].life => {
                self.checker_looks(host, index, round);
            }
            Step::ResourceHeals { host, name } => {
                self.hosts[host].bad.remove(&name);
            }
            Step::OperatorStarts { host } => self.operator_starts(host),
            Step::AgentEnds { host, back_in_ms } if self.hosts[host].node.is_some() => self.end_agent(host, back_in_ms),
            _ => {}
        }
    }

    /// Only the tick that was asked for last counts.
    fn tick(&mut self, host: usize) {
        let now = self.schedule.now();
        if self.hosts[host].tick_at.is_some_and(|at| at <= now) {
            self.hosts[host].tick_at = None;
            self.input(host, Input::Ticked);
        }
    }

    /// A machine that sleeps, or an agent that is stopped, gets its events when it wakes.
    fn put_off(&self, step: &Step, now: u64) -> Option<u64> {
        let (host, of_agent) = match step {
            Step::Tick { host, .. }
            | Step::Report { host, .. }
            | Step::SaveEnds { host, .. }
            | Step::SaveGoesOn { host, .. }
            | Step::CheckerLooks { host, .. }
            | Step::ScriptEnds { host, .. } => (*host, true),
            Step::Datagram { to, .. } => (*to, true),
            Step::OrderDone { host, .. } | Step::Connect { host, .. } => (*host, false),
            _ => return None,
        };
        let host = &self.hosts[host];
        let until = if of_agent { host.asleep_until.max(host.frozen_until) } else { host.asleep_until };
        (until > now).then_some(until)
    }

    /// Both nodes are Ready as PRIM and SECOND; the only one of a light module is UP.
    pub fn in_sync(&self) -> bool {
        let status = |host: usize| self.hosts[host].node.as_ref().map(Node::status);
        if self.options.nodes == 1 {
            return status(0) == Some(automaton::UP);
        }
        (0..2).any(|host| status(host) == Some(automaton::PRIM) && status(1 - host) == Some(automaton::SECOND))
    }
}
