//! Control: modules and nodes with their live states, commands, start at boot, logs.

use crate::client;
use crate::components::dialog::Question;
use crate::components::form::Switch;
use crate::components::icon::Icon;
use crate::components::log::{LogSource, LogViewer};
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::notice::{EmptyState, Notice, Waiting, prose};
use crate::components::shell::PageHead;
use crate::components::state::{Chip, DataChip, ResyncProgress, StateBadge};
use crate::platform;
use crate::rules::actions::{COMMANDS, Situation, label, word};
use crate::rules::flow::FlowLink;
use crate::rules::text;
use crate::rules::tone::{Tone, show};
use crate::store::Console;
use holdfast_api::agent::{LogKind, ModuleCommand, NodeModuleReport};
use holdfast_api::console::{ModuleLive, ModuleOnNode, UserRole};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::state::ModuleState;
use leptos::prelude::*;
use leptos_router::components::{A, Redirect};
use leptos_router::hooks::use_params_map;
use std::sync::Arc;

/// Where a module on a node is controlled.
pub fn href(module: ModuleId, node: NodeId) -> String {
    format!("/control/{}/{}", module.0, node.0)
}

/// The module and node in the address.
type Chosen = Memo<Option<(ModuleId, NodeId)>>;

/// The page.
#[component]
pub fn ControlPage() -> impl IntoView {
    let console = Console::get();
    let params = use_params_map();
    let number = move |name: &str| params.read().get(name).and_then(|text| text.parse::<u16>().ok());
    let chosen: Chosen = Memo::new(move |_| Some((ModuleId(number("module")?), NodeId(number("node")?))));
    let tab = Memo::new(move |_| {
        if params.read().get("tab").as_deref() == Some("application") { LogKind::Application } else { LogKind::Module }
    });
    let configured =
        |module: &ModuleLive| module.module.desired.is_some() || module.nodes.iter().any(|on| on.held.is_some());
    let modules =
        Memo::new(move |_| console.modules().map(|modules| modules.into_iter().filter(configured).collect::<Vec<_>>()));
    let first = Memo::new(move |_| {
        modules.with(|modules| {
            modules.as_ref()?.iter().find_map(|module| Some(href(module.module.id, module.nodes.first()?.node)))
        })
    });
    let pick = Memo::new(move |_| match (modules.with(Option::is_some), chosen.get(), first.get()) {
        (false, ..) => Pick::Waiting,
        (true, _, None) => Pick::Nothing,
        (true, None, Some(first)) => Pick::First(first),
        (true, Some((module, node)), Some(_)) => Pick::Chosen(module, node),
    });
    view! {
        <div class="page">
            <PageHead title="Control".to_owned() lead="What every node does now, and the commands that change it." />
            {move || match pick.get() {
                Pick::Waiting => view! { <Waiting text="Waiting for the first snapshot…" /> }.into_any(),
                Pick::Nothing => nothing().into_any(),
                Pick::First(first) => view! { <Redirect path=first /> }.into_any(),
                Pick::Chosen(module, node) => view! {
                    <div class="control">
                        <Tree modules chosen />
                        <Panel module node tab />
                    </div>
                }
                .into_any(),
            }}
        </div>
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Pick {
    Waiting,
    Nothing,
    First(String),
    Chosen(ModuleId, NodeId),
}

fn nothing() -> impl IntoView {
    view! {
        <EmptyState icon=Icon::Control title="Nothing to control yet" text="Configure a module first; it then appears here with the state of each node.">
            <A href="/configuration" attr:class="btn primary">"Configuration"</A>
        </EmptyState>
    }
}

/// Modules, and below each its nodes.
#[component]
fn Tree(modules: Memo<Option<Vec<ModuleLive>>>, chosen: Chosen) -> impl IntoView {
    // The outline is redrawn only when modules or nodes come or go; states change in place.
    let outline = Memo::new(move |_| {
        let nodes = |module: &ModuleLive| module.nodes.iter().map(|on| on.node).collect::<Vec<_>>();
        modules
            .with(|modules| {
                modules.as_ref().map(|modules| {
                    modules
                        .iter()
                        .map(|module| (module.module.id, module.module.name.clone(), nodes(module)))
                        .collect::<Vec<_>>()
                })
            })
            .unwrap_or_default()
    });
    let one = move |(id, name, nodes): (ModuleId, String, Vec<NodeId>)| {
        view! {
            <section>
                <h2><span class="grow">{name.clone()}</span><ModuleMenu id name /></h2>
                <ul>{nodes.into_iter().map(|node| view! { <TreeNode modules chosen module=id node /> }).collect_view()}</ul>
            </section>
        }
    };
    view! { <nav class="tree" aria-label="Modules and nodes">{move || outline.get().into_iter().map(one).collect_view()}</nav> }
}

#[component]
fn TreeNode(modules: Memo<Option<Vec<ModuleLive>>>, chosen: Chosen, module: ModuleId, node: NodeId) -> impl IntoView {
    let console = Console::get();
    let on = Memo::new(move |_| {
        modules.with(|modules| {
            modules
                .as_ref()?
                .iter()
                .find(|live| live.module.id == module)?
                .nodes
                .iter()
                .find(|on| on.node == node)
                .cloned()
        })
    });
    let name = console.node_name(node);
    let (link_id, badge_id) = (format!("select-{name}"), format!("state-{name}"));
    let note = move || on.get().map(|on| show(&on, console.is_live()).note);
    view! {
        <li>
            <a
                href=href(module, node)
                class="node-link"
                data-testid=link_id
                aria-current=move || (chosen.get() == Some((module, node))).then_some("true")
            >
                <span class="row between"><span class="name">{name}</span>{move || on.get().map(|on| view! { <StateBadge on testid=badge_id.clone() /> })}</span>
                <span class="small muted">{note}</span>
            </a>
        </li>
    }
}

/// Commands for all nodes of a module.
#[component]
fn ModuleMenu(id: ModuleId, name: String) -> impl IntoView {
    let console = Console::get();
    let entries = Signal::derive(move || {
        let why = if !console.role().may(UserRole::Control) {
            Some("Your role may look, not command.".to_owned())
        } else {
            (!console.is_live()).then(|| "The page is not connected to the server.".to_owned())
        };
        let entry = |id, label, icon| MenuEntry {
            id,
            label,
            icon,
            danger: id == "stop",
            disabled: why.clone(),
            divided: false,
        };
        vec![entry("start", "Start on all nodes", Icon::Start), entry("stop", "Stop on all nodes", Icon::Stop)]
    });
    let label = format!("Commands for {name} on all nodes");
    let testid = format!("all-{name}");
    let pick = move |what: &'static str| {
        let command = if what == "start" { ModuleCommand::Start } else { ModuleCommand::Stop };
        let act = move || console.start_task(client::command(id, command, Vec::new()), |_| ());
        if command == ModuleCommand::Start {
            act();
            return;
        }
        console.ask(Question {
            title: format!("Stop {name} on all nodes?"),
            consequences: vec![
                "The application stops, and no node takes over: it runs nowhere until the module is started again."
                    .to_owned(),
            ],
            confirm: "Stop on all nodes".to_owned(),
            danger: true,
            act: Arc::new(act),
        });
    };
    view! { <ActionMenu label testid entries on_pick=Callback::new(pick) icon=Icon::More /> }
}

/// What the panel shows, as it changes.
#[derive(Clone, Copy)]
struct Subject {
    module: ModuleId,
    node: NodeId,
    live: Memo<Option<ModuleLive>>,
    on: Memo<Option<ModuleOnNode>>,
}

impl Subject {
    fn peer(self) -> Option<ModuleOnNode> {
        self.live.with(|live| live.as_ref()?.nodes.iter().find(|on| on.node != self.node).cloned())
    }

    fn report<T>(self, what: impl FnOnce(&NodeModuleReport) -> T) -> Option<T> {
        self.on.with(|on| on.as_ref()?.report.as_ref().map(what))
    }
}

/// The chosen module on the chosen node.
#[component]
fn Panel(module: ModuleId, node: NodeId, tab: Memo<LogKind>) -> impl IntoView {
    let console = Console::get();
    let live = Memo::new(move |_| console.module(module));
    let on = Memo::new(move |_| live.with(|live| live.as_ref()?.nodes.iter().find(|on| on.node == node).cloned()));
    let subject = Subject { module, node, live, on };
    let there = Memo::new(move |_| on.with(Option::is_some));
    let reachable = Memo::new(move |_| console.is_live() && on.with(|on| on.as_ref().is_some_and(|on| on.fresh)));
    let names = Memo::new(move |_| {
        Some((live.with(|live| live.as_ref().map(|live| live.module.name.clone()))?, console.node_name(node)))
    });
    let source = move || {
        names.get().map(|(module_name, node_name)| LogSource { module, module_name, node, node_name, which: tab.get() })
    };
    view! {
        <div class="stack loose">
            <Show
                when=move || there.get()
                fallback=|| view! { <EmptyState icon=Icon::Info title="There is no such module or node" text="It may have been removed. Choose another at the left." /> }
            >
                <section class="card" data-testid="panel"><Head subject /><Flow subject /><BootStart subject /></section>
                <Reason subject />
            </Show>
            <section class="card" aria-label="Logs">
                {tabs(module, node, tab)}
                {move || source().map(|source| view! { <LogViewer source reachable /> })}
            </section>
            <Facts subject />
        </div>
    }
}

fn tabs(module: ModuleId, node: NodeId, tab: Memo<LogKind>) -> impl IntoView {
    let base = href(module, node);
    let current = move |kind| move || (tab.get() == kind).then_some("page");
    view! {
        <nav class="tabs" aria-label="Logs">
            <a href=format!("{base}/module") aria-current=current(LogKind::Module) data-testid="tab-module">"Module log"</a>
            <a href=format!("{base}/application") aria-current=current(LogKind::Application) data-testid="tab-application">"Application log"</a>
        </nav>
    }
}

/// Name, state, command menu.
#[component]
fn Head(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let server_now = move || console.now.get().saturating_add_signed(-console.clock_ahead_ms.get());
    let since = Memo::new(move |_| subject.report(|report| report.since_unix_ms).filter(|since| *since > 0));
    let alone = Memo::new(move |_| {
        subject.on.with(|on| on.as_ref().is_some_and(|on| on.fresh))
            && subject.report(|report| report.state) == Some(ModuleState::Alone)
    });
    let data = Memo::new(move |_| subject.report(|report| report.data));
    view! {
        <div class="node-head">
            <div class="row grow">
                <h2>{console.node_name(subject.node)}</h2>
                {move || subject.on.get().map(|on| view! { <StateBadge on big=true testid="state" /> })}
                <span class="muted small">{move || since.get().map(|since| format!("for {}", text::duration_ms(server_now().saturating_sub(since))))}</span>
            </div>
            <Commands subject />
            <div class="row tight node-detail">
                {move || alone.get().then(|| view! { <Chip tone=Tone::Busy text="no redundancy" /> })}
                {move || data.get().map(|data| view! { <DataChip data /> })}
                <p data-testid="detail">{move || subject.report(|report| (report.detail != report.data.to_string()).then(|| prose(&report.detail)))}</p>
            </div>
        </div>
    }
}

#[component]
fn Commands(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let entries = Signal::derive(move || {
        with_situation(console, subject, |situation| {
            COMMANDS.into_iter().map(|command| entry(command, situation)).collect::<Vec<_>>()
        })
        .unwrap_or_default()
    });
    let pick = move |what: &'static str| {
        let Some(command) = COMMANDS.into_iter().find(|command| word(*command) == what) else { return };
        let asked = untrack(move || {
            with_situation(console, subject, |situation| {
                (situation.consequences(command), situation.is_dangerous(command))
            })
        });
        let Some((consequences, danger)) = asked else { return };
        let act = move || console.start_task(client::command(subject.module, command, vec![subject.node]), |_| ());
        if consequences.is_empty() {
            act();
            return;
        }
        let title = format!("{} on {}?", label(command), console.node_name(subject.node));
        console.ask(Question { title, consequences, confirm: label(command).to_owned(), danger, act: Arc::new(act) });
    };
    view! { <ActionMenu label="Commands" testid="commands" entries on_pick=Callback::new(pick) /> }
}

/// Hands what is known of `subject` to `what`; none while it is not known.
fn with_situation<T>(console: Console, subject: Subject, what: impl FnOnce(&Situation<'_>) -> T) -> Option<T> {
    let (me, peer) = (subject.on.get()?, subject.peer());
    let name = console.node_name(subject.node);
    let peer_name = peer.as_ref().map(|peer| console.node_name(peer.node)).unwrap_or_default();
    Some(what(&Situation {
        me: &me,
        name: &name,
        peer: peer.as_ref(),
        peer_name: &peer_name,
        live: console.is_live(),
        role: console.role(),
    }))
}

fn entry(command: ModuleCommand, situation: &Situation<'_>) -> MenuEntry {
    let icon = match command {
        ModuleCommand::Start => Icon::Start,
        ModuleCommand::Stop | ModuleCommand::ForceStop => Icon::Stop,
        ModuleCommand::Restart => Icon::Refresh,
        ModuleCommand::Swap => Icon::Swap,
        ModuleCommand::StopStart => Icon::Restart,
        ModuleCommand::Prim | ModuleCommand::PrimForce | ModuleCommand::PrimFullSync => Icon::Primary,
        ModuleCommand::Second | ModuleCommand::SecondFullSync => Icon::Secondary,
        ModuleCommand::FailoverOn | ModuleCommand::FailoverOff => Icon::Swap,
        ModuleCommand::BootOn | ModuleCommand::BootOff | ModuleCommand::BootAuto => Icon::Boot,
    };
    let disabled = situation.refusal(command);
    MenuEntry {
        id: word(command),
        label: label(command),
        icon,
        danger: situation.is_dangerous(command) && disabled.is_none(),
        disabled,
        divided: command == ModuleCommand::Prim,
    }
}

/// Both nodes and what flows between them.
#[component]
fn Flow(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let pair = Memo::new(move |_| {
        subject.live.with(|live| {
            let nodes = &live.as_ref()?.nodes;
            Some((nodes.first()?.clone(), nodes.get(1)?.clone()))
        })
    });
    let side = move |on: ModuleOnNode| view! { <div class="flow-node"><span class="muted small">{console.node_name(on.node)}</span><StateBadge on /></div> };
    move || {
        let (left, right) = pair.get()?;
        let link = FlowLink::of(&left, &right);
        let live = console.is_live();
        Some(view! {
            <div class="flow">
                {side(left)}
                <div class="flow-link" data-tone=if live { link.tone().name() } else { "lost" } data-live=(live && link.flows()).to_string()>
                    <svg viewBox="0 0 112 24" aria-hidden="true"><path class="dash" d=link.line() /><path d=link.head() /></svg>
                    <span>{link.words()}</span>
                </div>
                {side(right)}
            </div>
        })
    }
}

/// Why it is in its state, what it waits for, what is not applied, how far a resync is.
#[component]
fn Reason(subject: Subject) -> impl IntoView {
    let waiting = Memo::new(move |_| subject.report(|report| report.waiting_for.clone()).flatten());
    let resync = Memo::new(move |_| subject.report(|report| report.resync).flatten());
    let pending = Memo::new(move |_| {
        subject.on.with(|on| on.as_ref().map(|on| on.pending.clone())).filter(|text| !text.is_empty())
    });
    let last = Memo::new(move |_| {
        subject.on.with(|on| on.as_ref().filter(|on| !on.fresh && on.report.is_some()).map(|on| on.reported_unix_ms))
    });
    let stale = move || {
        last.get().map(|last| {
            format!(
                "Last heard at {}. The node goes on without the server; `holdfast state` on it tells more.",
                platform::time(last)
            )
        })
    };
    view! {
        {move || stale().map(|text| view! { <Notice tone=Tone::Busy title="This is what was last known" text testid="node-stale" /> })}
        {move || waiting.get().map(|text| view! { <Notice tone=Tone::Bad title="It waits" text testid="waiting-for" /> })}
        {move || pending.get().map(|text| view! { <Notice tone=Tone::Busy title="The wanted configuration is not in force here" text testid="pending" /> })}
        {move || resync.get().map(|resync| view! { <section class="card card-body"><ResyncProgress resync /></section> })}
    }
}

/// Whether the module is started when the node boots.
#[component]
fn BootStart(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let locked = Signal::derive(move || {
        !subject.on.with(|on| on.as_ref().is_some_and(|on| on.fresh))
            || !console.is_live()
            || !console.role().may(UserRole::Control)
    });
    let boot_start = Memo::new(move |_| subject.report(|report| report.boot_start).unwrap_or(false));
    let switch = move |wanted: bool| {
        let command = if wanted { ModuleCommand::BootOn } else { ModuleCommand::BootOff };
        console.start_task(client::command(subject.module, command, vec![subject.node]), |_| ());
    };
    view! {
        <div class="card-foot">
            <Switch id="boot-start" label="Start the module when this node boots" on=boot_start on_change=Callback::new(switch) disabled=locked />
        </div>
    }
}

#[component]
fn Facts(subject: Subject) -> impl IntoView {
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
    view! {
        <section class="card" aria-labelledby="facts">
            <div class="card-head"><h2 id="facts">"Details"</h2></div>
            <div class="card-body">{move || subject.report(|report| facts(report, desired(), &health()))}</div>
        </section>
    }
}

fn facts(report: &NodeModuleReport, desired: Option<u64>, health: &str) -> impl IntoView + use<> {
    let version = match desired {
        Some(desired) if desired != report.version => format!("{}, wanted {desired}", report.version),
        _ => report.version.to_string(),
    };
    let peer = report.peer.as_ref().map_or_else(
        || "never heard".to_owned(),
        |peer| format!("{} {} {}", peer.node, peer.state, if peer.heard { "(heard)" } else { "(not heard now)" }),
    );
    let data = report.inventory.map_or_else(
        || "not counted".to_owned(),
        |held| format!("{}, latest change {}", text::inventory(&held), platform::date_time(held.changed_unix_ms)),
    );
    let generation = report.generation.to_string();
    let health = health.to_owned();
    view! {
        <dl class="facts">
            <dt>"Hears the other node"</dt><dd>{peer}</dd>
            <dt>"Replicated files"</dt><dd>{data}</dd>
            <dt>"Generation"</dt><dd class="mono">{generation}</dd>
            <dt>"Configuration"</dt><dd>"version "{version}</dd>
            <dt>"Health address"</dt><dd class="mono">{health}</dd>
        </dl>
    }
}
