//! Settings of the management server: the certificate that browsers see, how long records are kept, versions.

use crate::client;
use crate::components::dialog::Question;
use crate::components::form::TextField;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{EmptyState, Notice, Waiting};
use crate::components::plain::OnlyByHttps;
use crate::components::shell::PageHead;
use crate::components::state::Chip;
use crate::language::{t, tf};
use crate::pages::plain::PlainHttpSwitch;
use crate::platform;
use crate::rules::settings::{self, Lasts};
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::rules::wizard::message_for;
use crate::store::Console;
use holdfast_api::console::{CertificateForm, CertificateView, PlainHttp, Retention, UserRole};
use leptos::{ev, prelude::*};
use std::sync::Arc;

/// The page.
#[component]
pub fn SettingsPage() -> impl IntoView {
    let console = Console::get();
    let may = Memo::new(move |_| console.role().may(UserRole::Admin));
    view! {
        <div class="page">
            <PageHead title=t!("Settings").to_owned() lead=t!("Of the management server itself. The nodes fail over without it, whatever is set here.") />
            <Show
                when=move || may.get()
                fallback=|| view! { <EmptyState icon=Icon::Configure title=t!("Only for administrators") text=t!("Your role may not change the settings of the server.") /> }
            >
                <Everything />
            </Show>
            <About />
        </div>
    }
}

#[component]
fn Everything() -> impl IntoView {
    let console = Console::get();
    let (certificate, retention) = (RwSignal::new(None::<CertificateView>), RwSignal::new(None::<Retention>));
    let (plain, problem) = (RwSignal::new(PlainHttp::default()), RwSignal::new(None::<String>));
    let read = move || {
        problem.set(None);
        console.call(client::server_settings(), move |answer| match answer {
            Ok(found) => {
                plain.try_set(found.plain_http);
                certificate.try_set(Some(found.certificate));
                retention.try_set(Some(found.retention));
            }
            Err(error) => drop(problem.try_set(Some(error.text()))),
        });
    };
    read();
    view! {
        {move || problem.get().map(|text| view! {
            <Notice tone=Tone::Bad title=t!("The settings could not be read") text><button type="button" class="btn compact" on:click=move |_| read()>{t!("Try again")}</button></Notice>
        })}
        <Show when=move || certificate.with(Option::is_some) && retention.with(Option::is_some) fallback=move || problem.with(Option::is_none).then(|| view! { <Waiting text=t!("Asking the server…") /> })>
            <Certificate certificate />
            <PlainHttpSwitch plain />
            <Kept retention />
        </Show>
    }
}

/// The certificate in use, and the way to another.
#[component]
fn Certificate(certificate: RwSignal<Option<CertificateView>>) -> impl IntoView {
    let own = Memo::new(move |_| certificate.with(|view| view.as_ref().is_some_and(|view| view.own)));
    view! {
        <section class="card" aria-labelledby="certificate">
            <div class="card-head">
                <h2 id="certificate">{t!("Certificate of the console")}</h2>
                {move || {
                    let (tone, text) = if own.get() { (Tone::Ok, t!("Your own")) } else { (Tone::Idle, t!("Of the server's own authority")) };
                    view! { <span data-testid="certificate-kind" data-own=own.get().to_string()><Chip tone text /></span> }
                }}
            </div>
            <div class="card-body stack loose">
                {move || certificate.get().map(certificate_facts)}
                <GiveCertificate certificate />
            </div>
            <Show when=move || own.get()><RemoveCertificate certificate /></Show>
        </section>
    }
}

fn certificate_facts(view: CertificateView) -> impl IntoView {
    let lasts = settings::lasts(view.not_after_unix_ms, platform::now_ms());
    let title = match lasts {
        Lasts::Long => None,
        Lasts::Days(days) => {
            Some((Tone::Busy, tf!("The certificate expires in {0}", 0 = text::count(days, t!("day"), t!("days")))))
        }
        Lasts::Over => Some((Tone::Bad, t!("The certificate has expired").to_owned())),
    };
    let cure = if view.own {
        t!("Browsers will refuse the console. Give a new certificate below, or go back to the server's own.")
    } else {
        t!("The server renews it by itself.")
    };
    view! {
        {title.map(|(tone, title)| view! { <Notice tone title text=cure testid="certificate-warning" /> })}
        <dl class="facts" data-testid="certificate-facts">
            <dt>{t!("Names")}</dt><dd>{view.names.join(", ")}</dd>
            <dt>{t!("Issued for")}</dt><dd>{view.subject}</dd>
            <dt>{t!("Issued by")}</dt><dd>{view.issuer}</dd>
            <dt>{t!("Expires")}</dt><dd>{platform::date_time(view.not_after_unix_ms)}</dd>
            <dt>{t!("Fingerprint (SHA-256)")}</dt><dd class="mono break">{text::fingerprint(&view.fingerprint)}</dd>
        </dl>
    }
}

/// Two PEM files; everything is checked by the server before anything is changed.
#[component]
fn GiveCertificate(certificate: RwSignal<Option<CertificateView>>) -> impl IntoView {
    let console = Console::get();
    let (chain, key) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let refusal = RwSignal::new(None::<String>);
    let form = NodeRef::<leptos::html::Form>::new();
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        refusal.set(None);
        let given = CertificateForm { certificate: chain.get_untracked(), key: key.get_untracked() };
        console.call(async move { client::set_certificate(&given).await }, move |answer| match answer {
            Ok(view) => {
                // The key does not stay in the page.
                key.set(String::new());
                chain.set(String::new());
                if let Some(form) = form.try_get_untracked().flatten() {
                    form.reset();
                }
                certificate.set(Some(view));
                console.toast(Tone::Ok, t!("Browsers get the new certificate with their next connection."));
            }
            Err(error) => refusal.set(Some(error.text())),
        });
    };
    view! {
        <form class="stack" node_ref=form on:submit=submit>
            <h3>{t!("Use a certificate of your own")}</h3>
            <p class="muted">{t!("PEM files of an authority that your browsers trust. The agents keep talking to the server by its own authority: nothing changes for the nodes.")}</p>
            <OnlyByHttps what=t!("The key of the certificate would be read on the way.") />
            <div class="columns">
                <PemField id="certificate-file" label=t!("Certificate, then those of its issuers") into=chain />
                <PemField id="key-file" label=t!("Its key, without passphrase") into=key />
            </div>
            {move || refusal.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The certificate in use stays") text testid="certificate-refused" /> })}
            <div><button class="btn primary" data-testid="set-certificate" disabled=move || console.is_plain() || chain.with(String::is_empty) || key.with(String::is_empty)>{draw(Icon::Key)}{t!("Use this certificate")}</button></div>
        </form>
    }
}

/// A file whose text is taken.
#[component]
fn PemField(id: &'static str, label: &'static str, into: RwSignal<String>) -> impl IntoView {
    let console = Console::get();
    let pick = move |event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        into.set(String::new());
        let Some(file) = input.files().and_then(|files| files.get(0)) else { return };
        leptos::task::spawn_local(async move {
            match platform::text_of(&file).await {
                Some(text) => drop(into.try_set(text)),
                None => console.toast(Tone::Bad, t!("The file could not be read.")),
            }
        });
    };
    view! {
        <div class="field">
            <label for=id>{label}</label>
            <input class="input" type="file" id=id data-testid=id accept=".pem,.crt,.cer,.key" on:change=pick />
        </div>
    }
}

#[component]
fn RemoveCertificate(certificate: RwSignal<Option<CertificateView>>) -> impl IntoView {
    let console = Console::get();
    let ask = move |_| {
        let act = move || {
            console.call(client::remove_certificate(), move |answer| match answer {
                Ok(view) => {
                    certificate.set(Some(view));
                    console.toast(Tone::Ok, t!("The console has the certificate of the server's own authority again."));
                }
                Err(error) => console.toast(Tone::Bad, error.text()),
            });
        };
        console.ask(Question {
            title: t!("Remove your certificate?").to_owned(),
            consequences: vec![
                t!("Browsers get the certificate of the server's own authority again, and warn unless they know that authority.").to_owned(),
                t!("Certificate and key are deleted from the server.").to_owned(),
            ],
            confirm: t!("Remove").to_owned(),
            danger: true,
            act: Arc::new(act),
        });
    };
    view! { <div class="card-foot"><button type="button" class="btn" data-testid="remove-certificate" on:click=ask>{draw(Icon::Remove)}{t!("Remove your certificate")}</button></div> }
}

/// How many and how long records are kept.
#[component]
fn Kept(retention: RwSignal<Option<Retention>>) -> impl IntoView {
    let console = Console::get();
    let saved = retention.get_untracked().unwrap_or_default();
    let field = |number: u32| RwSignal::new(number.to_string());
    let (snapshots, snapshot_days, audit_days) =
        (field(saved.snapshots), field(saved.snapshot_days), field(saved.audit_days));
    let typed = Memo::new(move |_| settings::retention(&snapshots.get(), &snapshot_days.get(), &audit_days.get()));
    let problem = move |name: &'static str| {
        Signal::derive(move || {
            typed.with(|typed| typed.as_ref().err().and_then(|problems| message_for(name, problems)))
        })
    };
    let changed = move || typed.with(|typed| typed.as_ref().ok().copied()) != retention.get();
    let save = move |form: Retention| {
        console.call(async move { client::set_retention(&form).await }, move |answer| match answer {
            Ok(kept) => {
                retention.set(Some(kept));
                console.toast(Tone::Ok, t!("The settings are saved."));
            }
            Err(error) => console.toast(Tone::Bad, error.text()),
        });
    };
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let (Ok(form), Some(before)) = (typed.get_untracked(), retention.get_untracked()) else { return };
        let gone = settings::deleted_by(&before, &form);
        if gone.is_empty() {
            save(form);
            return;
        }
        console.ask(Question {
            title: t!("Keep less?").to_owned(),
            consequences: gone,
            confirm: t!("Save").to_owned(),
            danger: true,
            act: Arc::new(move || save(form)),
        });
    };
    view! {
        <section class="card" aria-labelledby="kept">
            <div class="card-head"><h2 id="kept">{t!("What is kept")}</h2></div>
            <form class="card-body stack" on:submit=submit>
                <p class="muted">{t!("Versions of modules and of the cluster are always kept. Logs of modules are kept on the nodes.")}</p>
                <div class="columns">
                    <TextField id="keep-snapshots" label=t!("Most snapshots") hint=t!("When there are as many, new ones are refused") value=snapshots problem=problem("snapshots") />
                    <TextField id="keep-snapshot-days" label=t!("Days to keep a snapshot") hint=t!("0: for ever") value=snapshot_days problem=problem("snapshot_days") />
                    <TextField id="keep-audit-days" label=t!("Days to keep who did what") hint=t!("0: for ever") value=audit_days problem=problem("audit_days") />
                </div>
                <div><button class="btn primary" data-testid="save-retention" disabled=move || typed.with(Result::is_err) || !changed()>{draw(Icon::Check)}{t!("Save")}</button></div>
            </form>
        </section>
    }
}

/// Which versions run where.
#[component]
fn About() -> impl IntoView {
    let console = Console::get();
    let server = move || console.session.with(|session| session.as_ref().map(|session| session.server_version.clone()));
    let nodes = Memo::new(move |_| {
        let versions = |snapshot: &holdfast_api::console::LiveSnapshot| {
            snapshot.nodes.iter().map(|node| (node.name.clone(), node.agent_version.clone())).collect::<Vec<_>>()
        };
        console.read(versions).unwrap_or_default()
    });
    view! {
        <section class="card" aria-labelledby="about">
            <div class="card-head"><h2 id="about">{t!("Versions")}</h2></div>
            <div class="card-body stack">
                <dl class="facts" data-testid="versions-in-use">
                    <dt>{t!("Server")}</dt><dd>{server}</dd>
                    {move || nodes.get().into_iter().map(|(name, version)| view! { <dt>{name}</dt><dd>{if version.is_empty() { t!("never connected").to_owned() } else { version }}</dd> }).collect_view()}
                </dl>
            </div>
        </section>
    }
}
