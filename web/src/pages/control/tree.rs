//! Control: the modules with their nodes, and the commands for all nodes of a module.

use super::{Chosen, href};
use crate::client;
use crate::components::dialog::Question;
use crate::components::gradually::gradually;
use crate::components::icon::Icon;
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::state::StateBadge;
use crate::language::{t, tf};
use crate::rules::actions::word;
use crate::rules::all_nodes::{ALL_NODES, Nodes, label};
use crate::rules::news::bare;
use crate::rules::tone::show;
use crate::store::Console;
use holdfast_api::agent::ModuleCommand;
use holdfast_api::console::ModuleLive;
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;
use std::sync::Arc;

/// Modules, and below each its nodes.
#[component]
pub fn Tree(modules: Memo<Option<Vec<Arc<ModuleLive>>>>, chosen: Chosen) -> impl IntoView {
    // The outline is redrawn only when modules or nodes come or go; states change in place.
    let outline = Memo::new(move |_| {
        let nodes = |module: &Arc<ModuleLive>| module.nodes.iter().map(|on| on.node).collect::<Vec<_>>();
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
    let drawn = gradually(outline);
    let one = move |(id, name, nodes): (ModuleId, String, Vec<NodeId>)| {
        view! {
            <section>
                <h2><span class="grow">{name.clone()}</span><ModuleMenu id name /></h2>
                <ul>{nodes.into_iter().map(|node| view! { <TreeNode chosen module=id node /> }).collect_view()}</ul>
            </section>
        }
    };
    view! { <nav class="tree" aria-label=t!("Modules and nodes")><For each=move || drawn.get() key=Clone::clone let:module>{one(module)}</For></nav> }
}

#[component]
fn TreeNode(chosen: Chosen, module: ModuleId, node: NodeId) -> impl IntoView {
    let console = Console::get();
    let on = Memo::new(move |_| console.modules.one(module)?.nodes.iter().find(|on| on.node == node).map(bare));
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
        with_nodes(console, live, |nodes| {
            ALL_NODES.into_iter().map(|command| entry(command, nodes)).collect::<Vec<_>>()
        })
    });
    let label_of_menu = tf!("Commands for {name} on all nodes", name);
    let testid = format!("all-{name}");
    let pick = move |what: &'static str| {
        let Some(command) = ALL_NODES.into_iter().find(|command| word(*command) == what) else { return };
        let act = move || console.start_task(client::command(id, command, Vec::new()), |_| ());
        let consequences = untrack(move || with_nodes(console, live, |nodes| nodes.consequences(command)));
        if consequences.is_empty() {
            return act();
        }
        let words = label(command);
        console.ask(Question {
            title: tf!("{name}: {0}?", name, 0 = words.to_lowercase()),
            consequences,
            confirm: words.to_owned(),
            danger: command != ModuleCommand::Swap,
            act: Arc::new(act),
        });
    };
    view! { <ActionMenu label=label_of_menu testid entries on_pick=Callback::new(pick) icon=Icon::More /> }
}

/// Hands what is known of the module's nodes to `what`.
fn with_nodes<T>(console: Console, live: Memo<Option<ModuleLive>>, what: impl FnOnce(&Nodes<'_>) -> T) -> T {
    let nodes = live.with(|live| live.as_ref().map(|live| live.nodes.clone())).unwrap_or_default();
    let all: Vec<_> = nodes.into_iter().map(|on| (on.clone(), console.node_name(on.node))).collect();
    what(&Nodes { all: &all, live: console.is_live(), role: console.role() })
}

fn entry(command: ModuleCommand, nodes: &Nodes<'_>) -> MenuEntry {
    let icon = match command {
        ModuleCommand::Start => Icon::Start,
        ModuleCommand::Swap => Icon::Swap,
        _ => Icon::Stop,
    };
    let disabled = nodes.refusal(command);
    let danger = matches!(command, ModuleCommand::Stop | ModuleCommand::ForceStop) && disabled.is_none();
    let divided = command == ModuleCommand::ForceStop;
    MenuEntry { id: word(command), label: label(command), icon, danger, disabled, divided }
}
