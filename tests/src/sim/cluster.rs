//! Two machines with an agent each, around two real `Node`s: the driver's part, done in simulated time.

use super::clock::{Rng, Schedule};
use super::disk::Disk;
use super::net::Net;
use super::operator::Operator;
use super::options::Options;
use super::oracle::Oracle;
use super::replica::{Replica, Stream};
use super::scripts::{self, Run};
use holdfast_api::ids::NodeId;
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::{Heartbeat, Incarnation};
use holdfast_core::input::{Input, ScriptOutcome};
use holdfast_core::node::Node;
use holdfast_core::output::{Act, Output, Script};
use holdfast_core::settings::{Settings, Witness};
use holdfast_core::time::{Instant, Moment};
use std::collections::VecDeque;

/// The world.
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
    /// The last stream, if there was one.
    pub stream: Option<Stream>,
    /// Streams so far.
    pub streams: u64,
    /// Writes so far.
    pub writes: u64,
    /// Faults are injected.
    pub faulty: bool,
    /// Faults so far.
    pub faults: u64,
    /// What must hold.
    pub oracle: Oracle,
    /// The person at the console.
    pub operator: Operator,
    /// Lines, if asked for.
    pub log: Option<Vec<String>>,
    pub(super) steps: u64,
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
    /// When the node wants to be called.
    pub tick_at: Option<u64>,
    /// Inputs that wait for the save.
    pub inbox: VecDeque<Input>,
    /// The ledger as it was before a save that failed, though its bytes landed: the agent knows nothing of them.
    pub before_failure: Option<Durable>,
    /// Disk.
    pub disk: Disk,
    /// Data plane.
    pub replica: Replica,
    /// Scripts that run.
    pub scripts: Vec<Run>,
    /// The application runs.
    pub application: bool,
    /// Its addresses are set.
    pub addresses: bool,
    /// Its health URL answers 200.
    pub healthy: bool,
}

/// A save under way and the rest of its output.
pub struct Saving {
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
#[derive(Debug)]
pub enum Step {
    /// A deadline of a node.
    Tick { host: usize, life: u64 },
    /// A datagram arrives.
    Datagram {
        to: usize,
        link: usize,
        heartbeat: Box<Heartbeat>,
    },
    /// A driver reports to its node.
    Report {
        host: usize,
        life: u64,
        input: Input,
    },
    /// The ledger is saved, or not.
    SaveEnds { host: usize, life: u64 },
    /// A script ends.
    ScriptEnds {
        host: usize,
        life: u64,
        run: u64,
        outcome: ScriptOutcome,
    },
    /// An order to the data plane takes effect.
    OrderDone { host: usize, life: u64, number: u64 },
    /// A data plane tries to connect.
    Connect {
        host: usize,
        life: u64,
        session: u64,
    },
    /// A message of the stream arrives.
    StreamDeliver { stream: u64, to: usize },
    /// The stream is looked after.
    StreamCheck { stream: u64 },
    /// The application writes.
    Write { host: usize },
    /// The machine has booted, or the agent is started again.
    AgentStarts { host: usize, life: u64 },
    /// A fault.
    Fault,
    /// All links of both directions that a fault cut are joined again.
    Join { from: usize, link: usize },
    /// The operator looks at the console.
    Look,
    /// The operator starts the module.
    OperatorStarts { host: usize },
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
    /// Events handled.
    pub steps: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Grants taken.
    pub grants: u64,
    /// Faults injected.
    pub faults: u64,
    /// Two nodes served at once.
    pub split_brain: bool,
}

impl Cluster {
    /// Both machines up, agents started, nothing configured by an operator yet.
    pub fn new(options: Options, verbose: bool) -> Self {
        let mut cluster = Self {
            rng: Rng::new(options.seed ^ 0xfeed),
            schedule: Schedule::default(),
            hosts: [Host::default(), Host::default()],
            net: Net::new(options.links),
            stream: None,
            streams: 0,
            writes: 0,
            faulty: false,
            faults: 0,
            oracle: Oracle::default(),
            operator: Operator::default(),
            log: verbose.then(Vec::new),
            steps: 0,
            options,
        };
        for host in 0..2 {
            cluster.power_on(host);
            cluster.start_agent(host);
            cluster.schedule.after(1, Step::Write { host });
        }
        cluster
    }

    /// Faults first, then healing; stops at the first violation.
    pub fn run(mut self) -> Report {
        let chaos_ms = self.options.chaos_ms;
        self.faulty = true;
        self.operator.first_start = Some(self.rng.coin());
        self.schedule.after(10, Step::Look);
        let first =
            self.options.timeout_ms * 4 + self.rng.within((0, self.options.timeout_ms * 20));
        self.schedule.after(first, Step::Fault);
        self.run_for(chaos_ms);
        self.heal();
        let until = self.schedule.now() + self.options.heal_ms;
        while self.oracle.violation.is_none() && !self.in_sync() && self.schedule.now() < until {
            self.run_for(100);
        }
        if self.oracle.violation.is_none() && !self.in_sync() {
            let views: Vec<String> = (0..2).map(|host| self.describe(host)).collect();
            self.oracle_violated(format!(
                "liveness: healed, but not PRIM and SECOND: {}",
                views.join(" | ")
            ));
        }
        if self.oracle.violation.is_none() {
            self.check_copies_equal();
        }
        Report {
            seed: self.options.seed,
            violation: self.oracle.violation.clone(),
            log: self.log.take().unwrap_or_default(),
            steps: self.steps,
            acknowledged: self.oracle.acknowledged() as u64,
            grants: self.oracle.grants() as u64,
            faults: self.faults,
            split_brain: self.oracle.split_brain,
        }
    }

    /// Lets simulated time pass, or stops at a violation.
    pub fn run_for(&mut self, ms: u64) {
        let until = self.schedule.now() + ms;
        while self.oracle.violation.is_none() {
            let Some(step) = self.schedule.next(until) else {
                return;
            };
            self.steps += 1;
            self.happen(step);
            self.oracle_check();
        }
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
            Step::Tick { host, life } if life == self.hosts[host].life => {
                self.input(host, Input::Ticked)
            }
            Step::Datagram {
                to,
                link,
                heartbeat,
            } => {
                if self.hosts[to].node.is_some() {
                    self.input(
                        to,
                        Input::HeartbeatReceived {
                            link,
                            heartbeat: *heartbeat,
                        },
                    );
                }
            }
            Step::Report { host, life, input } if life == self.hosts[host].life => {
                self.input(host, input)
            }
            Step::SaveEnds { host, life } if life == self.hosts[host].life => self.save_ends(host),
            Step::ScriptEnds {
                host,
                life,
                run,
                outcome,
            } if life == self.hosts[host].life => {
                self.script_ends(host, run, outcome);
            }
            Step::OrderDone { host, life, number }
                if (life, number)
                    == (
                        self.hosts[host].replica.life,
                        self.hosts[host].replica.order_number,
                    ) =>
            {
                self.order_done(host)
            }
            Step::Connect {
                host,
                life,
                session,
            } if life == self.hosts[host].replica.life => {
                self.connect(host, session);
            }
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
            Step::Fault => self.inject(),
            Step::Join { from, link } => {
                self.net.set(from, link, false);
                self.say(|| format!("net   link {link} of {} passes again", Self::name(from)));
            }
            Step::Look => self.look(),
            Step::OperatorStarts { host } => self.operator_starts(host),
            _ => {}
        }
    }

    /// A machine that sleeps, or an agent that is stopped, gets its events when it wakes.
    fn put_off(&self, step: &Step, now: u64) -> Option<u64> {
        let (host, of_agent) = match step {
            Step::Tick { host, .. }
            | Step::Report { host, .. }
            | Step::SaveEnds { host, .. }
            | Step::ScriptEnds { host, .. } => (*host, true),
            Step::Datagram { to, .. } => (*to, true),
            Step::OrderDone { host, .. } | Step::Connect { host, .. } => (*host, false),
            _ => return None,
        };
        let host = &self.hosts[host];
        let until = if of_agent {
            host.asleep_until.max(host.frozen_until)
        } else {
            host.asleep_until
        };
        (until > now).then_some(until)
    }

    /// The machine gets power.
    pub fn power_on(&mut self, host: usize) {
        if !self.hosts[host].up {
            self.hosts[host].up = true;
            self.hosts[host].boot_id = self.rng.next() | 1;
        }
    }

    /// The agent starts and reads its ledger.
    pub fn start_agent(&mut self, host: usize) {
        let draw = self.rng.next();
        let machine = &mut self.hosts[host];
        machine.life += 1;
        machine.disk.starts += 1;
        let options = &self.options;
        let settings = Settings {
            module: "mirror".to_owned(),
            node: NodeId(host as u16 + 1),
            node_name: Self::name(host).to_owned(),
            peer: NodeId(2 - host as u16),
            peer_name: Self::name(1 - host).to_owned(),
            links: options.links,
            pulse_ms: options.pulse_ms,
            timeout_ms: options.timeout_ms,
            maxloop: options.maxloop,
            loop_interval_ms: options.loop_interval_ms,
            failover: options.failover,
            has_scripts: options.has_scripts,
            signature: 7,
            boot_id: machine.boot_id,
            incarnation: Incarnation {
                count: machine.disk.starts,
                id: draw,
            },
            witness: Witness::None,
            broken: options.broken,
        };
        let durable = machine.disk.ledger.clone();
        let moment = Moment {
            now: Instant(self.schedule.now()),
            nonce: self.rng.next(),
        };
        let running = durable.running;
        let machine = &mut self.hosts[host];
        machine.node = Some(Node::new(settings, durable, moment));
        self.oracle_agent_started(host);
        self.say(|| format!("{} agent starts", Self::name(host)));
        self.input(host, Input::Ticked);
        if running {
            let by = if self.hosts[host].disk.ledger.boot_id == self.hosts[host].boot_id {
                "agent restart"
            } else {
                "boot"
            };
            self.command(host, holdfast_core::input::CommandKind::Start, by);
        }
    }

    /// Something reaches the agent a moment later.
    pub fn to_agent(&mut self, host: usize, input: Input) {
        let life = self.hosts[host].life;
        self.schedule.after(1, Step::Report { host, life, input });
    }

    /// Hands an input to the node, or keeps it until the save under way has ended.
    pub fn input(&mut self, host: usize, input: Input) {
        if self.hosts[host].saving.is_some() {
            self.hosts[host].inbox.push_back(input);
            return;
        }
        let moment = Moment {
            now: Instant(self.schedule.now()),
            nonce: self.rng.next(),
        };
        if self.hosts[host].node.is_none() {
            return;
        }
        let serving_word = match &input {
            Input::HeartbeatReceived { link, heartbeat } => {
                let heartbeat = heartbeat.clone();
                self.oracle_delivered(host, *link, &heartbeat);
                Some(heartbeat)
            }
            _ => None,
        };
        let shown = self.log.is_some().then(|| show_input(&input)).flatten();
        let Some(node) = &mut self.hosts[host].node else {
            return;
        };
        let before = node.view();
        let output = node.handle(moment, input);
        let after = node.view();
        let (life, deadline) = (
            self.hosts[host].life,
            self.hosts[host].node.as_ref().map(Node::next_deadline),
        );
        if let Some(Instant(deadline)) = deadline
            && self.hosts[host].tick_at != Some(deadline)
        {
            self.hosts[host].tick_at = Some(deadline);
            self.schedule.at(deadline, Step::Tick { host, life });
        }
        if let Some(shown) = shown {
            self.say(|| format!("{} <- {shown}", Self::name(host)));
        }
        if self.log.is_some() {
            for event in &output.events {
                self.say(|| format!("{} {:?} {}", Self::name(host), event.level, event.text));
            }
            if (before.state, before.readiness, before.data)
                != (after.state, after.readiness, after.data)
            {
                self.say(|| format!("{} == {after}", Self::name(host)));
            }
        }
        self.oracle_output(host, &output);
        match &output.persist {
            Some(_) => {
                let delay = self.rng.within(self.options.save_ms);
                let silent = self.truly_silent(host);
                self.hosts[host].saving = Some(Saving {
                    silent,
                    at: self.schedule.now(),
                    output,
                });
                self.schedule.after(delay, Step::SaveEnds { host, life });
            }
            None => self.carry_out(host, output),
        }
        if let Some(heartbeat) = serving_word {
            self.oracle_handled(host, &heartbeat);
        }
    }

    fn save_ends(&mut self, host: usize) {
        let Some(Saving { at, silent, output }) = self.hosts[host].saving.take() else {
            return;
        };
        let fails = self.faulty && self.rng.chance(self.options.save_fails);
        if let Some(before) = self.hosts[host].before_failure.take() {
            self.oracle_never_used(&self.hosts[host].disk.ledger.clone());
            self.hosts[host].disk.ledger = before;
        }
        if let Some(durable) = &output.persist
            && (!fails || self.rng.coin() == 0)
        {
            self.hosts[host].before_failure = fails.then(|| self.hosts[host].disk.ledger.clone());
            self.write_ledger(host, durable.clone(), at, silent);
        }
        if fails {
            self.say(|| format!("{} disk: save fails", Self::name(host)));
            self.hosts[host].inbox.push_front(Input::SaveFailed {
                reason: "input/output error".to_owned(),
            });
        } else {
            self.carry_out(host, output);
        }
        while self.hosts[host].saving.is_none() {
            let Some(input) = self.hosts[host].inbox.pop_front() else {
                break;
            };
            self.input(host, input);
        }
    }

    /// The ledger's new state is on disk.
    pub fn write_ledger(&mut self, host: usize, durable: Durable, decided_at: u64, silent: bool) {
        self.oracle_saved(host, &durable, decided_at, silent);
        self.hosts[host].disk.ledger = durable;
    }

    /// Send, then act.
    fn carry_out(&mut self, host: usize, output: Output) {
        self.oracle_effects(host, &output);
        if let Some(heartbeat) = output.send {
            self.transmit(host, &heartbeat);
        }
        for act in output.acts {
            if let Some(shown) = self.log.is_some().then(|| show_act(&act)).flatten() {
                self.say(|| format!("{} -> {shown}", Self::name(host)));
            }
            self.carry_out_act(host, act);
        }
        for reply in output.replies {
            self.oracle_replied(host, reply.id);
            self.say(|| format!("{} reply {:?}", Self::name(host), reply.result));
        }
    }

    fn transmit(&mut self, from: usize, heartbeat: &Heartbeat) {
        for link in 0..self.net.links() {
            let copies = if self.faulty && self.rng.chance(self.options.duplicate) {
                2
            } else {
                1
            };
            for _ in 0..copies {
                let lost = self.faulty && self.rng.chance(self.options.loss);
                let delay = self.rng.within(self.options.delay_ms);
                if self.net.passes(from, link) && !lost {
                    let heartbeat = Box::new(heartbeat.clone());
                    self.schedule.after(
                        delay,
                        Step::Datagram {
                            to: 1 - from,
                            link,
                            heartbeat,
                        },
                    );
                }
            }
        }
    }

    fn carry_out_act(&mut self, host: usize, act: Act) {
        let life = self.hosts[host].life;
        match act {
            Act::RunScript { run, script, .. } => {
                let (took, outcome) = scripts::draw(&mut self.rng, &self.options);
                let outcome = if self.faulty {
                    outcome
                } else {
                    ScriptOutcome::Exited(0)
                };
                self.hosts[host].scripts.push(Run { run, script });
                self.oracle_script_begins(host, script);
                self.schedule.after(
                    took,
                    Step::ScriptEnds {
                        host,
                        life,
                        run,
                        outcome,
                    },
                );
            }
            Act::EndScript { run } => {
                let outcome = ScriptOutcome::Signalled(15);
                self.schedule.after(
                    1,
                    Step::ScriptEnds {
                        host,
                        life,
                        run,
                        outcome,
                    },
                );
            }
            Act::Replica(command) => self.order(host, command),
            Act::SetAddresses { run } => {
                self.hosts[host].addresses = true;
                self.to_agent(host, Input::AddressesDone { run, error: None });
            }
            Act::ReleaseAddresses { run } => {
                self.hosts[host].addresses = false;
                self.to_agent(host, Input::AddressesDone { run, error: None });
            }
            Act::WatchProcesses | Act::UnwatchProcesses => {}
            Act::SetHealth { ready } => self.hosts[host].healthy = ready,
        }
    }

    fn script_ends(&mut self, host: usize, run: u64, outcome: ScriptOutcome) {
        let Some(at) = self.hosts[host]
            .scripts
            .iter()
            .position(|running| running.run == run)
        else {
            return;
        };
        let script = self.hosts[host].scripts.remove(at).script;
        match script {
            Script::StartPrim => self.hosts[host].application = true,
            Script::StopPrim | Script::Prestart => self.hosts[host].application = false,
            Script::Poststop => {}
        }
        self.input(host, Input::ScriptExited { run, outcome });
    }

    /// The agent dies; its data plane and its scripts end with it.
    pub fn kill_agent(&mut self, host: usize, back_in_ms: u64) {
        self.end_replica(host);
        let may_have_landed = self.rng.coin() == 0;
        let saving = self.hosts[host].saving.take();
        if let Some(Saving {
            at,
            silent,
            output:
                Output {
                    persist: Some(durable),
                    ..
                },
        }) = saving
            && may_have_landed
        {
            self.write_ledger(host, durable, at, silent);
        }
        let machine = &mut self.hosts[host];
        machine.node = None;
        machine.life += 1;
        machine.inbox.clear();
        machine.before_failure = None;
        machine.tick_at = None;
        machine.scripts.clear();
        machine.application = false;
        machine.healthy = false;
        machine.addresses = false;
        machine.frozen_until = 0;
        let life = machine.life;
        self.oracle_agent_gone(host);
        self.schedule
            .after(back_in_ms, Step::AgentStarts { host, life });
    }

    /// The machine loses power.
    pub fn crash(&mut self, host: usize, back_in_ms: u64) {
        self.kill_agent(host, back_in_ms);
        self.hosts[host].up = false;
        self.hosts[host].asleep_until = 0;
        self.hosts[host].disk.crash(&mut self.rng);
    }

    /// Both nodes are Ready as PRIM and SECOND.
    pub fn in_sync(&self) -> bool {
        use holdfast_api::state::{ModuleState::Prim, ModuleState::Second, Readiness::Ready};
        let status = |host: usize| {
            self.hosts[host]
                .node
                .as_ref()
                .map(|node| (node.view().state, node.view().readiness))
        };
        (0..2).any(|host| {
            status(host) == Some((Prim, Ready)) && status(1 - host) == Some((Second, Ready))
        })
    }
}

/// An input as the log shows it; heartbeats and ticks are too many.
pub fn show_input(input: &Input) -> Option<String> {
    match input {
        Input::Ticked | Input::HeartbeatReceived { .. } => None,
        Input::CommandReceived(command) => Some(format!("{:?} by {}", command.kind, command.actor)),
        Input::ScriptExited { outcome, .. } => Some(format!("script {outcome:?}")),
        Input::Replica(event) => Some(format!("{event:?}")),
        Input::AddressesDone { error: None, .. } => Some("addresses done".to_owned()),
        other => Some(format!("{other:?}")),
    }
}

/// An act as the log shows it.
pub fn show_act(act: &Act) -> Option<String> {
    Some(match act {
        Act::RunScript {
            script,
            force,
            from,
            to,
            action,
            ..
        } => {
            let force = if *force { "force " } else { "" };
            let action = format!("{action:?}").to_lowercase();
            format!("run {} {force}{from} {to} {action}", script.file_name())
        }
        Act::EndScript { .. } => "end script".to_owned(),
        Act::Replica(command) => format!("{command:?}"),
        Act::SetAddresses { .. } => "set addresses".to_owned(),
        Act::ReleaseAddresses { .. } => "release addresses".to_owned(),
        Act::WatchProcesses => "watch processes".to_owned(),
        Act::UnwatchProcesses => "unwatch processes".to_owned(),
        Act::SetHealth { ready } => format!("health {}", if *ready { 200 } else { 404 }),
    })
}
