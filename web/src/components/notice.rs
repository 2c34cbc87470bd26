//! Words with a tone: notices, check lists, results per node, empty states, toasts, a waiting line.

use super::icon::{Icon, draw};
use crate::language::{self, t};
use crate::rules::tone::Tone;
use crate::store::Console;
use leptos::prelude::*;

/// A sentence in which what stands between backticks is set as code; what server and nodes say comes in the language of
/// the page.
pub fn prose(text: &str) -> impl IntoView + use<> {
    let text = language::heard(text);
    let parts = text.split('`').enumerate().map(|(index, part)| {
        let part = part.to_owned();
        if index % 2 == 1 { view! { <code>{part}</code> }.into_any() } else { part.into_any() }
    });
    parts.collect_view()
}

/// The icon that goes with a tone.
pub fn tone_icon(tone: Tone) -> Icon {
    match tone {
        Tone::Ok => Icon::Check,
        Tone::Busy => Icon::Spinner,
        Tone::Bad => Icon::Alert,
        Tone::Idle | Tone::Lost => Icon::Info,
    }
}

/// A boxed message; `Busy` is drawn as a warning, not as work under way.
#[component]
pub fn Notice(
    /// Its colour and icon.
    tone: Tone,
    /// The heading.
    #[prop(into)]
    title: String,
    /// What to know or to do, if more is to be said.
    #[prop(optional, into)]
    text: String,
    /// `data-testid`.
    #[prop(optional, into)]
    testid: String,
    /// Buttons at the right.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let icon = if tone == Tone::Busy { Icon::Alert } else { tone_icon(tone) };
    let role = if tone == Tone::Bad { "alert" } else { "status" };
    view! {
        <div class="notice" data-tone=tone.name() role=role data-testid=testid>
            {draw(icon)}
            <div>
                <p class="notice-title">{title}</p>
                {(!text.is_empty()).then(|| view! { <p>{prose(&text)}</p> })}
            </div>
            {children.map(|children| view! { <div class="row tight">{children()}</div> })}
        </div>
    }
}

/// One line of a list of checks, with its cure.
#[component]
pub fn CheckLine(
    /// How it came out.
    tone: Tone,
    /// What was checked and what was found.
    #[prop(into)]
    text: String,
    /// What to do about it.
    #[prop(optional, into)]
    cure: String,
) -> impl IntoView {
    let icon = if tone == Tone::Busy { Icon::Alert } else { tone_icon(tone) };
    view! {
        <li data-tone=tone.name()>
            {draw(icon)}
            <div>
                <p>{prose(&text)}</p>
                {(!cure.is_empty()).then(|| view! { <p class="muted">{prose(&cure)}</p> })}
            </div>
        </li>
    }
}

/// What happened on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeResult {
    /// The node's name.
    pub node: String,
    /// How it came out; `Busy` while under way.
    pub tone: Tone,
    /// In words.
    pub text: String,
}

/// One result line per node; failed ones can be tried again.
#[component]
pub fn PerNodeResult(
    /// The lines.
    #[prop(into)]
    results: Signal<Vec<NodeResult>>,
    /// Tries again on every node that failed.
    #[prop(optional)]
    on_retry: Option<Callback<()>>,
    /// `data-testid` of the list; a line's is `<testid>-<node>`.
    testid: &'static str,
) -> impl IntoView {
    view! {
        <ul class="results" data-testid=testid aria-live="polite">
            <For each=move || results.get() key=|result| (result.node.clone(), result.tone, result.text.clone()) let:result>
                <li data-tone=result.tone.name() data-testid=format!("{testid}-{}", result.node)>
                    {draw(tone_icon(result.tone))}
                    <strong>{result.node.clone()}</strong>
                    <p>{prose(&result.text)}</p>
                    {on_retry
                        .filter(|_| result.tone == Tone::Bad)
                        .map(|retry| view! { <button type="button" class="btn compact" on:click=move |_| retry.run(())>{draw(Icon::Refresh)}{t!("Try again")}</button> })}
                </li>
            </For>
        </ul>
    }
}

/// What a screen says when it has nothing to show yet.
#[component]
pub fn EmptyState(
    /// The sign.
    icon: Icon,
    /// The heading.
    #[prop(into)]
    title: String,
    /// What to do first.
    #[prop(into)]
    text: String,
    /// `data-testid`.
    #[prop(optional, into)]
    testid: String,
    /// The button that does it.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="card empty" data-testid=testid>
            <span class="empty-mark">{draw(icon)}</span>
            <h2>{title}</h2>
            <p>{text}</p>
            {children.map(|children| children())}
        </div>
    }
}

/// A line that says what is being waited for.
#[component]
pub fn Waiting(
    /// What for.
    #[prop(into)]
    text: String,
) -> impl IntoView {
    view! { <p class="row tight muted" role="status">{draw(Icon::Spinner)}{text}</p> }
}

/// The messages that come up at the corner; they go by themselves, errors stay until dismissed.
#[component]
pub fn Toasts() -> impl IntoView {
    let console = Console::get();
    view! {
        <div class="toasts" aria-live="polite" data-testid="toasts">
            <For each=move || console.toasts.get() key=|toast| toast.id let:toast>
                <div class="notice" data-tone=toast.tone.name() role=if toast.tone == Tone::Bad { "alert" } else { "status" }>
                    {draw(tone_icon(toast.tone))}
                    <p>{prose(&toast.text)}</p>
                    <button type="button" class="btn ghost icon compact" aria-label=t!("Dismiss") on:click=move |_| console.dismiss(toast.id)>{draw(Icon::Close)}</button>
                </div>
            </For>
        </div>
    }
}
