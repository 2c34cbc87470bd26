//! Wizard: who is asked when the nodes cannot hear each other, and what each choice guarantees.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::components::form::TextField;
use crate::effect::effect;
use crate::language::t;
use crate::rules::witness::{CHOICES, Choice};
use crate::rules::wizard::Step;
use holdfast_api::config::{WitnessKind, WitnessSettings};
use leptos::prelude::*;

/// The step.
#[component]
pub fn WitnessStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let kind = RwSignal::new(draft.settings.with_untracked(|settings| settings.witness.kind));
    let typed = RwSignal::new(draft.settings.with_untracked(|settings| settings.witness.addresses.join(" ")));
    let asked = Memo::new(move |_| matches!(kind.get(), WitnessKind::Ping | WitnessKind::Etcd));
    effect(move || {
        let addresses =
            typed.get().split([' ', ',', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let witness = WitnessSettings { kind: kind.get(), addresses: if asked.get() { addresses } else { Vec::new() } };
        if draft.settings.with_untracked(|settings| settings.witness != witness) {
            draft.settings.update(|settings| settings.witness = witness);
        }
    });
    let problem = Signal::derive(move || draft.message("witness"));
    view! {
        <StepCard title=t!("Witness") lead=t!("When the nodes cannot hear each other, neither knows whether the other is lost or only cut off. A witness tells which one may go on.")>
            <fieldset class="stack" aria-label=t!("Witness")>
                {CHOICES.into_iter().map(|choice| view! { <One choice kind /> }).collect_view()}
            </fieldset>
            {move || asked.get().then(|| {
                let (label, hint, example) = if kind.get() == WitnessKind::Etcd {
                    (t!("Members of etcd"), t!("URLs, separated by blanks"), "http://192.0.2.5:2379 http://192.0.2.6:2379")
                } else {
                    (t!("Addresses to ping"), t!("Addresses or names, separated by blanks; one answer is enough"), "192.0.2.1 192.0.2.2")
                };
                view! { <TextField id="witness-addresses" label=label hint=hint value=typed problem placeholder=example code=true /> }
            })}
        </StepCard>
        <StepFoot draft step=Step::Witness />
    }
}

#[component]
fn One(choice: Choice, kind: RwSignal<WitnessKind>) -> impl IntoView {
    view! {
        <label class="choice">
            <input type="radio" name="witness" data-testid=format!("witness-{}", choice.word) prop:checked=move || kind.get() == choice.kind on:change=move |_| kind.set(choice.kind) />
            <div class="stack tight">
                <h3>{t(choice.title)}</h3>
                <p>{t(choice.guarantee)}</p>
                <p class="small muted">{t(choice.price)}</p>
            </div>
        </label>
    }
}
