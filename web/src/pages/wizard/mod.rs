//! The wizard that configures a module: one URL per step, the draft kept on the server.

pub mod address;
pub mod checkers;
pub mod configure;
pub mod directories;
pub mod draft;
pub mod name;
pub mod networks;
pub mod processes;
pub mod scripts;
pub mod start;
pub mod validate;
pub mod witness;

use crate::components::form::TextField;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{CheckLine, EmptyState, Notice, Waiting, prose};
use crate::components::shell::PageHead;
use crate::components::stepper::{StepLink, Stepper};
use crate::effect::effect;
use crate::language::{t, tf};
use crate::rules::tone::Tone;
use crate::rules::wizard::{Step, number};
use crate::store::Console;
use draft::Draft;
use holdfast_api::config::ModuleSettings;
use holdfast_api::console::UserRole;
use holdfast_api::ids::ModuleId;
use leptos::prelude::*;
use leptos_router::components::{A, Redirect};
use leptos_router::hooks::{use_navigate, use_params_map};

/// The wizard of the module in the address, at the step in the address.
#[component]
pub fn WizardPage() -> impl IntoView {
    let params = use_params_map();
    let module = Memo::new(move |_| params.read().get("module").and_then(|id| id.parse().ok()).map(ModuleId));
    let step = Memo::new(move |_| params.read().get("step").and_then(|slug| Step::of_slug(&slug)));
    move || {
        match module.get() {
        Some(module) if Console::get().role().may(UserRole::Admin) => view! { <Wizard module step /> }.into_any(),
        Some(_) => view! { <EmptyState icon=Icon::Info title=t!("Only for administrators") text=t!("Your role may not change the configuration.") /> }.into_any(),
        None => nothing_there().into_any(),
    }
    }
}

fn nothing_there() -> impl IntoView {
    view! {
        <EmptyState icon=Icon::Info title=t!("There is no such module") text=t!("It may have been removed.")>
            <A href="/configuration" attr:class="btn primary">{t!("Configuration")}</A>
        </EmptyState>
    }
}

#[component]
fn Wizard(module: ModuleId, step: Memo<Option<Step>>) -> impl IntoView {
    let console = Console::get();
    let draft = Draft::open(console, module);
    let configured = Memo::new(move |_| console.module(module).is_some_and(|module| module.module.desired.is_some()));
    let name = Memo::new(move |_| {
        console
            .module(module)
            .map(|module| module.module.name)
            .unwrap_or_else(|| draft.settings.with(|settings| settings.name.clone()))
    });
    // Read apart: whoever reads the settings themselves is drawn anew with every key, and the field loses its focus.
    let mode = Memo::new(move |_| draft.mode());
    let links = Memo::new(move |_| {
        let reachable = |step: Step| step != Step::Name && (step != Step::Start || configured.get());
        let link = |step: Step| StepLink { label: step.label(), href: reachable(step).then(|| step.href(module.0)) };
        Step::of_mode(mode.get()).into_iter().map(link).collect::<Vec<_>>()
    });
    let current = Memo::new(move |_| {
        let open = step.get();
        Step::of_mode(mode.get()).into_iter().position(|step| Some(step) == open).unwrap_or(0)
    });
    let known = Memo::new(move |_| draft.loaded.get() && console.snapshot.with(Option::is_some));
    view! {
        <div class="page narrow">
            <PageHead title=Signal::derive(move || tf!("Module {0}", 0 = name.get())) />
            <Stepper steps=links current />
            <FileProblems draft />
            {move || { draft.revision.track(); match (known.get(), step.get()) {
                (true, Some(step)) if !Step::of_mode(mode.get()).contains(&step) => view! { <Redirect path=Step::first(mode.get()).href(module.0) /> }.into_any(),
                (true, Some(step)) => body(step, draft).into_any(),
                (true, None) => nothing_there().into_any(),
                (false, _) if draft.problem.with(Option::is_none) && draft.file_problems.with(Vec::is_empty) => view! { <Waiting text=t!("Reading the module…") /> }.into_any(),
                (false, _) => ().into_any(),
            }}}
            <Conflict draft />
            {move || draft.problem.get().map(|text| view! {
                <Notice tone=Tone::Bad title=t!("That did not work") text testid="wizard-problem">
                    <button type="button" class="btn compact" on:click=move |_| draft.read(console)>{t!("Read the saved settings again")}</button>
                </Notice>
            })}
        </div>
    }
}

/// Somebody else saved a version meanwhile: nothing is overwritten before one has chosen.
#[component]
fn Conflict(draft: Draft) -> impl IntoView {
    let console = Console::get();
    view! {
        <Show when=move || draft.conflict.get()>
            <Notice tone=Tone::Bad title=t!("Somebody else saved this module meanwhile") text=t!("Nothing was overwritten. Your changes can be put on top of theirs, or dropped.") testid="wizard-conflict">
                <button type="button" class="btn compact primary" data-testid="conflict-mine" on:click=move |_| draft.put_on_theirs(console)>{t!("Put mine on theirs")}</button>
                <button type="button" class="btn compact" data-testid="conflict-theirs" on:click=move |_| draft.read(console)>{t!("Take theirs")}</button>
            </Notice>
        </Show>
        <Show when=move || draft.both.with(|both| !both.is_empty())>
            <Notice tone=Tone::Busy title=t!("Both changed the same") text=draft.both.with_untracked(|both| tf!("Yours stand in: {0}. Look at them before you go on.", 0 = both.join(", "))) testid="wizard-both" />
        </Show>
    }
}

/// What is wrong with a `userconfig.xml` that no form can show.
#[component]
fn FileProblems(draft: Draft) -> impl IntoView {
    view! {
        <Show when=move || draft.file_problems.with(|problems| !problems.is_empty())>
            <section class="card card-body stack">
                <h2>{t!("The module's userconfig.xml has errors")}</h2>
                <ul class="checks">
                    {move || draft.file_problems.get().into_iter().map(|problem| view! { <CheckLine tone=Tone::Bad text=format!("{} {}", problem.field, problem.message) /> }).collect_view()}
                </ul>
            </section>
        </Show>
    }
}

fn body(step: Step, draft: Draft) -> AnyView {
    match step {
        Step::Name => view! { <NameStep draft /> }.into_any(),
        Step::Directories => view! { <directories::DirectoriesStep draft /> }.into_any(),
        Step::Networks => view! { <networks::NetworksStep draft /> }.into_any(),
        Step::Address => view! { <address::AddressStep draft /> }.into_any(),
        Step::Checkers => view! { <checkers::CheckersStep draft /> }.into_any(),
        Step::Witness => view! { <witness::WitnessStep draft /> }.into_any(),
        Step::Processes => view! { <processes::ProcessesStep draft /> }.into_any(),
        Step::Scripts => view! { <scripts::ScriptsStep draft /> }.into_any(),
        Step::Validate => view! { <validate::ValidateStep draft /> }.into_any(),
        Step::Configure => view! { <configure::ConfigureStep draft /> }.into_any(),
        Step::Start => view! { <start::StartStep draft /> }.into_any(),
    }
}

#[component]
fn NameStep(draft: Draft) -> impl IntoView {
    view! {
        <StepCard title=t!("Name") lead=t!("The name was given when the module was made, and stays.")>
            <p><strong>{move || draft.settings.with(|settings| settings.name.clone())}</strong></p>
        </StepCard>
        <StepFoot draft step=Step::Name />
    }
}

/// The card of a step.
#[component]
pub fn StepCard(
    /// The heading.
    title: &'static str,
    /// What the step is for.
    lead: &'static str,
    /// Its fields.
    children: Children,
) -> impl IntoView {
    view! {
        <section class="card" aria-label=title>
            <div class="card-body stack loose">
                <div class="stack tight"><h2>{title}</h2><p class="muted">{prose(lead)}</p></div>
                {children()}
            </div>
        </section>
    }
}

/// A whole number of the settings.
#[component]
pub fn Number(
    /// The draft.
    draft: Draft,
    /// The field's name, also its id.
    id: &'static str,
    /// What it is called.
    label: &'static str,
    /// Reads it.
    read: fn(&ModuleSettings) -> u32,
    /// Writes it.
    write: fn(&mut ModuleSettings, u32),
) -> impl IntoView {
    let text = RwSignal::new(draft.settings.with_untracked(|settings| read(settings).to_string()));
    effect(move || {
        let value = number(&text.get());
        if draft.settings.with_untracked(|settings| read(settings) != value) {
            draft.settings.update(|settings| write(settings, value));
        }
    });
    let problem = Signal::derive(move || draft.message(id));
    view! { <TextField id label value=text problem /> }
}

/// Back and Next; Next saves what was edited first, and says why when the step is not right yet.
#[component]
pub fn StepFoot(
    /// The draft.
    draft: Draft,
    /// The step.
    step: Step,
    /// Why one cannot go on though the form is right.
    #[prop(optional, into)]
    blocked: Signal<Option<&'static str>>,
) -> impl IntoView {
    let console = Console::get();
    let navigate = use_navigate();
    let module = draft.module.0;
    let mode = draft.settings.with_untracked(|settings| settings.mode);
    let back = step
        .previous(mode)
        .filter(|previous| *previous != Step::Name)
        .map_or_else(|| "/configuration".to_owned(), |previous| previous.href(module));
    let next = step.next(mode).map_or_else(|| "/control".to_owned(), |next| next.href(module));
    // Whoever has left meanwhile is not led back.
    let here = StoredValue::new(());
    let go = move |_| {
        let (navigate, next) = (navigate.clone(), next.clone());
        draft.save(console, move || {
            if !here.is_disposed() {
                navigate(&next, Default::default());
            }
        });
    };
    let why = Memo::new(move |_| draft.why_not(step).or_else(|| blocked.get().map(str::to_owned)));
    view! {
        <div class="wizard-foot">
            <A href=back attr:class="btn" attr:data-testid="wizard-back">{draw(Icon::Back)}{t!("Back")}</A>
            <p class="wizard-why small muted" id="wizard-why" aria-live="polite">{move || why.get().map(|why| view! { <span data-testid="wizard-why">{prose(&why)}</span> })}</p>
            <button type="button" class="btn primary" data-testid="wizard-next" aria-describedby="wizard-why" disabled=move || draft.busy.get() || why.with(Option::is_some) on:click=go>
                {move || if draft.busy.get() { t!("Saving…") } else { t!("Next") }}{draw(Icon::Forward)}
            </button>
        </div>
    }
}
