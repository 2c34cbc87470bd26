//! Troubleshooting: why the last failover was, who hears whom, both logs by time, and who ordered what on each node.

use crate::client;
use crate::components::form::Problem;
use crate::components::icon::Icon;
use crate::components::log::log_help;
use crate::components::modules::{ModulePick, pick_module};
use crate::components::notice::{EmptyState, Waiting, prose};
use crate::components::shell::PageHead;
use crate::components::state::Chip;
use crate::components::timeline::{Timeline, find_in_logs, follow_logs};
use crate::language::{t, tf};
use crate::platform;
use crate::rules::history::{NodeLine, why};
use crate::rules::links::matrix;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::agent::LogLine;
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;
use leptos_router::components::A;

/// Lines of a node's command log.
const COMMANDS: u32 = 200;
/// A difference of clocks worth a word.
const CLOCK_MS: i64 = 200;

/// The page.
#[component]
pub fn TroubleshootingPage() -> impl IntoView {
    let console = Console::get();
    let pick = pick_module(console, |module| module.module.desired.is_some());
    view! {
        <div class="page">
            <PageHead title=t!("Troubleshooting").to_owned() lead=t!("What happened, why, and who ordered it.") />
            <Show
                when=move || pick.chosen.get().is_some()
                fallback=|| view! {
                    <EmptyState icon=Icon::Wrench title=t!("Nothing to look into yet") text=t!("Configure a module first.")>
                        <A href="/configuration" attr:class="btn primary">{t!("Configuration")}</A>
                    </EmptyState>
                }
            >
                <ModulePick pick id="trouble-module" />
                {move || pick.chosen.get().map(|module| view! { <OfModule module /> })}
            </Show>
            <Commands />
        </div>
    }
}

#[component]
fn OfModule(module: ModuleId) -> impl IntoView {
    let console = Console::get();
    let (lines, ready) = follow_logs(console, module);
    let chain = Signal::derive(move || why(&lines.get()));
    view! {
        <section class="card" aria-labelledby="why">
            <div class="card-head"><h2 id="why">{t!("Why did it fail over?")}</h2></div>
            <div class="card-body stack tight">
                <Show when=move || chain.with(|chain| !chain.is_empty())>
                    <p class="muted">{t!("The latest failover that nobody ordered, with what went before, oldest first.")}</p>
                </Show>
                <Timeline moments=chain ready empty=t!("The logs tell of no failover that nobody ordered.") testid="why-chain" />
            </div>
        </section>
        <Connectivity module />
        <Merged module lines=lines.into() ready />
    }
}

/// Networks down, nodes across.
#[component]
fn Connectivity(module: ModuleId) -> impl IntoView {
    let console = Console::get();
    let live = Memo::new(move |_| console.module(module));
    let nodes = Memo::new(move |_| live.with(|live| live.as_ref().map(|live| live.nodes.clone())).unwrap_or_default());
    let rows = Memo::new(move |_| {
        let facts = live.with(|live| live.as_ref().and_then(|live| live.facts.clone())).unwrap_or_default();
        matrix(&facts, &nodes.get(), console.is_live())
            .into_iter()
            .map(|(lan, flow, cells)| {
                let cells: Vec<_> = cells.into_iter().map(|cell| (cell.tone, cell.text, cell.since_unix_ms)).collect();
                (lan, flow, cells)
            })
            .collect::<Vec<_>>()
    });
    let cell = |(tone, text, since): (Tone, &'static str, u64)| {
        view! {
            <td><div class="stack tight"><span><Chip tone text /></span>{(since > 0).then(|| view! { <span class="small muted">{tf!("since {0}", 0 = platform::date_time(since))}</span> })}</div></td>
        }
    };
    let row = move |(lan, flow, cells): (String, bool, Vec<(Tone, &'static str, u64)>)| {
        view! {
            <tr>
                <th scope="row"><strong>{lan}</strong>{flow.then(|| view! { <span class="small muted">" "{t!("carries the replication")}</span> })}</th>
                {cells.into_iter().map(cell).collect_view()}
            </tr>
        }
    };
    view! {
        <Show when=move || rows.with(|rows| !rows.is_empty())>
            <section class="card" aria-labelledby="connectivity">
                <div class="card-head"><h2 id="connectivity">{t!("Who hears whom")}</h2></div>
                <div class="table-wrap" tabindex="0" role="group" aria-label=t!("Table of networks")>
                    <table class="table" data-testid="connectivity">
                        <thead><tr><th scope="col">{t!("Network")}</th>{move || nodes.get().iter().map(|on| view! { <th scope="col">{console.node_name(on.node)}</th> }).collect_view()}</tr></thead>
                        <tbody>{move || rows.get().into_iter().map(row).collect_view()}</tbody>
                    </table>
                </div>
            </section>
        </Show>
    }
}

/// The module logs of all nodes by time.
#[component]
fn Merged(module: ModuleId, lines: Signal<Vec<NodeLine>>, ready: Signal<bool>) -> impl IntoView {
    let console = Console::get();
    let filter = RwSignal::new(String::new());
    let found = find_in_logs(console, module, filter);
    // Until the nodes have looked through their logs, what is at hand.
    let shown = Memo::new(move |_| {
        let all = found.get().unwrap_or_else(|| lines.get());
        let filter = filter.get().to_lowercase();
        all.into_iter()
            .filter(|one| filter.is_empty() || one.line.text.to_lowercase().contains(&filter))
            .enumerate()
            .collect::<Vec<_>>()
    });
    let clocks = Memo::new(move |_| {
        let far = |node: &holdfast_api::console::NodeView| {
            let offset = node.clock_offset_ms;
            (node.in_cluster && node.connected && offset.abs() > CLOCK_MS).then(|| {
                let (name, off) = (&node.name, text::duration_ms(offset.unsigned_abs()));
                if offset > 0 {
                    tf!("{name} is {off} ahead", name, off)
                } else {
                    tf!("{name} is {off} behind", name, off)
                }
            })
        };
        console.read(|snapshot| snapshot.nodes.iter().filter_map(far).collect::<Vec<_>>()).unwrap_or_default()
    });
    view! {
        <section class="card" aria-labelledby="merged">
            <div class="card-head"><h2 id="merged">{t!("Both logs by time")}</h2>{log_help()}</div>
            <div class="log-tools">
                <input class="input" type="search" placeholder=t!("Filter") aria-label=t!("Show only lines of the whole log that hold this text") data-testid="merged-filter" maxlength="100" prop:value=move || filter.get() on:input=move |event| filter.set(event_target_value(&event)) />
                {move || clocks.with(|clocks| (!clocks.is_empty()).then(|| view! { <span class="small muted" data-testid="clock-difference">{tf!("Clocks differ: {0}. The order of lines of two nodes is right only to that.", 0 = clocks.join(", "))}</span> }))}
            </div>
            <div class="log" role="log" aria-live="off" aria-label=t!("Lines of both logs") tabindex="0" data-testid="merged-log">
                <For each=move || shown.get() key=|(index, one)| (*index, one.node.clone(), one.line.at) let:one>{merged_line(&one.1)}</For>
                <Show when=move || shown.with(Vec::is_empty)>
                    <p class="log-line app muted">{move || if ready.get() { t!("No line.") } else { t!("Reading the logs…") }}</p>
                </Show>
            </div>
        </section>
    }
}

fn merged_line(one: &NodeLine) -> impl IntoView + use<> {
    let tone = match one.line.level.as_str() {
        "C" => Some("bad"),
        "W" => Some("busy"),
        _ => None,
    };
    view! {
        <div class="log-line" data-tone=tone>
            <time>{platform::date_time_ms(one.line.unix_ms)}</time>
            <span class="from">{one.node.clone()}</span>
            <span class="text">{one.line.text.clone()}</span>
        </div>
    }
}

/// Who ordered what on a node.
#[component]
fn Commands() -> impl IntoView {
    let console = Console::get();
    let (open, found, problem) =
        (RwSignal::new(None::<NodeId>), RwSignal::new(None::<Vec<LogLine>>), RwSignal::new(None::<String>));
    let nodes = Memo::new(move |_| {
        let members = |snapshot: &holdfast_api::console::LiveSnapshot| {
            let members = snapshot.nodes.iter().filter(|node| node.in_cluster);
            members.map(|node| (node.id, node.name.clone(), node.connected)).collect::<Vec<_>>()
        };
        console.read(members).unwrap_or_default()
    });
    let read = move |node: NodeId| {
        open.set(Some(node));
        found.set(None);
        problem.set(None);
        console.call(client::command_log(node, COMMANDS), move |answer| match answer {
            Ok(mut page) => {
                page.lines.reverse();
                found.set(Some(page.lines));
            }
            Err(error) => problem.set(Some(error.text())),
        });
    };
    let button = move |(node, name, connected): (NodeId, String, bool)| {
        view! { <button type="button" class="btn compact" data-testid=format!("commands-of-{name}") disabled=!connected aria-pressed=move || (open.get() == Some(node)).to_string() on:click=move |_| read(node)>{name.clone()}</button> }
    };
    let line = |line: &LogLine| {
        let tone = matches!(line.level.as_str(), "E" | "C").then_some("bad");
        view! { <div class="log-line app" data-tone=tone><span class="text">{platform::date_time(line.unix_ms)}"  "{line.text.clone()}</span></div> }
    };
    view! {
        <Show when=move || nodes.with(|nodes| !nodes.is_empty())>
            <section class="card" aria-labelledby="commands-log">
                <div class="card-head"><h2 id="commands-log">{t!("Commands on a node")}</h2></div>
                <div class="card-body stack tight">
                    <p class="muted">{prose(t!("Every order with who gave it, from the console, the command line or a script, and what came of it; newest first."))}</p>
                    <div class="row tight">{move || nodes.get().into_iter().map(button).collect_view()}</div>
                    <Problem id="commands-log-read" problem />
                    <Show when=move || open.get().is_some() && found.with(Option::is_none) && problem.with(Option::is_none)><Waiting text=t!("Asking the node…") /></Show>
                </div>
                <Show when=move || found.with(Option::is_some)>
                    <div class="log" role="log" aria-live="off" aria-label=t!("Commands") tabindex="0" data-testid="commands-log">
                        {move || found.get().unwrap_or_default().iter().map(line).collect_view()}
                    </div>
                </Show>
            </section>
        </Show>
    }
}
