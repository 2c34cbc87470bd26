//! Wizard, first step: the name of a new module.

use crate::client;
use crate::components::form::TextField;
use crate::components::icon::{Icon, draw};
use crate::components::notice::Notice;
use crate::components::shell::PageHead;
use crate::components::stepper::{StepLink, Stepper};
use crate::language::{t, tf};
use crate::rules::tone::Tone;
use crate::rules::wizard::Step;
use crate::store::Console;
use holdfast_api::config::check_name;
use holdfast_api::console::NewModule;
use leptos::{ev, prelude::*};
use leptos_router::components::A;
use leptos_router::hooks::{use_navigate, use_params_map};

/// Asks for the name of the module to make from the template in the address.
#[component]
pub fn NewModulePage() -> impl IntoView {
    let console = Console::get();
    let params = use_params_map();
    let template = Memo::new(move |_| params.read().get("template").unwrap_or_default());
    let suggested = template.get_untracked().trim_end_matches(".safe").to_owned();
    let name = RwSignal::new(suggested);
    let (busy, refusal) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let problem = Signal::derive(move || {
        let name = name.get();
        let taken =
            console.read(|snapshot| snapshot.modules.iter().any(|module| module.module.name == name)).unwrap_or(false);
        check_name(&name).err().or_else(|| taken.then(|| t!("Another module has this name.").to_owned()))
    });
    let navigate = use_navigate();
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        if problem.get_untracked().is_some() {
            return;
        }
        busy.set(true);
        refusal.set(None);
        let form = NewModule { template: template.get_untracked(), name: name.get_untracked() };
        let navigate = navigate.clone();
        console.call(async move { client::new_module(&form).await }, move |answer| {
            busy.set(false);
            match answer {
                // The wizard leads on to the first step that this kind of module has.
                Ok(_) if refusal.is_disposed() => {}
                Ok(module) => navigate(&Step::Directories.href(module.id.0), Default::default()),
                Err(error) => refusal.set(Some(error.text())),
            }
        });
    };
    let steps = Step::ALL.map(|step| StepLink { label: step.label(), href: None }).to_vec();
    view! {
        <div class="page narrow">
            <PageHead title=Signal::derive(move || tf!("New module from {0}", 0 = template.get())) />
            <Stepper steps=Signal::stored(steps) current=Signal::stored(0) />
            <form class="card" on:submit=submit>
                <div class="card-body stack">
                    <TextField id="module-name" label=t!("Name of the module") hint=t!("a-z, 0-9, _ and -, beginning with a letter. It is part of the health address and of file names, and stays.") value=name problem />
                    {move || refusal.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The module was not made") text /> })}
                </div>
                <div class="card-foot">
                    <A href="/configuration" attr:class="btn">{t!("Cancel")}</A>
                    <button class="btn primary" data-testid="wizard-next" aria-describedby="module-name-problem" disabled=move || busy.get() || problem.get().is_some()>{t!("Confirm")}{draw(Icon::Forward)}</button>
                </div>
            </form>
        </div>
    }
}
