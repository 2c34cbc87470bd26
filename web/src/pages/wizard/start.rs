//! Wizard, last step: the first start in the right direction, then the second node, then the resync.

use super::StepCard;
use super::draft::Draft;
use crate::client;
use crate::components::dialog::Question;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{CheckLine, Notice, Waiting};
use crate::components::state::{ResyncProgress, StateBadge};
use crate::language::{self, t, tf};
use crate::platform;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::rules::wizard::{inventory_of, newest, overwrite_text};
use crate::store::Console;
use holdfast_api::agent::{InventoryReport, ModuleCommand};
use holdfast_api::config::ModuleMode;
use holdfast_api::console::ModuleOnNode;
use holdfast_api::ids::NodeId;
use holdfast_api::state::{ModuleState, Readiness};
use leptos::prelude::*;
use leptos_router::components::A;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far the first start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No node serves.
    Choose,
    /// A node serves or is about to.
    Second,
    /// Both are ready.
    Done,
}

fn inventory(on: &ModuleOnNode) -> Option<InventoryReport> {
    on.report.as_ref().and_then(|report| report.inventory)
}

/// Asks each node what the directories hold, for those that have not reported it.
fn count(console: Console, draft: Draft, counted: RwSignal<BTreeMap<NodeId, InventoryReport>>) {
    let directories = draft.settings.with_untracked(|settings| settings.directories.clone());
    if directories.is_empty() {
        return;
    }
    for (node, _) in console.cluster_nodes() {
        console.call(client::paths(node, directories.clone()), move |answer| {
            if let Ok(view) = answer {
                counted.update(|counted| {
                    counted.insert(node, inventory_of(&view.paths));
                });
            }
        });
    }
}

fn is_primary(on: &ModuleOnNode) -> bool {
    on.report.as_ref().is_some_and(|report| matches!(report.state, ModuleState::Prim | ModuleState::Alone))
}

fn stage(nodes: &[ModuleOnNode]) -> Stage {
    let ready = |state| {
        nodes.iter().any(|on| {
            on.fresh
                && on
                    .report
                    .as_ref()
                    .is_some_and(|report| report.state == state && report.readiness == Readiness::Ready)
        })
    };
    if ready(ModuleState::Prim) && ready(ModuleState::Second) {
        Stage::Done
    } else if nodes.iter().any(is_primary) {
        Stage::Second
    } else {
        Stage::Choose
    }
}

/// The step.
#[component]
pub fn StartStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let console = Console::get();
    let counted = RwSignal::new(BTreeMap::new());
    let nodes = Memo::new(move |_| {
        let mut nodes = console.module(draft.module).map(|module| module.nodes).unwrap_or_default();
        for on in &mut nodes {
            if let Some(report) = &mut on.report {
                report.inventory = report.inventory.or_else(|| counted.with(|counted| counted.get(&on.node).copied()));
            }
        }
        nodes
    });
    count(console, draft, counted);
    let stage = Memo::new(move |_| nodes.with(|nodes| stage(nodes)));
    let name = Memo::new(move |_| console.module(draft.module).map(|module| module.module.name).unwrap_or_default());
    let light = draft.settings.with_untracked(|settings| settings.mode == ModuleMode::Light);
    view! {
        {move || match stage.get() {
            _ if light => view! { <LightStart draft nodes /> }.into_any(),
            Stage::Choose => view! { <Choose draft nodes /> }.into_any(),
            Stage::Second => view! { <SecondStart draft nodes /> }.into_any(),
            Stage::Done => view! { <Done name=name.get() /> }.into_any(),
        }}
        <section class="card" aria-label=t!("States")>
            <ul class="results" data-testid="start-states">
                {move || nodes.get().into_iter().map(|on| view! {
                    <li><span></span><strong>{console.node_name(on.node)}</strong><p class="small muted">{on.report.as_ref().map(state_text)}" "<a href=crate::pages::control::href(draft.module, on.node)>{t!("Its log")}</a></p><StateBadge testid=format!("start-state-{}", console.node_name(on.node)) on /></li>
                }).collect_view()}
            </ul>
        </section>
    }
}

fn state_text(report: &holdfast_api::agent::NodeModuleReport) -> String {
    language::heard(report.waiting_for.as_ref().unwrap_or(&report.detail)).into_owned()
}

/// A module that runs on each node by itself: choose where to start it.
#[component]
fn LightStart(draft: Draft, nodes: Memo<Vec<ModuleOnNode>>) -> impl IntoView {
    let console = Console::get();
    let ids = Memo::new(move |_| nodes.with(|nodes| nodes.iter().map(|on| on.node).collect::<Vec<_>>()));
    let button = move |node: NodeId| {
        let stopped = Memo::new(move |_| {
            nodes.with(|nodes| {
                nodes.iter().any(|on| {
                    on.node == node
                        && on.fresh
                        && on.report.as_ref().is_some_and(|report| report.state == ModuleState::Stop)
                })
            })
        });
        let start =
            move |_| console.start_task(client::command(draft.module, ModuleCommand::Start, vec![node]), |_| ());
        let name = console.node_name(node);
        view! { <button type="button" class="btn primary" data-testid=format!("start-{name}") disabled=move || !stopped.get() on:click=start>{draw(Icon::Start)}{tf!("Start on {name}", name)}</button> }
    };
    view! {
        <StepCard title=t!("Start the application") lead=t!("A light module runs on each node by itself: start it where the application shall run. There is no failover.")>
            <div class="row">{move || ids.get().into_iter().map(button).collect_view()}</div>
            <div><A href="/control" attr:class="btn" attr:data-testid="to-control">{draw(Icon::Control)}{t!("To Control")}</A></div>
        </StepCard>
    }
}

/// Which node has the newest data.
#[component]
fn Choose(draft: Draft, nodes: Memo<Vec<ModuleOnNode>>) -> impl IntoView {
    let console = Console::get();
    let offered = Memo::new(move |_| {
        nodes.with(|nodes| newest(&nodes.iter().map(|on| (on.node.0, inventory(on))).collect::<Vec<_>>()))
    });
    let picked = RwSignal::new(None::<NodeId>);
    let chosen = Memo::new(move |_| picked.get().or_else(|| offered.get().map(NodeId)));
    let busy = RwSignal::new(false);
    let ids = Memo::new(move |_| nodes.with(|nodes| nodes.iter().map(|on| on.node).collect::<Vec<_>>()));
    let consequences = move || {
        let Some(chosen) = chosen.get() else { return Vec::new() };
        let primary = console.node_name(chosen);
        nodes.with(|nodes| {
            nodes
                .iter()
                .filter(|on| on.node != chosen)
                .map(|on| overwrite_text(&primary, &console.node_name(on.node), inventory(on).as_ref()))
                .collect()
        })
    };
    let start = move |_| {
        let Some(node) = chosen.get_untracked() else { return };
        busy.set(true);
        console.start_task(client::command(draft.module, ModuleCommand::Prim, vec![node]), move |_| busy.set(false));
    };
    view! {
        <StepCard title=t!("Which node has the newest data?") lead=t!("Neither copy is the reference yet. The node chosen here starts as primary, and its files are copied to the other node. Make a copy of the directories first if you are not sure.")>
            <fieldset class="columns" aria-label=t!("Node with the newest data") data-testid="newest">
                {move || ids.get().into_iter().map(|node| view! { <NodeChoice node nodes chosen picked /> }).collect_view()}
            </fieldset>
            <ul class="checks" aria-live="polite" data-testid="overwrite">
                {move || consequences().into_iter().map(|text: String| view! { <CheckLine tone=Tone::Busy text /> }).collect_view()}
            </ul>
            <div>
                <button type="button" class="btn primary" data-testid="start-primary" disabled=move || busy.get() || chosen.get().is_none() on:click=start>
                    {draw(Icon::Primary)}{move || chosen.get().map_or_else(|| t!("Start as primary").to_owned(), |node| tf!("Start {0} as primary", 0 = console.node_name(node)))}
                </button>
            </div>
        </StepCard>
    }
}

#[component]
fn NodeChoice(
    node: NodeId,
    nodes: Memo<Vec<ModuleOnNode>>,
    chosen: Memo<Option<NodeId>>,
    picked: RwSignal<Option<NodeId>>,
) -> impl IntoView {
    let console = Console::get();
    let on = Memo::new(move |_| nodes.with(|nodes| nodes.iter().find(|on| on.node == node).cloned()));
    let name = console.node_name(node);
    let held = move || on.get().as_ref().and_then(inventory);
    view! {
        <label class="choice">
            <input
                type="radio"
                name="newest"
                data-testid=format!("newest-{name}")
                prop:checked=move || chosen.get() == Some(node)
                disabled=move || on.with(|on| on.as_ref().is_none_or(|on| !on.fresh))
                on:change=move |_| picked.set(Some(node))
            />
            <div class="stack tight">
                <h3>{name.clone()}</h3>
                <dl class="facts">
                    <dt>{t!("Holds")}</dt><dd>{move || held().map_or_else(|| t!("not counted yet").to_owned(), |held| text::inventory(&held))}</dd>
                    <dt>{t!("Latest change")}</dt><dd>{move || held().map_or_else(|| "–".to_owned(), |held| platform::date_time(held.changed_unix_ms))}</dd>
                </dl>
            </div>
        </label>
    }
}

/// The primary is there: start the other, watch the resync.
#[component]
fn SecondStart(draft: Draft, nodes: Memo<Vec<ModuleOnNode>>) -> impl IntoView {
    let console = Console::get();
    let busy = RwSignal::new(false);
    let other = Memo::new(move |_| nodes.with(|nodes| nodes.iter().find(|on| !is_primary(on)).cloned()));
    let primary = Memo::new(move |_| {
        nodes
            .with(|nodes| nodes.iter().find(|on| is_primary(on)).map(|on| console.node_name(on.node)))
            .unwrap_or_default()
    });
    let primary_ready = Memo::new(move |_| {
        nodes.with(|nodes| {
            nodes.iter().any(|on| {
                is_primary(on) && on.report.as_ref().is_some_and(|report| report.readiness == Readiness::Ready)
            })
        })
    });
    let resync =
        Memo::new(move |_| nodes.with(|nodes| nodes.iter().filter_map(|on| on.report.as_ref()?.resync).next()));
    let waits = Memo::new(move |_| {
        other.with(|other| {
            other.as_ref().and_then(|on| on.report.as_ref()).is_none_or(|report| {
                matches!(report.state, ModuleState::Stop)
                    || (report.state == ModuleState::Wait && report.readiness == Readiness::NotReady)
            })
        })
    });
    let start = move |_| {
        let Some(on) = other.get_untracked() else { return };
        let name = console.node_name(on.node);
        let act = move || {
            busy.set(true);
            console.start_task(client::command(draft.module, ModuleCommand::Second, vec![on.node]), move |_| {
                busy.set(false)
            });
        };
        console.ask(Question {
            title: tf!("Start {name} as secondary?", name),
            consequences: vec![overwrite_text(&primary.get_untracked(), &name, inventory(&on).as_ref())],
            confirm: t!("Start").to_owned(),
            danger: inventory(&on).is_none_or(|held| held.entries > 0),
            act: Arc::new(act),
        });
    };
    view! {
        <StepCard title=t!("Start the second node") lead=t!("The application runs. Until the second node follows there is no redundancy.")>
            {move || match resync.get() {
                Some(resync) => view! { <ResyncProgress resync /> }.into_any(),
                None if !primary_ready.get() => view! { <Waiting text=tf!("Starting {0} as primary…", 0 = primary.get()) /> }.into_any(),
                None if waits.get() => ().into_any(),
                None => view! { <Waiting text=t!("The second node is starting…") /> }.into_any(),
            }}
            <div>
                <button type="button" class="btn primary" data-testid="start-second" disabled=move || busy.get() || !primary_ready.get() || !waits.get() on:click=start>
                    {draw(Icon::Secondary)}{move || other.with(|other| other.as_ref().map_or_else(|| t!("Start the second node").to_owned(), |on| tf!("Start {0} as secondary", 0 = console.node_name(on.node))))}
                </button>
            </div>
        </StepCard>
    }
}

#[component]
fn Done(name: String) -> impl IntoView {
    let path = format!("http://<node>:9010/var/modules/{name}/ready.txt");
    view! {
        <StepCard title=t!("The cluster is operational") lead=t!("The application runs on the primary; every write is on both nodes before it is acknowledged.")>
            <Notice tone=Tone::Ok title=t!("Primary and secondary are ready") text=t!("A failure of the primary is followed by an automatic failover to the secondary.") testid="operational" />
            <p>{t!("Point the health check of a load balancer at")}" "<code>{path}</code>{t!(": it answers 200 on the primary and 404 elsewhere.")}</p>
            <p>{t!("Once all is right, switch on the start at boot of each node in Control.")}</p>
            <div><A href="/control" attr:class="btn primary" attr:data-testid="to-control">{draw(Icon::Control)}{t!("To Control")}</A></div>
        </StepCard>
    }
}
