//! A text with colours, line numbers and marks: CodeMirror where it could be loaded, else a plain field.

use super::form::Problem;
use crate::effect::effect;
use crate::language::t;
use crate::platform;
use crate::rules::marks::{Mark, kind_of};
use leptos::{html, prelude::*};
use wasm_bindgen::prelude::{Closure, JsCast, JsValue, wasm_bindgen};

/// Where the browser keeps that it edits as plain text.
const PLAIN_KEY: &str = "holdfast.plain-editor";

#[wasm_bindgen]
extern "C" {
    /// Loads the editor's file (`boot.js`); its module.
    #[wasm_bindgen(js_namespace = window, js_name = holdfastEditor, catch)]
    async fn load() -> Result<JsValue, JsValue>;

    type Module;
    #[wasm_bindgen(method)]
    fn mount(
        this: &Module,
        host: &web_sys::HtmlElement,
        label: &str,
        words: &JsValue,
        changed: &Closure<dyn FnMut(String)>,
    ) -> Handle;

    #[derive(Clone)]
    type Handle;
    #[wasm_bindgen(method)]
    fn show(this: &Handle, text: &str, kind: &str);
    #[wasm_bindgen(method)]
    fn mark(this: &Handle, marks: Vec<String>);
    #[wasm_bindgen(method)]
    fn destroy(this: &Handle);
}

/// How the text is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In a plain field: the editor is not wanted, could not be loaded, or is on its way.
    Plain,
    /// In the editor.
    Rich,
}

/// An editor with a label. `data-editor` of its host is `ready` once it takes text.
#[component]
pub fn CodeEditor(
    /// Unique on the page; also the `data-testid`.
    #[prop(into)]
    id: String,
    /// What is edited.
    #[prop(into)]
    label: Signal<String>,
    /// Path or name of the file: decides the colours.
    #[prop(into)]
    path: Signal<String>,
    /// The text.
    #[prop(into)]
    text: Signal<String>,
    /// Called with what was typed.
    on_input: Callback<String>,
    /// What is wrong, and where.
    #[prop(optional, into)]
    marks: Signal<Vec<Mark>>,
    /// What is wrong with the whole text.
    #[prop(optional, into)]
    problem: Signal<Option<String>>,
    /// Higher, for a page of its own.
    #[prop(optional)]
    tall: bool,
) -> impl IntoView {
    let plain_wanted = RwSignal::new(platform::saved(PLAIN_KEY).is_some());
    let module = RwSignal::new_local(None::<Module>);
    let failed = RwSignal::new(false);
    effect(move || {
        if !plain_wanted.get() && module.with_untracked(Option::is_none) {
            leptos::task::spawn_local(async move {
                // The page may be gone by the time it has come.
                match load().await {
                    Ok(loaded) => drop(module.try_set(Some(loaded.unchecked_into()))),
                    Err(_) => drop(failed.try_set(true)),
                }
            });
        }
    });
    let mode =
        Memo::new(move |_| if plain_wanted.get() || module.with(Option::is_none) { Mode::Plain } else { Mode::Rich });
    let switch = move |_| {
        plain_wanted.update(|plain| *plain = !*plain);
        platform::save(PLAIN_KEY, plain_wanted.get_untracked().then_some("yes"));
    };
    let plain_id = format!("plain-{id}");
    let (for_plain, for_rich, for_problem) = (id.clone(), id.clone(), id);
    view! {
        {move || match mode.get() {
            Mode::Plain => plain(for_plain.clone(), label, text, on_input, tall).into_any(),
            Mode::Rich => view! { <Rich id=for_rich.clone() module label path text on_input marks tall /> }.into_any(),
        }}
        <Problem id=for_problem problem />
        <Show when=move || !failed.get() fallback=|| view! { <p class="muted small">{t!("The editor could not be loaded; the text is edited in a plain field.")}</p> }>
            <div><button type="button" class="btn ghost compact" data-testid=plain_id.clone() aria-pressed=move || plain_wanted.get().to_string() on:click=switch>{t!("Edit as plain text")}</button></div>
        </Show>
    }
}

fn plain(
    id: String,
    label: Signal<String>,
    text: Signal<String>,
    on_input: Callback<String>,
    tall: bool,
) -> impl IntoView {
    let class = if tall { "input tall" } else { "input" };
    view! {
        <textarea class=class id=id.clone() aria-label=move || label.get() data-testid=id spellcheck="false" autocapitalize="none" prop:value=move || text.get() on:input=move |event| on_input.run(event_target_value(&event))></textarea>
    }
}

#[component]
fn Rich(
    id: String,
    module: RwSignal<Option<Module>, LocalStorage>,
    label: Signal<String>,
    path: Signal<String>,
    text: Signal<String>,
    on_input: Callback<String>,
    marks: Signal<Vec<Mark>>,
    tall: bool,
) -> impl IntoView {
    let host = NodeRef::<html::Div>::new();
    let handle = RwSignal::new_local(None::<Handle>);
    // Kept as long as the editor may call it.
    let changed = StoredValue::new_local(Closure::<dyn FnMut(String)>::new(move |text| {
        on_input.try_run(text);
    }));
    effect(move || {
        let Some(element) = host.get() else { return };
        module.with_untracked(|module| {
            if let Some(module) = module {
                let made =
                    changed.with_value(|changed| module.mount(&element, &label.get_untracked(), &words(), changed));
                handle.set(Some(made));
            }
        });
    });
    let with = move |what: &dyn Fn(&Handle)| handle.with(|handle| handle.iter().for_each(what));
    effect(move || with(&|handle| handle.show(&text.get(), kind_of(&path.get(), &text.get()))));
    effect(move || {
        let flat = marks.get().into_iter().flat_map(|mark| [mark.line.to_string(), mark.column.to_string(), mark.text]);
        let flat: Vec<String> = flat.collect();
        // A new text first, then its marks.
        text.track();
        with(&|handle| handle.mark(flat.clone()));
    });
    on_cleanup(move || {
        handle.with_untracked(|handle| handle.iter().for_each(Handle::destroy));
    });
    view! {
        <div class=if tall { "code-editor tall" } else { "code-editor" } id=id.clone() data-testid=id node_ref=host data-editor=move || handle.with(Option::is_some).then_some("ready")></div>
    }
}

/// The words of the editor's search in the language of the page.
fn words() -> JsValue {
    let words = js_sys::Object::new();
    for (english, here) in [
        ("Find", t!("Find")),
        ("Replace", t!("Replace")),
        ("next", t!("next")),
        ("previous", t!("previous")),
        ("all", t!("all")),
        ("match case", t!("match case")),
        ("regexp", t!("regular expression")),
        ("by word", t!("whole words")),
        ("replace", t!("replace")),
        ("replace all", t!("replace all")),
        ("close", t!("close")),
    ] {
        js_sys::Reflect::set(&words, &english.into(), &here.into()).ok();
    }
    words.into()
}
