//! Cluster configuration: the nodes, their addresses, New node, save with one result line per node.

mod history;
mod nodes;

use crate::client;
use crate::components::form::TextField;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{Notice, PerNodeResult, Waiting, prose};
use crate::components::shell::PageHead;
use crate::components::tray::results_of;
use crate::effect::effect;
use crate::keep;
use crate::language::{t, tf};
use crate::pages::enrol::{JoinToken, NewNode};
use crate::rules::cluster;
use crate::rules::tone::Tone;
use crate::rules::wizard::message_for;
use crate::store::Console;
use holdfast_api::config::check_name;
use holdfast_api::console::{ClusterForm, NodeView, UserRole};
use holdfast_api::ids::NodeId;
use leptos::{ev, prelude::*};
use std::collections::BTreeSet;

/// What an edited cluster is kept under while the page is loaded anew.
const KEPT: &str = "cluster";

/// What the page edits.
#[derive(Clone, Copy)]
pub struct Draft {
    form: RwSignal<ClusterForm>,
    saved: Memo<Option<ClusterForm>>,
    name: RwSignal<String>,
    /// Enrolled nodes that were taken out of the cluster.
    out: RwSignal<BTreeSet<NodeId>>,
    task: RwSignal<Option<u64>>,
    busy: RwSignal<bool>,
    /// Somebody else saved another cluster while this one was edited.
    conflict: RwSignal<bool>,
}

impl Draft {
    fn new(console: Console) -> Self {
        let saved = Memo::new(move |_| console.read(|snapshot| cluster::saved_form(&snapshot.cluster)));
        // Which nodes there are and where; not what changes with every report.
        let places = |nodes: &[NodeView]| {
            nodes
                .iter()
                .map(|node| NodeView {
                    last_seen_unix_ms: 0,
                    clock_offset_ms: 0,
                    cpu_percent: 0.0,
                    memory_percent: 0.0,
                    ..node.clone()
                })
                .collect::<Vec<_>>()
        };
        let enrolled = Memo::new(move |_| console.read(|snapshot| places(&snapshot.nodes)).unwrap_or_default());
        let empty = ClusterForm { expected_version: 0, name: String::new(), lans: Vec::new(), nodes: Vec::new() };
        let draft = Self {
            form: RwSignal::new(empty),
            saved,
            name: RwSignal::new(String::new()),
            out: RwSignal::new(BTreeSet::new()),
            task: RwSignal::new(None),
            busy: RwSignal::new(false),
            conflict: RwSignal::new(false),
        };
        let edited = move || {
            let differs = !untrack(move || draft.changes()).is_empty();
            differs.then(|| (draft.form.get_untracked(), draft.out.get_untracked()))
        };
        keep::keep(KEPT.to_owned(), edited);
        // A new saved version replaces the draft; newly enrolled nodes join it.
        let mut last = None;
        effect(move || {
            let saved = draft.saved.get();
            let before = std::mem::replace(&mut last, saved.clone());
            if let Some(saved) = &saved {
                if let Some((form, out)) = keep::take::<(ClusterForm, BTreeSet<NodeId>)>(KEPT) {
                    draft.conflict.set(form.expected_version != saved.expected_version);
                    draft.out.set(out);
                    draft.name.set(form.name.clone());
                    draft.form.set(form);
                } else if draft.form.with_untracked(|form| cluster::may_take(before.as_ref(), form, saved)) {
                    draft.replace(saved.clone());
                    draft.take(&enrolled.get_untracked());
                } else {
                    draft.conflict.set(true);
                }
            }
        });
        effect(move || {
            let enrolled = enrolled.get();
            draft.out.track();
            if draft.form.with_untracked(|form| !form.lans.is_empty()) {
                draft.take(&enrolled);
            }
        });
        effect(move || {
            let name = draft.name.get();
            draft.form.update(|form| form.name = name);
        });
        draft
    }

    fn take(self, enrolled: &[NodeView]) {
        self.out.with_untracked(|out| self.form.update(|form| cluster::take_enrolled(form, enrolled, out)));
    }

    fn changes(self) -> Vec<String> {
        self.saved.get().map(|saved| self.form.with(|form| cluster::changes(&saved, form))).unwrap_or_default()
    }

    fn discard(self) {
        if let Some(saved) = self.saved.get_untracked() {
            self.replace(saved);
            self.out.update(BTreeSet::clear);
        }
    }

    fn replace(self, saved: ClusterForm) {
        self.conflict.set(false);
        self.name.set(saved.name.clone());
        self.form.set(saved);
    }

    /// What is edited here is to stand, whatever somebody else saved: saving it is no longer refused.
    fn insist(self) {
        if let Some(saved) = self.saved.get_untracked() {
            self.form.update(|form| form.expected_version = saved.expected_version);
            self.conflict.set(false);
        }
    }

    fn save(self, console: Console) {
        self.busy.set(true);
        let form = self.form.get_untracked();
        console.start_shown_task(async move { client::save_cluster(&form).await }, move |task| {
            self.busy.set(false);
            self.task.set(task);
        });
    }
}

/// The page.
#[component]
pub fn ClusterPage() -> impl IntoView {
    let console = Console::get();
    let draft = Draft::new(console);
    let known = Memo::new(move |_| console.snapshot.with(Option::is_some));
    let may = Memo::new(move |_| console.role().may(UserRole::Admin));
    let any = Memo::new(move |_| console.read(|snapshot| !snapshot.nodes.is_empty()).unwrap_or(false));
    view! {
        <div class="page">
            <PageHead title=t!("Cluster configuration").to_owned() lead=t!("The machines that protect your applications. Every node runs an agent; this page introduces them to each other.") />
            <Show when=move || known.get() fallback=|| view! { <Waiting text=t!("Waiting for the first snapshot…") /> }>
                <Show when=move || any.get() fallback=FirstNode>
                    <SaveBar draft />
                    {move || (!may.get()).then(|| view! { <p class="muted">{t!("Only an administrator changes nodes.")}</p> })}
                    <fieldset disabled=move || !may.get()><Nodes draft /></fieldset>
                    <Show when=move || may.get()><AddNode /></Show>
                    <history::History draft />
                </Show>
            </Show>
        </div>
    }
}

/// What the page says before any node is enrolled.
#[component]
fn FirstNode() -> impl IntoView {
    let console = Console::get();
    let may = Memo::new(move |_| console.role().may(UserRole::Admin));
    view! {
        <section class="card card-body stack loose" data-testid="first-node" aria-labelledby="first-node-title">
            <div class="row">
                <span class="empty-mark">{draw(Icon::Cluster)}</span>
                <div class="grow">
                    <h2 id="first-node-title">{t!("Enter the first node's address")}</h2>
                    <p class="muted">{t!("Install the agent on the machine, then give its address here. The agent prints a pairing code when it starts.")}</p>
                </div>
            </div>
            {move || (!may.get()).then(|| view! { <p class="muted">{t!("Only an administrator changes nodes.")}</p> })}
            <fieldset class="stack loose" disabled=move || !may.get()>
                <NewNode label=t!("Address of the first node") done=Callback::new(|()| ()) />
                <JoinToken />
            </fieldset>
        </section>
    }
}

/// The form of a further node, opened by its button.
#[component]
fn AddNode() -> impl IntoView {
    let open = RwSignal::new(false);
    let done = Callback::new(move |()| open.set(false));
    view! {
        <Show
            when=move || open.get()
            fallback=move || view! { <div><button type="button" class="btn" data-testid="add-node" on:click=move |_| open.set(true)>{draw(Icon::Add)}{t!("New node")}</button></div> }
        >
            <section class="card" aria-labelledby="add-node-title">
                <div class="card-head">
                    <h2 id="add-node-title">{t!("New node")}</h2>
                    <button type="button" class="btn ghost icon" aria-label=t!("Close") on:click=move |_| open.set(false)>{draw(Icon::Close)}</button>
                </div>
                <div class="card-body stack loose">
                    <NewNode label=t!("Address of the node") done=done />
                    <JoinToken />
                </div>
            </section>
        </Show>
    }
}

/// Says what is not saved, saves it, shows each node's answer.
#[component]
fn SaveBar(draft: Draft) -> impl IntoView {
    let console = Console::get();
    let changes = Memo::new(move |_| draft.changes());
    let problems = Memo::new(move |_| draft.form.with(cluster::problems));
    let results = Signal::derive(move || {
        draft.task.get().and_then(|task| console.task(task)).map(|task| results_of(&task)).unwrap_or_default()
    });
    view! {
        <Show when=move || draft.conflict.get()>
            <Notice tone=Tone::Bad title=t!("Somebody else saved the cluster meanwhile") text=t!("Nothing was overwritten. Take theirs, or keep yours: saving then replaces theirs, as the changes below say.") testid="cluster-conflict">
                <button type="button" class="btn compact primary" data-testid="cluster-theirs" on:click=move |_| draft.discard()>{t!("Take theirs")}</button>
                <button type="button" class="btn compact" data-testid="cluster-mine" on:click=move |_| draft.insist()>{t!("Keep mine")}</button>
            </Notice>
        </Show>
        <Show when=move || changes.with(|changes| !changes.is_empty())>
            <div class="notice" data-tone="busy" role="status" data-testid="unsaved">
                {draw(Icon::Info)}
                <div>
                    <p class="notice-title">{t!("Not saved yet")}</p>
                    <p>{move || cluster::changes_text(&changes.get())}</p>
                    {move || problems.with(|problems| problems.first().map(|problem| view! { <p class="small">{prose(&problem.message)}</p> }))}
                </div>
                <div class="row tight">
                    <button type="button" class="btn" data-testid="discard" on:click=move |_| draft.discard()>{t!("Discard")}</button>
                    <button type="button" class="btn primary" data-testid="save-cluster" disabled=move || draft.busy.get() || draft.conflict.get() || !console.role().may(UserRole::Admin) || problems.with(|problems| !problems.is_empty()) on:click=move |_| draft.save(console)>
                        {draw(Icon::Check)}{t!("Save and apply to all nodes")}
                    </button>
                </div>
            </div>
        </Show>
        <Show when=move || draft.task.get().is_some()>
            <PerNodeResult results testid="cluster-results" on_retry=Callback::new(move |()| draft.save(console)) />
        </Show>
    }
}

#[component]
fn Nodes(draft: Draft) -> impl IntoView {
    let lans = Memo::new(move |_| draft.form.with(|form| form.lans.clone()));
    let console = Console::get();
    let ids = Memo::new(move |_| {
        console.read(|snapshot| snapshot.nodes.iter().map(|node| node.id).collect::<Vec<_>>()).unwrap_or_default()
    });
    let name_problem = Signal::derive(move || draft.form.with(|form| message_for("name", &cluster::problems(form))));
    let lan_heading = |lan: String| lan_words(&lan);
    view! {
        <section class="card" aria-label=t!("Nodes")>
            <div class="card-body columns">
                <TextField id="cluster-name-field" label=t!("Name of the cluster") value=draft.name problem=name_problem />
                <Networks draft lans />
            </div>
            <div class="table-wrap">
                <table class="table cards" data-testid="nodes">
                    <thead>
                        <tr>
                            <th scope="col">{t!("Node")}</th>
                            {move || lans.get().into_iter().map(|lan| view! { <th scope="col">{lan_heading(lan)}</th> }).collect_view()}
                            <th scope="col">{t!("Agent")}</th>
                            <th scope="col">{t!("Connection")}</th>
                            <th scope="col">{t!("Configuration")}</th>
                            <th scope="col"><span class="visually-hidden">{t!("More")}</span></th>
                        </tr>
                    </thead>
                    <tbody>
                        <For each=move || ids.get() key=|id| *id let:id><nodes::NodeRow draft id lans /></For>
                    </tbody>
                </table>
            </div>
        </section>
    }
}

/// The networks between the nodes: more can be added, and those that no module uses taken away.
#[component]
fn Networks(draft: Draft, lans: Memo<Vec<String>>) -> impl IntoView {
    let console = Console::get();
    let name = RwSignal::new(String::new());
    let problem = Signal::derive(move || {
        let name = name.get();
        let taken = || lans.with(|lans| lans.contains(&name)).then(|| t!("there is a network of this name").to_owned());
        if name.is_empty() { None } else { check_name(&name).err().or_else(taken) }
    });
    let add = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let lan = name.get_untracked();
        if lan.is_empty() || problem.get_untracked().is_some() {
            return;
        }
        draft.form.update(|form| cluster::add_network(form, &lan));
        name.set(String::new());
    };
    let used = move |lan: &str| {
        let uses = |module: &holdfast_api::console::ModuleLive| {
            module.facts.as_ref().is_some_and(|facts| facts.networks.iter().any(|network| network.lan == lan))
        };
        console.read(|snapshot| snapshot.modules.iter().any(uses)).unwrap_or(true)
    };
    let one = move |lan: String| {
        let (gone, blocked) = (lan.clone(), used(&lan) || lan == cluster::DEFAULT_LAN);
        let remove = move |_| draft.form.update(|form| cluster::remove_network(form, &gone));
        let label = tf!("Remove network {lan}", lan);
        view! {
            <li class="row tight"><span>{lan}</span>
                {(!blocked).then(|| view! { <button type="button" class="btn ghost icon compact" aria-label=label on:click=remove>{draw(Icon::Remove)}</button> })}
            </li>
        }
    };
    view! {
        <div class="stack tight">
            <form class="repeat-row" on:submit=add>
                <TextField id="network-name" label=t!("New network between the nodes") hint=t!("Heartbeats on two networks survive the loss of one") value=name problem placeholder="replication" />
                <button class="btn" data-testid="add-network" disabled=move || name.with(String::is_empty) || problem.get().is_some()>{draw(Icon::Add)}{t!("Add")}</button>
            </form>
            <ul class="row small" aria-label=t!("Networks")>{move || lans.get().into_iter().map(one).collect_view()}</ul>
        </div>
    }
}

/// What the column of a network is called.
fn lan_words(lan: &str) -> String {
    if lan == cluster::DEFAULT_LAN { t!("Address").to_owned() } else { tf!("Address on {lan}", lan) }
}
