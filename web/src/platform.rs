//! The browser: clock, dates, storage, clipboard, files to save.

use crate::language;
use wasm_bindgen::JsCast;
use wasm_bindgen::JsValue;

/// The browser's clock, Unix milliseconds.
pub fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// Date and time here, to the second, as the language writes them: `2026-11-22 09:10:11`.
pub fn date_time(unix_ms: u64) -> String {
    if unix_ms == 0 {
        return "–".to_owned();
    }
    let date = js_sys::Date::new(&JsValue::from_f64(unix_ms as f64));
    language::date((date.get_full_year(), date.get_month() + 1, date.get_date()), &clock(&date))
}

/// Date and time here, to the millisecond, for logs.
pub fn date_time_ms(unix_ms: u64) -> String {
    if unix_ms == 0 { String::new() } else { format!("{}.{:03}", date_time(unix_ms), unix_ms % 1000) }
}

/// Time of day here: `09:10:11`.
pub fn time(unix_ms: u64) -> String {
    clock(&js_sys::Date::new(&JsValue::from_f64(unix_ms as f64)))
}

fn clock(date: &js_sys::Date) -> String {
    format!("{:02}:{:02}:{:02}", date.get_hours(), date.get_minutes(), date.get_seconds())
}

/// A setting of this browser that was saved.
pub fn saved(key: &str) -> Option<String> {
    web_sys::window().and_then(|window| window.local_storage().ok().flatten())?.get_item(key).ok().flatten()
}

/// Saves a setting of this browser; `None` forgets it. Without storage nothing is kept.
pub fn save(key: &str, value: Option<&str>) {
    let storage = web_sys::window().and_then(|window| window.local_storage().ok().flatten());
    if let Some(storage) = storage {
        match value {
            Some(value) => storage.set_item(key, value).ok(),
            None => storage.remove_item(key).ok(),
        };
    }
}

/// Sets or, with `None`, lifts an attribute of the page's root element.
pub fn set_root_attribute(name: &str, value: Option<&str>) {
    let root = web_sys::window().and_then(|window| window.document()).and_then(|document| document.document_element());
    if let Some(root) = root {
        match value {
            Some(value) => root.set_attribute(name, value).ok(),
            None => root.remove_attribute(name).ok(),
        };
    }
}

/// Names the page in the browser's tab.
pub fn set_title(title: &str) {
    if let Some(document) = web_sys::window().and_then(|window| window.document()) {
        document.set_title(title);
    }
}

/// The page's origin and the part after `#`.
pub fn fragment() -> String {
    let hash = web_sys::window().and_then(|window| window.location().hash().ok()).unwrap_or_default();
    hash.trim_start_matches('#').to_owned()
}

/// Address of a WebSocket on the page's own server.
pub fn socket_address(path: &str) -> Option<String> {
    let location = web_sys::window()?.location();
    let scheme = if location.protocol().ok()? == "https:" { "wss" } else { "ws" };
    Some(format!("{scheme}://{}{path}", location.host().ok()?))
}

/// Loads the page anew.
pub fn reload() {
    if let Some(window) = web_sys::window() {
        window.location().reload().ok();
    }
}

/// Hands `text` to the clipboard.
pub fn copy(text: &str) {
    let Some(window) = web_sys::window() else { return };
    let clipboard = js_sys::Reflect::get(&window.navigator(), &"clipboard".into()).ok();
    if clipboard.is_some_and(|clipboard| !clipboard.is_undefined()) {
        let _promise = window.navigator().clipboard().write_text(text);
    } else if let Some(document) = window.document().and_then(|page| page.dyn_into::<web_sys::HtmlDocument>().ok()) {
        copy_by_selection(&document, text);
    }
}

/// Browsers keep the clipboard from pages that came over plain http, but copy what is selected.
fn copy_by_selection(document: &web_sys::HtmlDocument, text: &str) {
    let field = document
        .create_element("textarea")
        .ok()
        .and_then(|field| field.dyn_into::<web_sys::HtmlTextAreaElement>().ok());
    let (Some(field), Some(body)) = (field, document.body()) else { return };
    field.set_value(text);
    body.append_child(&field).ok();
    field.select();
    document.exec_command("copy").ok();
    field.remove();
}

/// Has the browser save what the server gives at `href`, under `name` unless the server names it.
pub fn download(href: &str, name: &str) {
    let link = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.create_element("a").ok())
        .and_then(|element| element.dyn_into::<web_sys::HtmlAnchorElement>().ok());
    if let Some(link) = link {
        link.set_href(href);
        link.set_download(name);
        link.click();
    }
}

/// The text of a file; none if it cannot be read.
pub async fn text_of(file: &web_sys::File) -> Option<String> {
    wasm_bindgen_futures::JsFuture::from(file.text()).await.ok()?.as_string()
}

/// Removes the element with this id.
pub fn remove_element(id: &str) {
    let element =
        web_sys::window().and_then(|window| window.document()).and_then(|document| document.get_element_by_id(id));
    if let Some(element) = element {
        element.remove();
    }
}
