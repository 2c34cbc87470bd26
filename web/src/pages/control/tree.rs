//! Control: the modules with their nodes, and the commands for all nodes of a module.

use super::{Chosen, href};
use crate::client;
use crate::components::dialog::Question;
use crate::components::icon::Icon;
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::state::StateBadge;
use crate::language::{t, tf};
use crate::rules::actions::{ALL_NODES, word};
use crate::rules::tone::show;
use crate::store::Console;
use holdfast_api::agent::ModuleCommand;
use holdfast_api::console::{ModuleLive, UserRole};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::state::{ModuleState, Readiness};
use leptos::prelude::*;
use std::sync::Arc;

/// Modules, and below each its nodes.
#[component]
pub fn Tree(modules: Memo<Option<Vec<ModuleLive>>>, chosen: Chosen) -> impl IntoView {
    // The outline is redrawn only when modules or nodes come or go; states change in place.
    let outline = Memo::new(move |_| {
        let nodes = |module: &ModuleLive| module.nodes.iter().map(|on| on.node).collect::<Vec<_>>();
        modules
            .with(|modules| {
                modules.as_ref().map(|modules| {
                    modules
                        .iter()
                        .map(|module| (module.module.id, module.module.name.clone(), nodes(module)))
                        .collect::<Vec<_>>()
                })
            })
            .unwrap_or_default()
    });
    let one = move |(id, name, nodes): (ModuleId, String, Vec<NodeId>)| {
        view! {
            <section>
                <h2><span class="grow">{name.clone()}</span><ModuleMenu id name /></h2>
                <ul>{nodes.into_iter().map(|node| view! { <TreeNode modules chosen module=id node /> }).collect_view()}</ul>
            </section>
        }
    };
    view! { <nav class="tree" aria-label=t!("Modules and nodes")>{move || outline.get().into_iter().map(one).collect_view()}</nav> }
}

#[component]
fn TreeNode(modules: Memo<Option<Vec<ModuleLive>>>, chosen: Chosen, module: ModuleId, node: NodeId) -> impl IntoView {
    let console = Console::get();
    let on = Memo::new(move |_| {
        modules.with(|modules| {
            modules
                .as_ref()?
                .iter()
                .find(|live| live.module.id == module)?
                .nodes
                .iter()
                .find(|on| on.node == node)
                .cloned()
        })
    });
    let name = console.node_name(node);
    let (link_id, badge_id) = (format!("select-{name}"), format!("state-{name}"));
    let note = move || on.get().map(|on| show(&on, console.is_live()).note);
    view! {
        <li>
            <a
                href=href(module, node)
                class="node-link"
                data-testid=link_id
                aria-current=move || (chosen.get() == Some((module, node))).then_some("true")
            >
                <span class="row between"><span class="name">{name}</span>{move || on.get().map(|on| view! { <StateBadge on testid=badge_id.clone() /> })}</span>
                <span class="small muted">{note}</span>
            </a>
        </li>
    }
}

/// Commands for all nodes of a module.
#[component]
fn ModuleMenu(id: ModuleId, name: String) -> impl IntoView {
    let console = Console::get();
    let live = Memo::new(move |_| console.module(id));
    let entries = Signal::derive(move || {
        let why = if !console.role().may(UserRole::Control) {
            Some(t!("Your role may look, not command.").to_owned())
        } else {
            (!console.is_live()).then(|| t!("The page is not connected to the server.").to_owned())
        };
        let no_pair = || {
            let pair = live.with(|live| live.as_ref().is_some_and(can_swap));
            (!pair).then(|| t!("Roles are swapped only between PRIM and SECOND, both ready.").to_owned())
        };
        let one = |command: ModuleCommand| {
            let disabled = why.clone().or_else(|| if command == ModuleCommand::Swap { no_pair() } else { None });
            let (label, icon) = on_all(command);
            let danger = matches!(command, ModuleCommand::Stop | ModuleCommand::ForceStop) && disabled.is_none();
            let divided = command == ModuleCommand::ForceStop;
            MenuEntry { id: word(command), label, icon, danger, disabled, divided }
        };
        ALL_NODES.into_iter().map(one).collect::<Vec<_>>()
    });
    let label = tf!("Commands for {name} on all nodes", name);
    let testid = format!("all-{name}");
    let pick = move |what: &'static str| {
        let Some(command) = ALL_NODES.into_iter().find(|command| word(*command) == what) else { return };
        let act = move || console.start_task(client::command(id, command, Vec::new()), |_| ());
        let consequence = match command {
            ModuleCommand::Start => return act(),
            ModuleCommand::Swap => {
                t!(
                    "The application stops on the primary and starts on the other node, which clients notice. No data is lost."
                )
            }
            ModuleCommand::ForceStop => {
                t!(
                    "The module stops on every node at once, without an orderly stop of the application. It runs nowhere until the module is started again."
                )
            }
            _ => {
                t!("The application stops, and no node takes over: it runs nowhere until the module is started again.")
            }
        };
        let (words, _) = on_all(command);
        console.ask(Question {
            title: tf!("{name}: {0}?", name, 0 = words.to_lowercase()),
            consequences: vec![consequence.to_owned()],
            confirm: words.to_owned(),
            danger: command != ModuleCommand::Swap,
            act: Arc::new(act),
        });
    };
    view! { <ActionMenu label testid entries on_pick=Callback::new(pick) icon=Icon::More /> }
}

/// What a command for all nodes is called, and its icon.
fn on_all(command: ModuleCommand) -> (&'static str, Icon) {
    match command {
        ModuleCommand::Start => (t!("Start on all nodes"), Icon::Start),
        ModuleCommand::Swap => (t!("Swap roles"), Icon::Swap),
        ModuleCommand::ForceStop => (t!("Stop by force on all nodes"), Icon::Stop),
        _ => (t!("Stop on all nodes"), Icon::Stop),
    }
}

fn can_swap(live: &ModuleLive) -> bool {
    let ready = |state: ModuleState| {
        live.nodes.iter().any(|on| {
            on.fresh
                && on
                    .report
                    .as_ref()
                    .is_some_and(|report| report.state == state && report.readiness == Readiness::Ready)
        })
    };
    ready(ModuleState::Prim) && ready(ModuleState::Second)
}
