//! Cluster configuration: its saved versions, what each changed, and the way back to one.

use super::Draft;
use crate::client;
use crate::components::dialog::Question;
use crate::components::form::SelectField;
use crate::components::notice::Notice;
use crate::effect::effect;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::cluster::change_words;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{RestoreForm, UserRole, VersionView};
use leptos::prelude::*;
use std::sync::Arc;

/// What is read of the versions; a handle that is copied around.
#[derive(Clone, Copy)]
struct Read {
    versions: RwSignal<Vec<VersionView>>,
    /// The version looked at.
    open: RwSignal<Option<u64>>,
    /// What it is compared with, as the list's words; empty: the one before.
    against: RwSignal<String>,
    compared: RwSignal<Option<client::Compared>>,
    problem: RwSignal<Option<String>>,
}

/// The versions; nothing before the first is saved.
#[component]
pub fn History(draft: Draft) -> impl IntoView {
    let console = Console::get();
    let read = Read {
        versions: RwSignal::new(Vec::new()),
        open: RwSignal::new(None),
        against: RwSignal::new(String::new()),
        compared: RwSignal::new(None),
        problem: RwSignal::new(None),
    };
    let latest = Memo::new(move |_| console.read(|snapshot| snapshot.cluster.version).unwrap_or(0));
    // Read whenever somebody has saved.
    effect(move || {
        if latest.get() > 0 {
            read.problem.set(None);
            console.call(client::cluster_versions(), move |answer| match answer {
                Ok(found) => drop(read.versions.try_set(found)),
                Err(error) => drop(read.problem.try_set(Some(error.text()))),
            });
        }
    });
    effect(move || {
        let (open, against) = (read.open.get(), read.against.get());
        if let Some(version) = open {
            console.call(client::compared(version, against.parse().ok()), move |answer| match answer {
                Ok(found) => drop(read.compared.try_set(Some(found))),
                Err(error) => drop(read.problem.try_set(Some(error.text()))),
            });
        }
    });
    view! {
        <Show when=move || { latest.get() > 0 }>
            <section class="card" aria-labelledby="cluster-versions-title">
                <div class="card-head"><h2 id="cluster-versions-title">{t!("Versions")}</h2></div>
                {move || read.problem.get().map(|text| view! { <div class="card-body"><Notice tone=Tone::Bad title=t!("The versions could not be read") text /></div> })}
                <div class="table-wrap" tabindex="0" role="group" aria-label=t!("Table of versions")>
                    <table class="table" data-testid="cluster-versions">
                        <thead><tr><th scope="col">{t!("Version")}</th><th scope="col">{t!("Saved")}</th><th scope="col">{t!("By")}</th><th scope="col">{t!("What")}</th><th scope="col"><span class="visually-hidden">{t!("More")}</span></th></tr></thead>
                        <tbody>
                            <For each=move || read.versions.get() key=|version| version.version let:version><Row draft read version latest /></For>
                        </tbody>
                    </table>
                </div>
                <Compared read />
            </section>
        </Show>
    }
}

#[component]
fn Row(draft: Draft, read: Read, version: VersionView, latest: Memo<u64>) -> impl IntoView {
    let console = Console::get();
    let number = version.version;
    let look = move |_| {
        read.compared.set(None);
        read.against.set(String::new());
        read.open.set(if read.open.get_untracked() == Some(number) { None } else { Some(number) });
    };
    let is_open = move || read.open.get() == Some(number);
    let may = Memo::new(move |_| console.role().may(UserRole::Admin));
    let unsaved = Memo::new(move |_| !draft.changes().is_empty());
    view! {
        <tr>
            <th scope="row">{number}{move || (latest.get() == number).then(|| tf!(" ({0})", 0 = t!("the newest")))}</th>
            <td class="nowrap">{platform::date_time(version.saved_unix_ms)}</td>
            <td>{version.author}</td>
            <td>{version.note}</td>
            <td class="num"><div class="row tight end">
                <button type="button" class="btn compact" data-testid=format!("cluster-changes-{number}") aria-expanded=move || is_open().to_string() on:click=look>{t!("What changed")}</button>
                <Show when=move || may.get() && latest.get() != number>
                    <button type="button" class="btn compact" data-testid=format!("cluster-restore-{number}") disabled=move || unsaved.get() title=move || unsaved.get().then_some(t!("Save or discard your changes first.")) on:click=move |_| ask_restore(console, draft, number, latest.get_untracked())>{t!("Restore")}</button>
                </Show>
            </div></td>
        </tr>
    }
}

/// The version looked at against another.
#[component]
fn Compared(read: Read) -> impl IntoView {
    let choices = Signal::derive(move || {
        let open = read.open.get();
        let others =
            read.versions.get().into_iter().map(|version| version.version).filter(|version| Some(*version) != open);
        let mut choices = vec![(String::new(), t!("the one before").to_owned())];
        choices.extend(others.map(|version| (version.to_string(), tf!("version {version}", version))));
        choices
    });
    let body = move || {
        let compared = read.compared.get()?;
        let number = compared.version;
        let title = if compared.against == 0 {
            tf!("Version {number} is the first", number)
        } else {
            tf!("Version {number}, compared with version {0}", number, 0 = compared.against)
        };
        let lines = compared.changes.iter().map(|change| view! { <li>{change_words(change)}</li> }).collect::<Vec<_>>();
        let lines = if lines.is_empty() {
            view! { <p class="muted">{t!("Nothing differs.")}</p> }.into_any()
        } else {
            view! { <ul class="stack tight">{lines}</ul> }.into_any()
        };
        Some(view! { <h3>{title}</h3>{lines} })
    };
    view! {
        <Show when=move || read.open.with(Option::is_some)>
            <div class="card-body stack">
                <div class="limited"><SelectField id="cluster-against" label=t!("Compare with") value=read.against choices /></div>
                <div class="stack tight" data-testid="cluster-compared" aria-live="polite">{body}</div>
            </div>
        </Show>
    }
}

/// Asks with what the restored version changes of the cluster as it is now.
fn ask_restore(console: Console, draft: Draft, version: u64, latest: u64) {
    console.call(client::compared(version, Some(latest)), move |answer| {
        let changes: Vec<String> = match answer {
            Ok(found) => found.changes.iter().map(change_words).collect(),
            Err(error) => return console.toast(Tone::Bad, error.text()),
        };
        if changes.is_empty() {
            return console.toast(Tone::Ok, tf!("The cluster is as it was in version {version}.", version));
        }
        let mut consequences = vec![
            tf!("Version {version} is saved again as the newest and applied to its nodes. Then:", version),
            format!("{}.", changes.join("; ")),
        ];
        consequences
            .push(t!("Other addresses, networks or nodes are taken only while every module is stopped.").to_owned());
        let act = move || {
            let form = RestoreForm { version, expected_version: latest };
            console.start_shown_task(async move { client::restore_cluster(&form).await }, move |task| {
                draft.task.set(task)
            });
        };
        console.ask(Question {
            title: tf!("Restore version {version} of the cluster?", version),
            consequences,
            confirm: t!("Restore").to_owned(),
            danger: true,
            act: Arc::new(act),
        });
    });
}
