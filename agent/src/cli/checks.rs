//! Commands on resources, checkers, the process checker and the count of restarts.

use super::verbs::{Control, Module};
use super::{actor, done, states};
use crate::control::Request;
use crate::control::client::Client;
use crate::drivers::checks::Order;
use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use holdfast_core::input::LoopOrder;
use std::io::Write;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the value of a resource.
    Get {
        #[command(flatten)]
        module: Module,
        /// Such as tcp.web or custom.web.
        #[arg(short = 'r', value_name = "RESOURCE")]
        resource: String,
    },
    /// Say what a resource is; custom checkers and scripts do so.
    Set(Set),
    /// Switch the checkers off, or on again; kept over restarts of the module and of the agent.
    Checker {
        #[command(flatten)]
        module: Module,
        /// off or on.
        word: Switch,
    },
    /// Switch the process checker off or on (kept over restarts), a class of processes, or list the processes.
    Errd {
        #[command(flatten)]
        module: Module,
        /// What to do.
        word: Errd,
        /// With enable and disable: the class.
        class: Option<String>,
    },
    /// Count a restart of the script's own towards maxloop; exit code 1 once the limit is reached.
    Incloop(Control),
    /// Count restarts anew from zero.
    Resetloop(Control),
    /// Exit code 0 if the limit of restarts (maxloop) is not reached, 1 if it is.
    Checkloop(Control),
}

#[derive(Clone, Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    module: Module,
    /// Such as custom.web.
    #[arg(short = 'r', value_name = "RESOURCE")]
    resource: String,
    /// up, down, init, unknown, or a short word or number.
    #[arg(short = 'v', value_name = "VALUE", default_value = "up")]
    value: String,
    /// Accepted as scripts write it; without effect: a change is in the resource's history and the log anyway.
    #[arg(short = 'n')]
    unlogged: bool,
    /// Accepted as scripts write it; without effect: a change is in the resource's history and the log anyway.
    #[arg(short = 'l')]
    logged: bool,
    /// Who says so.
    #[arg(short = 'i', value_name = "IDENTITY")]
    identity: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Switch {
    Off,
    On,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Errd {
    #[value(alias = "suspend")]
    Off,
    #[value(alias = "resume")]
    On,
    Enable,
    Disable,
    List,
}

/// Carries a command out.
pub(super) fn run(client: &mut Client, verb: Verb) -> Result<()> {
    match verb {
        Verb::Get { module, resource } => get(client, module, &resource),
        Verb::Set(set) => {
            let by = actor(set.identity.as_deref());
            let (module, name, value) = (set.module.module, set.resource, set.value);
            done(client.ask_as(by, Request::SetResource { module, name, value })?)
        }
        Verb::Checker { module, word } => order(client, module, Order::Checkers(matches!(word, Switch::On))),
        Verb::Errd { module, word, class } => order(client, module, errd(word, class)?),
        Verb::Incloop(control) => count(client, control, LoopOrder::Count),
        Verb::Resetloop(control) => count(client, control, LoopOrder::Reset),
        Verb::Checkloop(control) => count(client, control, LoopOrder::Check),
    }
}

fn errd(word: Errd, class: Option<String>) -> Result<Order> {
    Ok(match (word, class) {
        (Errd::Off, None) => Order::Errd(false),
        (Errd::On, None) => Order::Errd(true),
        (Errd::List, None) => Order::List,
        (Errd::Enable, Some(class)) => Order::Enable(class),
        (Errd::Disable, Some(class)) => Order::Disable(class),
        (Errd::Enable | Errd::Disable, None) => {
            return Err(anyhow!("which class? `errd enable CLASS`; `errd list` shows the classes"));
        }
        (_, Some(class)) => return Err(anyhow!("{class:?}: only `enable` and `disable` are followed by a class")),
    })
}

fn get(client: &mut Client, module: Module, resource: &str) -> Result<()> {
    let module = module.module;
    let reports = states(client, Some(module.clone()))?;
    let mut held = reports.iter().flat_map(|report| &report.resources);
    let found = held.find(|held| held.name == resource);
    let found = found.with_context(|| {
        format!("module {module} has no resource {resource} now: `holdfast state -m {module} -v` shows what there is")
    })?;
    writeln!(std::io::stdout(), "{}", found.value)?;
    Ok(())
}

fn order(client: &mut Client, module: Module, order: Order) -> Result<()> {
    done(client.ask(Request::Checks { module: module.module, order })?)
}

fn count(client: &mut Client, control: Control, order: LoopOrder) -> Result<()> {
    let by = actor(control.identity.as_deref());
    done(client.ask_as(by, Request::Loop { module: control.module.module, order })?)
}
