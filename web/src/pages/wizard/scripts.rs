//! Wizard: the scripts that start and stop the application, and the module's timing.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::components::form::{TextArea, TextField};
use crate::rules::wizard::{Step, number};
use holdfast_api::config::ModuleSettings;
use leptos::prelude::*;

/// The step.
#[component]
pub fn ScriptsStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    view! {
        <StepCard title="Scripts" lead="start_prim starts the application on the node that becomes primary; stop_prim stops it there. What they print is in the application log. stop_prim is called again with `force` when the application must go at once.">
            <Script draft name="start_prim" hint="Called once the replicated directories are in place." />
            <Script draft name="stop_prim" hint="Called without arguments for an orderly stop, then with `force`." />
        </StepCard>
        <StepCard title="Timing and restarts" lead="How soon a silent node counts as lost, and how often the application is restarted before the other node takes over.">
            <div class="columns">
                <Number draft id="pulse_ms" label="Heartbeat every (ms)" read=|settings| settings.pulse_ms write=|settings, value| settings.pulse_ms = value />
                <Number draft id="timeout_ms" label="Lost after silence of (ms)" read=|settings| settings.timeout_ms write=|settings, value| settings.timeout_ms = value />
                <Number draft id="maxloop" label="Restarts before failover" read=|settings| settings.maxloop write=|settings, value| settings.maxloop = value />
                <Number draft id="loop_interval_h" label="Counted within (hours)" read=|settings| settings.loop_interval_h write=|settings, value| settings.loop_interval_h = value />
                <Number draft id="polltimer_s" label="Look at processes every (s)" read=|settings| settings.polltimer_s write=|settings, value| settings.polltimer_s = value />
            </div>
        </StepCard>
        <StepFoot draft step=Step::Scripts />
    }
}

#[component]
fn Script(draft: Draft, name: &'static str, hint: &'static str) -> impl IntoView {
    let text = RwSignal::new(
        draft.settings.with_untracked(|settings| settings.scripts.get(name).cloned().unwrap_or_default()),
    );
    Effect::new(move || {
        let text = text.get();
        if draft
            .settings
            .with_untracked(|settings| settings.scripts.get(name).map(String::as_str).unwrap_or_default() != text)
        {
            draft.settings.update(|settings| {
                settings.scripts.insert(name.to_owned(), text);
            });
        }
    });
    let problem = Signal::derive(move || draft.message(&format!("scripts.{name}")));
    view! { <TextArea id=format!("script-{name}") label=name hint value=text problem /> }
}

#[component]
fn Number(
    draft: Draft,
    id: &'static str,
    label: &'static str,
    read: fn(&ModuleSettings) -> u32,
    write: fn(&mut ModuleSettings, u32),
) -> impl IntoView {
    let text = RwSignal::new(draft.settings.with_untracked(|settings| read(settings).to_string()));
    Effect::new(move || {
        let value = number(&text.get());
        if draft.settings.with_untracked(|settings| read(settings) != value) {
            draft.settings.update(|settings| write(settings, value));
        }
    });
    let problem = Signal::derive(move || draft.message(id));
    view! { <TextField id label value=text problem /> }
}
