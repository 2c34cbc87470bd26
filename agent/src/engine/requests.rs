//! What the rest of the agent asks of a module's engine, and what the engine does about it without the core.

use super::Running;
use crate::drivers::checks;
use crate::drivers::connections::Connections;
use crate::drivers::script::{Scripts, Setting};
use crate::drivers::vip;
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::ModuleState;
use holdfast_api::userconfig::{Check, Errd};
use holdfast_core::input::{Command, Input, LoopOrder, ModuleCommand};
use holdfast_core::output::EventLevel;
use holdfast_core::settings::Settings;
use holdfast_replica::control::VerifyReport;
use std::net::IpAddr;
use tokio::sync::oneshot;

/// Answer to a command: what will happen, or why not and the cure.
pub type CommandResult = Result<String, String>;

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
    /// The agent ends: stop in order, to go on when it is back.
    Shutdown {
        /// By what signal.
        by: String,
        /// Ordered once more.
        hurry: bool,
        /// Answered when the stop has begun.
        reply: oneshot::Sender<CommandResult>,
    },
    /// A line for the module log (`printi`, `printe`, and notes of the agent).
    Print {
        /// Level.
        level: EventLevel,
        /// Text.
        text: String,
    },
    /// A script or an operator says what a resource is.
    SetResource {
        /// Which.
        name: String,
        /// What it is now.
        value: ResourceValue,
        /// Who says so.
        by: String,
    },
    /// The checkers are switched, or asked about.
    Checks {
        /// What.
        order: checks::Order,
        /// Who.
        by: String,
        /// The answer.
        reply: oneshot::Sender<CommandResult>,
    },
    /// Both copies are to be compared, or how far that is.
    Verify {
        /// Begin one.
        start: bool,
        /// The answer; of a node that does not serve beside a secondary, the name of the one that may.
        reply: oneshot::Sender<Result<VerifyReport, Option<String>>>,
    },
    /// The copy here is to be compared with the serving peer's, or how far that is.
    Diff {
        /// Begin.
        start: bool,
        /// The answer, or why not.
        reply: oneshot::Sender<Result<VerifyReport, String>>,
    },
    /// A script counts restarts of its own.
    Loop {
        /// What.
        order: LoopOrder,
        /// Who.
        by: String,
        /// The answer.
        reply: oneshot::Sender<CommandResult>,
    },
    /// The module was configured again without a change of what must be equal on both nodes.
    Apply {
        /// New scripts, environment and limits.
        scripts: Option<Box<Setting>>,
        /// New checkers.
        check: Check,
        /// New process checks.
        errd: Errd,
        /// New virtual addresses, or what their names mean now.
        addresses: Option<Box<vip::Setting>>,
        /// New rules and limits.
        settings: Box<Settings>,
        /// New version.
        version: u64,
    },
}

impl Running {
    /// Keeps where the answer to an order goes; the number of the order.
    fn await_reply(&mut self, reply: oneshot::Sender<CommandResult>) -> u64 {
        let id = self.next_command;
        self.next_command += 1;
        self.waiting.retain(|_, reply| !reply.is_closed());
        self.waiting.insert(id, reply);
        id
    }

    /// Does what is asked; what the core is to decide on, if anything.
    pub(super) fn request(&mut self, request: ToEngine) -> Option<Input> {
        match request {
            ToEngine::Command { kind, actor, counted, reply } => {
                let id = self.await_reply(reply);
                Some(Input::CommandReceived(Command { id, kind, actor, counted }))
            }
            ToEngine::Shutdown { by, hurry, reply } => {
                let id = self.await_reply(reply);
                Some(Input::ShutdownOrdered { id, by, hurry })
            }
            ToEngine::Loop { order, by, reply } => {
                let id = self.await_reply(reply);
                Some(Input::LoopOrdered { id, order, by })
            }
            ToEngine::SetResource { name, value, by } => Some(Input::ResourceSet { name, value, by }),
            ToEngine::Checks { order, by, reply } => {
                // A failure means that nobody waits for the answer any more.
                let _ = reply.send(self.engine.drivers.checks.order(&order, &by));
                None
            }
            ToEngine::Verify { start, reply } => {
                // A failure means that nobody waits for the answer any more.
                let _ = reply.send(self.verify(start));
                None
            }
            ToEngine::Diff { start, reply } => {
                // A failure means that nobody waits for the answer any more.
                let _ = reply.send(self.diff(start));
                None
            }
            ToEngine::Print { level, text } => {
                self.log(level, &text);
                None
            }
            ToEngine::Apply { scripts, check, errd, addresses, settings, version } => {
                self.renew_addresses(addresses.map(|setting| *setting));
                let drivers = &mut self.engine.drivers;
                drivers.checks.set(check, errd, scripts.as_deref().cloned());
                // A module that gets its first `<user>` runs scripts from now on; one that loses it is not asked to.
                match (&mut drivers.scripts, scripts) {
                    (Some(old), Some(new)) => old.set(*new),
                    (none, Some(new)) => *none = Some(Scripts::new(*new, self.engine.inbox.clone())),
                    (_, None) => {}
                }
                self.engine.node.apply(*settings);
                self.engine.version = version;
                self.report();
                None
            }
        }
    }

    fn verify(&self, start: bool) -> Result<VerifyReport, Option<String>> {
        let view = self.engine.node.view();
        match view.state {
            ModuleState::Second => Err(view.peer.map(|peer| peer.node)),
            ModuleState::Prim | ModuleState::Alone => Ok(self.engine.drivers.replica.verify(start)),
            _ => Err(None),
        }
    }

    fn diff(&mut self, start: bool) -> Result<VerifyReport, String> {
        let view = self.engine.node.view();
        match view.state {
            ModuleState::Prim | ModuleState::Alone => Err(
                "this node is primary: order it on the other node, whose copy is to be compared (`holdfast -H NODE rfsdiff …`)"
                    .to_owned(),
            ),
            ModuleState::Second => Err("this node follows its primary: `rfsverify` compares both copies".to_owned()),
            _ => Ok(self.engine.drivers.replica.diff(start)),
        }
    }

    /// The virtual addresses are these from now on.
    fn renew_addresses(&mut self, setting: Option<vip::Setting>) {
        let (log, state) = (self.engine.log.clone(), self.engine.node.status().to_string());
        let module = self.engine.module.clone();
        let drivers = &mut self.engine.drivers;
        drivers.connections = Connections::start(setting.as_ref().map(|setting| &setting.vip), &self.engine.inbox);
        drivers.addresses.renew(setting, move |renewed| {
            let list = |addresses: Vec<IpAddr>| match addresses.as_slice() {
                [] => "none".to_owned(),
                all => all.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
            };
            let (level, text) = match renewed {
                Ok((new, gone)) => {
                    (EventLevel::Event, format!("virtual addresses changed: set {}; gone {}", list(new), list(gone)))
                }
                Err(reason) => {
                    let next = format!("mend that, then order `holdfast update -m {module}`");
                    (EventLevel::Warning, format!("the virtual addresses are not as configured: {reason}; {next}"))
                }
            };
            log.write(level, &state, &text);
        });
    }
}
