//! Wizard: the configuration goes to the nodes; one result line each, failed ones can be tried again.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::client;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{Notice, PerNodeResult};
use crate::components::tray::results_of;
use crate::language::t;
use crate::rules::tone::Tone;
use crate::rules::wizard::Step;
use crate::store::Console;
use holdfast_api::console::TaskState;
use holdfast_api::ids::NodeId;
use leptos::prelude::*;

/// The step.
#[component]
pub fn ConfigureStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let console = Console::get();
    let (task, busy) = (RwSignal::new(None::<u64>), RwSignal::new(false));
    let view = Memo::new(move |_| task.get().and_then(|task| console.task(task)));
    let results = Signal::derive(move || view.with(|view| view.as_ref().map(results_of)).unwrap_or_default());
    let send = move |nodes: Vec<NodeId>| {
        draft.save(console, move || {
            busy.set(true);
            console.start_shown_task(client::configure(draft.module, nodes), move |started| {
                busy.set(false);
                task.set(started);
            });
        });
    };
    let failed = move || {
        view.with_untracked(|view| {
            view.as_ref().map(|task| {
                task.nodes
                    .iter()
                    .filter(|node| node.state == TaskState::Failed)
                    .map(|node| node.node)
                    .collect::<Vec<_>>()
            })
        })
        .unwrap_or_default()
    };
    let state = Memo::new(move |_| view.with(|view| view.as_ref().map(|task| task.state)));
    let configured = Memo::new(move |_| {
        console.module(draft.module).is_some_and(|module| module.module.desired == Some(module.module.version))
    });
    view! {
        <StepCard title=t!("Configure") lead=t!("The module is sent to every node of the cluster. The application is not started yet.")>
            <div>
                <button type="button" class="btn primary" data-testid="configure" disabled=move || busy.get() || draft.busy.get() on:click=move |_| send(Vec::new())>
                    {draw(Icon::Configure)}{move || if configured.get() { t!("Configure again") } else { t!("Configure") }}
                </button>
            </div>
            <Show when=move || task.get().is_some()>
                <PerNodeResult results testid="configure-results" on_retry=Callback::new(move |()| send(failed())) />
            </Show>
            {move || (state.get() == Some(TaskState::Done)).then(|| view! { <Notice tone=Tone::Ok title=t!("Configured on every node") text=t!("Next: choose the node that holds the newest data.") testid="configured" /> })}
        </StepCard>
        <StepFoot draft step=Step::Configure blocked=Signal::derive(move || (!configured.get()).then(|| t!("The module has to be configured first."))) />
    }
}
