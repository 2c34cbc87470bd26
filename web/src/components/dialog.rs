//! The one dialog that asks before something with consequences is done.

use super::icon::{Icon, draw};
use super::notice::prose;
use crate::effect::effect;
use crate::language::t;
use crate::store::Console;
use leptos::{html, prelude::*};
use std::sync::Arc;

/// A question with its consequences.
#[derive(Clone)]
pub struct Question {
    /// What will be done, as a question.
    pub title: String,
    /// What follows from it, a paragraph each.
    pub consequences: Vec<String>,
    /// The words of the button that does it.
    pub confirm: String,
    /// The button is drawn as dangerous.
    pub danger: bool,
    /// Does it. Not a `Callback`: that would end with the menu in which it was made.
    pub act: Arc<dyn Fn() + Send + Sync>,
}

/// Shows the question asked by [`Console::ask`]; Escape and Cancel do nothing, the focus returns by itself.
#[component]
pub fn ConfirmDialog() -> impl IntoView {
    let console = Console::get();
    let dialog = NodeRef::<html::Dialog>::new();
    effect(move || {
        let asked = console.question.with(Option::is_some);
        if let Some(dialog) = dialog.get() {
            if asked && !dialog.open() {
                dialog.show_modal().ok();
            } else if !asked && dialog.open() {
                dialog.close();
            }
        }
    });
    let dismiss = move || console.question.set(None);
    let confirm = move |_| {
        if let Some(question) = console.question.get_untracked() {
            dismiss();
            (question.act)();
        }
    };
    view! {
        <dialog node_ref=dialog aria-labelledby="question-title" data-testid="confirm-dialog" on:close=move |_| dismiss()>
            {move || {
                console.question.get().map(|question| {
                    let class = if question.danger { "btn danger" } else { "btn primary" };
                    view! {
                        <div class="card-head"><h2 id="question-title">{question.title}</h2></div>
                        <div class="card-body stack tight">
                            {question.consequences.into_iter().map(|text| view! { <p>{prose(&text)}</p> }).collect_view()}
                        </div>
                        <div class="card-foot">
                            <button type="button" class="btn" data-testid="confirm-no" on:click=move |_| dismiss()>{t!("Cancel")}</button>
                            <button type="button" class=class data-testid="confirm-yes" on:click=confirm>{draw(Icon::Check)}{question.confirm}</button>
                        </div>
                    }
                })
            }}
        </dialog>
    }
}
