//! Configuration: the modules there are, and the catalogue new ones are made from.

use crate::client;
use crate::components::dialog::Question;
use crate::components::gradually::gradually;
use crate::components::icon::{Icon, draw};
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::notice::{EmptyState, Notice, Waiting};
use crate::components::picture::picture;
use crate::components::shell::PageHead;
use crate::components::state::{Chip, StateBadge};
use crate::language::{self, t, tf};
use crate::platform;
use crate::rules::news::bare;
use crate::rules::tone::Tone;
use crate::rules::wizard::Step;
use crate::store::Console;
use holdfast_api::console::{CatalogueEntry, ModuleLive, UserRole};
use holdfast_api::ids::ModuleId;
use holdfast_api::state::ModuleState;
use leptos::prelude::*;
use leptos_router::components::A;
use std::sync::Arc;

/// The page.
#[component]
pub fn ConfigurationPage() -> impl IntoView {
    let console = Console::get();
    let no_cluster = Memo::new(move |_| console.read(|snapshot| snapshot.cluster.version == 0).unwrap_or(false));
    let modules = Memo::new(move |_| {
        let ids = |all: &[Arc<ModuleLive>]| all.iter().map(|one| one.module.id).collect::<Vec<_>>();
        console.modules.read(ids).unwrap_or_default()
    });
    let drawn = gradually(modules);
    view! {
        <div class="page">
            <PageHead title=t!("Configuration").to_owned() lead=t!("A module protects one application: its files, its processes, how it is started and stopped.") />
            <Show
                when=move || !no_cluster.get()
                fallback=|| view! {
                    <EmptyState icon=Icon::Cluster title=t!("First the nodes") text=t!("A module runs on the nodes of the cluster. Enter them, then come back.")>
                        <A href="/cluster" attr:class="btn primary">{t!("Cluster configuration")}</A>
                    </EmptyState>
                }
            >
                <Show when=move || modules.with(|modules| !modules.is_empty())>
                    <section class="stack" aria-labelledby="installed">
                        <h2 id="installed">{t!("Modules")}</h2>
                        <div class="catalogue">
                            <For each=move || drawn.get() key=|module| *module let:module><ModuleCard module /></For>
                        </div>
                    </section>
                </Show>
                <Show when=move || console.role().may(UserRole::Admin)><Catalogue /></Show>
            </Show>
        </div>
    }
}

#[component]
fn ModuleCard(module: ModuleId) -> impl IntoView {
    let console = Console::get();
    // What its checkers say is not shown here.
    let live = Memo::new(move |_| {
        let module = console.modules.one(module)?;
        Some(ModuleLive { nodes: module.nodes.iter().map(bare).collect(), ..ModuleLive::clone(&module) })
    });
    move || live.get().map(|module| card(console, &module))
}

fn card(console: Console, module: &ModuleLive) -> impl IntoView + use<> {
    let view = module.module.clone();
    let may = untrack(move || console.role()).may(UserRole::Admin);
    let mode = module.facts.as_ref().map(|facts| facts.mode).unwrap_or_default();
    let (edit, start) = (Step::first(mode).href(view.id.0), Step::Start.href(view.id.0));
    let draft = view.desired.is_none();
    let never_started = !draft
        && module.nodes.iter().all(|on| {
            on.report.as_ref().is_some_and(|report| report.state == ModuleState::Stop && report.generation.number == 0)
        });
    let status = match view.desired {
        None => (Tone::Busy, t!("draft, not configured yet").to_owned()),
        Some(desired) if desired < view.version => {
            (Tone::Busy, tf!("version {desired} configured, version {0} saved", desired, 0 = view.version))
        }
        Some(desired) => (Tone::Ok, tf!("version {desired} configured", desired)),
    };
    let pending = module
        .nodes
        .iter()
        .filter(|on| !on.pending.is_empty())
        .map(|on| format!("{}: {}", console.node_name(on.node), language::heard(&on.pending)))
        .collect::<Vec<_>>();
    view! {
        <article class="card" data-testid=format!("module-{}", view.name)>
            <div class="card-head">
                <h3>{view.name.clone()}</h3>
                {may.then(|| view! { <ModuleMenu id=view.id name=view.name.clone() /> })}
            </div>
            <div class="card-body stack">
                <p class="row tight"><Chip tone=status.0 text=status.1 /></p>
                <ul class="stack tight">
                    {module.nodes.iter().map(|on| view! {
                        <li class="row between"><span>{console.node_name(on.node)}</span><StateBadge on=on.clone() /></li>
                    }).collect_view()}
                </ul>
                {pending.into_iter().map(|text| view! { <p class="small">{text}</p> }).collect_view()}
                <p class="small muted">{t!("Saved by")}" "{view.author.clone()}", "{platform::date_time(view.saved_unix_ms)}</p>
            </div>
            {may.then(|| view! {
            <div class="card-foot">
                <A href=edit attr:class="btn" attr:data-testid=format!("edit-{}", view.name)>{draw(Icon::Configure)}{if draft { t!("Go on configuring") } else { t!("Configure") }}</A>
                {never_started.then(|| view! { <A href=start attr:class="btn primary">{draw(Icon::Start)}{t!("First start")}</A> })}
            </div>
            })}
        </article>
    }
}

#[component]
fn ModuleMenu(id: ModuleId, name: String) -> impl IntoView {
    let console = Console::get();
    let running = Signal::derive(move || {
        console.module(id).is_some_and(|module| {
            module.nodes.iter().any(|on| on.report.as_ref().is_some_and(|report| report.state != ModuleState::Stop))
        })
    });
    let entries = Signal::derive(move || {
        let disabled = running.get().then(|| t!("Stop the module on every node first.").to_owned());
        vec![MenuEntry {
            id: "remove",
            label: t!("Remove this module"),
            icon: Icon::Remove,
            danger: true,
            disabled,
            divided: false,
        }]
    });
    let testid = format!("module-menu-{name}");
    let label = tf!("More for {name}", name);
    let pick = move |_| {
        let act = move || console.start_task(client::remove_module(id), |_| ());
        console.ask(Question {
            title: tf!("Remove the module {name}?", name),
            consequences: vec![t!("Its configuration is removed from the server and from every node. The replicated directories stay as they are on each node.").to_owned()],
            confirm: t!("Remove").to_owned(),
            danger: true,
            act: Arc::new(act),
        });
    };
    view! { <ActionMenu label testid entries on_pick=Callback::new(pick) icon=Icon::More /> }
}

/// The templates.
#[component]
fn Catalogue() -> impl IntoView {
    let console = Console::get();
    let (entries, problem) = (RwSignal::new(None::<Vec<CatalogueEntry>>), RwSignal::new(None::<String>));
    console.call(client::catalogue(), move |answer| match answer {
        Ok(found) => entries.set(Some(found)),
        Err(error) => problem.set(Some(error.text())),
    });
    view! {
        <section class="stack" aria-labelledby="catalogue">
            <h2 id="catalogue">{t!("New module")}</h2>
            {move || problem.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The catalogue could not be read") text /> })}
            {move || match entries.get() {
                None if problem.with(Option::is_none) => view! { <Waiting text=t!("Reading the catalogue…") /> }.into_any(),
                None => ().into_any(),
                Some(entries) => view! { <div class="catalogue" data-testid="catalogue">{entries.into_iter().map(|entry| view! { <Tile entry /> }).collect_view()}</div> }.into_any(),
            }}
        </section>
    }
}

#[component]
fn Tile(entry: CatalogueEntry) -> impl IntoView {
    let href = format!("/configuration/new/{}", entry.template);
    view! {
        <article class="card tile" data-testid=format!("template-{}", entry.template)>
            <div class="tile-art">{picture(&entry.template)}</div>
            <div class="stack tight">
                <h3>{entry.template.clone()}</h3>
                <p class="muted">{language::heard(&entry.title).into_owned()}</p>
            </div>
            <div><A href=href attr:class="btn primary" attr:data-testid=format!("use-{}", entry.template)>{draw(Icon::Add)}{t!("Use this template")}</A></div>
        </article>
    }
}
