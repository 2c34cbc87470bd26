//! The register of a module: whether it grants, and the button by which an administrator arms it.

use super::dialog::Question;
use super::icon::{Icon, draw};
use crate::client;
use crate::language::{self, t, tf};
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::UserRole;
use holdfast_api::ids::ModuleId;
use leptos::prelude::*;
use std::sync::Arc;

/// The button; nothing for a user who may not.
#[component]
pub fn ArmButton(
    /// The module.
    module: ModuleId,
) -> impl IntoView {
    let console = Console::get();
    let may = move || console.role().may(UserRole::Admin) && console.is_live();
    let ask = move |_| {
        let waits = untrack(move || console.module(module))
            .and_then(|live| live.register)
            .map(|register| language::list(&register.waits_for));
        let silent = waits.filter(|waits| !waits.is_empty()).unwrap_or_else(|| t!("every node").to_owned());
        let act = move || {
            console.call(client::arm(module), move |answer| match answer {
                Ok(_) => console.toast(Tone::Ok, t!("The register is armed.")),
                Err(error) => console.toast(Tone::Bad, error.text()),
            });
        };
        console.ask(Question {
            title: t!("Arm the register?").to_owned(),
            consequences: vec![
                tf!("The register grants from now on, without the word of {silent}.", silent),
                tf!(
                    "Do this only if you know that {silent} does not serve now: otherwise two nodes may serve at once.",
                    silent
                ),
            ],
            confirm: t!("Arm").to_owned(),
            danger: true,
            act: Arc::new(act),
        });
    };
    view! {
        <Show when=may>
            <button type="button" class="btn compact" data-testid=format!("arm-{}", module.0) on:click=ask>{draw(Icon::Key)}{t!("Arm the register")}</button>
        </Show>
    }
}
