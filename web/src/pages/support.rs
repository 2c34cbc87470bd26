//! Support: one zip per node with everything that explains what happened, secrets masked.

use crate::client;
use crate::components::form::{Problem, Switch};
use crate::components::icon::{Icon, draw};
use crate::components::notice::{EmptyState, PerNodeResult};
use crate::components::shell::PageHead;
use crate::components::tray::results_of;
use crate::effect::effect;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{NodeView, SnapshotView, TaskState, UserRole};
use holdfast_api::ids::NodeId;
use leptos::prelude::*;
use leptos_router::components::A;

/// The page.
#[component]
pub fn SupportPage() -> impl IntoView {
    let console = Console::get();
    let nodes = Memo::new(move |_| console.read(|snapshot| snapshot.nodes.clone()).unwrap_or_default());
    let versions = move || {
        console
            .session
            .with(|session| session.as_ref().map(|session| session.server_version.clone()))
            .unwrap_or_default()
    };
    view! {
        <div class="page">
            <PageHead title=t!("Support").to_owned() lead=t!("A snapshot holds what is needed to find out what happened on a node. Take one of each node, as soon as you can after an incident.") />
            <Show
                when=move || nodes.with(|nodes| !nodes.is_empty())
                fallback=|| view! {
                    <EmptyState icon=Icon::Support title=t!("No nodes yet") text=t!("Snapshots are taken of the nodes of the cluster.")>
                        <A href="/cluster" attr:class="btn primary">{t!("Cluster configuration")}</A>
                    </EmptyState>
                }
            >
                <Snapshots nodes />
            </Show>
            <div class="columns">
                <section class="card card-body stack">
                    <h2>{t!("What is inside")}</h2>
                    <ul class="stack tight">
                        <li>{t!("Module logs and application logs")}</li>
                        <li>{t!("The configuration of the cluster and of the modules, scripts included")}</li>
                        <li>{t!("States and generations of every module")}</li>
                        <li>{t!("Versions, mounts, addresses, kernel and disk figures of the machine")}</li>
                    </ul>
                    <p class="muted">{t!("Keys and the cluster's secret are masked. The replicated files themselves are not inside. Scripts and logs are as you wrote them: look for passwords before you send a snapshot away.")}</p>
                </section>
                <section class="card card-body stack">
                    <h2>{t!("Versions")}</h2>
                    <dl class="facts">
                        <dt>{t!("Server")}</dt><dd>{versions}</dd>
                        {move || nodes.get().into_iter().map(|node| view! { <dt>{node.name}</dt><dd>{if node.agent_version.is_empty() { t!("never connected").to_owned() } else { node.agent_version }}</dd> }).collect_view()}
                    </dl>
                    <p><a href=client::OPENAPI_HREF>{t!("Description of the programming interface (OpenAPI)")}</a></p>
                </section>
            </div>
        </div>
    }
}

/// Makes zips of all nodes or of one, and lists those that the server keeps.
#[component]
fn Snapshots(nodes: Memo<Vec<NodeView>>) -> impl IntoView {
    let console = Console::get();
    let (kept, problem, task) =
        (RwSignal::new(Vec::<SnapshotView>::new()), RwSignal::new(None::<String>), RwSignal::new(None::<u64>));
    let may = Memo::new(move |_| console.role().may(UserRole::Control));
    let read = move || {
        console.call(client::snapshots(), move |answer| match answer {
            Ok(found) => drop(kept.try_set(found)),
            Err(error) => drop(problem.try_set(Some(error.text()))),
        });
    };
    let ended = Memo::new(move |_| {
        task.get()
            .and_then(|task| console.task(task))
            .map(|task| task.nodes.iter().filter(|node| node.state == TaskState::Done).count())
    });
    // Read at first, and whenever a node has sent its zip. (`track` alone would never compute the memo.)
    effect(move || {
        let _sent = ended.get();
        if may.get() {
            read();
        }
    });
    let anonymous = RwSignal::new(false);
    let make = move |nodes: Vec<NodeId>| {
        let anonymous = anonymous.get_untracked();
        console.start_shown_task(client::make_snapshots(nodes, anonymous), move |started| task.set(started))
    };
    let one = move |node: NodeView| {
        let (id, name) = (node.id, node.name.clone());
        view! { <button type="button" class="btn" data-testid=format!("snapshot-{}", node.name) disabled=!node.connected on:click=move |_| make(vec![id])>{name}</button> }
    };
    let results = Signal::derive(move || {
        task.get().and_then(|task| console.task(task)).map(|task| results_of(&task)).unwrap_or_default()
    });
    view! {
        <section class="card" aria-labelledby="snapshots">
            <div class="card-head"><h2 id="snapshots">{t!("Snapshots")}</h2></div>
            <Show when=move || may.get() fallback=|| view! { <p class="card-body muted">{t!("Your role may not take snapshots.")}</p> }>
                <div class="card-body stack">
                    <div class="row">
                        <button type="button" class="btn primary" data-testid="make-snapshots" on:click=move |_| make(Vec::new())>{draw(Icon::Support)}{t!("Take one of every node")}</button>
                        <span class="muted">{t!("or of")}</span>
                        {move || nodes.get().into_iter().map(one).collect_view()}
                    </div>
                    <div class="stack tight">
                        <Switch id="snapshot-anonymous" label=t!("Without names and addresses") on=anonymous on_change=Callback::new(move |on| anonymous.set(on)) />
                        <p class="muted small">{t!("For helpers outside: nodes, modules, users, networks and addresses have stand-ins, the same in all snapshots that are made together. Scripts, their output and the list of processes are left out.")}</p>
                    </div>
                    <Show when=move || task.get().is_some()><PerNodeResult results testid="snapshot-results" /></Show>
                    <Problem id="snapshots-read" problem />
                </div>
                <Show when=move || kept.with(|kept| !kept.is_empty())>
                <div class="table-wrap">
                    <table class="table" data-testid="snapshots">
                        <thead><tr><th scope="col">{t!("File")}</th><th scope="col">{t!("Made")}</th><th scope="col">{t!("Size")}</th><th scope="col"><span class="visually-hidden">{t!("Save or delete")}</span></th></tr></thead>
                        <tbody>{move || kept.get().into_iter().map(|zip| view! { <Row kept zip /> }).collect_view()}</tbody>
                    </table>
                </div>
                </Show>
            </Show>
        </section>
    }
}

#[component]
fn Row(kept: RwSignal<Vec<SnapshotView>>, zip: SnapshotView) -> impl IntoView {
    let console = Console::get();
    let (saved, gone) = (zip.name.clone(), zip.name.clone());
    let save = move |_| platform::download(&client::snapshot_href(&saved), "");
    let remove = move |_| {
        let name = gone.clone();
        let asked = name.clone();
        console.call(async move { client::remove_snapshot(&asked).await }, move |answer| match answer {
            Ok(()) => kept.update(|kept| kept.retain(|zip| zip.name != name)),
            Err(error) => console.toast(Tone::Bad, error.text()),
        });
    };
    let (save_words, remove_words) = (tf!("Save {0}", 0 = zip.name), tf!("Delete {0}", 0 = zip.name));
    view! {
        <tr>
            <th scope="row" class="mono">{zip.name}</th>
            <td class="nowrap">{platform::date_time(zip.made_unix_ms)}</td>
            <td class="nowrap">{text::bytes(zip.bytes)}</td>
            <td class="num"><div class="row tight end">
                <button type="button" class="btn ghost icon" data-testid="snapshot-save" aria-label=save_words on:click=save>{draw(Icon::Download)}</button>
                <button type="button" class="btn ghost icon" data-testid="snapshot-remove" aria-label=remove_words on:click=remove>{draw(Icon::Remove)}</button>
            </div></td>
        </tr>
    }
}
