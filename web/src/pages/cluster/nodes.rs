//! Cluster configuration: one row per node: its addresses, whether it is connected, what it holds, its menu.

use super::{Draft, lan_words};
use crate::client;
use crate::components::dialog::Question;
use crate::components::icon::Icon;
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::notice::prose;
use crate::components::state::Chip;
use crate::language::{t, tf};
use crate::rules::tone::Tone;
use crate::rules::wizard::message_for;
use crate::rules::{cluster, text};
use crate::store::Console;
use holdfast_api::console::{NodeView, UserRole};
use holdfast_api::ids::NodeId;
use leptos::prelude::*;
use std::sync::Arc;

/// A node: its addresses, its agent, what it holds, its menu.
#[component]
pub fn NodeRow(draft: Draft, id: NodeId, lans: Memo<Vec<String>>) -> impl IntoView {
    let console = Console::get();
    let view = Memo::new(move |_| {
        console.read(|snapshot| snapshot.nodes.iter().find(|node| node.id == id).cloned()).flatten()
    });
    let name = console.node_name(id);
    let row_id = format!("node-{name}");
    let inside = Memo::new(move |_| draft.form.with(|form| form.nodes.iter().any(|node| node.id == id)));
    view! {
        <tr data-testid=row_id>
            <th scope="row"><strong>{name.clone()}</strong></th>
            {move || {
                let cell = |lan| if inside.get() { view! { <AddressInput draft id lan /> }.into_any() } else { view! { <span class="muted">{t!("not in the cluster")}</span> }.into_any() };
                lans.get()
                    .into_iter()
                    .map(|lan| {
                        let words = lan_words(&lan);
                        view! { <td class="wide" data-label=words>{cell(lan)}</td> }
                    })
                    .collect_view()
            }}
            <td class="nowrap" data-label=t!("Agent")>{move || view.get().map(|view| agent_text(&view))}</td>
            <td class="wide">{move || view.get().map(|view| connection(console, &view))}</td>
            <td class="wide">{move || view.get().map(|view| held(console, &view))}</td>
            <td class="num"><NodeMenu draft id name inside /></td>
        </tr>
    }
}

fn agent_text(view: &NodeView) -> String {
    if view.agent_version.is_empty() { "–".to_owned() } else { view.agent_version.clone() }
}

#[component]
fn AddressInput(draft: Draft, id: NodeId, lan: String) -> impl IntoView {
    let (for_read, for_check) = (lan.clone(), lan.clone());
    let label = tf!("Address of node {0} on network {lan}", 0 = id.0, lan);
    // The first network's field is called by the node alone.
    let testid =
        if lan == cluster::DEFAULT_LAN { format!("address-{}", id.0) } else { format!("address-{}-{lan}", id.0) };
    let value = move || {
        draft
            .form
            .with(|form| {
                form.nodes.iter().find(|node| node.id == id).and_then(|node| node.addresses.get(&for_read).cloned())
            })
            .unwrap_or_default()
    };
    let problem = move || {
        draft.form.with(|form| {
            let index = form.nodes.iter().position(|node| node.id == id)?;
            message_for(&format!("nodes[{index}].addresses.{for_check}"), &form.validate())
        })
    };
    let shown = problem.clone();
    let input = move |event| {
        let text = event_target_value(&event).trim().to_owned();
        let lan = lan.clone();
        draft.form.update(|form| {
            if let Some(node) = form.nodes.iter_mut().find(|node| node.id == id) {
                node.addresses.insert(lan, text);
            }
        });
    };
    view! {
        <div class="field">
            <input class="input" aria-label=label data-testid=testid spellcheck="false" prop:value=value on:input=input aria-invalid=move || problem().is_some().to_string() />
            {move || shown().map(|text| view! { <p class="problem">{text}</p> })}
        </div>
    }
}

/// Whether the node's agent is connected, since when not, and how far its clock is off.
fn connection(console: Console, view: &NodeView) -> impl IntoView + use<> {
    let (connected, last, offset) = (view.connected, view.last_seen_unix_ms, view.clock_offset_ms);
    let problem = view.problem.clone();
    move || {
        let server_now = console.now.get().saturating_add_signed(-console.clock_ahead_ms.get());
        let (tone, word) = match (connected, console.is_live()) {
            (true, true) => (Tone::Ok, t!("Connected").to_owned()),
            (true, false) => (Tone::Lost, t!("was connected").to_owned()),
            (false, _) => (Tone::Bad, tf!("No contact, last seen {0}", 0 = text::ago(last, server_now))),
        };
        let clock = (connected && offset.unsigned_abs() > 2000).then(|| text::clock_offset(offset));
        view! {
            <div class="stack tight">
                <span><Chip tone text=word /></span>
                {clock.map(|clock| view! { <span class="small muted">{clock}</span> })}
                {(!problem.is_empty()).then(|| view! { <span class="small">{prose(&problem)}</span> })}
            </div>
        }
    }
}

/// Which version of the cluster the node holds.
fn held(console: Console, view: &NodeView) -> impl IntoView + use<> {
    let wanted = console.read(|snapshot| snapshot.cluster.version).unwrap_or(0);
    let (tone, text) = match (view.in_cluster, view.cluster_version) {
        (false, _) => (Tone::Idle, t!("not saved yet").to_owned()),
        (true, held) if held == wanted => (Tone::Ok, tf!("version {held}", held)),
        (true, 0) => (Tone::Busy, tf!("applying version {wanted}", wanted)),
        (true, held) => (Tone::Busy, tf!("version {held}, wanted {wanted}", held, wanted)),
    };
    view! { <Chip tone text /> }
}

#[component]
fn NodeMenu(draft: Draft, id: NodeId, name: String, inside: Memo<bool>) -> impl IntoView {
    let console = Console::get();
    let saved = Memo::new(move |_| {
        console.read(|snapshot| snapshot.nodes.iter().any(|node| node.id == id && node.in_cluster)).unwrap_or(false)
    });
    let entries = Signal::derive(move || {
        let admin =
            (!console.role().may(UserRole::Admin)).then(|| t!("Only an administrator changes nodes.").to_owned());
        let in_use = saved.get().then(|| t!("Take it out of the cluster and save that first.").to_owned());
        let entry = |id, label, icon, danger, disabled| MenuEntry { id, label, icon, danger, disabled, divided: false };
        let first = if inside.get() {
            entry("out", t!("Take out of the cluster"), Icon::Close, false, admin.clone())
        } else {
            entry("in", t!("Put into the cluster"), Icon::Add, false, admin.clone())
        };
        vec![first, entry("remove", t!("Remove this node"), Icon::Remove, true, admin.or(in_use))]
    });
    let pick = move |what: &'static str| match what {
        "out" => draft.out.update(|out| {
            out.insert(id);
        }),
        "in" => draft.out.update(|out| {
            out.remove(&id);
        }),
        _ => ask_remove(console, id),
    };
    view! { <ActionMenu label=tf!("More for {name}", name) testid=format!("node-menu-{name}") entries on_pick=Callback::new(pick) icon=Icon::More /> }
}

fn ask_remove(console: Console, id: NodeId) {
    let node = console.node_name(id);
    let act = move || {
        console.call(client::remove_node(id), move |answer| match answer {
            Ok(()) => console.toast(Tone::Ok, t!("The node is removed.")),
            Err(error) => console.toast(Tone::Bad, error.text()),
        })
    };
    console.ask(Question {
        title: tf!("Remove {node}?", node),
        consequences: vec![
            tf!("The certificate of {node} is revoked. Its files stay where they are.", node),
            t!("To bring it back, enrol it again with a new pairing code.").to_owned(),
        ],
        confirm: t!("Remove").to_owned(),
        danger: true,
        act: Arc::new(act),
    });
}
