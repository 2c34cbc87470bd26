//! The agent's part, as the simulated machines do it: hand inputs to the node, save, send, act; die and start again.

use super::cluster::{Cluster, Host, Step};
use super::disk::OWN;
use super::scripts::{self, Run};
use holdfast_api::checker::When;
use holdfast_api::ids::NodeId;
use holdfast_api::userconfig::{Boot, Mode};
use holdfast_core::automaton;
use holdfast_core::covered::Covered;
use holdfast_core::durable::Durable;
use holdfast_core::heartbeat::{Heartbeat, Incarnation};
use holdfast_core::input::{Input, ModuleCommand, ScriptOutcome};
use holdfast_core::node::Node;
use holdfast_core::output::{Act, Output, Script};
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_core::settings::Settings;
use holdfast_core::time::{Instant, Moment};
use std::sync::Arc;

/// The directory where the nodes have files of their own until it is replicated too.
const SECOND_DIRECTORY: &str = "/srv/more";

/// What the module replicates.
fn covered(more: bool) -> Covered {
    let directories = ["/srv/data", SECOND_DIRECTORY].map(str::to_owned);
    Covered::new(&directories[..1 + usize::from(more)], &[])
}

impl Cluster {
    /// Both nodes get a configuration that reaches the second directory, or no longer does; a node's own file is put where
    /// it does not reach. (Each has its engine started anew with it.)
    pub fn cover(&mut self, covers: bool) {
        self.covers = covers;
        for host in 0..2 {
            self.hosts[host].disk.cover(covers);
            self.kill_agent(host, 50);
        }
    }

    /// A file of a node's own, where no configuration reaches at present.
    pub fn put_own_file(&mut self, host: usize) {
        self.writes += 1;
        self.hosts[host].disk.own.insert(OWN + self.writes);
    }

    /// What the data plane finds that was not covered before.
    pub fn uncovered(&self, host: usize) -> u64 {
        let host = &self.hosts[host];
        let before = host.covered_before.as_ref();
        let new = before.is_some_and(|before| !before.directories.iter().any(|name| name == SECOND_DIRECTORY));
        if new { host.disk.content.range(OWN..).count() as u64 } else { 0 }
    }

    /// The machine gets power.
    pub fn power_on(&mut self, host: usize) {
        if !self.hosts[host].up {
            self.hosts[host].up = true;
            self.hosts[host].boot_id = self.rng.draw() | 1;
        }
    }

    /// The agent starts and reads its ledger.
    pub fn start_agent(&mut self, host: usize) {
        let (draw, now) = (self.rng.draw(), self.schedule.now());
        let machine = &mut self.hosts[host];
        machine.life += 1;
        // As the agent does: one more than before, or the wall clock's second, whichever is more.
        machine.disk.starts = (machine.disk.starts + 1).max(1_000_000 + machine.wall_off + now / 1000);
        let options = &self.options;
        let settings = Settings {
            module: "mirror".to_owned(),
            node: NodeId(host as u16 + 1),
            node_name: Self::name(host).to_owned(),
            peer: NodeId(2 - host as u16),
            peer_name: Self::name(1 - host).to_owned(),
            links: if options.mode == Mode::Light { 0 } else { options.links },
            pulse_ms: options.pulse_ms,
            timeout_ms: options.timeout_ms,
            link_times: options.link_times.clone(),
            maxloop: options.maxloop,
            loop_interval_ms: options.loop_interval_ms,
            link_idents: (0..options.links).map(|link| format!("net{}", link + 1)).collect(),
            mode: options.mode,
            failover: options.failover,
            defaultprim: options.defaultprim.clone(),
            automatic_reboot: options.automatic_reboot,
            boot: Boot::Ignore,
            scripts: options.scripts.clone(),
            checkers: options.checkers.clone(),
            rules: options.rules.clone(),
            covered: Arc::new(covered(self.covers)),
            signature: 7 + u64::from(machine.reconfigured) + 2 * u64::from(self.covers),
            boot_id: machine.boot_id,
            incarnation: Incarnation { count: machine.disk.starts, id: draw },
            witness: options.witness.setting(),
            witness_timeout_ms: options.witness_timeout_ms,
            save_limit_ms: options.save_limit_ms,
            broken: options.broken,
        };
        let durable = machine.disk.ledger.clone();
        let moment = Moment { now: Instant(self.schedule.now()), nonce: self.rng.draw() };
        let running = durable.running;
        self.hosts[host].covered_before = durable.covered.clone();
        self.begin_node(host, settings, durable, moment);
        self.input(host, Input::Ticked);
        if running {
            let by =
                if self.hosts[host].disk.ledger.boot_id == self.hosts[host].boot_id { "agent restart" } else { "boot" };
            self.command(host, ModuleCommand::Start, by);
        }
    }

    /// Something reaches the agent a moment later.
    pub fn to_agent(&mut self, host: usize, input: Input) {
        let life = self.hosts[host].life;
        self.schedule.after(1, Step::Report { host, life, input });
    }

    /// Hands an input to the node, or keeps it until the save under way has ended.
    pub fn input(&mut self, host: usize, input: Input) {
        let now = self.schedule.now();
        if let Host { saving: Some(_), node: Some(node), backlog, .. } = &mut self.hosts[host] {
            return backlog.keep(node, Instant(now), input);
        }
        self.input_later(host, Instant(now), input);
    }

    /// Hands in an input that arrived some time ago.
    pub(super) fn input_later(&mut self, host: usize, arrived: Instant, input: Input) {
        let moment = Moment { now: Instant(self.schedule.now()), nonce: self.rng.draw() };
        if self.hosts[host].node.is_none() {
            return;
        }
        let serving_word = match &input {
            Input::HeartbeatReceived { link, heartbeat } => {
                let heartbeat = heartbeat.clone();
                (self.oracle_delivered(host, *link, &heartbeat, arrived.0) && !heartbeat.saving).then_some(heartbeat)
            }
            _ => None,
        };
        let shows = self.log.is_some();
        let shown = shows.then(|| show_input(&input)).flatten();
        let Some(node) = &mut self.hosts[host].node else {
            return;
        };
        let before = shows.then(|| node.view());
        let output = node.handle_later(moment, arrived, input);
        let after = shows.then(|| node.view());
        let settled = node.settled();
        let (life, deadline) = (self.hosts[host].life, self.hosts[host].node.as_ref().map(Node::next_deadline));
        if let Some(Instant(deadline)) = deadline
            && self.hosts[host].tick_at != Some(deadline)
        {
            self.hosts[host].tick_at = Some(deadline);
            self.schedule.at(deadline, Step::Tick { host, life });
        }
        if let Some(shown) = shown {
            self.say(|| format!("{} <- {shown}", Self::name(host)));
        }
        if let (Some(before), Some(after)) = (before, after) {
            for event in &output.events {
                self.say(|| format!("{} {:?} {}", Self::name(host), event.level, event.text));
            }
            if (before.state, before.readiness, before.data) != (after.state, after.readiness, after.data) {
                self.say(|| format!("{} == {after}", Self::name(host)));
            }
        }
        let gives_up = self.hosts[host].node.as_ref().is_some_and(Node::gives_up);
        if !output.is_idle() && !self.take_back(host, settled.as_ref()) && !gives_up {
            return self.input(host, Input::SaveFailed { reason: "read-only file system".to_owned() });
        }
        self.oracle_output(host, &output);
        self.oracle_woken(host, &output);
        match &output.persist {
            Some(_) => self.begin_save(host, output),
            None => self.carry_out(host, output),
        }
        if let Some(heartbeat) = serving_word {
            self.oracle_handled(host, &heartbeat);
        }
    }

    /// The ledger's new state is on disk.
    pub fn write_ledger(&mut self, host: usize, durable: Durable, decided_at: u64, silent: bool) {
        self.oracle_saved(host, &durable, decided_at, silent);
        self.hosts[host].disk.ledger = durable;
    }

    /// Send, then act.
    pub(super) fn carry_out(&mut self, host: usize, output: Output) {
        self.oracle_effects(host, &output);
        let (idle, pulse) = (output.is_idle(), output.send.is_some());
        if let Some(heartbeat) = output.send {
            self.transmit(host, &heartbeat, &output.send_on);
        }
        for act in output.acts {
            if let Some(shown) = self.log.is_some().then(|| show_act(&act)).flatten() {
                self.say(|| format!("{} -> {shown}", Self::name(host)));
            }
            self.carry_out_act(host, act);
        }
        for reply in output.replies {
            self.oracle_replied(host, reply.id, reply.result.is_ok());
            self.say(|| format!("{} reply {:?}", Self::name(host), reply.result));
        }
        if !idle {
            self.note_settled(host, pulse);
        }
    }

    pub(super) fn transmit(&mut self, from: usize, heartbeat: &Heartbeat, on: &[usize]) {
        for &link in on {
            let copies = if self.faulty && self.rng.chance(self.options.duplicate) { 2 } else { 1 };
            for _ in 0..copies {
                let lost = self.faulty && self.rng.chance(self.options.loss);
                let delay = self.rng.within(self.options.delay_ms);
                if self.net.passes(from, link) && !lost {
                    let heartbeat = Box::new(heartbeat.clone());
                    self.schedule.after(delay, Step::Datagram { to: 1 - from, link, heartbeat });
                }
            }
        }
    }

    fn carry_out_act(&mut self, host: usize, act: Act) {
        let life = self.hosts[host].life;
        match act {
            Act::RunScript { run, script, force, from, .. } => {
                self.check_script(host, script, force);
                let (took, outcome) = scripts::draw(&mut self.rng, &self.options);
                let outcome = if self.faulty { outcome } else { ScriptOutcome::Exited(0) };
                self.hosts[host].scripts.push(Run { run, script, told: false });
                self.oracle_script_begins(host, script, from);
                self.schedule.after(took, Step::ScriptEnds { host, life, run, outcome });
            }
            Act::EndScript { run } => {
                if let Some(ended) = self.hosts[host].scripts.iter_mut().find(|other| other.run == run) {
                    ended.told = true;
                }
                let outcome = ScriptOutcome::Signalled(15);
                self.schedule.after(1, Step::ScriptEnds { host, life, run, outcome });
            }
            Act::Replica(command) => self.order(host, command),
            Act::SetAddresses { run } => {
                self.oracle_addresses_set(host);
                self.hosts[host].addresses = true;
                self.to_agent(host, Input::AddressesDone { run, error: None });
            }
            Act::ReleaseAddresses { run } => {
                self.hosts[host].addresses = false;
                self.to_agent(host, Input::AddressesDone { run, error: None });
            }
            Act::StartChecks { when } => self.start_checks(host, when),
            Act::StopChecks { when } => self.stop_checks(host, when),
            Act::Reboot => {
                let time = self.rng.within((1, self.options.timeout_ms * 2));
                self.crash(host, time);
                self.rebooted = Some((host, time));
            }
            Act::AskWitness { ask, number, nonce } => self.ask_witness(host, ask, number, nonce),
            Act::ReportGeneration { life, number } => self.report_generation(host, life, number),
            Act::SetHealth { ready } => self.hosts[host].healthy = ready,
        }
    }

    pub(super) fn script_ends(&mut self, host: usize, run: u64, outcome: ScriptOutcome) {
        let Some(at) = self.hosts[host].scripts.iter().position(|running| running.run == run) else {
            return;
        };
        let script = self.hosts[host].scripts.remove(at).script;
        match script {
            Script::Start(When::Prim) => self.hosts[host].application = true,
            Script::Stop(When::Prim) | Script::Start(When::Pre) => self.hosts[host].application = false,
            _ => {}
        }
        self.input(host, Input::ScriptExited { run, outcome });
    }

    /// The agent dies; its data plane and its scripts end with it.
    pub fn kill_agent(&mut self, host: usize, back_in_ms: u64) {
        self.end_replica(host);
        self.save_cut_off(host);
        let machine = &mut self.hosts[host];
        machine.settled = None;
        machine.node = None;
        machine.life += 1;
        machine.backlog.clear();
        machine.before_failure = None;
        machine.tick_at = None;
        machine.scripts.clear();
        machine.levels.clear();
        machine.checks.clear();
        machine.told.clear();
        machine.application = false;
        machine.healthy = false;
        machine.addresses = false;
        machine.frozen_until = 0;
        let life = machine.life;
        self.oracle_agent_gone(host);
        self.schedule.after(back_in_ms, Step::AgentStarts { host, life });
    }

    /// The machine is switched off in order: what is written is on disk.
    pub fn power_off(&mut self, host: usize, back_in_ms: u64) {
        self.hosts[host].disk.sync();
        self.crash(host, back_in_ms);
    }

    /// The module is stopped here, and that is saved: its agent may end.
    pub fn may_end(&self, host: usize) -> bool {
        let machine = &self.hosts[host];
        machine.saving.is_none() && machine.node.as_ref().is_none_or(|node| node.status() == automaton::STOP)
    }

    /// The machine loses power.
    pub fn crash(&mut self, host: usize, back_in_ms: u64) {
        self.kill_agent(host, back_in_ms);
        self.hosts[host].up = false;
        self.hosts[host].asleep_until = 0;
        self.hosts[host].disk.crash(&mut self.rng);
    }
}

/// An input as the log shows it; heartbeats and ticks are too many.
pub fn show_input(input: &Input) -> Option<String> {
    match input {
        Input::Ticked | Input::HeartbeatReceived { .. } => None,
        Input::CommandReceived(command) => Some(format!("{:?} by {}", command.kind, command.actor)),
        Input::ScriptExited { outcome, .. } => Some(format!("script {outcome:?}")),
        Input::Replica(event) => Some(match event {
            ReplicaEvent::StreamLost { reason, .. } => format!("StreamLost: {reason}"),
            ReplicaEvent::Failed { reason } => format!("Failed: {reason}"),
            ReplicaEvent::Exited { reason } => format!("Exited: {reason}"),
            ReplicaEvent::Inspected { inventory, uncovered } if uncovered.entries > 0 => {
                format!("Inspected: {} entries, {} of them not covered before", inventory.entries, uncovered.entries)
            }
            ReplicaEvent::Inspected { inventory, .. } => {
                format!("Inspected: {} entries", inventory.entries)
            }
            ReplicaEvent::PeerConnected { session }
            | ReplicaEvent::ResyncCopied { session }
            | ReplicaEvent::PeerUpToDate { session }
            | ReplicaEvent::Following { session }
            | ReplicaEvent::CaughtUp { session } => {
                let shown = format!("{event:?}");
                format!("{} session {session}", shown.split(' ').next().unwrap_or_default())
            }
            other => format!("{other:?}"),
        }),
        Input::RegisterRestarted { .. } => Some("the register asks for the generation".to_owned()),
        Input::WitnessAnswered { answer, .. } => Some(format!("witness {answer:?}")),
        Input::AddressesDone { error: None, .. } => Some("addresses done".to_owned()),
        other => Some(format!("{other:?}")),
    }
}

/// An act as the log shows it.
pub fn show_act(act: &Act) -> Option<String> {
    Some(match act {
        Act::RunScript { script, force, from, to, action, .. } => {
            let force = if *force { "force " } else { "" };
            let action = format!("{action:?}").to_lowercase();
            format!("run {} {force}{from} {to} {action}", script.file_name())
        }
        Act::EndScript { .. } => "end script".to_owned(),
        Act::Replica(command) => match command {
            ReplicaCommand::Serve { generation } => format!("Serve {generation}"),
            ReplicaCommand::ContinueAlone { generation } => format!("ContinueAlone {generation}"),
            ReplicaCommand::AcceptPeer { session } => format!("AcceptPeer session {session}"),
            ReplicaCommand::Follow { session, generation } => format!("Follow {generation} session {session}"),
            other => format!("{other:?}"),
        },
        Act::SetAddresses { .. } => "set addresses".to_owned(),
        Act::ReleaseAddresses { .. } => "release addresses".to_owned(),
        Act::StartChecks { when } => format!("start checks {when}"),
        Act::StopChecks { when } => format!("stop checks {when}"),
        Act::Reboot => "reboot".to_owned(),
        Act::AskWitness { ask, number, .. } => format!("ask the witness {number} (ask {ask})"),
        Act::ReportGeneration { number, .. } => format!("report generation {number} to the register"),
        Act::SetHealth { ready } => format!("health {}", if *ready { 200 } else { 404 }),
    })
}
