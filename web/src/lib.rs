//! The console: a single page in the browser that configures, commands and watches a cluster.
//!
//! `rules` decides (plain functions, tested natively), `client` and `live` talk to the server, `store` is what
//! all screens share, `components` is the kit, `pages` holds one file per screen.

#![recursion_limit = "256"]

mod app;
mod client;
mod components;
mod live;
mod pages;
mod platform;
mod rules;
mod store;

/// Draws the console into the page's body; called by the browser once the program is loaded.
#[cfg_attr(target_arch = "wasm32", wasm_bindgen::prelude::wasm_bindgen(start))]
pub fn start() {
    platform::remove_element("splash");
    leptos::mount::mount_to_body(app::App);
}
