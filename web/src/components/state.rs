//! A state by colour, shape and word; data states; resync progress.

use crate::language::t;
use crate::rules::text;
use crate::rules::tone::{Shown, Tone, data_tone, data_words, show};
use crate::store::Console;
use holdfast_api::agent::ResyncReport;
use holdfast_api::console::ModuleOnNode;
use holdfast_api::state::DataState;
use leptos::prelude::*;

/// The state of a module on a node. `data-state`, `data-readiness` and `data-tone` say the same to programs;
/// the first two are empty while the state is not live.
#[component]
pub fn StateBadge(
    /// The module on the node.
    on: ModuleOnNode,
    /// Drawn larger.
    #[prop(optional)]
    big: bool,
    /// `data-testid`.
    #[prop(optional, into)]
    testid: String,
) -> impl IntoView {
    let console = Console::get();
    let fresh = on.fresh;
    let words =
        on.report.as_ref().map(|report| (report.state.to_string(), report.readiness.to_string())).unwrap_or_default();
    let shown = Memo::new(move |_| show(&on, console.is_live()));
    let live = move || fresh && console.is_live();
    let (state, readiness) = words;
    view! {
        <span
            class=if big { "state big" } else { "state" }
            data-tone=move || shown.with(|shown| shown.tone.name())
            data-state=move || if live() { state.clone() } else { String::new() }
            data-readiness=move || if live() { readiness.clone() } else { String::new() }
            data-testid=testid
        >
            {move || badge_inner(&shown.get())}
        </span>
    }
}

fn badge_inner(shown: &Shown) -> impl IntoView + use<> {
    let note = shown.note.clone();
    view! {
        <svg viewBox="0 0 12 12" aria-hidden="true"><path d=shown.tone.shape() /></svg>
        {shown.word.clone()}
        {(!note.is_empty()).then(|| view! { <span class="visually-hidden">", "{note}</span> })}
    }
}

/// A few words with a tone.
#[component]
pub fn Chip(
    /// Its colour.
    tone: Tone,
    /// The words.
    #[prop(into)]
    text: String,
) -> impl IntoView {
    view! { <span class="chip" data-tone=tone.name()><span class="dot" aria-hidden="true"></span>{text}</span> }
}

/// How a copy of the data relates to the reference; without colour when it is only what was last known.
#[component]
pub fn DataChip(
    /// The data state.
    data: DataState,
    /// The node's report is fresh.
    fresh: bool,
) -> impl IntoView {
    let console = Console::get();
    move || {
        let tone = if fresh && console.is_live() { data_tone(data) } else { Tone::Lost };
        view! { <Chip tone text=data_words(data) /> }
    }
}

/// Progress of a resync: a bar and the figures.
#[component]
pub fn ResyncProgress(
    /// The figures.
    resync: ResyncReport,
) -> impl IntoView {
    let percent = text::resync_percent(&resync);
    view! {
        <div class="stack tight" data-testid="resync">
            <div class="row between small">
                <strong>{t!("Resync")}</strong>
                <span>{percent.map(|percent| format!("{percent} %"))}</span>
            </div>
            <progress max="100" value=percent.map(|percent| percent.to_string()) aria-label=t!("Progress of the resync")></progress>
            <p class="small muted">{text::resync(&resync)}</p>
        </div>
    }
}
