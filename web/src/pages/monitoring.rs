//! Monitoring: what is wrong first, then each module on its nodes, and what happened lately.

use crate::components::flow::FlowMap;
use crate::components::gradually::gradually;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{CheckLine, EmptyState, Notice, Waiting, prose};
use crate::components::register::ArmButton;
use crate::components::shell::PageHead;
use crate::components::state::{Chip, DataChip, ResyncProgress, StateBadge};
use crate::components::timeline::{Timeline, follow_logs};
use crate::language::{t, tf};
use crate::pages::control;
use crate::platform;
use crate::rules::history::moments;
use crate::rules::issues::{Issue, issues};
use crate::rules::news::bare;
use crate::rules::scrub;
use crate::rules::text;
use crate::rules::tone::{Tone, resource_tone};
use crate::rules::witness::choice;
use crate::store::Console;
use holdfast_api::agent::{NodeModuleReport, ResourceReport};
use holdfast_api::config::{ModuleMode, WitnessKind};
use holdfast_api::console::{ModuleLive, ModuleOnNode};
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;
use leptos_router::components::A;
use std::sync::Arc;

/// Moments shown of a module.
const MOMENTS: usize = 12;

/// The page.
#[component]
pub fn MonitoringPage() -> impl IntoView {
    let console = Console::get();
    let known = Memo::new(move |_| console.snapshot.with(Option::is_some));
    let modules = Memo::new(move |_| {
        let configured = |module: &&Arc<ModuleLive>| module.module.desired.is_some();
        let ids = |all: &[Arc<ModuleLive>]| all.iter().filter(configured).map(|one| one.module.id).collect::<Vec<_>>();
        console.modules.read(ids).unwrap_or_default()
    });
    let drawn = gradually(modules);
    view! {
        <div class="page">
            <PageHead title=t!("Monitoring").to_owned() lead=t!("What needs somebody first; below, every module on its nodes.") />
            <Show when=move || known.get() fallback=|| view! { <Waiting text=t!("Waiting for the first snapshot…") /> }>
                <Issues />
                <Show
                    when=move || modules.with(|modules| !modules.is_empty())
                    fallback=|| view! {
                        <EmptyState icon=Icon::Monitor title=t!("Nothing to watch yet") text=t!("Configure a module first; it then appears here.")>
                            <A href="/configuration" attr:class="btn primary">{t!("Configuration")}</A>
                        </EmptyState>
                    }
                >
                    <For each=move || drawn.get() key=|module| *module let:module><ModuleCard module /></For>
                </Show>
            </Show>
        </div>
    }
}

#[component]
fn Issues() -> impl IntoView {
    let console = Console::get();
    let found = Memo::new(move |_| {
        console.read(|snapshot| issues(snapshot, &|at| platform::time(at)[..5].to_owned())).unwrap_or_default()
    });
    let none = move || found.with(Vec::is_empty);
    let drawn = gradually(found);
    view! {
        <section class="stack tight" aria-label=t!("Issues") data-testid="issues" data-count=move || found.with(Vec::len).to_string()>
            <Show when=move || !console.is_live()>
                <p class="muted small">{t!("This is what was last known; the page is not in contact with the server.")}</p>
            </Show>
            <For each=move || drawn.get() key=Clone::clone let:issue><OneIssue issue /></For>
            <Show when=move || none() && console.is_live()>
                <p class="all-well" data-testid="all-well">{draw(Icon::Check)}<span>{t!("Nothing needs attention.")}</span></p>
            </Show>
        </section>
    }
}

#[component]
fn OneIssue(issue: Issue) -> impl IntoView {
    let console = Console::get();
    let tone = move || if console.is_live() { issue.tone.name() } else { "lost" };
    view! {
        <div class="notice" data-tone=tone data-testid="issue">
            {draw(Icon::Alert)}
            <div>
                <p class="notice-title">{issue.title}</p>
                {(!issue.text.is_empty()).then(|| view! { <p>{prose(&issue.text)}</p> })}
                {(!issue.cure.is_empty()).then(|| view! { <p class="muted">{prose(&issue.cure)}</p> })}
            </div>
            <div class="row tight">
                {issue.arm.map(|module| view! { <ArmButton module /> })}
                {issue.link.map(|(href, words)| view! { <A href=href attr:class="btn compact">{words}{draw(Icon::Forward)}</A> })}
            </div>
        </div>
    }
}

#[component]
fn ModuleCard(module: ModuleId) -> impl IntoView {
    let console = Console::get();
    let live = Memo::new(move |_| console.module(module));
    let name =
        Memo::new(move |_| live.with(|live| live.as_ref().map(|live| live.module.name.clone())).unwrap_or_default());
    let facts =
        Memo::new(move |_| live.with(|live| live.as_ref().and_then(|live| live.facts.clone())).unwrap_or_default());
    let nodes =
        Signal::derive(move || live.with(|live| live.as_ref().map(|live| live.nodes.clone())).unwrap_or_default());
    let ids = Memo::new(move |_| nodes.get().iter().map(|on| on.node).collect::<Vec<_>>());
    let addresses = Signal::derive(move || facts.get().addresses);
    let (lines, ready) = follow_logs(console, module);
    let latest = Memo::new(move |_| {
        let mut all = lines.with(|lines| moments(lines));
        all.reverse();
        all.truncate(MOMENTS);
        all
    });
    view! {
        <section class="card far" aria-label=move || tf!("Module {0}", 0 = name.get()) data-testid=move || format!("monitor-{}", name.get())>
            <div class="card-head">
                <h2>{name}</h2>
                {move || facts.with(|facts| {
                    let witness = choice(facts.witness);
                    let words = match (facts.mode, facts.witness) {
                        (ModuleMode::Light, _) => t!("one node").to_owned(),
                        (_, WitnessKind::None) => t!("no witness").to_owned(),
                        (_, WitnessKind::Ping) => t!("witness: pings").to_owned(),
                        _ => tf!("witness: {0}", 0 = t(witness.title)),
                    };
                    view! { <Chip tone=Tone::Idle text=words /> }
                })}
            </div>
            <Show when=move || facts.with(|facts| facts.mode == ModuleMode::Mirror)><FlowMap module nodes addresses /></Show>
            <div class="monitor-nodes">
                <For each=move || ids.get() key=|node| *node let:node><NodeCard module node nodes /></For>
            </div>
            <div class="card-body stack tight ruled">
                <h3>{t!("Lately")}</h3>
                <Timeline moments=latest ready empty=t!("Nothing has happened yet.") testid="timeline" />
            </div>
        </section>
    }
}

#[component]
fn NodeCard(module: ModuleId, node: NodeId, nodes: Signal<Vec<ModuleOnNode>>) -> impl IntoView {
    let console = Console::get();
    let on = Memo::new(move |_| nodes.with(|nodes| nodes.iter().find(|on| on.node == node).map(bare)));
    let resources = Memo::new(move |_| {
        let watched = |on: &ModuleOnNode| {
            let report = on.report.as_ref().filter(|_| on.fresh)?;
            Some(report.resources.iter().filter(|one| text::is_watched(&one.name)).cloned().collect::<Vec<_>>())
        };
        nodes.with(|nodes| nodes.iter().find(|on| on.node == node).and_then(watched)).unwrap_or_default()
    });
    let name = console.node_name(node);
    let testid = format!("monitor-state-{name}");
    view! {
        <article class="stack tight monitor-node">
            <div class="row between">
                <h3><A href=control::href(module, node)>{name}</A></h3>
                {move || on.get().map(|on| view! { <StateBadge on testid=testid.clone() /> })}
            </div>
            {move || on.get().map(|on| body(console, &on))}
            {move || resources.with(|resources| watched(console, resources))}
        </article>
    }
}

fn body(console: Console, on: &ModuleOnNode) -> AnyView {
    let Some(report) = on.report.clone() else {
        let text = if on.held.is_none() {
            t!("The module is not configured here.")
        } else {
            t!("Nothing is known of it yet.")
        };
        return view! { <p class="muted small">{text}</p> }.into_any();
    };
    let (fresh, reported) = (on.fresh, on.reported_unix_ms);
    if !fresh {
        let text = tf!("Last heard at {0}.", 0 = platform::time(reported));
        return view! { <p class="muted small" data-testid="monitor-stale">{text}</p> }.into_any();
    }
    let waiting = report.waiting_for.clone();
    let resync = report.resync;
    let detail = if report.detail == report.data.to_string() { String::new() } else { report.detail.clone() };
    let since = since_line(console, &report);
    view! {
        {since}
        <p class="row tight"><DataChip data=report.data fresh /><span class="small">{prose(&detail)}</span></p>
        {waiting.map(|text| view! { <Notice tone=Tone::Bad title=t!("It waits") text /> })}
        {resync.map(|resync| view! { <ResyncProgress resync /> })}
        {compared(&report)}
    }
    .into_any()
}

fn since_line(console: Console, report: &NodeModuleReport) -> impl IntoView + use<> {
    let since = report.since_unix_ms;
    let now = move || console.now.get().saturating_add_signed(-console.clock_ahead_ms.get());
    let began = platform::date_time(since);
    // Told once a second to every card, and seldom new.
    let lasts = Memo::new(move |_| text::lasting_ms(now().saturating_sub(since)));
    let text = move || tf!("since {0}, for {1}", 0 = began, 1 = lasts.get());
    (since > 0).then(|| view! { <p class="muted small">{text}</p> })
}

/// Where the comparison of both copies by schedule stands; nothing without a schedule.
fn compared(report: &NodeModuleReport) -> Option<impl IntoView + use<>> {
    let said = report.scrub.as_ref().map(|scrub| scrub::said(scrub, report.state, &platform::date_time))?;
    let lines = said.into_iter().map(|(tone, text)| view! { <CheckLine tone text /> }).collect_view();
    Some(view! { <ul class="checks small" data-testid="scrub">{lines}</ul> })
}

/// What is watched there: networks and checkers, each with its value and since when.
fn watched(console: Console, resources: &[ResourceReport]) -> impl IntoView + use<> {
    let one = move |resource: &ResourceReport| {
        let tone = resource_tone(&resource.name, &resource.value);
        let title = tf!("since {0}, says {1}", 0 = platform::date_time(resource.since_unix_ms), 1 = resource.by);
        let (name, value) = (resource.name.clone(), resource.value.to_string());
        view! { <li class="row between small" title=title><span class="mono">{name}</span>{move || view! { <Chip tone=if console.is_live() { tone } else { Tone::Lost } text=value.clone() /> }}</li> }
    };
    let list: Vec<_> = resources.iter().map(one).collect();
    (!list.is_empty()).then(|| view! { <ul class="watched">{list.into_iter().collect_view()}</ul> })
}
