//! The steps of a wizard: where one is, what is done, links back.

use super::icon::{Icon, draw};
use crate::language::t;
use leptos::prelude::*;
use leptos_router::components::A;

/// One step: its words and, if it can be gone to, its address.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLink {
    /// The words.
    pub label: &'static str,
    /// Its address, when it may be visited now.
    pub href: Option<String>,
}

/// The row of steps; `current` counts from 0 and all before it are drawn as done.
#[component]
pub fn Stepper(
    /// The steps.
    #[prop(into)]
    steps: Signal<Vec<StepLink>>,
    /// Which one is open.
    #[prop(into)]
    current: Signal<usize>,
) -> impl IntoView {
    view! {
        <nav aria-label=t!("Steps")>
            <ol class="stepper" data-testid="stepper">
                {move || {
                    let current = current.get();
                    steps.get().into_iter().enumerate().map(|(index, step)| one(index, step, current)).collect_view()
                }}
            </ol>
        </nav>
    }
}

fn one(index: usize, step: StepLink, current: usize) -> impl IntoView {
    let mark = if index < current { draw(Icon::Check).into_any() } else { (index + 1).into_any() };
    let body = view! { <span class="mark">{mark}</span><span class="text">{step.label}</span> };
    let class = if index < current { "done" } else { "" };
    view! {
        <li class=class>
            {match step.href {
                Some(href) if index != current => view! { <A href=href>{body}</A> }.into_any(),
                _ => view! { <span class="step" aria-current=(index == current).then_some("step")>{body}</span> }.into_any(),
            }}
        </li>
    }
}
