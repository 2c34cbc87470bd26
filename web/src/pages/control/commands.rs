//! Control: the commands of a node, and the switches of what the module does there by itself.

use super::Subject;
use crate::client;
use crate::components::dialog::Question;
use crate::components::form::Switch;
use crate::components::icon::Icon;
use crate::components::menu::{ActionMenu, MenuEntry};
use crate::language::{t, tf};
use crate::rules::actions::{COMMANDS, Situation, label, word};
use crate::store::Console;
use holdfast_api::agent::{ChecksSwitch, ModuleCommand};
use holdfast_api::console::UserRole;
use leptos::prelude::*;
use std::sync::Arc;

/// The menu of the node.
#[component]
pub fn Commands(subject: Subject) -> impl IntoView {
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
        let title = tf!("{0} on {1}?", 0 = label(command), 1 = console.node_name(subject.node));
        console.ask(Question { title, consequences, confirm: label(command).to_owned(), danger, act: Arc::new(act) });
    };
    view! { <ActionMenu label=t!("Commands") testid="commands" entries on_pick=Callback::new(pick) /> }
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
        divided: matches!(command, ModuleCommand::Prim | ModuleCommand::PrimFullSync | ModuleCommand::BootAuto),
    }
}

/// What the module does by itself on this node.
#[component]
pub fn Switches(subject: Subject) -> impl IntoView {
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
            <Switch id="boot-start" label=t!("Start the module when this node boots") on=boot_start on_change=Callback::new(switch_boot) disabled=locked />
            <Show when=move || boot.with(|boot| boot.as_deref() == Some("auto"))><span class="muted small">{t!("starts at boot if it was running")}</span></Show>
            <Show when=move || has_failover.get()>
                <Switch id="failover" label=t!("Take over by itself") on=failover on_change=Callback::new(switch_failover) disabled=locked />
            </Show>
            <Show when=move || has_checks.get()>
                <Switch id="checkers" label=t!("Checkers") on=checkers on_change=checks(ChecksSwitch::Checkers) disabled=locked />
                <Switch id="processes" label=t!("Process checker") on=processes on_change=checks(ChecksSwitch::Processes) disabled=locked />
            </Show>
        </div>
    }
}
