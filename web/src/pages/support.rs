//! Support: one zip per node with everything that explains what happened, secrets masked.

use crate::client;
use crate::components::icon::{Icon, draw};
use crate::components::notice::EmptyState;
use crate::components::shell::PageHead;
use crate::components::state::Chip;
use crate::platform;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::console::{NodeView, UserRole};
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
            <PageHead title="Support".to_owned() lead="A snapshot holds what is needed to find out what happened on a node. Take one of each node, as soon as you can after an incident." />
            <Show
                when=move || nodes.with(|nodes| !nodes.is_empty())
                fallback=|| view! {
                    <EmptyState icon=Icon::Support title="No nodes yet" text="Snapshots are taken of the nodes of the cluster.">
                        <A href="/cluster" attr:class="btn primary">"Cluster configuration"</A>
                    </EmptyState>
                }
            >
                <section class="card" aria-labelledby="snapshots">
                    <div class="card-head"><h2 id="snapshots">"Snapshots"</h2></div>
                    <div class="table-wrap">
                        <table class="table" data-testid="snapshots">
                            <thead><tr><th scope="col">"Node"</th><th scope="col">"Agent"</th><th scope="col">"Connection"</th><th scope="col"><span class="visually-hidden">"Snapshot"</span></th></tr></thead>
                            <tbody>{move || nodes.get().into_iter().map(|node| view! { <Row node /> }).collect_view()}</tbody>
                        </table>
                    </div>
                </section>
            </Show>
            <div class="columns">
                <section class="card card-body stack">
                    <h2>"What is inside"</h2>
                    <ul class="stack tight">
                        <li>"Module logs and application logs"</li>
                        <li>"The configuration of the cluster and of the modules, scripts included"</li>
                        <li>"States and generations of every module"</li>
                        <li>"Versions, mounts, addresses, kernel and disk figures of the machine"</li>
                    </ul>
                    <p class="muted">"Keys and the cluster's secret are masked. The replicated files themselves are not inside. Scripts and logs are as you wrote them: look for passwords before you send a snapshot away."</p>
                </section>
                <section class="card card-body stack">
                    <h2>"Versions"</h2>
                    <dl class="facts">
                        <dt>"Server"</dt><dd>{versions}</dd>
                        {move || nodes.get().into_iter().map(|node| view! { <dt>{node.name}</dt><dd>{if node.agent_version.is_empty() { "never connected".to_owned() } else { node.agent_version }}</dd> }).collect_view()}
                    </dl>
                    <p><a href=client::OPENAPI_HREF>"Description of the programming interface (OpenAPI)"</a></p>
                </section>
            </div>
        </div>
    }
}

#[component]
fn Row(node: NodeView) -> impl IntoView {
    let console = Console::get();
    let (tone, word) = if node.connected { (Tone::Ok, "Connected") } else { (Tone::Lost, "No contact") };
    let (id, name) = (node.id, node.name.clone());
    let may = untrack(move || console.role()).may(UserRole::Control);
    let take = move |_| {
        platform::download(&client::snapshot_href(id), "");
        console.toast(Tone::Ok, format!("Making the snapshot of {name}; the browser saves it."));
    };
    view! {
        <tr>
            <th scope="row"><strong>{node.name.clone()}</strong></th>
            <td>{node.agent_version.clone()}</td>
            <td><Chip tone text=word /></td>
            <td class="num"><button type="button" class="btn" data-testid=format!("snapshot-{}", node.name) disabled=!node.connected || !may on:click=take>{draw(Icon::Download)}"Snapshot .zip"</button></td>
        </tr>
    }
}
