//! The screens that are loaded when they are first opened: each group is a piece of the program of its own.
//!
//! `cargo xtask console` cuts the pieces out. Whoever watches and commands a cluster never loads the wizard.

use crate::components::notice::{Notice, Waiting};
use crate::keep;
use crate::language::t;
use crate::pages::{
    advanced, cluster, configuration, control, monitoring, settings, support, troubleshooting, users, wizard,
};
use crate::rules::tone::Tone;
use futures_util::FutureExt;
use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use std::future::Future;

/// A screen of a piece: `$name` draws it, once `$piece` is loaded.
macro_rules! screen {
    ($piece:ident: $name:ident, $load:ident, $view:ident, $page:expr) => {
        #[wasm_split($piece, wasm_split_path = ::leptos::wasm_split, fallible, preload($load))]
        fn $view() -> Result<AnyView, SplitLoaderError> {
            Ok($page)
        }

        /// The screen, loaded when it is first opened.
        pub fn $name() -> AnyView {
            later($load, || $view().now_or_never().and_then(Result::ok))
        }
    };
}

screen!(setup: cluster_page, load_cluster, draw_cluster, view! { <cluster::ClusterPage /> }.into_any());
screen!(setup: configuration_page, load_configuration, draw_configuration, view! { <configuration::ConfigurationPage /> }.into_any());
screen!(setup: new_module_page, load_new_module, draw_new_module, view! { <wizard::name::NewModulePage /> }.into_any());
screen!(setup: wizard_page, load_wizard, draw_wizard, view! { <wizard::WizardPage /> }.into_any());
screen!(command: control_page, load_control, draw_control, view! { <control::ControlPage /> }.into_any());
screen!(files: advanced_page, load_advanced, draw_advanced, view! { <advanced::AdvancedPage /> }.into_any());
screen!(watch: monitoring_page, load_monitoring, draw_monitoring, view! { <monitoring::MonitoringPage /> }.into_any());
screen!(look: troubleshooting_page, load_troubleshooting, draw_troubleshooting, view! { <troubleshooting::TroubleshootingPage /> }.into_any());
screen!(look: support_page, load_support, draw_support, view! { <support::SupportPage /> }.into_any());
screen!(admin: users_page, load_users, draw_users, view! { <users::UsersPage /> }.into_any());
screen!(admin: settings_page, load_settings, draw_settings, view! { <settings::SettingsPage /> }.into_any());

/// Loads what most people open next, so that it is there when they do.
pub fn load_ahead() {
    leptos::task::spawn_local(async {
        // What cannot be loaded now is loaded, or told, when it is opened.
        load_control().await.ok();
    });
}

/// Draws what `draw` gives once `load` has ended; a piece that cannot be loaded says so, and how to go on.
fn later<F>(load: fn() -> F, draw: fn() -> Option<AnyView>) -> AnyView
where
    F: Future<Output = Result<(), SplitLoaderError>> + 'static,
{
    // A piece that is there already is drawn at once.
    let loaded = RwSignal::new(load().now_or_never().map(|done| done.is_ok()));
    if loaded.get_untracked().is_none() {
        leptos::task::spawn_local(async move {
            let done = load().await.is_ok();
            loaded.try_set(Some(done));
        });
    }
    (move || match loaded.get() {
        None => view! { <Waiting text=t!("Loading…") /> }.into_any(),
        // Whatever a screen reads while it is drawn is no reason to draw it anew.
        Some(true) => untrack(draw).unwrap_or_else(|| failed().into_any()),
        Some(false) => failed().into_any(),
    })
    .into_any()
}

fn failed() -> impl IntoView {
    view! {
        <Notice tone=Tone::Bad title=t!("This screen could not be loaded") text=t!("The server was not reached, or has another version of the console by now.")>
            <button type="button" class="btn compact" on:click=move |_| keep::reload()>{t!("Reload")}</button>
        </Notice>
    }
}
