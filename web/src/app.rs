//! Who sees what: the login page or the screens, each with its URL.

use crate::client;
use crate::components::icon::Icon;
use crate::components::notice::{EmptyState, Notice, Waiting};
use crate::components::shell::{AppShell, PageHead};
use crate::language::t;
use crate::live;
use crate::pages::{
    advanced, cluster, configuration, control, login, monitoring, settings, support, troubleshooting, users, wizard,
};
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
    let door = Memo::new(move |_| {
        console.session.with(|session| match session {
            None => Door::Unknown,
            Some(session) if session.user.is_some() => Door::Open,
            Some(session) if session.setup_needed => Door::Setup,
            Some(_) => Door::Login,
        })
    });
    Effect::new(move || {
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
                <Route path=path!("/cluster") view=cluster::ClusterPage />
                <Route path=path!("/configuration") view=configuration::ConfigurationPage />
                <Route path=path!("/configuration/new/:template") view=wizard::name::NewModulePage />
                <Route path=path!("/configuration/modules/:module/:step") view=wizard::WizardPage />
                <Route path=path!("/control") view=control::ControlPage />
                <Route path=path!("/control/:module/:node") view=control::ControlPage />
                <Route path=path!("/control/:module/:node/:tab") view=control::ControlPage />
                <Route path=path!("/monitoring") view=monitoring::MonitoringPage />
                <Route path=path!("/advanced") view=advanced::AdvancedPage />
                <Route path=path!("/troubleshooting") view=troubleshooting::TroubleshootingPage />
                <Route path=path!("/users") view=users::UsersPage />
                <Route path=path!("/settings") view=settings::SettingsPage />
                <Route path=path!("/support") view=support::SupportPage />
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
