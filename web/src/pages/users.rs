//! Users: who may do what, their sessions, tokens for scripts, and the own password.

use crate::client::{self, ApiError};
use crate::components::dialog::Question;
use crate::components::form::{SelectField, TextField};
use crate::components::icon::{Icon, draw};
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::notice::{EmptyState, Notice};
use crate::components::plain::OnlyByHttps;
use crate::components::shell::PageHead;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{
    ApiTokenView, MadeApiToken, NewApiToken, NewUser, PASSWORD_CHARS_MIN, PasswordForm, SessionInfo, UserChange,
    UserRole, UserView,
};
use leptos::{ev, prelude::*};
use std::sync::Arc;

/// What the page has read; a handle that is copied around.
#[derive(Clone, Copy)]
struct Read {
    users: RwSignal<Vec<UserView>>,
    sessions: RwSignal<Vec<SessionInfo>>,
    tokens: RwSignal<Vec<ApiTokenView>>,
    problem: RwSignal<Option<String>>,
    /// The user who is given a new password.
    reset: RwSignal<Option<String>>,
}

impl Read {
    fn again(self, console: Console) {
        self.problem.set(None);
        console.call(client::users(), move |answer| self.put(self.users, answer));
        console.call(client::sessions(), move |answer| self.put(self.sessions, answer));
        console.call(client::tokens(), move |answer| self.put(self.tokens, answer));
    }

    fn put<T: Send + Sync + 'static>(self, into: RwSignal<T>, answer: Result<T, ApiError>) {
        match answer {
            Ok(found) => drop(into.try_set(found)),
            Err(error) => drop(self.problem.try_set(Some(error.text()))),
        }
    }

    /// Tells what came of a change, and reads everything again.
    fn after<T>(self, console: Console, said: String) -> impl FnOnce(Result<T, ApiError>) {
        move |answer| match answer {
            Ok(_) => {
                console.toast(Tone::Ok, said);
                self.again(console);
            }
            Err(error) => console.toast(Tone::Bad, error.text()),
        }
    }
}

fn roles() -> Vec<(String, String)> {
    let role = |word: &str, label: &str| (word.to_owned(), label.to_owned());
    vec![
        role("admin", t!("Administrator: everything")),
        role("control", t!("Control: commands")),
        role("monitor", t!("Monitor: look only")),
    ]
}

fn role_of(word: &str) -> UserRole {
    match word {
        "admin" => UserRole::Admin,
        "control" => UserRole::Control,
        _ => UserRole::Monitor,
    }
}

fn role_name(role: UserRole) -> &'static str {
    match role {
        UserRole::Admin => t!("Administrator"),
        UserRole::Control => t!("Control"),
        UserRole::Monitor => t!("Monitor"),
    }
}

/// The page.
#[component]
pub fn UsersPage() -> impl IntoView {
    let console = Console::get();
    let may = Memo::new(move |_| console.role().may(UserRole::Admin));
    view! {
        <div class="page">
            <PageHead title=t!("Users").to_owned() lead=t!("Who may look, command or change; and by which tokens scripts come in.") />
            <Show
                when=move || may.get()
                fallback=|| view! { <EmptyState icon=Icon::User title=t!("Only for administrators") text=t!("Your role may not see the users. Below you can change your own password.") /> }
            >
                <Everything />
            </Show>
            <OwnPassword />
        </div>
    }
}

#[component]
fn Everything() -> impl IntoView {
    let console = Console::get();
    let read = Read {
        users: RwSignal::new(Vec::new()),
        sessions: RwSignal::new(Vec::new()),
        tokens: RwSignal::new(Vec::new()),
        problem: RwSignal::new(None),
        reset: RwSignal::new(None),
    };
    read.again(console);
    view! {
        {move || read.problem.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The users could not be read") text /> })}
        <Users read />
        <Sessions read />
        <Tokens read />
    }
}

#[component]
fn Users(read: Read) -> impl IntoView {
    let console = Console::get();
    let (name, role, password) =
        (RwSignal::new(String::new()), RwSignal::new("monitor".to_owned()), RwSignal::new(String::new()));
    let refusal = RwSignal::new(None::<String>);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let (user, role) = (name.get_untracked().trim().to_owned(), role_of(&role.get_untracked()));
        let form = NewUser { name: user, role, password: password.get_untracked() };
        refusal.set(None);
        console.call(async move { client::add_user(&form).await }, move |answer| match answer {
            Ok(user) => {
                name.set(String::new());
                password.set(String::new());
                console.toast(Tone::Ok, tf!("{0} is a user now.", 0 = user.name));
                read.again(console);
            }
            Err(error) => refusal.set(Some(error.text())),
        });
    };
    view! {
        <section class="card" aria-labelledby="users">
            <div class="card-head"><h2 id="users">{t!("Users")}</h2></div>
            <div class="table-wrap">
                <table class="table" data-testid="users">
                    <thead><tr><th scope="col">{t!("Name")}</th><th scope="col">{t!("Role")}</th><th scope="col"><span class="visually-hidden">{t!("More")}</span></th></tr></thead>
                    <tbody>{move || read.users.get().into_iter().map(|user| view! { <UserRow read user /> }).collect_view()}</tbody>
                </table>
            </div>
            {move || read.reset.get().map(|user| view! { <NewPassword read user /> })}
            <form class="card-body stack" on:submit=submit>
                <h3>{t!("New user")}</h3>
                <OnlyByHttps what=t!("Users and their passwords are changed over https only.") />
                <div class="columns">
                    <TextField id="new-user" label=t!("Name") value=name autocomplete="off" />
                    <SelectField id="new-user-role" label=t!("Role") value=role choices=Signal::stored(roles()) />
                    <TextField id="new-user-password" label=t!("Password") hint=tf!("At least {PASSWORD_CHARS_MIN} characters", PASSWORD_CHARS_MIN) value=password kind="password" autocomplete="new-password" />
                </div>
                {move || refusal.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The user was not added") text /> })}
                <div><button class="btn primary" data-testid="add-user" disabled=move || console.is_plain() || name.with(String::is_empty) || password.with(String::is_empty)>{draw(Icon::Add)}{t!("Add the user")}</button></div>
            </form>
        </section>
    }
}

#[component]
fn UserRow(read: Read, user: UserView) -> impl IntoView {
    let console = Console::get();
    let own = console.session.with_untracked(|session| {
        session.as_ref().and_then(|session| session.user.as_ref()).is_some_and(|me| me.name == user.name)
    });
    let plain = untrack(move || console.is_plain());
    let entry = |id, label, icon, role: Option<UserRole>| MenuEntry {
        id,
        label,
        icon,
        danger: id == "remove",
        disabled: match role {
            _ if plain && id != "remove" => {
                Some(t!("Users and their passwords are changed over https only.").to_owned())
            }
            Some(role) if role == user.role => Some(t!("It is this already.").to_owned()),
            None if own => Some(t!("That is you.").to_owned()),
            _ => None,
        },
        divided: id == "remove",
    };
    let password = entry("password", t!("Give a new password"), Icon::Key, None);
    let entries = vec![
        entry("admin", t!("Make administrator"), Icon::User, Some(UserRole::Admin)),
        entry("control", t!("Give role Control"), Icon::User, Some(UserRole::Control)),
        entry("monitor", t!("Give role Monitor"), Icon::User, Some(UserRole::Monitor)),
        MenuEntry {
            divided: true,
            disabled: own
                .then(|| t!("Your own password is changed at the foot of this page.").to_owned())
                .or_else(|| password.disabled.clone()),
            ..password
        },
        entry("remove", t!("Remove"), Icon::Remove, None),
    ];
    let name = user.name.clone();
    let pick = move |what: &'static str| {
        let user = name.clone();
        if what == "password" {
            read.reset.set(Some(user));
            return;
        }
        if what == "remove" {
            let act = move || {
                let gone = user.clone();
                let said = tf!("{gone} is removed.", gone);
                console.call(async move { client::remove_user(&gone).await }, read.after(console, said));
            };
            console.ask(Question {
                title: tf!("Remove the user {name}?", name),
                consequences: vec![t!("The user's sessions end at once.").to_owned()],
                confirm: t!("Remove").to_owned(),
                danger: true,
                act: Arc::new(act),
            });
            return;
        }
        let form = UserChange { role: Some(role_of(what)), password: None };
        let said = tf!("{user} has the role {0}.", user, 0 = role_name(role_of(what)));
        console.call(async move { client::change_user(&user, &form).await }, read.after(console, said));
    };
    let (label, testid) = (tf!("More for {0}", 0 = user.name), format!("user-more-{}", user.name));
    view! {
        <tr>
            <th scope="row"><strong>{user.name.clone()}</strong>{own.then(|| tf!(" ({0})", 0 = t!("you")))}</th>
            <td>{role_name(user.role)}</td>
            <td class="num"><ActionMenu label testid entries=Signal::stored(entries) on_pick=Callback::new(pick) icon=Icon::More /></td>
        </tr>
    }
}

/// Gives another user a new password; the user's sessions end.
#[component]
fn NewPassword(read: Read, user: String) -> impl IntoView {
    let console = Console::get();
    let password = RwSignal::new(String::new());
    let refusal = RwSignal::new(None::<String>);
    let title = tf!("New password for {user}", user);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        refusal.set(None);
        let user = user.clone();
        let form = UserChange { role: None, password: Some(password.get_untracked()) };
        let said = tf!("{user} has a new password.", user);
        console.call(async move { client::change_user(&user, &form).await }, move |answer| match answer {
            Ok(_) => {
                read.reset.set(None);
                console.toast(Tone::Ok, said);
                read.again(console);
            }
            Err(error) => drop(refusal.try_set(Some(error.text()))),
        });
    };
    view! {
        <form class="card-body stack" data-testid="reset-form" on:submit=submit>
            <h3>{title}</h3>
            <div class="limited"><TextField id="reset-password" label=t!("New password") hint=tf!("At least {PASSWORD_CHARS_MIN} characters", PASSWORD_CHARS_MIN) value=password kind="password" autocomplete="new-password" /></div>
            {move || refusal.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The password stays") text /> })}
            <div class="row">
                <button class="btn primary" data-testid="set-password" disabled=move || password.with(String::is_empty)>{draw(Icon::Key)}{t!("Set the password")}</button>
                <button type="button" class="btn" on:click=move |_| read.reset.set(None)>{t!("Cancel")}</button>
            </div>
        </form>
    }
}

#[component]
fn Sessions(read: Read) -> impl IntoView {
    let console = Console::get();
    let row = move |session: SessionInfo| {
        let (id, user) = (session.id, session.user.clone());
        let end = move |_| {
            console.call(client::end_session(id), read.after(console, tf!("A session of {user} is ended.", user)));
        };
        view! {
            <tr>
                <th scope="row"><strong>{session.user}</strong></th>
                <td class="nowrap">{platform::date_time(session.began_unix_ms)}</td>
                <td class="nowrap">{platform::date_time(session.used_unix_ms)}</td>
                <td class="num">{if session.own { view! { <span class="muted small">{t!("this one")}</span> }.into_any() } else { view! { <button type="button" class="btn compact" on:click=end>{t!("End")}</button> }.into_any() }}</td>
            </tr>
        }
    };
    view! {
        <section class="card" aria-labelledby="sessions">
            <div class="card-head"><h2 id="sessions">{t!("Sessions")}</h2></div>
            <div class="table-wrap" tabindex="0" role="group" aria-label=t!("Table of sessions")>
                <table class="table" data-testid="sessions">
                    <thead><tr><th scope="col">{t!("User")}</th><th scope="col">{t!("Since")}</th><th scope="col">{t!("Last used")}</th><th scope="col"><span class="visually-hidden">{t!("End")}</span></th></tr></thead>
                    <tbody>{move || read.sessions.get().into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
        </section>
    }
}

#[component]
fn Tokens(read: Read) -> impl IntoView {
    let console = Console::get();
    let (name, role) = (RwSignal::new(String::new()), RwSignal::new("monitor".to_owned()));
    let made = RwSignal::new(None::<MadeApiToken>);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let form = NewApiToken { name: name.get_untracked().trim().to_owned(), role: role_of(&role.get_untracked()) };
        console.call(async move { client::make_token(&form).await }, move |answer| match answer {
            Ok(token) => {
                name.set(String::new());
                made.set(Some(token));
                read.again(console);
            }
            Err(error) => console.toast(Tone::Bad, error.text()),
        });
    };
    let row = move |token: ApiTokenView| {
        let (id, called) = (token.id, token.name.clone());
        let withdraw = move |_| {
            console
                .call(client::remove_token(id), read.after(console, tf!("The token {called} is withdrawn.", called)));
        };
        view! {
            <tr>
                <th scope="row"><strong>{token.name.clone()}</strong></th>
                <td>{role_name(token.role)}</td>
                <td>{token.made_by}", "{platform::date_time(token.made_unix_ms)}</td>
                <td class="nowrap">{if token.used_unix_ms == 0 { t!("never").to_owned() } else { platform::date_time(token.used_unix_ms) }}</td>
                <td class="num"><button type="button" class="btn compact" data-testid=format!("withdraw-{}", token.name) on:click=withdraw>{t!("Withdraw")}</button></td>
            </tr>
        }
    };
    view! {
        <section class="card" aria-labelledby="tokens">
            <div class="card-head"><h2 id="tokens">{t!("Tokens for scripts")}</h2></div>
            <Show when=move || read.tokens.with(|tokens| !tokens.is_empty())>
                <div class="table-wrap">
                    <table class="table" data-testid="tokens">
                        <thead><tr><th scope="col">{t!("Name")}</th><th scope="col">{t!("Role")}</th><th scope="col">{t!("Made by")}</th><th scope="col">{t!("Last used")}</th><th scope="col"><span class="visually-hidden">{t!("Withdraw")}</span></th></tr></thead>
                        <tbody>{move || read.tokens.get().into_iter().map(row).collect_view()}</tbody>
                    </table>
                </div>
            </Show>
            <form class="card-body stack" on:submit=submit>
                <OnlyByHttps what=t!("A token would be read on the way.") />
                <div class="columns">
                    <TextField id="new-token" label=t!("What the token is for") hint=t!("a-z, 0-9, _ and -; the audit names it") value=name />
                    <SelectField id="new-token-role" label=t!("Role") value=role choices=Signal::stored(roles()) />
                </div>
                {move || made.get().map(|made| {
                    let secret = made.secret.clone();
                    view! {
                        <div class="notice" data-tone="ok" role="status">
                            {draw(Icon::Key)}
                            <div>
                                <p class="notice-title">{t!("The token is shown only now")}</p>
                                <p><code data-testid="token-secret">{made.secret}</code></p>
                                <p class="muted small">{t!("A script sends it as the header")}" "<code>"Authorization: Bearer TOKEN"</code>"."</p>
                            </div>
                            <button type="button" class="btn compact" on:click=move |_| platform::copy(&secret)>{draw(Icon::Copy)}{t!("Copy")}</button>
                        </div>
                    }
                })}
                <div><button class="btn" data-testid="add-token" disabled=move || console.is_plain() || name.with(String::is_empty)>{draw(Icon::Key)}{t!("Make a token")}</button></div>
            </form>
        </section>
    }
}

#[component]
fn OwnPassword() -> impl IntoView {
    let console = Console::get();
    let (old, new) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let refusal = RwSignal::new(None::<String>);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        refusal.set(None);
        let form = PasswordForm { old: old.get_untracked(), new: new.get_untracked() };
        console.call(async move { client::change_password(&form).await }, move |answer| match answer {
            Ok(()) => {
                old.set(String::new());
                new.set(String::new());
                console.toast(Tone::Ok, t!("Your password is changed; your other sessions are ended."));
            }
            Err(error) => refusal.set(Some(error.text())),
        });
    };
    view! {
        <section class="card" aria-labelledby="own-password">
            <div class="card-head"><h2 id="own-password">{t!("Your password")}</h2></div>
            <form class="card-body stack" on:submit=submit>
                <OnlyByHttps what=t!("Your password is changed over https only.") />
                <div class="columns">
                    <TextField id="old-password" label=t!("Password now") value=old kind="password" autocomplete="current-password" />
                    <TextField id="new-password" label=t!("New password") hint=tf!("At least {PASSWORD_CHARS_MIN} characters", PASSWORD_CHARS_MIN) value=new kind="password" autocomplete="new-password" />
                </div>
                {move || refusal.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The password stays") text /> })}
                <div><button class="btn" data-testid="change-password" disabled=move || console.is_plain() || old.with(String::is_empty) || new.with(String::is_empty)>{t!("Change the password")}</button></div>
            </form>
        </section>
    }
}
