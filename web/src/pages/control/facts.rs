//! Control: why a node is in its state, what it waits for, and what else is known of it.

use super::Subject;
use crate::components::notice::Notice;
use crate::components::register::ArmButton;
use crate::components::state::ResyncProgress;
use crate::language::{self, t, tf};
use crate::platform;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::agent::NodeModuleReport;
use leptos::prelude::*;

/// Why it is in its state, what it waits for, what is not applied, how far a resync is.
#[component]
pub fn Reason(subject: Subject) -> impl IntoView {
    let waiting = Memo::new(move |_| subject.report(|report| report.waiting_for.clone()).flatten());
    let resync = Memo::new(move |_| subject.report(|report| report.resync).flatten());
    let pending = Memo::new(move |_| {
        subject.on.with(|on| on.as_ref().map(|on| on.pending.clone())).filter(|text| !text.is_empty())
    });
    let last = Memo::new(move |_| {
        subject.on.with(|on| on.as_ref().filter(|on| !on.fresh && on.report.is_some()).map(|on| on.reported_unix_ms))
    });
    let unarmed = Memo::new(move |_| {
        let register = subject.live.with(|live| live.as_ref().and_then(|live| live.register.clone()))?;
        (!register.armed).then(|| {
            tf!(
                "It waits to hear which generation {0} holds. Until then no unplanned failover happens.",
                0 = language::list(&register.waits_for)
            )
        })
    });
    let stale = move || {
        last.get().map(|last| {
            tf!(
                "Last heard at {0}. The node goes on without the server; `holdfast state` on it tells more.",
                0 = platform::time(last)
            )
        })
    };
    view! {
        {move || stale().map(|text| view! { <Notice tone=Tone::Busy title=t!("This is what was last known") text testid="node-stale" /> })}
        {move || waiting.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("It waits") text testid="waiting-for" /> })}
        {move || unarmed.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The register does not grant yet") text testid="register-unarmed"><ArmButton module=subject.module /></Notice> })}
        {move || pending.get().map(|text| view! { <Notice tone=Tone::Busy title=t!("The wanted configuration is not in force here") text testid="pending" /> })}
        {move || resync.get().map(|resync| view! { <section class="card card-body"><ResyncProgress resync /></section> })}
    }
}

/// What else is known.
#[component]
pub fn Facts(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let node = subject.node;
    let address = Memo::new(move |_| {
        console
            .read(|snapshot| {
                snapshot
                    .cluster
                    .nodes
                    .iter()
                    .find(|form| form.id == node)
                    .and_then(|form| form.addresses.values().next().cloned())
            })
            .flatten()
            .unwrap_or_default()
    });
    let health = move || {
        subject
            .live
            .with(|live| {
                live.as_ref()
                    .map(|live| format!("http://{}:9010/var/modules/{}/ready.txt", address.get(), live.module.name))
            })
            .unwrap_or_default()
    };
    let desired = move || subject.live.with(|live| live.as_ref().and_then(|live| live.module.desired));
    // What a silent node heard last says nothing of now.
    let fresh = move || console.is_live() && subject.on.with(|on| on.as_ref().is_some_and(|on| on.fresh));
    view! {
        <section class="card" aria-labelledby="facts">
            <div class="card-head"><h2 id="facts">{t!("Details")}</h2></div>
            <div class="card-body">{move || subject.report(|report| facts(report, fresh(), desired(), &health()))}</div>
        </section>
    }
}

fn facts(report: &NodeModuleReport, fresh: bool, desired: Option<u64>, health: &str) -> impl IntoView + use<> {
    let version = match desired {
        Some(desired) if desired != report.version => tf!("{0}, wanted {desired}", 0 = report.version, desired),
        _ => report.version.to_string(),
    };
    let peer = report.peer.as_ref().map_or_else(
        || t!("never heard").to_owned(),
        |peer| {
            let words = if !fresh {
                t!("(as last known)")
            } else if peer.heard {
                t!("(heard)")
            } else {
                t!("(not heard now)")
            };
            format!("{} {} {words}", peer.node, peer.state)
        },
    );
    let data = report.inventory.map_or_else(
        || t!("not counted").to_owned(),
        |held| tf!("{0}, latest change {1}", 0 = text::inventory(&held), 1 = platform::date_time(held.changed_unix_ms)),
    );
    let generation = report.generation.to_string();
    let health = health.to_owned();
    view! {
        <dl class="facts">
            <dt>{t!("Hears the other node")}</dt><dd>{peer}</dd>
            <dt>{t!("Replicated files")}</dt><dd>{data}</dd>
            <dt>{t!("Generation")}</dt><dd class="mono">{generation}</dd>
            <dt>{t!("Configuration")}</dt><dd>{tf!("version {version}", version)}</dd>
            <dt>{t!("Health address")}</dt><dd class="mono">{health}</dd>
        </dl>
    }
}
