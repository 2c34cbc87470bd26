//! The frame of every screen: rail, header with the state of the connection, banner, tray.

use super::dialog::ConfirmDialog;
use super::icon::{Icon, draw, mark};
use super::language::LanguageMenu;
use super::menu::{ActionMenu, MenuEntry};
use super::notice::Toasts;
use super::plain::PlainBanner;
use super::state::Chip;
use super::tray::TaskTray;
use crate::client;
use crate::effect::effect;
use crate::keep;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::tone::{Tone, show};
use crate::store::{Console, Link};
use holdfast_api::console::UserRole;
use leptos::{ev, html, prelude::*};
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;

const THEME_KEY: &str = "holdfast.theme";

/// The frame; `children` is the screen.
#[component]
pub fn AppShell(
    /// The screen.
    children: Children,
) -> impl IntoView {
    let main = NodeRef::<html::Main>::new();
    // By hand: the router would take the link for a change of page, and leave the focus where it is.
    let skip = move |event: ev::MouseEvent| {
        event.prevent_default();
        if let Some(main) = main.get_untracked() {
            main.focus().ok();
        }
    };
    view! {
        <a class="skip" href="#main" on:click=skip>{t!("Skip to the page")}</a>
        <div class="shell">
            <Rail />
            <Header />
            <div class="banners"><PlainBanner /><ConnectionBanner /></div>
            <main class="main" id="main" tabindex="-1" node_ref=main>{children()}</main>
            <TaskTray />
        </div>
        <ConfirmDialog />
        <Toasts />
    }
}

#[component]
fn Rail() -> impl IntoView {
    let console = Console::get();
    let version = move || {
        console.session.with(|session| session.as_ref().map(|session| tf!("Version {0}", 0 = session.server_version)))
    };
    view! {
        <aside class="rail">
            <a href="/" class="brand">{mark()}<span class="label">"Holdfast"</span></a>
            <nav class="rail-nav" aria-label=t!("Screens") data-testid="rail">
                {rail_link("/cluster", Icon::Cluster, t!("Cluster"))}
                {rail_link("/configuration", Icon::Configure, t!("Configuration"))}
                {rail_link("/control", Icon::Control, t!("Control"))}
                {rail_link("/monitoring", Icon::Monitor, t!("Monitoring"))}
                <Show when=move || console.role().may(UserRole::Admin)>{rail_link("/advanced", Icon::Files, t!("Advanced"))}</Show>
                {rail_link("/troubleshooting", Icon::Wrench, t!("Troubleshooting"))}
                {rail_link("/support", Icon::Support, t!("Support"))}
                <Show when=move || console.role().may(UserRole::Admin)>{rail_link("/users", Icon::User, t!("Users"))}</Show>
                <Show when=move || console.role().may(UserRole::Admin)>{rail_link("/settings", Icon::Settings, t!("Settings"))}</Show>
            </nav>
            <p class="rail-foot">{version}</p>
        </aside>
    }
}

fn rail_link(href: &'static str, icon: Icon, label: &'static str) -> impl IntoView {
    view! { <A href=href attr:title=label attr:data-testid=format!("rail-{}", &href[1..])>{draw(icon)}<span class="label">{label}</span></A> }
}

#[component]
fn Header() -> impl IntoView {
    let console = Console::get();
    let cluster = move || {
        let name = console
            .read(|snapshot| if snapshot.cluster.version == 0 { String::new() } else { snapshot.cluster.name.clone() })
            .unwrap_or_default();
        if name.is_empty() { t!("No cluster yet").to_owned() } else { tf!("Cluster {name}", name) }
    };
    view! {
        <header class="header">
            <span class="cluster" data-testid="cluster-name">{cluster}</span>
            <WorstState />
            <div class="header-tools">
                <LinkChip />
                <LanguageMenu />
                <UserMenu />
            </div>
        </header>
    }
}

/// The state that wants most attention, of all modules on all nodes.
#[component]
fn WorstState() -> impl IntoView {
    let console = Console::get();
    let worst = Memo::new(move |_| {
        let live = console.is_live();
        console
            .read(|snapshot| {
                Tone::worst(
                    snapshot
                        .modules
                        .iter()
                        .filter(|module| module.module.desired.is_some())
                        .flat_map(|module| &module.nodes)
                        .map(|on| show(on, live).tone),
                )
            })
            .flatten()
    });
    let words = |tone| match tone {
        Tone::Ok => t!("All modules work"),
        Tone::Busy => t!("A node is in transition"),
        Tone::Bad => t!("A node needs attention"),
        Tone::Idle => t!("A node is stopped"),
        Tone::Lost => t!("A node is not in contact"),
    };
    // While the page itself is in contact, a node that is not is no grey matter.
    let shown = move |tone| if tone == Tone::Lost && console.is_live() { Tone::Bad } else { tone };
    move || worst.get().map(|tone| view! { <Chip tone=shown(tone) text=words(tone) /> })
}

/// Whether what the page shows is live.
#[component]
fn LinkChip() -> impl IntoView {
    let console = Console::get();
    let state = move || match console.link.get() {
        Link::Connecting => ("connecting", Tone::Idle, t!("Connecting…").to_owned()),
        Link::Live => ("live", Tone::Ok, t!("Live").to_owned()),
        Link::Stale(since) => ("stale", Tone::Busy, tf!("Stale since {0}", 0 = &platform::time(since)[..5])),
    };
    view! {
        <span role="status" data-testid="link" data-link=move || state().0>
            {move || {
                let (_, tone, text) = state();
                view! { <Chip tone text /> }
            }}
        </span>
    }
}

/// Says that what is shown is old, and that the nodes do not mind.
#[component]
pub fn ConnectionBanner() -> impl IntoView {
    let console = Console::get();
    let build = StoredValue::new(None::<String>);
    let newer = Memo::new(move |_| {
        let now = console.read(|snapshot| snapshot.console_build.clone())?;
        let first = build.get_value();
        if first.is_none() {
            build.set_value(Some(now.clone()));
        }
        Some(first.is_some_and(|first| first != now))
    });
    view! {
        {move || match console.link.get() {
            Link::Stale(since) => Some(view! {
                <div class="banner" role="alert" data-testid="stale-banner">
                    {draw(Icon::Alert)}
                    <span>{tf!("No contact with the server since {0}. What is shown is what was last known; trying again. The nodes protect the application without the server.", 0 = platform::time(since))}</span>
                </div>
            }),
            _ => None,
        }}
        <Show when=move || newer.get() == Some(true)>
            <div class="banner" role="status">
                {draw(Icon::Info)}
                <span>{t!("A new version of the console is available.")}</span>
                <button type="button" class="btn compact" on:click=move |_| keep::reload()>{t!("Reload")}</button>
            </div>
        </Show>
    }
}

#[component]
fn UserMenu() -> impl IntoView {
    let console = Console::get();
    let name = move || {
        console
            .session
            .with(|session| session.as_ref().and_then(|session| session.user.as_ref()).map(|user| user.name.clone()))
            .unwrap_or_default()
    };
    let entry = |id, label, icon, divided| MenuEntry { id, label, icon, danger: false, disabled: None, divided };
    let entries = vec![
        entry("light", t!("Light"), Icon::Sun, false),
        entry("dark", t!("Dark"), Icon::Moon, false),
        entry("system", t!("As the system"), Icon::System, false),
        entry("password", t!("Change the password"), Icon::Key, true),
        entry("ca", t!("Download the CA certificate"), Icon::Download, false),
        entry("api", t!("Programming interface"), Icon::Info, false),
        entry("logout", t!("Log out"), Icon::Leave, true),
    ];
    let navigate = use_navigate();
    let pick = move |id: &'static str| match id {
        "light" | "dark" => set_theme(Some(id)),
        "system" => set_theme(None),
        "password" => navigate("/users", Default::default()),
        "ca" => platform::download(client::CA_HREF, "holdfast-ca.pem"),
        "api" => platform::download(client::OPENAPI_HREF, "holdfast-openapi.json"),
        _ => console.call(client::logout(), move |_| console.forget_user()),
    };
    view! {
        <span class="muted label small" data-testid="user-name">{name}</span>
        <ActionMenu label=t!("Account and appearance") testid="user-menu" entries=Signal::stored(entries) on_pick=Callback::new(pick) icon=Icon::User />
    }
}

/// Chooses the theme for this browser; `None` follows the system.
fn set_theme(theme: Option<&str>) {
    platform::save(THEME_KEY, theme);
    platform::set_root_attribute("data-theme", theme);
}

/// A screen's heading: names the browser's tab too.
#[component]
pub fn PageHead(
    /// The heading.
    #[prop(into)]
    title: Signal<String>,
    /// One or two sentences below it.
    #[prop(optional, into)]
    lead: String,
    /// Buttons at the right.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    effect(move || platform::set_title(&tf!("{0} · Holdfast", 0 = title.get())));
    view! {
        <div class="page-head">
            <div>
                <h1>{title}</h1>
                {(!lead.is_empty()).then(|| view! { <p>{lead}</p> })}
            </div>
            {children.map(|children| view! { <div class="row">{children()}</div> })}
        </div>
    }
}
