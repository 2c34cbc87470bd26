//! Login, and the first run: the administrator made through the link on the server's terminal.

use crate::client::{self, ApiError};
use crate::components::form::TextField;
use crate::components::icon::{Icon, draw, mark};
use crate::components::language::LanguageMenu;
use crate::components::notice::{Notice, prose};
use crate::components::plain::{OnlyByHttps, PlainBanner};
use crate::language::{t, tf};
use crate::platform;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{Login, PASSWORD_CHARS_MIN, SessionView, Setup};
use leptos::{ev, prelude::*};

/// Asks for name and password; the page asked for comes up afterwards.
#[component]
pub fn LoginPage() -> impl IntoView {
    let console = Console::get();
    platform::set_title(t!("Log in · Holdfast"));
    let (user, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (busy, problem) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        busy.set(true);
        problem.set(None);
        let form = Login { user: user.get_untracked().trim().to_owned(), password: password.get_untracked() };
        console.call(async move { client::login(&form).await }, move |answer| {
            busy.set(false);
            match answer {
                Ok(session) => console.session.set(Some(session)),
                Err(error) => {
                    password.set(String::new());
                    problem.set(Some(refusal(&error)));
                }
            }
        });
    };
    view! {
        <Gate title=t!("Log in") lead="">
            <form class="stack" on:submit=submit data-testid="login-form">
                <TextField id="user" label=t!("User") value=user autocomplete="username" />
                <TextField id="password" label=t!("Password") value=password kind="password" autocomplete="current-password" />
                <Refusal problem />
                <button class="btn primary" data-testid="login" disabled=move || busy.get()>{move || if busy.get() { t!("Logging in…") } else { t!("Log in") }}</button>
            </form>
        </Gate>
    }
}

/// Makes the first administrator.
#[component]
pub fn SetupPage() -> impl IntoView {
    let token = platform::fragment();
    platform::set_title(t!("Set up · Holdfast"));
    if token.is_empty() {
        return view! {
            <Gate title=t!("Almost there") lead=t!("This server has no administrator yet.")>
                <Notice tone=Tone::Idle title=t!("Open the set-up link") text=t!("The server printed a one-time set-up link on its terminal when it started. Open it in this browser to create the administrator.") testid="setup-no-token" />
            </Gate>
        }
        .into_any();
    }
    view! {
        <Gate title=t!("Create the administrator") lead=t!("The set-up link is valid once. The administrator may do everything, and can add other users.")>
            <SetupForm token />
        </Gate>
    }
    .into_any()
}

#[component]
fn SetupForm(token: String) -> impl IntoView {
    let console = Console::get();
    let (user, password, again) =
        (RwSignal::new("admin".to_owned()), RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (busy, problem, tried) = (RwSignal::new(false), RwSignal::new(None::<String>), RwSignal::new(false));
    let short = Signal::derive(move || {
        let missing = password.with(|password| password.chars().count()) < PASSWORD_CHARS_MIN;
        (tried.get() && missing).then(|| tf!("Use at least {PASSWORD_CHARS_MIN} characters.", PASSWORD_CHARS_MIN))
    });
    let differs = Signal::derive(move || {
        (tried.get() && again.get() != password.get()).then(|| t!("The two passwords differ.").to_owned())
    });
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        tried.set(true);
        if short.get_untracked().is_some() || differs.get_untracked().is_some() {
            return;
        }
        busy.set(true);
        problem.set(None);
        let form = Setup {
            token: token.clone(),
            user: user.get_untracked().trim().to_owned(),
            password: password.get_untracked(),
        };
        console.call(async move { client::setup(&form).await }, move |answer| {
            busy.set(false);
            match answer {
                Ok(session) => console.session.set(Some(session)),
                Err(error) => problem.set(Some(refusal(&error))),
            }
        });
    };
    view! {
        <form class="stack" on:submit=submit data-testid="setup-form">
            <OnlyByHttps what=t!("The first password would be read on the way.") />
            <TextField id="user" label=t!("Name of the administrator") value=user autocomplete="username" />
            <TextField id="password" label=t!("Password") hint=tf!("At least {PASSWORD_CHARS_MIN} characters", PASSWORD_CHARS_MIN) value=password kind="password" autocomplete="new-password" problem=short />
            <TextField id="password-again" label=t!("Password, once more") value=again kind="password" autocomplete="new-password" problem=differs />
            <Refusal problem />
            <button class="btn primary" data-testid="setup" disabled=move || busy.get() || console.is_plain()>{move || if busy.get() { t!("Creating…") } else { t!("Create and log in") }}</button>
        </form>
    }
}

/// The card in the middle, with the certificate at its foot.
#[component]
fn Gate(title: &'static str, lead: &'static str, children: Children) -> impl IntoView {
    let console = Console::get();
    view! {
        <div class="banners"><PlainBanner /></div>
        <main class="gate">
            <div class="card gate-card stack loose">
                <div class="row between"><div class="gate-brand">{mark()}<span>"Holdfast"</span></div><LanguageMenu /></div>
                <div class="stack tight">
                    <h1>{title}</h1>
                    {(!lead.is_empty()).then(|| view! { <p class="muted">{lead}</p> })}
                </div>
                {children()}
                {move || console.session.get().map(|session| foot(&session))}
            </div>
        </main>
    }
}

fn foot(session: &SessionView) -> impl IntoView + use<> {
    let fingerprint = session.ca_fingerprint.clone();
    view! {
        <div class="gate-foot">
            <a href=client::CA_HREF download="holdfast-ca.pem" data-testid="ca-download">{t!("Download the CA certificate")}</a>
            <span>{t!("Version")}" "{session.server_version.clone()}</span>
            {(!fingerprint.is_empty()).then(|| view! {
                <details>
                    <summary>{t!("Compare its fingerprint (SHA-256)")}</summary>
                    <p class="mono">{text::fingerprint(&fingerprint)}</p>
                </details>
            })}
        </div>
    }
}

#[component]
fn Refusal(problem: RwSignal<Option<String>>) -> impl IntoView {
    view! {
        <div aria-live="assertive">
            {move || problem.get().map(|text| view! { <p class="notice" data-tone="bad" data-testid="refusal">{draw(Icon::Alert)}<span>{prose(&text)}</span></p> })}
        </div>
    }
}

/// Words for a refused login, with the time to wait if there is one.
fn refusal(error: &ApiError) -> String {
    match error {
        ApiError::Problem(problem) => match problem.retry_after_s {
            Some(seconds) => tf!("{0} Try again in {seconds} s.", 0 = error.text(), seconds),
            None => error.text(),
        },
        ApiError::Network(_) => error.text(),
    }
}
