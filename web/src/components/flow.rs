//! Both nodes of a module, what flows between them and how fast, and where the virtual addresses are.

use super::state::StateBadge;
use crate::language::t;
use crate::rules::flow::FlowLink;
use crate::rules::news::bare;
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
    // What a checker says changes nothing here.
    let nodes = Memo::new(move |_| nodes.with(|nodes| nodes.iter().map(bare).collect::<Vec<_>>()));
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
        let rate = Memo::new(move |_| link.rate(&console.modules.figures(module)).filter(|_| console.is_live()));
        Some(view! {
            <div class="flow" data-testid="flow">
                {side(left)}
                <div class="flow-link" data-tone=if live { link.tone().name() } else { "lost" } data-live=(live && link.flows()).to_string()>
                    <span class="flow-arrow" data-backward=link.is_backward().then_some("true") aria-hidden="true">
                        <span class="flow-track"><span class="dash"></span></span>
                        {link.flows().then(|| view! { <svg viewBox="0 0 8 14"><path d="M1 1l6 6-6 6" /></svg> })}
                    </span>
                    <span>{if live { link.words() } else { t!("not known now") }}</span>
                    {move || rate.get().map(|rate| view! { <span class="num" data-testid="rate">{text::rate(&rate)}</span> })}
                </div>
                {side(right)}
            </div>
        })
    }
}
