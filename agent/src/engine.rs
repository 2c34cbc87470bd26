//! THE loop of one module: input → core → ledger → send → act → report, in that order.
//!
//! Each module has its own: a slow disk or script delays only its module. Heartbeats are sent from here only, so they
//! stop when the engine does.

mod requests;

pub use requests::{CommandResult, ToEngine};

use crate::clock;
use crate::drivers::Inbox;
use crate::drivers::checks::Checks;
use crate::drivers::connections::Connections;
use crate::drivers::heartbeat::Heartbeats;
use crate::drivers::inventory::Counting;
use crate::drivers::reboot::reboot;
use crate::drivers::replica::Replica;
use crate::drivers::script::{Run, Scripts};
use crate::drivers::vip::{Addresses, Holder};
use crate::drivers::witness::Witness;
use crate::ledger::LedgerThread;
use crate::logs::{LogFile, ModuleLog};
use crate::report::{Dates, Reports, of_view};
use crate::settled::Record;
use holdfast_api::ids::ModuleId;
use holdfast_api::state::ModuleState;
use holdfast_core::backlog::Backlog;
use holdfast_core::input::Input;
use holdfast_core::node::Node;
use holdfast_core::output::{Act, EventLevel, Output, WhileSaving};
use holdfast_core::time::Instant;
use holdfast_core::view::View;
use holdfast_replica::crash;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Time between two looks at the size of the application log.
const ROTATE_PERIOD: Duration = Duration::from_secs(5);

/// The drivers of one module.
#[derive(Debug)]
pub struct Drivers {
    /// Heartbeat links.
    pub heartbeats: Heartbeats,
    /// Data plane.
    pub replica: Replica,
    /// Virtual addresses.
    pub addresses: Addresses,
    /// Scripts; `None` without `<user>`.
    pub scripts: Option<Scripts>,
    /// Checkers and process checks.
    pub checks: Checks,
    /// How the machine is rebooted.
    pub reboot_command: String,
    /// Counts connections to the virtual addresses; only held.
    pub connections: Connections,
    /// Who is asked when every link is silent.
    pub witness: Witness,
}

/// Everything an engine is made of.
pub struct Engine {
    /// The decisions.
    pub node: Node,
    /// Name of the module.
    pub module: String,
    /// Number of the module.
    pub id: ModuleId,
    /// Version of its configuration.
    pub version: u64,
    /// Where its state is kept.
    pub ledger: LedgerThread,
    /// What the next agent would go on with.
    pub record: Record,
    /// Its drivers.
    pub drivers: Drivers,
    /// Its module log.
    pub log: ModuleLog,
    /// Its application log.
    pub application_log: LogFile,
    /// Where it reports.
    pub reports: Reports,
    /// What happened.
    pub inputs: mpsc::Receiver<Input>,
    /// Where drivers hand in what happened.
    pub inbox: Inbox,
    /// What is asked.
    pub requests: mpsc::Receiver<ToEngine>,
}

/// The engine while it runs.
struct Running {
    engine: Engine,
    /// While the module is stopped.
    counting: Option<Counting>,
    healthy: bool,
    waiting: HashMap<u64, oneshot::Sender<CommandResult>>,
    next_command: u64,
    dates: Dates,
    /// What was last reported: view, version and health.
    reported: Option<(View, u64, bool)>,
    /// The order to set the virtual addresses that is under way.
    setting_addresses: Option<u64>,
    /// What happened while the state was being saved.
    backlog: Backlog,
}

impl Engine {
    /// Runs until the last sender of requests is dropped.
    pub async fn run(self) {
        let rotation = tokio::spawn(rotate(self.application_log.clone()));
        let mut running = Running {
            engine: self,
            counting: None,
            healthy: false,
            waiting: HashMap::new(),
            next_command: 1,
            dates: Dates::default(),
            reported: None,
            setting_addresses: None,
            backlog: Backlog::default(),
        };
        // What a node that goes on with something wants done comes before anything else.
        running.handle(Input::Ticked).await;
        while let Some(input) = running.next_input().await {
            if let Some(input) = input {
                running.handle(input).await;
            }
            while let Some((arrived, input)) = running.backlog.take() {
                running.handle_later(arrived, input).await;
            }
        }
        rotation.abort();
    }
}

async fn rotate(log: LogFile) {
    loop {
        tokio::time::sleep(ROTATE_PERIOD).await;
        let log = log.clone();
        match tokio::task::spawn_blocking(move || log.rotate_if_large()).await {
            Ok(Err(error)) => tracing::warn!("cannot rotate the application log: {error:#}"),
            Ok(Ok(())) => {}
            Err(_) => return,
        }
    }
}

impl Running {
    /// The next thing that happens; `None` at the end, `Some(None)` for what needs no decision.
    async fn next_input(&mut self) -> Option<Option<Input>> {
        let wait = self.engine.node.next_deadline().since(clock::now());
        tokio::select! {
            request = self.engine.requests.recv() => Some(self.request(request?)),
            input = self.engine.inputs.recv() => input.map(Some),
            () = tokio::time::sleep(Duration::from_millis(wait)) => Some(Some(Input::Ticked)),
        }
    }

    fn log(&self, level: EventLevel, text: &str) {
        self.engine.log.write(level, &self.engine.node.status().to_string(), text);
    }

    /// Decides on one input and carries out what was decided.
    async fn handle(&mut self, input: Input) {
        self.handle_later(clock::now(), input).await;
    }

    /// The same, for an input that had to wait for a save.
    async fn handle_later(&mut self, arrived: Instant, input: Input) {
        let giving_up = matches!(input, Input::SaveFailed { .. });
        self.tell_addresses(&input);
        let mut output = self.engine.node.handle_later(clock::moment(), arrived, input);
        let saves = output.persist.is_some();
        let (idle, pulse) = (output.is_idle(), output.send.is_some());
        let settled = if idle { None } else { self.engine.node.settled() };
        let left = if idle { Ok(()) } else { self.engine.record.leave(settled.as_ref()) };
        let (stopped, boot) = (self.engine.node.is_stopped(), self.engine.node.settings().boot_id);
        if !stopped {
            self.engine.record.note_stopped(false, boot);
        }
        let saved = match left {
            // A stop because nothing can be saved must come to its end all the same.
            Err(reason) if !self.engine.node.gives_up() => Err(reason),
            _ => self.save(&mut output).await,
        };
        if let Err(reason) = saved {
            tracing::error!(module = self.engine.module, "the ledger cannot be saved: {reason}");
            if giving_up {
                // What follows a failed save only takes away: it is done even if this cannot be saved either.
                output.send = None;
                self.carry_out(output).await;
            } else {
                Box::pin(self.handle(Input::SaveFailed { reason })).await;
            }
        } else {
            self.carry_out(output).await;
            if saves {
                crash::point("engine-carried-out");
            }
            if let Some(settled) = settled {
                self.engine.record.keep(settled, pulse);
            }
            if stopped {
                self.engine.record.note_stopped(true, boot);
            }
        }
        self.report();
    }

    /// That the virtual addresses are set is known to their driver alone.
    fn tell_addresses(&mut self, input: &Input) {
        if let Input::AddressesDone { run, error: None } = input
            && self.setting_addresses.take_if(|setting| setting == run).is_some()
            && let Some(addresses) = self.engine.drivers.addresses.shown()
        {
            self.log(EventLevel::Event, &format!("virtual addresses set: {addresses}"));
        }
    }

    /// Makes the state durable. Meanwhile the node says that it lives, and what happens is kept for later.
    async fn save(&mut self, output: &mut Output) -> Result<(), String> {
        let Some(durable) = output.persist.take() else {
            return Ok(());
        };
        let Engine { node, ledger, drivers, inputs, .. } = &mut self.engine;
        self.backlog.begin(node);
        let first = Duration::from_millis(node.first_look().since(clock::now()));
        let every = Duration::from_millis(node.sign_ms());
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut saving = std::pin::pin!(ledger.save(durable));
        let saved = loop {
            tokio::select! {
                biased;
                saved = &mut saving => break saved,
                _ = looks.tick() => match node.while_saving(clock::now()) {
                    WhileSaving::Wait => {}
                    WhileSaving::Say(heartbeat) => drivers.heartbeats.send_on_all(&heartbeat),
                    WhileSaving::GiveUp(reason) => break Err(reason),
                },
                Some(input) = inputs.recv() => self.backlog.keep(node, clock::now(), input),
            }
        };
        if saved.is_ok() {
            node.saved(output);
            crash::point("engine-saved");
        }
        saved
    }

    async fn carry_out(&mut self, output: Output) {
        if let Some(heartbeat) = &output.send {
            self.engine.drivers.heartbeats.send(heartbeat, &output.send_on);
        }
        for act in output.acts {
            self.act(act).await;
        }
        for event in output.events {
            let state = format!("{} {}", event.state, event.readiness);
            // In the machine's journal it stands by the module log's own hand.
            tracing::debug!(module = self.engine.module, state, "{}", event.text);
            self.engine.log.write(event.level, &state, &event.text);
        }
        for reply in output.replies {
            if let Some(waiting) = self.waiting.remove(&reply.id) {
                let _ = waiting.send(reply.result);
            }
        }
    }

    async fn act(&mut self, act: Act) {
        let drivers = &mut self.engine.drivers;
        match act {
            Act::RunScript { run, script, force, from, to, action, services } => {
                let states = [from.to_string(), to.to_string()];
                match &mut drivers.scripts {
                    Some(scripts) => scripts.run(Run { run, script, force, states, action, services }),
                    None => {
                        self.hand_in(Input::ScriptExited { run, outcome: holdfast_core::input::ScriptOutcome::Absent })
                    }
                }
            }
            Act::EndScript { run } => {
                if let Some(scripts) = &mut drivers.scripts {
                    scripts.end(run);
                }
            }
            Act::Replica(command) => drivers.replica.command(command),
            Act::SetAddresses { run } => {
                // A peer that was heard has let go by now, or is silent.
                let heard = self.engine.node.view().peer.is_some();
                self.setting_addresses = Some(run);
                drivers.addresses.set(run, if heard { Holder::Peer } else { Holder::Unknown });
            }
            Act::ReleaseAddresses { run } => drivers.addresses.release(run),
            Act::StartChecks { when } => drivers.checks.start(when),
            Act::StopChecks { when } => drivers.checks.stop(when),
            Act::Reboot => self.reboot(),
            Act::AskWitness { ask, number, nonce } => drivers.witness.ask(ask, number, nonce),
            Act::ReportGeneration { life, number } => drivers.witness.report_generation(life, number),
            Act::SetHealth { ready } => {
                self.healthy = ready;
                // At once: a load balancer must not see the old answer while the acts that follow run.
                self.report();
            }
        }
    }

    fn reboot(&self) {
        let (command, log) = (self.engine.drivers.reboot_command.clone(), self.engine.log.clone());
        let state = self.engine.node.status().to_string();
        tokio::spawn(async move {
            if let Err(error) = reboot(&command).await {
                tracing::error!("no reboot: {error:#}");
                log.write(EventLevel::Error, &state, &format!("no reboot: {error:#}"));
            }
        });
    }

    /// Hands an input in without waiting for room, which only this loop could make.
    fn hand_in(&self, input: Input) {
        let inbox = self.engine.inbox.clone();
        tokio::spawn(async move { inbox.send(input).await });
    }

    fn report(&mut self) {
        let now = (self.engine.node.view(), self.engine.version, self.healthy);
        // Nearly every input is a heartbeat that changes nothing.
        if self.reported.as_ref() == Some(&now) {
            return;
        }
        self.count_while_stopped(now.0.state == ModuleState::Stop);
        let Engine { module, id, version, reports, .. } = &self.engine;
        reports.set(of_view(&now.0, module, *id, *version, &mut self.dates), self.healthy);
        self.reported = Some(now);
    }

    fn count_while_stopped(&mut self, stopped: bool) {
        let directories = self.engine.drivers.replica.directories();
        let wanted = stopped && !directories.is_empty();
        if self.counting.is_some() != wanted {
            self.counting = wanted.then(|| {
                let filter = self.engine.drivers.replica.filter();
                Counting::start(directories, filter, self.engine.inbox.clone())
            });
        }
    }
}
