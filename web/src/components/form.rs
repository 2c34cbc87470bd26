//! Form parts: a field with label, hint and problem wired together, a switch, a list of rows.

use super::icon::{Icon, draw};
use super::notice::prose;
use crate::language::{t, tf};
use crate::rules::help::help;
use leptos::prelude::*;

/// A labelled line of text; the hint and the problem are announced with it.
#[component]
pub fn TextField(
    /// Unique on the page; also the `data-testid`.
    #[prop(into)]
    id: String,
    /// What the field is called.
    #[prop(into)]
    label: String,
    /// The text.
    value: RwSignal<String>,
    /// One line of help below the label.
    #[prop(optional, into)]
    hint: String,
    /// What is wrong with the text and how to mend it.
    #[prop(optional, into)]
    problem: Signal<Option<String>>,
    /// `text`, `password`, …
    #[prop(default = "text")]
    kind: &'static str,
    /// The browser's autofill hint.
    #[prop(default = "off")]
    autocomplete: &'static str,
    /// An example shown while empty.
    #[prop(optional, into)]
    placeholder: String,
    /// Set in a fixed-width face.
    #[prop(optional)]
    code: bool,
    /// Not to be changed.
    #[prop(optional, into)]
    disabled: Signal<bool>,
) -> impl IntoView {
    let described = described_by(&id, !hint.is_empty(), problem);
    let revealed = RwSignal::new(false);
    let secret = kind == "password";
    let input = view! {
        <input
            class=if code { "input code" } else { "input" }
            id=id.clone()
            name=id.clone()
            data-testid=id.clone()
            type=move || if secret && revealed.get() { "text" } else { kind }
            data-secret=secret.then_some("true")
            autocomplete=autocomplete
            autocapitalize="none"
            spellcheck="false"
            placeholder=placeholder
            prop:value=move || value.get()
            on:input=move |event| value.set(event_target_value(&event))
            aria-describedby=described
            aria-invalid=move || problem.get().is_some().to_string()
            disabled=move || disabled.get()
        />
    };
    let body = if secret { with_reveal(input.into_any(), revealed) } else { input.into_any() };
    view! {
        <div class="field">
            <div class="label-line"><label for=id.clone()>{label.clone()}</label>{help_of(&id, &label)}</div>
            {hint_line(&id, hint)}
            {body}
            <Problem id problem />
        </div>
    }
}

/// A password's input with the button that shows it.
fn with_reveal(input: AnyView, revealed: RwSignal<bool>) -> AnyView {
    view! {
        <div class="password">
            {input}
            <button type="button" class="btn ghost icon" aria-label=t!("Show the password") aria-pressed=move || revealed.get().to_string() on:click=move |_| revealed.update(|on| *on = !*on)>
                {draw(Icon::Eye)}
            </button>
        </div>
    }
    .into_any()
}

/// A choice from a short list.
#[component]
pub fn SelectField(
    /// Unique on the page; also the `data-testid`.
    #[prop(into)]
    id: String,
    /// What the field is called.
    #[prop(into)]
    label: String,
    /// The chosen value.
    value: RwSignal<String>,
    /// (value, words) to choose from.
    #[prop(into)]
    choices: Signal<Vec<(String, String)>>,
    /// One line of help below the label.
    #[prop(optional, into)]
    hint: String,
) -> impl IntoView {
    let described = described_by(&id, !hint.is_empty(), Signal::stored(None));
    view! {
        <div class="field">
            <div class="label-line"><label for=id.clone()>{label.clone()}</label>{help_of(&id, &label)}</div>
            {hint_line(&id, hint)}
            <select class="input" id=id.clone() data-testid=id on:change=move |event| value.set(event_target_value(&event)) aria-describedby=described>
                {move || {
                    choices
                        .get()
                        .into_iter()
                        .map(|(key, words)| {
                            let chosen = key == value.get();
                            view! { <option value=key selected=chosen>{words}</option> }
                        })
                        .collect_view()
                }}
            </select>
        </div>
    }
}

/// An on/off switch that asks its owner to change; it shows `on` until that has happened.
#[component]
pub fn Switch(
    /// Unique on the page; also the `data-testid`.
    #[prop(into)]
    id: String,
    /// What is switched.
    #[prop(into)]
    label: String,
    /// Where it stands.
    #[prop(into)]
    on: Signal<bool>,
    /// Asked to change to the given place.
    on_change: Callback<bool>,
    /// Not to be changed now.
    #[prop(optional, into)]
    disabled: Signal<bool>,
) -> impl IntoView {
    view! {
        <label class="switch">
            <input
                type="checkbox"
                role="switch"
                id=id.clone()
                data-testid=id
                prop:checked=move || on.get()
                disabled=move || disabled.get()
                on:change=move |event| {
                    let wanted = event_target_checked(&event);
                    // It moves when what it stands for has changed.
                    event_target::<web_sys::HtmlInputElement>(&event).set_checked(on.get_untracked());
                    on_change.run(wanted);
                }
            />
            <span>{label}</span>
        </label>
    }
}

/// What is wrong with the field `id`; announced when it appears.
#[component]
pub fn Problem(
    /// The field's id.
    #[prop(into)]
    id: String,
    /// What is wrong, if anything.
    #[prop(into)]
    problem: Signal<Option<String>>,
) -> impl IntoView {
    view! {
        <div aria-live="polite">
            {move || {
                problem.get().map(|text| view! { <p class="problem" id=format!("{id}-problem") data-testid=format!("{id}-problem")>{draw(Icon::Alert)}<span>{prose(&text)}</span></p> })
            }}
        </div>
    }
}

/// The names of the lines that describe the field `id`.
fn described_by(
    id: &str,
    hinted: bool,
    problem: Signal<Option<String>>,
) -> impl Fn() -> Option<String> + Clone + Send + 'static + use<> {
    let id = id.to_owned();
    move || {
        let mut names = Vec::new();
        if hinted {
            names.push(format!("{id}-hint"));
        }
        if problem.get().is_some() {
            names.push(format!("{id}-problem"));
        }
        (!names.is_empty()).then(|| names.join(" "))
    }
}

fn hint_line(id: &str, hint: String) -> Option<impl IntoView + use<>> {
    (!hint.is_empty()).then(|| view! { <p class="hint" id=format!("{id}-hint")>{prose(&hint)}</p> })
}

/// What the user's guide says of the field, shown on demand; nothing for a field that is not in the guide.
fn help_of(id: &str, label: &str) -> Option<AnyView> {
    Some(help_box(label, help(id)?))
}

/// Help with what `label` names, shown on demand.
pub fn help_box(label: &str, words: &str) -> AnyView {
    let name = tf!("Help: {label}", label);
    view! {
        <details class="help">
            <summary aria-label=name><span aria-hidden="true">"?"</span></summary>
            <p class="small">{prose(words)}</p>
        </details>
    }
    .into_any()
}

/// Rows that can be added and removed; `row` draws the one with the given key.
#[component]
pub fn RepeatList<T, F, V>(
    /// The rows, each with a key that stays its own.
    rows: RwSignal<Vec<(usize, T)>>,
    /// Draws one row: its key, its value, the button that removes it.
    row: F,
    /// Makes an empty row.
    make: fn() -> T,
    /// What "add" says.
    #[prop(into)]
    add_label: String,
    /// `data-testid` of "add"; rows' remove buttons are `<testid>-remove-<key>`.
    testid: &'static str,
    /// Rows that must remain.
    #[prop(optional)]
    least: usize,
) -> impl IntoView
where
    T: Clone + Send + Sync + 'static,
    F: Fn(usize, T, AnyView) -> V + Clone + Send + 'static,
    V: IntoView + 'static,
{
    let remove = move |key: usize| rows.update(|rows| rows.retain(|(other, _)| *other != key));
    let add = move |_| {
        rows.update(|rows| {
            let key = rows.iter().map(|(key, _)| key + 1).max().unwrap_or(0);
            rows.push((key, make()));
        });
    };
    let button = move |key: usize| {
        view! {
            <button
                type="button"
                class="btn ghost icon"
                aria-label=t!("Remove this row")
                data-testid=format!("{testid}-remove-{key}")
                disabled=move || rows.with(|rows| rows.len() <= least)
                on:click=move |_| remove(key)
            >
                {draw(Icon::Remove)}
            </button>
        }
        .into_any()
    };
    view! {
        <ul class="repeat">
            <For each=move || rows.get() key=|(key, _)| *key let:item>
                <li>{row(item.0, item.1, button(item.0))}</li>
            </For>
        </ul>
        <div>
            <button type="button" class="btn" data-testid=testid on:click=add>{draw(Icon::Add)}{add_label}</button>
        </div>
    }
}
