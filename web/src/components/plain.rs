//! The console over plain http: the banner of every page, and what stands where something is not done there.

use super::icon::{Icon, draw};
use super::notice::Notice;
use crate::language::t;
use crate::rules::tone::Tone;
use crate::store::Console;
use leptos::prelude::*;

/// Says on every page that everybody on the way reads along, and leads to the address that nobody reads.
#[component]
pub fn PlainBanner() -> impl IntoView {
    let console = Console::get();
    move || {
        console.is_plain().then(|| view! {
            <div class="banner" data-tone="bad" role="alert" data-testid="plain-banner">
                {draw(Icon::Alert)}
                <span>{t!("This page came over plain http: everybody on the way can read what is sent, passwords included, and use your session.")}</span>
                <SafeLink />
            </div>
        })
    }
}

/// Where the console is reached by https.
#[component]
fn SafeLink() -> impl IntoView {
    let console = Console::get();
    move || {
        console.safe_address().map(
            |href| view! { <a class="btn compact" data-testid="plain-https" href=href>{t!("Open with https")}</a> },
        )
    }
}

/// Stands over a form whose request the server refuses over plain http; nothing over https.
#[component]
pub fn OnlyByHttps(
    /// What would be read on the way, in a sentence.
    what: &'static str,
) -> impl IntoView {
    let console = Console::get();
    move || {
        console.is_plain().then(|| view! {
            <Notice tone=Tone::Busy title=t!("Not over plain http") text=what testid="only-https"><SafeLink /></Notice>
        })
    }
}
