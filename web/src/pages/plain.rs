//! The part of Settings that serves the console over plain http, or not any more.

use crate::client;
use crate::components::dialog::Question;
use crate::components::icon::{Icon, draw};
use crate::components::notice::Notice;
use crate::components::state::Chip;
use crate::language::t;
use crate::rules::settings::plain_consequences;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{PlainHttp, PlainHttpForm};
use leptos::prelude::*;
use std::sync::Arc;

/// The switch, and the addresses while it is on.
#[component]
pub fn PlainHttpSwitch(
    /// As the server has it.
    plain: RwSignal<PlainHttp>,
) -> impl IntoView {
    let console = Console::get();
    let on = Memo::new(move |_| plain.with(|plain| plain.on));
    let set = move |on: bool| {
        let form = PlainHttpForm { on };
        console.call(async move { client::set_plain_http(&form).await }, move |answer| match answer {
            Ok(view) => {
                plain.try_set(view);
                console.toast(
                    Tone::Ok,
                    if on {
                        t!("The nodes serve the console over plain http too.")
                    } else {
                        t!("The nodes do not serve the console over plain http any more.")
                    },
                );
            }
            Err(error) => console.toast(Tone::Bad, error.text()),
        });
    };
    let ask = move |_| {
        let on = !on.get_untracked();
        console.ask(Question {
            title: if on { t!("Serve the console over plain http?") } else { t!("Serve the console over https only?") }
                .to_owned(),
            consequences: plain_consequences(on, console.is_plain()),
            confirm: if on { t!("Switch plain http on") } else { t!("Switch plain http off") }.to_owned(),
            danger: on,
            act: Arc::new(move || set(on)),
        });
    };
    view! {
        <section class="card" aria-labelledby="plain-http">
            <div class="card-head">
                <h2 id="plain-http">{t!("Console over plain http")}</h2>
                {move || {
                    let (tone, text) = if on.get() { (Tone::Bad, t!("On")) } else { (Tone::Ok, t!("Off")) };
                    view! { <span data-testid="plain-state" data-on=on.get().to_string()><Chip tone text /></span> }
                }}
            </div>
            <div class="card-body stack">
                <p class="muted">{t!("For networks in which browsers cannot use https: each node then serves the console on port 9010. Off unless you need it.")}</p>
                <Show when=move || on.get()><Addresses plain /></Show>
                <div><button type="button" class="btn" data-testid="plain-switch" on:click=ask>{draw(Icon::Settings)}{move || if on.get() { t!("Switch plain http off") } else { t!("Switch plain http on") }}</button></div>
            </div>
        </section>
    }
}

/// Where the console is served over plain http.
#[component]
fn Addresses(plain: RwSignal<PlainHttp>) -> impl IntoView {
    let one = |address: String| view! { <li><a class="mono" href=address.clone()>{address.clone()}</a></li> };
    view! {
        <Notice tone=Tone::Bad title=t!("Everybody on the way can read passwords and use sessions") text=t!("Switch it off as soon as https works.") />
        {move || {
            let addresses = plain.with(|plain| plain.addresses.clone());
            match addresses.is_empty() {
                true => view! { <p class="muted">{t!("No node is in contact that could serve it.")}</p> }.into_any(),
                false => view! { <ul class="stack tight" data-testid="plain-addresses">{addresses.into_iter().map(one).collect_view()}</ul> }.into_any(),
            }
        }}
    }
}
