//! Wizard: the scripts that start and stop the application, when it is given up, and the macros of the file.

use super::draft::Draft;
use super::{Number, StepCard, StepFoot};
use crate::components::editor::CodeEditor;
use crate::components::form::TextField;
use crate::components::notice::prose;
use crate::effect::effect;
use crate::language::{t, tf};
use crate::rules::wizard::{Step, is_main_script, script_hint};
use holdfast_api::config::{ModuleMode, SCRIPT_NAMES};
use leptos::prelude::*;

/// The step.
#[component]
pub fn ScriptsStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let mode = draft.settings.with_untracked(|settings| settings.mode);
    let lead = match mode {
        ModuleMode::Mirror => {
            t!(
                "start_prim starts the application on the node that becomes primary; stop_prim stops it there. What they print is in the application log. A stop script is called again with `force` when the application must go at once."
            )
        }
        ModuleMode::Light => {
            t!(
                "start_both starts the application; stop_both stops it. What they print is in the application log. A stop script is called again with `force` when the application must go at once."
            )
        }
    };
    let (main, others): (Vec<&'static str>, Vec<&'static str>) =
        SCRIPT_NAMES.iter().copied().partition(|name| is_main_script(name, mode));
    let used = draft.settings.with_untracked(|settings| {
        others.iter().filter(|name| settings.scripts.get(**name).is_some_and(|text| !text.is_empty())).count()
    });
    view! {
        <StepCard title=t!("Scripts") lead=lead>
            {main.into_iter().map(|name| view! { <Script draft name /> }).collect_view()}
            <details>
                <summary>{tf!("Further scripts ({used} used)", used)}</summary>
                <div class="stack">{others.into_iter().map(|name| view! { <Script draft name /> }).collect_view()}</div>
            </details>
        </StepCard>
        <StepCard title=t!("Restarts") lead=t!("How often the application is restarted before the module stops here and the other node takes over.")>
            <div class="columns">
                <Number draft id="maxloop" label=t!("Restarts before failover") read=|settings| settings.maxloop write=|settings, value| settings.maxloop = value />
                <Number draft id="loop_interval_h" label=t!("Counted within (hours)") read=|settings| settings.loop_interval_h write=|settings, value| settings.loop_interval_h = value />
            </div>
        </StepCard>
        <Macros draft />
        <StepFoot draft step=Step::Scripts />
    }
}

#[component]
fn Script(draft: Draft, name: &'static str) -> impl IntoView {
    let text = RwSignal::new(
        draft.settings.with_untracked(|settings| settings.scripts.get(name).cloned().unwrap_or_default()),
    );
    effect(move || {
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
    view! {
        <div class="field">
            <span class="label mono">{name}</span>
            <p class="hint">{prose(script_hint(name))}</p>
            <CodeEditor id=format!("script-{name}") label=name.to_owned() path=format!("bin/{name}") text on_input=Callback::new(move |typed| text.set(typed)) problem />
        </div>
    }
}

/// The macros of the file: what stands for each name.
#[component]
fn Macros(draft: Draft) -> impl IntoView {
    let names = draft.settings.with_untracked(|settings| {
        settings.macros.iter().map(|one| (one.name.clone(), one.value.clone())).collect::<Vec<_>>()
    });
    if names.is_empty() {
        return ().into_any();
    }
    let field = move |(index, (name, value)): (usize, (String, String))| {
        let text = RwSignal::new(value);
        effect(move || {
            let value = text.get();
            draft.settings.update(|settings| {
                if let Some(one) = settings.macros.get_mut(index).filter(|one| one.value != value) {
                    one.value = value;
                }
            });
        });
        view! { <TextField id=format!("macro-{name}") label=format!("%{name}%") value=text code=true /> }
    };
    let fields = names.into_iter().enumerate().map(field).collect_view();
    view! {
        <StepCard title=t!("Macros") lead=t!("Names in userconfig.xml and the text that is put in their place. Fields of other steps that use them follow when this is saved.")>
            <div class="columns">{fields}</div>
        </StepCard>
    }
    .into_any()
}
