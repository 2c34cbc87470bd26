//! "New node": an address is probed, the node proves who it is, its pairing code enrols it.

use crate::client;
use crate::components::form::TextField;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{CheckLine, Notice, Waiting};
use crate::components::plain::OnlyByHttps;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{EnrolForm, ProbeCheck, ProbeIdentity, ProbeView};
use leptos::{ev, prelude::*};

#[derive(Clone, Copy)]
struct Form {
    address: RwSignal<String>,
    code: RwSignal<String>,
    name: RwSignal<String>,
    probing: RwSignal<bool>,
    enrolling: RwSignal<bool>,
    found: RwSignal<Option<ProbeView>>,
    problem: RwSignal<Option<String>>,
}

impl Form {
    fn new() -> Self {
        Self {
            address: RwSignal::new(String::new()),
            code: RwSignal::new(String::new()),
            name: RwSignal::new(String::new()),
            probing: RwSignal::new(false),
            enrolling: RwSignal::new(false),
            found: RwSignal::new(None),
            problem: RwSignal::new(None),
        }
    }

    fn probe(self, console: Console) {
        let address = self.address.get_untracked().trim().to_owned();
        if address.is_empty() {
            self.problem.set(Some(t!("Give the node's IP address or DNS name.").to_owned()));
            return;
        }
        self.problem.set(None);
        self.found.set(None);
        self.probing.set(true);
        console.call(async move { client::probe(&address).await }, move |answer| {
            self.probing.set(false);
            match answer {
                Ok(found) => {
                    if let Some(identity) = &found.identity {
                        self.name.set(identity.name.clone());
                    }
                    self.found.set(Some(found));
                }
                Err(error) => self.problem.set(Some(error.text())),
            }
        });
    }

    fn enrol(self, console: Console, fingerprint: String, done: Callback<()>) {
        self.problem.set(None);
        self.enrolling.set(true);
        let address =
            self.found.with_untracked(|found| found.as_ref().map(|found| found.address.clone())).unwrap_or_default();
        let form = EnrolForm {
            address,
            fingerprint,
            code: self.code.get_untracked().trim().to_owned(),
            name: self.name.get_untracked().trim().to_owned(),
        };
        console.call(async move { client::enrol(&form).await }, move |answer| {
            self.enrolling.set(false);
            match answer {
                Ok(node) => {
                    console.toast(Tone::Ok, tf!("{0} is enrolled.", 0 = node.name));
                    self.address.set(String::new());
                    self.code.set(String::new());
                    self.found.set(None);
                    // The form may be gone: the snapshot with the new node can come first.
                    done.try_run(());
                }
                Err(error) => self.problem.set(Some(error.text())),
            }
        });
    }
}

/// The form; `done` is called when a node has been enrolled.
#[component]
pub fn NewNode(
    /// The label of the address.
    label: &'static str,
    /// Called when a node has been enrolled.
    done: Callback<()>,
) -> impl IntoView {
    let console = Console::get();
    let form = Form::new();
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        form.probe(console);
    };
    let address_problem = Signal::derive(move || form.problem.get().filter(|_| form.found.with(Option::is_none)));
    view! {
        <div class="stack" data-testid="new-node">
            <OnlyByHttps what=t!("Nodes are enrolled over https only: the pairing code would be read on the way.") />
            <form class="repeat-row" on:submit=submit>
                <TextField id="node-address" label=label value=form.address problem=address_problem placeholder=t!("10.0.0.11 or node1.example.com") />
                <button class="btn primary" data-testid="probe" disabled=move || form.probing.get() || console.is_plain()>{t!("Confirm")}</button>
            </form>
            <Show when=move || form.probing.get()><Waiting text=t!("Looking who answers there…") /></Show>
            {move || form.found.get().map(|found| view! { <Found form found done /> })}
        </div>
    }
}

#[component]
fn Found(form: Form, found: ProbeView, done: Callback<()>) -> impl IntoView {
    let checks = found.checks.iter().map(check).collect_view();
    let passed = found.checks.iter().all(|check| check.ok);
    let rest = match found.identity {
        Some(identity) if passed => view! { <Pair form identity done /> }.into_any(),
        _ => view! {
            <Notice tone=Tone::Bad title=t!("This node cannot be enrolled yet") text=t!("Mend what is marked above, then confirm the address again. On the node, `holdfast pairing` shows the pairing code and opens pairing again.") testid="probe-failed" />
        }
        .into_any(),
    };
    view! {
        <ul class="checks" data-testid="probe-checks">{checks}</ul>
        {rest}
    }
}

fn check(check: &ProbeCheck) -> impl IntoView + use<> {
    let tone = if check.ok { Tone::Ok } else { Tone::Bad };
    view! { <CheckLine tone text=check.detail.clone() /> }
}

/// Who answered, and the pairing code that proves it.
#[component]
fn Pair(form: Form, identity: ProbeIdentity, done: Callback<()>) -> impl IntoView {
    let console = Console::get();
    let fingerprint = identity.fingerprint.clone();
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        form.enrol(console, fingerprint.clone(), done);
    };
    let code_problem = Signal::derive(move || form.problem.get());
    let hint = tf!(
        "Printed by the agent when it started; `holdfast pairing` on the node shows it. {0} left.",
        0 = text::count(u64::from(identity.attempts_left), t!("try"), t!("tries"))
    );
    view! {
        <form class="stack" on:submit=submit data-testid="pair-form">
            <dl class="facts" data-testid="probe-identity">
                <dt>{t!("Node")}</dt><dd>{identity.name}</dd>
                <dt>{t!("Agent")}</dt><dd>{tf!("version {0}", 0 = identity.version)}</dd>
                <dt>{t!("Key fingerprint")}</dt><dd class="mono" data-testid="probe-fingerprint">{text::fingerprint(&identity.fingerprint)}</dd>
            </dl>
            <div class="columns">
                <TextField id="pairing-code" label=t!("Pairing code") hint value=form.code problem=code_problem code=true />
                <TextField id="node-name" label=t!("Name in the cluster") hint=t!("a-z, 0-9, _ and -, beginning with a letter") value=form.name />
            </div>
            <div class="row end">
                <button class="btn primary" data-testid="enrol" disabled=move || form.enrolling.get()>
                    {draw(Icon::Key)}{move || if form.enrolling.get() { t!("Enrolling…") } else { t!("Enrol this node") }}
                </button>
            </div>
        </form>
    }
}

/// A token for unattended enrolment, with the command to run on the node.
#[component]
pub fn JoinToken() -> impl IntoView {
    let console = Console::get();
    let token = RwSignal::new(None::<holdfast_api::console::TokenView>);
    let make = move |_| {
        console.call(client::join_token(60), move |answer| match answer {
            Ok(view) => token.set(Some(view)),
            Err(error) => console.toast(Tone::Bad, error.text()),
        });
    };
    view! {
        <details>
            <summary>{t!("Unattended installation: a token instead of a pairing code")}</summary>
            <div class="stack tight">
                <p class="muted">{t!("A token enrols one node within an hour, without anybody at the console.")}</p>
                <div><button type="button" class="btn" data-testid="make-token" disabled=move || console.is_plain() on:click=make>{draw(Icon::Key)}{t!("Make a token")}</button></div>
                {move || token.get().map(|view| {
                    let command = view.command.clone();
                    view! {
                        <p>{t!("Run this on the node, as root. It is shown only now and valid until")}" "{platform::date_time(view.expires_unix_ms)}"."</p>
                        <p class="row tight"><code data-testid="join-command">{view.command}</code><button type="button" class="btn compact" on:click=move |_| platform::copy(&command)>{draw(Icon::Copy)}{t!("Copy")}</button></p>
                    }
                })}
            </div>
        </details>
    }
}
