//! Who sees what: the login page or the screens, each with its URL.

use crate::client;
use crate::components::icon::Icon;
use crate::components::notice::{EmptyState, Notice, Waiting};
use crate::components::shell::{AppShell, PageHead};
use crate::effect::effect;
use crate::language::t;
use crate::live;
use crate::pages::{later, login};
use crate::rules::tone::Tone;
use crate::store::Console;
use leptos::prelude::*;
use leptos_router::components::{A, Redirect, Route, Router, Routes};
use leptos_router::path;

/// The whole page.
#[component]
pub fn App() -> impl IntoView {
    let console = Console::provide();
    ask_session(console);
    later::load_ahead();
    let door = Memo::new(move |_| {
        console.session.with(|session| match session {
            None => Door::Unknown,
            Some(session) if session.user.is_some() => Door::Open,
            Some(session) if session.setup_needed => Door::Setup,
            Some(_) => Door::Login,
        })
    });
    effect(move || {
        if door.get() == Door::Open {
            live::run(console);
        }
    });
    view! {
        <Router>
            {move || match door.get() {
                Door::Unknown => view! { <Unknown /> }.into_any(),
                Door::Setup => view! { <login::SetupPage /> }.into_any(),
                Door::Login => view! { <login::LoginPage /> }.into_any(),
                Door::Open => view! { <Screens /> }.into_any(),
            }}
        </Router>
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Door {
    Unknown,
    Setup,
    Login,
    Open,
}

/// Asks the server who is logged in.
fn ask_session(console: Console) {
    console.session_error.set(None);
    console.call(client::session(), move |answer| match answer {
        Ok(session) => console.session.set(Some(session)),
        Err(error) => console.session_error.set(Some(error.text())),
    });
}

/// Before the server has said who is logged in.
#[component]
fn Unknown() -> impl IntoView {
    let console = Console::get();
    view! {
        <main class="gate">
            {move || match console.session_error.get() {
                None => view! { <Waiting text=t!("Asking the server…") /> }.into_any(),
                Some(text) => view! {
                    <Notice tone=Tone::Bad title=t!("The server does not answer") text>
                        <button type="button" class="btn compact" on:click=move |_| ask_session(console)>{t!("Try again")}</button>
                    </Notice>
                }
                .into_any(),
            }}
        </main>
    }
}

#[component]
fn Screens() -> impl IntoView {
    view! {
        <AppShell>
            <Routes fallback=NotFound>
                <Route path=path!("/") view=Home />
                <Route path=path!("/login") view=Home />
                <Route path=path!("/setup") view=Home />
                <Route path=path!("/cluster") view=later::cluster_page />
                <Route path=path!("/configuration") view=later::configuration_page />
                <Route path=path!("/configuration/new/:template") view=later::new_module_page />
                <Route path=path!("/configuration/modules/:module/:step") view=later::wizard_page />
                <Route path=path!("/control") view=later::control_page />
                <Route path=path!("/control/:module/:node") view=later::control_page />
                <Route path=path!("/control/:module/:node/:tab") view=later::control_page />
                <Route path=path!("/monitoring") view=later::monitoring_page />
                <Route path=path!("/advanced") view=later::advanced_page />
                <Route path=path!("/troubleshooting") view=later::troubleshooting_page />
                <Route path=path!("/users") view=later::users_page />
                <Route path=path!("/settings") view=later::settings_page />
                <Route path=path!("/support") view=later::support_page />
            </Routes>
        </AppShell>
    }
}

/// The screen that comes next: set up what is not there yet, else control.
#[component]
fn Home() -> impl IntoView {
    let console = Console::get();
    let next = Memo::new(move |_| {
        console.read(|snapshot| {
            if snapshot.cluster.version == 0 {
                "/cluster"
            } else if snapshot.modules.iter().all(|module| module.module.desired.is_none()) {
                "/configuration"
            } else {
                "/control"
            }
        })
    });
    move || match next.get() {
        Some(path) => view! { <Redirect path=path /> }.into_any(),
        None => view! { <Waiting text=t!("Waiting for the first snapshot…") /> }.into_any(),
    }
}

#[component]
fn NotFound() -> impl IntoView {
    view! {
        <div class="page narrow">
            <PageHead title=t!("There is no such page").to_owned() />
            <EmptyState icon=Icon::Info title=t!("Nothing is at this address") text=t!("It may have been written wrongly, or belong to another version of the console.")>
                <A href="/" attr:class="btn primary">{t!("To the start")}</A>
            </EmptyState>
        </div>
    }
}
