//! What happened to a module, from the logs of its nodes: read when its states change.

use super::notice::{Waiting, prose};
use crate::client::{self, LogPlace};
use crate::effect::effect;
use crate::language::t;
use crate::platform;
use crate::rules::history::{Kind, Moment, NodeLine, merged};
use crate::rules::log::Filter;
use crate::store::Console;
use holdfast_api::agent::{LogKind, LogLine};
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Lines read of each log.
const LINES: u32 = 400;
/// Time without a key after which the nodes are asked for a text.
const TYPING: Duration = Duration::from_millis(300);

/// The module logs of all nodes of a module that can be asked, merged; read anew when a state changes. The second is
/// false until every node has answered once.
pub fn follow_logs(console: Console, module: ModuleId) -> (Memo<Vec<NodeLine>>, Signal<bool>) {
    let pages = RwSignal::new(BTreeMap::<NodeId, Vec<LogLine>>::new());
    let waits = RwSignal::new(0_i32);
    let states = Memo::new(move |_| {
        let nodes = console.module(module).map(|module| module.nodes).unwrap_or_default();
        let key = |on: &holdfast_api::console::ModuleOnNode| {
            let report = on.report.as_ref()?;
            Some((on.node, report.state, report.readiness, report.since_unix_ms, report.data))
        };
        nodes.iter().filter(|on| on.fresh).filter_map(key).collect::<Vec<_>>()
    });
    effect(move || {
        for (node, ..) in states.get() {
            waits.update(|waits| *waits += 1);
            console.call(async move { client::log(module, node, LogKind::Module, LogPlace::Last, &Filter::default(), LINES).await }, move |answer| {
                // The page may be gone.
                waits.try_update(|waits| *waits -= 1);
                if let Ok(page) = answer {
                    pages.try_update(|pages| pages.insert(node, page.lines));
                }
            });
        }
    });
    let lines =
        Memo::new(move |_| merged(pages.get().into_iter().map(|(node, lines)| (console.node_name(node), lines))));
    let ready = Signal::derive(move || waits.get() <= 0 || pages.with(|pages| !pages.is_empty()));
    (lines, ready)
}

/// The lines of the whole module logs of all nodes that hold `text`, the last ones of each node; none before the nodes
/// have answered, or while nothing is looked for.
pub fn find_in_logs(console: Console, module: ModuleId, text: RwSignal<String>) -> Signal<Option<Vec<NodeLine>>> {
    let found = RwSignal::new(None::<BTreeMap<NodeId, Vec<LogLine>>>);
    let wanted_still = move |wanted: &String| text.try_get_untracked().as_ref() == Some(wanted);
    let ask = move |wanted: String| {
        let nodes = untrack(move || console.module(module)).map(|module| module.nodes).unwrap_or_default();
        for node in nodes.iter().filter(|on| on.fresh).map(|on| on.node) {
            let (filter, asked) = (Filter { holding: wanted.clone(), ..Filter::default() }, wanted.clone());
            let page = async move { client::log(module, node, LogKind::Module, LogPlace::Last, &filter, LINES).await };
            console.call(page, move |answer| {
                if let (Ok(page), true) = (answer, wanted_still(&asked)) {
                    found.try_update(|found| found.get_or_insert_default().insert(node, page.lines));
                }
            });
        }
    };
    effect(move || {
        let wanted = text.get();
        found.set(None);
        if !wanted.is_empty() {
            let ask_unless_changed = move || {
                if wanted_still(&wanted) {
                    ask(wanted);
                }
            };
            set_timeout(ask_unless_changed, TYPING);
        }
    });
    Signal::derive(move || {
        let pages = found.get()?;
        Some(merged(pages.into_iter().map(|(node, lines)| (console.node_name(node), lines))))
    })
}

/// A list of moments, in the order given.
#[component]
pub fn Timeline(
    /// The moments.
    #[prop(into)]
    moments: Signal<Vec<Moment>>,
    /// They have been read.
    #[prop(into)]
    ready: Signal<bool>,
    /// What is said when there are none.
    empty: &'static str,
    /// `data-testid` of the list.
    testid: &'static str,
) -> impl IntoView {
    view! {
        <ol class="timeline" data-testid=testid>
            {move || moments.get().into_iter().map(|moment| one(&moment)).collect_view()}
        </ol>
        <Show when=move || moments.with(Vec::is_empty)>
            {move || if ready.get() { view! { <p class="muted">{empty}</p> }.into_any() } else { view! { <Waiting text=t!("Reading the logs…") /> }.into_any() }}
        </Show>
    }
}

fn one(moment: &Moment) -> impl IntoView + use<> {
    let tone = match moment.kind {
        Kind::Primary => "busy",
        Kind::Redundant => "ok",
        Kind::Trouble => "bad",
        Kind::Step => "idle",
    };
    let (title, reason, failover) = (moment.title.clone(), moment.reason.clone(), moment.failover);
    view! {
        <li data-tone=tone data-failover=failover.then_some("true")>
            <time class="muted">{platform::date_time(moment.unix_ms)}</time>
            <span class="dot" aria-hidden="true"></span>
            <p><strong>{title}</strong>{(!reason.is_empty()).then(|| view! { <span class="muted">" – "{prose(&reason)}</span> })}</p>
        </li>
    }
}
