//! What was typed and not saved outlives a loading of the page: in another language, or in a new version of the console.
//!
//! Screens that edit something larger register it here; single fields are kept by `keep.js`, which never keeps passwords.
//! Everything is kept for this tab only, and is taken once.

use crate::platform;
use leptos::prelude::on_cleanup;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeMap;
use wasm_bindgen::JsCast;

const PREFIX: &str = "holdfast.kept.";

type Keepers = BTreeMap<String, Box<dyn Fn() -> Option<String>>>;

thread_local! {
    static KEEPERS: RefCell<Keepers> = const { RefCell::new(BTreeMap::new()) };
}

/// For as long as the calling screen is shown, what `what` gives is kept under `key`.
pub fn keep<T: Serialize>(key: String, what: impl Fn() -> Option<T> + 'static) {
    let text = move || serde_json::to_string(&what()?).ok();
    KEEPERS.with_borrow_mut(|keepers| keepers.insert(key.clone(), Box::new(text)));
    on_cleanup(move || {
        KEEPERS.with_borrow_mut(|keepers| keepers.remove(&key));
    });
}

/// What was kept under `key` when the page was loaded last; only once.
pub fn take<T: DeserializeOwned>(key: &str) -> Option<T> {
    let storage = storage()?;
    let key = format!("{PREFIX}{key}");
    let text = storage.get_item(&key).ok().flatten()?;
    storage.remove_item(&key).ok();
    serde_json::from_str(&text).ok()
}

/// Loads the page anew, keeping what was typed.
pub fn reload() {
    if let Some(storage) = storage() {
        KEEPERS.with_borrow(|keepers| {
            for (key, what) in keepers {
                if let Some(text) = what() {
                    storage.set_item(&format!("{PREFIX}{key}"), &text).ok();
                }
            }
        });
    }
    let fields = web_sys::window().and_then(|window| js_sys::Reflect::get(&window, &"holdfastKeep".into()).ok());
    if let Some(fields) = fields.and_then(|found| found.dyn_into::<js_sys::Function>().ok()) {
        fields.call0(&wasm_bindgen::JsValue::NULL).ok();
    }
    platform::reload();
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.session_storage().ok().flatten()
}
