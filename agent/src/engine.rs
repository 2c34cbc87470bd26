//! THE loop of one module: input → core → ledger → send → act → report, in that order.
//!
//! Each module has its own: a slow disk or script delays only its module. Heartbeats are sent from here only, so they
//! stop when the engine does.

use crate::clock;
use crate::drivers::heartbeat::Heartbeats;
use crate::drivers::processes::Watch;
use crate::drivers::replica::Replica;
use crate::drivers::script::{Run, Scripts, Setting};
use crate::drivers::{Inbox, vip};
use crate::ledger::LedgerThread;
use crate::logs::{LogFile, ModuleLog};
use crate::report::{Reports, of_view};
use holdfast_api::ids::ModuleId;
use holdfast_api::userconfig::Errd;
use holdfast_core::input::{Command, Input, ModuleCommand};
use holdfast_core::node::Node;
use holdfast_core::output::{Act, EventLevel, Output};
use holdfast_core::time::Instant;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Answer to a command: what will happen, or why not and the cure.
pub type CommandResult = Result<String, String>;

/// Time between two looks at the size of the application log.
const ROTATE_PERIOD: Duration = Duration::from_secs(5);

/// What the rest of the agent asks of a module's engine.
#[derive(Debug)]
pub enum ToEngine {
    /// A command, from an operator, a script or the agent itself.
    Command {
        /// What.
        kind: ModuleCommand,
        /// Who.
        actor: String,
        /// It came with `-i`.
        counted: bool,
        /// The answer.
        reply: oneshot::Sender<CommandResult>,
    },
    /// A line for the module log (`printi`, `printe`, and notes of the agent).
    Print {
        /// Level.
        level: EventLevel,
        /// Text.
        text: String,
    },
    /// The module was configured again without a change of what must be equal on both nodes.
    Apply {
        /// New scripts, environment and limits.
        scripts: Option<Box<Setting>>,
        /// New process checks.
        errd: Errd,
        /// New version.
        version: u64,
    },
}

/// The drivers of one module.
#[derive(Debug)]
pub struct Drivers {
    /// Heartbeat links.
    pub heartbeats: Heartbeats,
    /// Data plane.
    pub replica: Replica,
    /// Scripts; `None` without `<user>`.
    pub scripts: Option<Scripts>,
    /// Process checks.
    pub errd: Errd,
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
    watch: Option<Watch>,
    healthy: bool,
    waiting: HashMap<u64, oneshot::Sender<CommandResult>>,
    next_command: u64,
    /// `View::since` and the wall clock then.
    since: (Instant, u64),
}

impl Engine {
    /// Runs until the last sender of requests is dropped.
    pub async fn run(self) {
        let rotation = tokio::spawn(rotate(self.application_log.clone()));
        let since = (Instant(u64::MAX), 0);
        let waiting = HashMap::new();
        let mut running = Running { engine: self, watch: None, healthy: false, waiting, next_command: 1, since };
        running.report();
        while let Some(input) = running.next_input().await {
            if let Some(input) = input {
                running.handle(input).await;
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

    fn request(&mut self, request: ToEngine) -> Option<Input> {
        match request {
            ToEngine::Command { kind, actor, counted, reply } => {
                let id = self.next_command;
                self.next_command += 1;
                self.waiting.retain(|_, reply| !reply.is_closed());
                self.waiting.insert(id, reply);
                Some(Input::CommandReceived(Command { id, kind, actor, counted }))
            }
            ToEngine::Print { level, text } => {
                self.log(level, &text);
                None
            }
            ToEngine::Apply { scripts, errd, version } => {
                if let (Some(old), Some(new)) = (&mut self.engine.drivers.scripts, scripts) {
                    old.set(*new);
                }
                if self.watch.is_some() {
                    self.watch = Some(Watch::start(&errd, &self.engine.inbox));
                }
                self.engine.drivers.errd = errd;
                self.engine.version = version;
                self.report();
                None
            }
        }
    }

    fn log(&self, level: EventLevel, text: &str) {
        let view = self.engine.node.view();
        self.engine.log.write(level, &format!("{} {}", view.state, view.readiness), text);
    }

    /// Decides on one input and carries out what was decided.
    async fn handle(&mut self, input: Input) {
        let giving_up = matches!(input, Input::SaveFailed { .. });
        let mut output = self.engine.node.handle(clock::moment(), input);
        if let Err(reason) = self.save(&mut output).await {
            tracing::error!(module = self.engine.module, "the ledger cannot be saved: {reason}");
            self.log(EventLevel::Error, &format!("the state of the module cannot be saved: {reason}"));
            self.refuse_waiting(&output, &reason);
            if giving_up {
                // What follows a failed save only takes away: it is done even if this cannot be saved either.
                output.send = None;
                output.replies.clear();
                self.carry_out(output).await;
            } else {
                Box::pin(self.handle(Input::SaveFailed { reason })).await;
            }
        } else {
            self.carry_out(output).await;
        }
        self.report();
    }

    async fn save(&self, output: &mut Output) -> Result<(), String> {
        match output.persist.take() {
            Some(durable) => self.engine.ledger.save(durable).await,
            None => Ok(()),
        }
    }

    /// Commands whose output was dropped are answered all the same.
    fn refuse_waiting(&mut self, output: &Output, reason: &str) {
        for reply in &output.replies {
            if let Some(waiting) = self.waiting.remove(&reply.id) {
                let _ =
                    waiting.send(Err(format!("nothing was done: the state cannot be saved ({reason}); free the disk")));
            }
        }
    }

    async fn carry_out(&mut self, output: Output) {
        if let Some(heartbeat) = &output.send {
            self.engine.drivers.heartbeats.send(heartbeat);
        }
        for act in output.acts {
            self.act(act).await;
        }
        for event in output.events {
            let state = format!("{} {}", event.state, event.readiness);
            tracing::info!(module = self.engine.module, state, "{}", event.text);
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
            Act::RunScript { run, script, force, from, to, action } => {
                let states = [from.to_string(), to.to_string()];
                match &mut drivers.scripts {
                    Some(scripts) => scripts.run(Run { run, script, force, states, action }),
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
                let inbox = self.engine.inbox.clone();
                tokio::spawn(async move { vip::set(run, &inbox).await });
            }
            Act::ReleaseAddresses { run } => {
                let inbox = self.engine.inbox.clone();
                tokio::spawn(async move { vip::release(run, &inbox).await });
            }
            Act::StartChecks { .. } => self.watch = Some(Watch::start(&drivers.errd, &self.engine.inbox)),
            Act::StopChecks { .. } => self.watch = None,
            Act::AskWitness { .. } | Act::ReportGeneration { .. } => {}
            Act::SetHealth { ready } => {
                self.healthy = ready;
                // At once: a load balancer must not see the old answer while the acts that follow run.
                self.report();
            }
        }
    }

    /// Hands an input in without waiting for room, which only this loop could make.
    fn hand_in(&self, input: Input) {
        let inbox = self.engine.inbox.clone();
        tokio::spawn(async move { inbox.send(input).await });
    }

    fn report(&mut self) {
        let view = self.engine.node.view();
        if self.since.0 != view.since {
            self.since = (view.since, clock::unix_ms().saturating_sub(clock::now().since(view.since)));
        }
        let Engine { module, id, version, reports, .. } = &self.engine;
        reports.set(of_view(&view, module, *id, *version, self.since.1), self.healthy);
    }
}
