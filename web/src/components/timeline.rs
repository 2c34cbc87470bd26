//! What happened to a module, from the logs of its nodes: read when its states change.

use super::notice::{Waiting, prose};
use crate::client;
use crate::language::t;
use crate::platform;
use crate::rules::history::{Kind, Moment, NodeLine, merged};
use crate::store::Console;
use holdfast_api::agent::{LogKind, LogLine};
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;
use std::collections::BTreeMap;

/// Lines read of each log.
const LINES: u32 = 400;

/// The module logs of all nodes of a module that can be asked, merged; read anew when a state changes. The second is
/// false until every node has answered once.
pub fn follow_logs(console: Console, module: ModuleId) -> (Signal<Vec<NodeLine>>, Signal<bool>) {
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
    Effect::new(move || {
        for (node, ..) in states.get() {
            waits.update(|waits| *waits += 1);
            console.call(client::log(module, node, LogKind::Module, None, LINES), move |answer| {
                // The page may be gone.
                waits.try_update(|waits| *waits -= 1);
                if let Ok(page) = answer {
                    pages.try_update(|pages| pages.insert(node, page.lines));
                }
            });
        }
    });
    let lines =
        Signal::derive(move || merged(pages.get().into_iter().map(|(node, lines)| (console.node_name(node), lines))));
    let ready = Signal::derive(move || waits.get() <= 0 || pages.with(|pages| !pages.is_empty()));
    (lines, ready)
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
