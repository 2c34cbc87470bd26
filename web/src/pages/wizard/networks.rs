//! Wizard: the networks of the heartbeats, the one that carries the replication, and when a silent node counts as lost.

use super::draft::Draft;
use super::{Number, StepCard, StepFoot};
use crate::components::form::Problem;
use crate::components::notice::Notice;
use crate::language::t;
use crate::rules::tone::Tone;
use crate::rules::wizard::Step;
use crate::store::Console;
use leptos::prelude::*;
use leptos_router::components::A;

/// The step.
#[component]
pub fn NetworksStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let console = Console::get();
    // A network that the module names and the cluster has not is shown too: it must be taken away.
    let lans = Memo::new(move |_| {
        let mut lans = console.read(|snapshot| snapshot.cluster.lans.clone()).unwrap_or_default();
        let named = draft.settings.with(|settings| settings.networks.clone());
        lans.extend(named.into_iter().filter(|lan| !lans.contains(lan)).collect::<Vec<_>>());
        lans
    });
    let one = Memo::new(move |_| draft.settings.with(|settings| settings.networks.len() == 1));
    let networks_problem = Signal::derive(move || draft.message("networks"));
    let flow_problem = Signal::derive(move || draft.message("flow"));
    view! {
        <StepCard title=t!("Networks") lead=t!("On every network chosen here the nodes tell each other that they live. The other node counts as lost only when it is silent on all of them.")>
            <fieldset class="stack tight" aria-label=t!("Networks")>
                {move || lans.get().into_iter().map(|lan| view! { <Network draft lan /> }).collect_view()}
            </fieldset>
            <Problem id="networks" problem=networks_problem />
            <Problem id="flow" problem=flow_problem />
            <Show when=move || one.get()>
                <Notice tone=Tone::Busy title=t!("Only one network") text=t!("If it is cut, the nodes cannot hear each other. A second one makes this unlikely.")>
                    <A href="/cluster" attr:class="btn compact">{t!("Networks of the cluster")}</A>
                </Notice>
            </Show>
        </StepCard>
        <StepCard title=t!("Timing") lead=t!("How soon a silent node counts as lost. A short time fails over sooner; a long one bears a busy network better.")>
            <div class="columns">
                <Number draft id="pulse_ms" label=t!("Heartbeat every (ms)") read=|settings| settings.pulse_ms write=|settings, value| settings.pulse_ms = value />
                <Number draft id="timeout_ms" label=t!("Lost after silence of (ms)") read=|settings| settings.timeout_ms write=|settings, value| settings.timeout_ms = value />
            </div>
        </StepCard>
        <StepFoot draft step=Step::Networks />
    }
}

/// A network: heartbeats or not, replication or not.
#[component]
fn Network(draft: Draft, lan: String) -> impl IntoView {
    let console = Console::get();
    let (for_beat, for_flow, for_set, for_known) = (lan.clone(), lan.clone(), lan.clone(), lan.clone());
    let beats = Memo::new(move |_| draft.settings.with(|settings| settings.networks.contains(&for_beat)));
    let flows = Memo::new(move |_| draft.settings.with(|settings| settings.flow == for_flow));
    let known = Memo::new(move |_| console.read(|snapshot| snapshot.cluster.lans.contains(&for_known)).unwrap_or(true));
    let toggle = move |event| {
        let (wanted, lan) = (event_target_checked(&event), for_set.clone());
        draft.settings.update(|settings| {
            settings.networks.retain(|other| *other != lan);
            if wanted {
                settings.networks.push(lan);
            }
            if !settings.networks.contains(&settings.flow) {
                settings.flow = settings.networks.first().cloned().unwrap_or_default();
            }
        });
    };
    let chosen = lan.clone();
    let choose = move |_| {
        let lan = chosen.clone();
        draft.settings.update(|settings| settings.flow = lan);
    };
    view! {
        <div class="network-row">
            <label class="row tight"><input type="checkbox" data-testid=format!("network-{lan}") prop:checked=move || beats.get() on:change=toggle /><strong>{lan.clone()}</strong></label>
            <label class="row tight"><input type="radio" name="flow" data-testid=format!("flow-{lan}") prop:checked=move || flows.get() disabled=move || !beats.get() on:change=choose /><span>{t!("carries the replication")}</span></label>
            <Show when=move || !known.get()><span class="small muted">{t!("The cluster has no such network.")}</span></Show>
        </div>
    }
}
