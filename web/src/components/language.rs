//! The menu that chooses the console's language, kept in this browser.

use super::icon::Icon;
use super::menu::{ActionMenu, MenuEntry};
use crate::keep;
use crate::language::{LANGUAGES, code, t};
use crate::platform;
use leptos::prelude::*;

/// Where the browser keeps the choice; read before the first paint by `theme.js`.
const LANGUAGE_KEY: &str = "holdfast.language";

/// The menu; the page is loaded anew in the language picked, with what was typed and not saved.
#[component]
pub fn LanguageMenu() -> impl IntoView {
    let entries = LANGUAGES.map(|(id, label)| MenuEntry {
        id,
        label,
        icon: if id == code() { Icon::Check } else { Icon::Globe },
        danger: false,
        disabled: None,
        divided: false,
    });
    let pick = move |picked: &'static str| {
        if picked != code() {
            platform::save(LANGUAGE_KEY, Some(picked));
            keep::reload();
        }
    };
    view! { <ActionMenu label=t!("Language") testid="language" entries=Signal::stored(entries.to_vec()) on_pick=Callback::new(pick) icon=Icon::Globe /> }
}
