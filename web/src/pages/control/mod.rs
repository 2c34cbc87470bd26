//! Control: modules and nodes with their live states, commands, start at boot, logs.

mod aside;
mod commands;
mod facts;
mod tree;

use crate::components::flow::FlowMap;
use crate::components::icon::Icon;
use crate::components::log::{LogSource, LogViewer};
use crate::components::notice::{EmptyState, Waiting, prose};
use crate::components::resources::ResourceTable;
use crate::components::shell::PageHead;
use crate::components::state::{Chip, DataChip, StateBadge};
use crate::language::{t, tf};
use crate::rules::news::with_moving;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use aside::SetAside;
use commands::{Commands, Switches};
use facts::{Facts, Reason};
use holdfast_api::agent::{LogKind, NodeModuleReport};
use holdfast_api::config::ModuleMode;
use holdfast_api::console::{ModuleLive, ModuleOnNode};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::state::ModuleState;
use leptos::prelude::*;
use leptos_router::components::{A, Redirect};
use leptos_router::hooks::use_params_map;
use std::sync::Arc;
use tree::Tree;

/// Where a module on a node is controlled.
pub fn href(module: ModuleId, node: NodeId) -> String {
    format!("/control/{}/{}", module.0, node.0)
}

/// The module and node in the address.
type Chosen = Memo<Option<(ModuleId, NodeId)>>;

/// The page.
#[component]
pub fn ControlPage() -> impl IntoView {
    let console = Console::get();
    let params = use_params_map();
    let number = move |name: &str| params.read().get(name).and_then(|text| text.parse::<u16>().ok());
    let chosen: Chosen = Memo::new(move |_| Some((ModuleId(number("module")?), NodeId(number("node")?))));
    let tab = Memo::new(move |_| match params.read().get("tab").as_deref() {
        Some("application") => Tab::Log(LogKind::Application),
        Some("resources") => Tab::Resources,
        Some("aside") => Tab::Aside,
        _ => Tab::Log(LogKind::Module),
    });
    let configured =
        |module: &&Arc<ModuleLive>| module.module.desired.is_some() || module.nodes.iter().any(|on| on.held.is_some());
    let modules = Memo::new(move |_| {
        console.modules.read(|modules| modules.iter().filter(configured).map(Arc::clone).collect::<Vec<_>>())
    });
    let first = Memo::new(move |_| {
        modules.with(|modules| {
            modules.as_ref()?.iter().find_map(|module| Some(href(module.module.id, module.nodes.first()?.node)))
        })
    });
    let pick = Memo::new(move |_| match (modules.with(Option::is_some), chosen.get(), first.get()) {
        (false, ..) => Pick::Waiting,
        (true, _, None) => Pick::Nothing,
        (true, None, Some(first)) => Pick::First(first),
        (true, Some((module, node)), Some(_)) => Pick::Chosen(module, node),
    });
    view! {
        <div class="page">
            <PageHead title=t!("Control").to_owned() lead=t!("What every node does now, and the commands that change it.") />
            {move || match pick.get() {
                Pick::Waiting => view! { <Waiting text=t!("Waiting for the first snapshot…") /> }.into_any(),
                Pick::Nothing => nothing().into_any(),
                Pick::First(first) => view! { <Redirect path=first /> }.into_any(),
                Pick::Chosen(module, node) => view! {
                    <div class="control">
                        <Tree modules chosen />
                        <Panel module node tab />
                    </div>
                }
                .into_any(),
            }}
        </div>
    }
}

/// What is shown below the state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tab {
    Log(LogKind),
    Resources,
    Aside,
}

#[derive(Clone, Debug, PartialEq)]
enum Pick {
    Waiting,
    Nothing,
    First(String),
    Chosen(ModuleId, NodeId),
}

fn nothing() -> impl IntoView {
    view! {
        <EmptyState icon=Icon::Control title=t!("Nothing to control yet") text=t!("Configure a module first; it then appears here with the state of each node.")>
            <A href="/configuration" attr:class="btn primary">{t!("Configuration")}</A>
        </EmptyState>
    }
}

/// What the panel shows, as it changes.
#[derive(Clone, Copy)]
struct Subject {
    module: ModuleId,
    node: NodeId,
    live: Memo<Option<ModuleLive>>,
    on: Memo<Option<ModuleOnNode>>,
}

impl Subject {
    fn peer(self) -> Option<ModuleOnNode> {
        self.live.with(|live| live.as_ref()?.nodes.iter().find(|on| on.node != self.node).cloned())
    }

    fn is_light(self) -> bool {
        self.live.with(|live| {
            live.as_ref().and_then(|live| live.facts.as_ref()).is_some_and(|facts| facts.mode == ModuleMode::Light)
        })
    }

    /// What a resource of the module itself says, such as `usersetting.boot`.
    fn setting(self, name: &str) -> Option<String> {
        self.report(|report| {
            let found = report.resources.iter().find(|resource| resource.name == name);
            found.map(|resource| resource.value.to_string())
        })
        .flatten()
    }

    fn report<T>(self, what: impl FnOnce(&NodeModuleReport) -> T) -> Option<T> {
        self.on.with(|on| on.as_ref()?.report.as_ref().map(what))
    }
}

/// The chosen module on the chosen node.
#[component]
fn Panel(module: ModuleId, node: NodeId, tab: Memo<Tab>) -> impl IntoView {
    let console = Console::get();
    let live = Memo::new(move |_| console.module(module));
    let on = Memo::new(move |_| live.with(|live| live.as_ref()?.nodes.iter().find(|on| on.node == node).cloned()));
    let subject = Subject { module, node, live, on };
    let there = Memo::new(move |_| on.with(Option::is_some));
    let reachable = Memo::new(move |_| console.is_live() && on.with(|on| on.as_ref().is_some_and(|on| on.fresh)));
    let names = Memo::new(move |_| {
        Some((live.with(|live| live.as_ref().map(|live| live.module.name.clone()))?, console.node_name(node)))
    });
    let resources = Signal::derive(move || {
        let figures = console.modules.figures(module);
        subject.report(|report| with_moving(&report.resources, &figures, node)).unwrap_or_default()
    });
    let source = move || {
        let Tab::Log(which) = tab.get() else { return None };
        names.get().map(|(module_name, node_name)| LogSource { module, module_name, node, node_name, which })
    };
    view! {
        <div class="stack loose">
            <Show
                when=move || there.get()
                fallback=|| view! { <EmptyState icon=Icon::Info title=t!("There is no such module or node") text=t!("It may have been removed. Choose another at the left.") /> }
            >
                <section class="card" data-testid="panel"><Head subject /><Map subject /><Switches subject /></section>
                <Reason subject />
            </Show>
            <section class="card" aria-label=t!("Logs and resources")>
                {tabs(subject, tab)}
                {move || source().map(|source| view! { <LogViewer source reachable /> })}
                <Show when=move || tab.get() == Tab::Resources><ResourceTable resources live=reachable /></Show>
                <Show when=move || tab.get() == Tab::Aside><SetAside subject reachable /></Show>
            </section>
            <Facts subject />
        </div>
    }
}

fn tabs(subject: Subject, tab: Memo<Tab>) -> impl IntoView {
    let base = href(subject.module, subject.node);
    let aside = Memo::new(move |_| subject.report(|report| report.set_aside).unwrap_or_default());
    let current = move |kind| move || (tab.get() == kind).then_some("page");
    view! {
        <nav class="tabs" aria-label=t!("Logs and resources")>
            <a href=format!("{base}/module") aria-current=current(Tab::Log(LogKind::Module)) data-testid="tab-module">{t!("Module log")}</a>
            <a href=format!("{base}/application") aria-current=current(Tab::Log(LogKind::Application)) data-testid="tab-application">{t!("Application log")}</a>
            <a href=format!("{base}/resources") aria-current=current(Tab::Resources) data-testid="tab-resources">{t!("Resources")}</a>
            <Show when=move || !subject.is_light()>
                <a href=format!("{base}/aside") aria-current=current(Tab::Aside) data-testid="tab-aside">{move || match aside.get() { 0 => t!("Set aside").to_owned(), count => tf!("Set aside ({count})", count) }}</a>
            </Show>
        </nav>
    }
}

/// Name, state, command menu.
#[component]
fn Head(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let server_now = move || console.now.get().saturating_add_signed(-console.clock_ahead_ms.get());
    let since = Memo::new(move |_| subject.report(|report| report.since_unix_ms).filter(|since| *since > 0));
    let fresh = Memo::new(move |_| subject.on.with(|on| on.as_ref().is_some_and(|on| on.fresh)));
    // How long is only told of what is known to go on.
    let since = Memo::new(move |_| since.get().filter(|_| fresh.get() && console.is_live()));
    let alone = Memo::new(move |_| fresh.get() && subject.report(|report| report.state) == Some(ModuleState::Alone));
    let data = Memo::new(move |_| subject.report(|report| (report.data, fresh.get())));
    view! {
        <div class="node-head">
            <div class="row grow">
                <h2>{console.node_name(subject.node)}</h2>
                {move || subject.on.get().map(|on| view! { <StateBadge on big=true testid="state" /> })}
                <span class="muted small">{move || since.get().map(|since| tf!("for {0}", 0 = text::lasting_ms(server_now().saturating_sub(since))))}</span>
            </div>
            <Commands subject />
            <div class="row tight node-detail">
                {move || alone.get().then(|| view! { <Chip tone=Tone::Busy text=t!("no redundancy") /> })}
                {move || data.get().map(|(data, fresh)| view! { <DataChip data fresh /> })}
                <p data-testid="detail">{move || subject.report(|report| (report.detail != report.data.to_string()).then(|| prose(&report.detail)))}</p>
            </div>
        </div>
    }
}

/// Both nodes and what flows between them.
#[component]
fn Map(subject: Subject) -> impl IntoView {
    let nodes = Signal::derive(move || {
        subject.live.with(|live| live.as_ref().map(|live| live.nodes.clone())).unwrap_or_default()
    });
    let addresses = Signal::derive(move || {
        subject
            .live
            .with(|live| live.as_ref().and_then(|live| live.facts.as_ref()).map(|facts| facts.addresses.clone()))
            .unwrap_or_default()
    });
    view! { <Show when=move || !subject.is_light()><FlowMap module=subject.module nodes addresses /></Show> }
}
