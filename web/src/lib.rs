//! The console: a single page in the browser that configures, commands and watches a cluster.
//!
//! `rules` decides (plain functions, tested natively), `client` and `live` talk to the server, `store` is what
//! all screens share, `modules` each module apart, `effect` what they do at changes, `components` is the kit, `pages` holds one file per screen; `language` is what all of them speak.

#![recursion_limit = "256"]

#[cfg(target_arch = "wasm32")]
mod app;
#[cfg(target_arch = "wasm32")]
mod client;
#[cfg(target_arch = "wasm32")]
mod components;
#[cfg(target_arch = "wasm32")]
mod effect;
#[cfg(target_arch = "wasm32")]
mod keep;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod language;
#[cfg(target_arch = "wasm32")]
mod live;
#[cfg(target_arch = "wasm32")]
mod modules;
#[cfg(target_arch = "wasm32")]
mod pages;
#[cfg(target_arch = "wasm32")]
mod platform;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod rules;
#[cfg(target_arch = "wasm32")]
mod store;

/// Draws the console into the page's body, in this language; called by the page once the program and the language's
/// texts are loaded.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn run(language: &str, texts: &str, heard: &str) {
    // A panic ends the page's program: say why in the browser's log.
    std::panic::set_hook(Box::new(|info| leptos::logging::error!("{info}")));
    language::choose(language, texts, heard);
    platform::remove_element("splash");
    leptos::mount::mount_to_body(app::App);
}
