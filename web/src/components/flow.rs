//! Both nodes of a module, what flows between them and how fast, and where the virtual addresses are.

use super::state::StateBadge;
use crate::language::t;
use crate::rules::flow::FlowLink;
use crate::rules::text;
use crate::store::Console;
use holdfast_api::console::ModuleOnNode;
use holdfast_api::ids::ModuleId;
use leptos::prelude::*;

/// The two nodes with the arrow between them; nothing for a module on one node.
#[component]
pub fn FlowMap(
    /// The module.
    module: ModuleId,
    /// The module on its nodes.
    #[prop(into)]
    nodes: Signal<Vec<ModuleOnNode>>,
    /// Virtual addresses, shown at the node that has them.
    #[prop(optional, into)]
    addresses: Signal<Vec<String>>,
) -> impl IntoView {
    let console = Console::get();
    let side = move |on: ModuleOnNode| {
        let holds = console.is_live()
            && on.fresh
            && on.report.as_ref().is_some_and(|report| text::holds_addresses(report.state, report.readiness));
        let held = if holds { addresses.get() } else { Vec::new() };
        view! {
            <div class="flow-node">
                <span class="muted small">{console.node_name(on.node)}</span>
                <StateBadge on />
                {held.into_iter().map(|address| view! { <span class="flow-address mono">{address}</span> }).collect_view()}
            </div>
        }
    };
    move || {
        let nodes = nodes.get();
        let (left, right) = (nodes.first()?.clone(), nodes.get(1)?.clone());
        let link = FlowLink::of(&left, &right);
        let live = console.is_live();
        // Read apart: it changes with every report, and nothing else is drawn anew for it.
        let rate = Memo::new(move |_| {
            let of = |snapshot: &holdfast_api::console::LiveSnapshot| {
                let nodes = &snapshot.modules.iter().find(|live| live.module.id == module)?.nodes;
                link.rate(nodes.first()?, nodes.get(1)?)
            };
            console.read(of).flatten().filter(|_| console.is_live())
        });
        Some(view! {
            <div class="flow" data-testid="flow">
                {side(left)}
                <div class="flow-link" data-tone=if live { link.tone().name() } else { "lost" } data-live=(live && link.flows()).to_string()>
                    <svg viewBox="0 0 112 24" aria-hidden="true"><path class="dash" d=link.line() /><path d=link.head() /></svg>
                    <span>{if live { link.words() } else { t!("not known now") }}</span>
                    {move || rate.get().map(|rate| view! { <span class="num" data-testid="rate">{text::rate(&rate)}</span> })}
                </div>
                {side(right)}
            </div>
        })
    }
}
