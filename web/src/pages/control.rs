//! Control: modules and nodes with their live states, commands, start at boot, logs.

use crate::client;
use crate::components::dialog::Question;
use crate::components::flow::FlowMap;
use crate::components::form::Switch;
use crate::components::icon::Icon;
use crate::components::log::{LogSource, LogViewer};
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::components::notice::{EmptyState, Notice, Waiting, prose};
use crate::components::register::ArmButton;
use crate::components::resources::ResourceTable;
use crate::components::shell::PageHead;
use crate::components::state::{Chip, DataChip, ResyncProgress, StateBadge};
use crate::platform;
use crate::rules::actions::{ALL_NODES, COMMANDS, Situation, label, word};
use crate::rules::text;
use crate::rules::tone::{Tone, show};
use crate::store::Console;
use holdfast_api::agent::{ChecksSwitch, LogKind, ModuleCommand, NodeModuleReport};
use holdfast_api::config::ModuleMode;
use holdfast_api::console::{ModuleLive, ModuleOnNode, UserRole};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::state::{ModuleState, Readiness};
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
    let tab = Memo::new(move |_| match params.read().get("tab").as_deref() {
        Some("application") => Tab::Log(LogKind::Application),
        Some("resources") => Tab::Resources,
        _ => Tab::Log(LogKind::Module),
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

/// What is shown below the state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tab {
    Log(LogKind),
    Resources,
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
    let live = Memo::new(move |_| console.module(id));
    let entries = Signal::derive(move || {
        let why = if !console.role().may(UserRole::Control) {
            Some("Your role may look, not command.".to_owned())
        } else {
            (!console.is_live()).then(|| "The page is not connected to the server.".to_owned())
        };
        let no_pair = || {
            let pair = live.with(|live| live.as_ref().is_some_and(can_swap));
            (!pair).then(|| "Roles are swapped only between PRIM and SECOND, both ready.".to_owned())
        };
        let one = |command: ModuleCommand| {
            let disabled = why.clone().or_else(|| if command == ModuleCommand::Swap { no_pair() } else { None });
            let (label, icon) = on_all(command);
            let danger = matches!(command, ModuleCommand::Stop | ModuleCommand::ForceStop) && disabled.is_none();
            let divided = command == ModuleCommand::ForceStop;
            MenuEntry { id: word(command), label, icon, danger, disabled, divided }
        };
        ALL_NODES.into_iter().map(one).collect::<Vec<_>>()
    });
    let label = format!("Commands for {name} on all nodes");
    let testid = format!("all-{name}");
    let pick = move |what: &'static str| {
        let Some(command) = ALL_NODES.into_iter().find(|command| word(*command) == what) else { return };
        let act = move || console.start_task(client::command(id, command, Vec::new()), |_| ());
        let consequence = match command {
            ModuleCommand::Start => return act(),
            ModuleCommand::Swap => {
                "The application stops on the primary and starts on the other node, which clients notice. No data is lost."
            }
            ModuleCommand::ForceStop => {
                "The module stops on every node at once, without an orderly stop of the application. It runs nowhere until the module is started again."
            }
            _ => "The application stops, and no node takes over: it runs nowhere until the module is started again.",
        };
        let (words, _) = on_all(command);
        console.ask(Question {
            title: format!("{name}: {}?", words.to_lowercase()),
            consequences: vec![consequence.to_owned()],
            confirm: words.to_owned(),
            danger: command != ModuleCommand::Swap,
            act: Arc::new(act),
        });
    };
    view! { <ActionMenu label testid entries on_pick=Callback::new(pick) icon=Icon::More /> }
}

/// What a command for all nodes is called, and its icon.
fn on_all(command: ModuleCommand) -> (&'static str, Icon) {
    match command {
        ModuleCommand::Start => ("Start on all nodes", Icon::Start),
        ModuleCommand::Swap => ("Swap roles", Icon::Swap),
        ModuleCommand::ForceStop => ("Stop by force on all nodes", Icon::Stop),
        _ => ("Stop on all nodes", Icon::Stop),
    }
}

fn can_swap(live: &ModuleLive) -> bool {
    let ready = |state: ModuleState| {
        live.nodes.iter().any(|on| {
            on.fresh
                && on
                    .report
                    .as_ref()
                    .is_some_and(|report| report.state == state && report.readiness == Readiness::Ready)
        })
    };
    ready(ModuleState::Prim) && ready(ModuleState::Second)
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

    fn is_light(self) -> bool {
        self.live.with(|live| {
            live.as_ref().and_then(|live| live.facts.as_ref()).is_some_and(|facts| facts.mode == ModuleMode::Light)
        })
    }

    /// What a resource of the module itself says, such as `usersetting.boot`.
    fn setting(self, name: &str) -> Option<String> {
        self.report(|report| {
            let found = report.resources.iter().find(|resource| resource.name == name);
            found.map(|resource| resource.value.to_string())
        })
        .flatten()
    }

    fn report<T>(self, what: impl FnOnce(&NodeModuleReport) -> T) -> Option<T> {
        self.on.with(|on| on.as_ref()?.report.as_ref().map(what))
    }
}

/// The chosen module on the chosen node.
#[component]
fn Panel(module: ModuleId, node: NodeId, tab: Memo<Tab>) -> impl IntoView {
    let console = Console::get();
    let live = Memo::new(move |_| console.module(module));
    let on = Memo::new(move |_| live.with(|live| live.as_ref()?.nodes.iter().find(|on| on.node == node).cloned()));
    let subject = Subject { module, node, live, on };
    let there = Memo::new(move |_| on.with(Option::is_some));
    let reachable = Memo::new(move |_| console.is_live() && on.with(|on| on.as_ref().is_some_and(|on| on.fresh)));
    let names = Memo::new(move |_| {
        Some((live.with(|live| live.as_ref().map(|live| live.module.name.clone()))?, console.node_name(node)))
    });
    let resources = Signal::derive(move || subject.report(|report| report.resources.clone()).unwrap_or_default());
    let source = move || {
        let Tab::Log(which) = tab.get() else { return None };
        names.get().map(|(module_name, node_name)| LogSource { module, module_name, node, node_name, which })
    };
    view! {
        <div class="stack loose">
            <Show
                when=move || there.get()
                fallback=|| view! { <EmptyState icon=Icon::Info title="There is no such module or node" text="It may have been removed. Choose another at the left." /> }
            >
                <section class="card" data-testid="panel"><Head subject /><Map subject /><Switches subject /></section>
                <Reason subject />
            </Show>
            <section class="card" aria-label="Logs and resources">
                {tabs(module, node, tab)}
                {move || source().map(|source| view! { <LogViewer source reachable /> })}
                <Show when=move || tab.get() == Tab::Resources><ResourceTable resources live=reachable /></Show>
            </section>
            <Facts subject />
        </div>
    }
}

fn tabs(module: ModuleId, node: NodeId, tab: Memo<Tab>) -> impl IntoView {
    let base = href(module, node);
    let current = move |kind| move || (tab.get() == kind).then_some("page");
    view! {
        <nav class="tabs" aria-label="Logs and resources">
            <a href=format!("{base}/module") aria-current=current(Tab::Log(LogKind::Module)) data-testid="tab-module">"Module log"</a>
            <a href=format!("{base}/application") aria-current=current(Tab::Log(LogKind::Application)) data-testid="tab-application">"Application log"</a>
            <a href=format!("{base}/resources") aria-current=current(Tab::Resources) data-testid="tab-resources">"Resources"</a>
        </nav>
    }
}

/// Name, state, command menu.
#[component]
fn Head(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let server_now = move || console.now.get().saturating_add_signed(-console.clock_ahead_ms.get());
    let since = Memo::new(move |_| subject.report(|report| report.since_unix_ms).filter(|since| *since > 0));
    let fresh = Memo::new(move |_| subject.on.with(|on| on.as_ref().is_some_and(|on| on.fresh)));
    // How long is only told of what is known to go on.
    let since = Memo::new(move |_| since.get().filter(|_| fresh.get() && console.is_live()));
    let alone = Memo::new(move |_| fresh.get() && subject.report(|report| report.state) == Some(ModuleState::Alone));
    let data = Memo::new(move |_| subject.report(|report| (report.data, fresh.get())));
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
                {move || data.get().map(|(data, fresh)| view! { <DataChip data fresh /> })}
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
    let light = subject.is_light();
    Some(what(&Situation {
        me: &me,
        name: &name,
        peer: peer.as_ref(),
        peer_name: &peer_name,
        live: console.is_live(),
        role: console.role(),
        light,
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
        divided: matches!(command, ModuleCommand::Prim | ModuleCommand::PrimForce | ModuleCommand::BootAuto),
    }
}

/// Both nodes and what flows between them.
#[component]
fn Map(subject: Subject) -> impl IntoView {
    let nodes = Signal::derive(move || {
        subject.live.with(|live| live.as_ref().map(|live| live.nodes.clone())).unwrap_or_default()
    });
    let addresses = Signal::derive(move || {
        subject
            .live
            .with(|live| live.as_ref().and_then(|live| live.facts.as_ref()).map(|facts| facts.addresses.clone()))
            .unwrap_or_default()
    });
    view! { <Show when=move || !subject.is_light()><FlowMap module=subject.module nodes addresses /></Show> }
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
    let unarmed = Memo::new(move |_| {
        let register = subject.live.with(|live| live.as_ref().and_then(|live| live.register.clone()))?;
        (!register.armed).then(|| {
            format!(
                "It waits to hear which generation {} holds. Until then no unplanned failover happens.",
                register.waits_for.join(" and ")
            )
        })
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
        {move || unarmed.get().map(|text| view! { <Notice tone=Tone::Bad title="The register does not grant yet" text testid="register-unarmed"><ArmButton module=subject.module /></Notice> })}
        {move || pending.get().map(|text| view! { <Notice tone=Tone::Busy title="The wanted configuration is not in force here" text testid="pending" /> })}
        {move || resync.get().map(|resync| view! { <section class="card card-body"><ResyncProgress resync /></section> })}
    }
}

/// What the module does by itself on this node.
#[component]
fn Switches(subject: Subject) -> impl IntoView {
    let console = Console::get();
    let locked = Signal::derive(move || {
        !subject.on.with(|on| on.as_ref().is_some_and(|on| on.fresh))
            || !console.is_live()
            || !console.role().may(UserRole::Control)
    });
    let boot = Memo::new(move |_| subject.setting("usersetting.boot"));
    let boot_start = Memo::new(move |_| subject.report(|report| report.boot_start).unwrap_or(false));
    let on = move |name: &'static str| Memo::new(move |_| subject.setting(name).is_none_or(|value| value == "on"));
    let (failover, checkers, processes) =
        (on("usersetting.failover"), on("usersetting.checker"), on("usersetting.errd"));
    let known = move |name: &'static str| Memo::new(move |_| subject.setting(name).is_some());
    let (has_failover, has_checks) = (known("usersetting.failover"), known("usersetting.checker"));
    let order = move |command: ModuleCommand| {
        console.start_task(client::command(subject.module, command, vec![subject.node]), |_| ());
    };
    let switch_boot = move |wanted: bool| order(if wanted { ModuleCommand::BootOn } else { ModuleCommand::BootOff });
    let switch_failover =
        move |wanted: bool| order(if wanted { ModuleCommand::FailoverOn } else { ModuleCommand::FailoverOff });
    let checks = move |which: ChecksSwitch| {
        Callback::new(move |wanted: bool| {
            console.start_task(client::checks(subject.module, which, wanted, vec![subject.node]), |_| ());
        })
    };
    view! {
        <div class="card-foot switches">
            <Switch id="boot-start" label="Start the module when this node boots" on=boot_start on_change=Callback::new(switch_boot) disabled=locked />
            <Show when=move || boot.with(|boot| boot.as_deref() == Some("auto"))><span class="muted small">"starts at boot if it was running"</span></Show>
            <Show when=move || has_failover.get()>
                <Switch id="failover" label="Take over by itself" on=failover on_change=Callback::new(switch_failover) disabled=locked />
            </Show>
            <Show when=move || has_checks.get()>
                <Switch id="checkers" label="Checkers" on=checkers on_change=checks(ChecksSwitch::Checkers) disabled=locked />
                <Switch id="processes" label="Process checker" on=processes on_change=checks(ChecksSwitch::Processes) disabled=locked />
            </Show>
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
