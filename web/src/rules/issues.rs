//! What is wrong now, worst first, each with what to do: one pure function of the live snapshot.

use crate::language::{self, t, tf};
use crate::rules::text;
use crate::rules::tone::Tone;
use holdfast_api::agent::NodeModuleReport;
use holdfast_api::config::{ModuleMode, WitnessKind};
use holdfast_api::console::{LiveSnapshot, ModuleFacts, ModuleLive, ModuleOnNode, NodeView};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use std::collections::HashSet;

/// A clock further off than this makes logs of two nodes hard to compare.
const CLOCK_MS: u64 = 2_000;

/// Something to know or to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issue {
    /// `Bad`: needs somebody now; `Busy`: to be minded.
    pub tone: Tone,
    /// In a few words.
    pub title: String,
    /// What is the matter.
    pub text: String,
    /// What to do.
    pub cure: String,
    /// Where that is done: address and words.
    pub link: Option<(String, &'static str)>,
    /// The register of this module can be armed.
    pub arm: Option<ModuleId>,
}

/// Everything that is wrong, worst first. `clock` writes a time of day.
pub fn issues(snapshot: &LiveSnapshot, clock: &dyn Fn(u64) -> String) -> Vec<Issue> {
    let own = |problem: &String| issue(Tone::Bad, t!("The management server needs attention"), problem, "");
    let mut found: Vec<Issue> = snapshot.server_problems.iter().map(own).collect();
    for node in snapshot.nodes.iter().filter(|node| node.in_cluster) {
        of_node(node, snapshot, clock, &mut found);
    }
    of_versions(snapshot, &mut found);
    for module in snapshot.modules.iter().filter(|module| module.module.desired.is_some()) {
        of_module(module, snapshot, clock, &mut found);
    }
    // Stable: what belongs together stays together.
    found.sort_by_key(|issue| issue.tone != Tone::Bad);
    // Said twice it is no worse.
    let mut said = HashSet::new();
    found.retain(|issue| said.insert(issue.clone()));
    found
}

fn issue(tone: Tone, title: impl Into<String>, text: impl Into<String>, cure: impl Into<String>) -> Issue {
    Issue { tone, title: title.into(), text: text.into(), cure: cure.into(), link: None, arm: None }
}

fn in_cluster_page(issue: Issue) -> Issue {
    Issue { link: Some(("/cluster".to_owned(), t!("Cluster"))), ..issue }
}

fn of_node(node: &NodeView, snapshot: &LiveSnapshot, clock: &dyn Fn(u64) -> String, found: &mut Vec<Issue>) {
    let name = &node.name;
    if !node.connected {
        let since = if node.last_seen_unix_ms == 0 { "ever".to_owned() } else { clock(node.last_seen_unix_ms) };
        let title = if node.last_seen_unix_ms == 0 {
            tf!("{name} has never been in contact", name)
        } else {
            tf!("{name} has not been in contact since {since}", name, since)
        };
        let text =
            t!("The server does not know what runs there. The nodes protect the application without the server.");
        let cure =
            tf!("Look whether {name} runs and its network works; there, `holdfast state` shows the modules.", name);
        found.push(in_cluster_page(issue(Tone::Bad, title, text, cure)));
        return;
    }
    if !node.problem.is_empty() {
        let cure = t!("Open Cluster configuration; it says what each node holds.");
        found.push(in_cluster_page(issue(
            Tone::Bad,
            tf!("{name} and the server do not agree", name),
            &node.problem,
            cure,
        )));
    } else if node.cluster_version != snapshot.cluster.version {
        let text =
            tf!("It holds version {0}, wanted is version {1}.", 0 = node.cluster_version, 1 = snapshot.cluster.version);
        let title = tf!("{name} has another cluster configuration", name);
        found.push(in_cluster_page(issue(Tone::Busy, title, text, t!("Wait a moment, or save the cluster again."))));
    }
    let offset = node.clock_offset_ms;
    if offset.unsigned_abs() > CLOCK_MS {
        let text = {
            let off = text::duration_ms(offset.unsigned_abs());
            if offset > 0 {
                tf!("It is {off} ahead of the server's.", off)
            } else {
                tf!("It is {off} behind the server's.", off)
            }
        };
        let cure =
            t!("Let a time service (chrony, systemd-timesyncd) set it, so that logs of both nodes can be compared.");
        found.push(in_cluster_page(issue(Tone::Busy, tf!("The clock of {name} is off", name), text, cure)));
    }
}

fn of_versions(snapshot: &LiveSnapshot, found: &mut Vec<Issue>) {
    let old = |node: &&NodeView| {
        node.in_cluster && !node.agent_version.is_empty() && node.agent_version != snapshot.server_version
    };
    let nodes: Vec<String> =
        snapshot.nodes.iter().filter(old).map(|node| format!("{} {}", node.name, node.agent_version)).collect();
    if !nodes.is_empty() {
        let text = tf!("The server is version {0}; {1}.", 0 = snapshot.server_version, 1 = nodes.join(", "));
        let cure = t!("Bring all of them to one version, a secondary first.");
        found.push(in_cluster_page(issue(Tone::Busy, t!("Versions differ"), text, cure)));
    }
}

fn name_of(snapshot: &LiveSnapshot, node: NodeId) -> String {
    snapshot.nodes.iter().find(|view| view.id == node).map_or_else(|| node.to_string(), |view| view.name.clone())
}

fn of_module(module: &ModuleLive, snapshot: &LiveSnapshot, clock: &dyn Fn(u64) -> String, found: &mut Vec<Issue>) {
    let (id, name) = (module.module.id, &module.module.name);
    if let Some(facts) = &module.facts {
        of_setting(module, facts, snapshot, found);
    }
    let serving: Vec<String> = module
        .nodes
        .iter()
        .filter(|on| on.fresh && on.report.as_ref().is_some_and(|report| is_primary(report.state)))
        .map(|on| name_of(snapshot, on.node))
        .collect();
    if serving.len() > 1 {
        let text = tf!("{0} are primary at once: they cannot hear each other.", 0 = language::list(&serving));
        let cure = t!(
            "Mend the networks between them. At the reunion one of them stops and keeps its data; nothing is overwritten."
        );
        found.push(issue(Tone::Bad, tf!("{name} is served twice", name), text, cure));
    }
    for on in &module.nodes {
        let node = name_of(snapshot, on.node);
        let before = found.len();
        if !on.pending.is_empty() && on.fresh {
            let title = tf!("{name}: {node} does not run the wanted configuration", name, node);
            found.push(issue(
                Tone::Busy,
                title,
                &on.pending,
                t!("Open Configuration and configure again if it stays so."),
            ));
        }
        if let Some(report) = on.report.as_ref().filter(|_| on.fresh) {
            of_state(name, &node, on, report, module, found);
            of_resources(name, &node, report, clock, found);
            of_set_aside(module, &node, report, on.node, found);
        }
        for issue in found[before..].iter_mut().filter(|issue| issue.link.is_none()) {
            issue.link = Some((format!("/control/{}/{}", id.0, on.node.0), t!("Control")));
        }
    }
}

fn is_primary(state: ModuleState) -> bool {
    matches!(state, ModuleState::Prim | ModuleState::Alone)
}

/// What the module's configuration leaves open, and the register.
fn of_setting(module: &ModuleLive, facts: &ModuleFacts, snapshot: &LiveSnapshot, found: &mut Vec<Issue>) {
    let (id, name) = (module.module.id, &module.module.name);
    if facts.mode == ModuleMode::Mirror && facts.networks.len() == 1 {
        let title = tf!("{name}: no second heartbeat network", name);
        let text = match facts.witness {
            WitnessKind::None => t!("If the one network between the nodes is cut, both may serve."),
            _ => {
                t!("If the one network between the nodes is cut, they cannot hear each other, and the witness decides.")
            }
        };
        let one = snapshot.cluster.lans.len() < 2;
        let cure = if one {
            t!("Give the cluster a second network, then choose it for the heartbeats of the module.")
        } else {
            t!("Choose a second network in the module's configuration.")
        };
        let link = if one { ("/cluster".to_owned(), t!("Cluster")) } else { wizard(id, "networks") };
        found.push(Issue { link: Some(link), ..issue(Tone::Busy, title, text, cure) });
    }
    if let Some(register) = module.register.as_ref().filter(|register| !register.armed) {
        let title = tf!("{name}: the register does not grant yet", name);
        let text = tf!(
            "Since the server started it has not heard which generation {0} holds. Until then no unplanned failover happens.",
            0 = language::list(&register.waits_for)
        );
        let cure =
            t!("Bring these nodes into contact. If one is lost for good and surely does not serve, arm the register.");
        found.push(Issue { arm: Some(id), ..issue(Tone::Bad, title, text, cure) });
    }
}

fn wizard(module: ModuleId, step: &str) -> (String, &'static str) {
    (format!("/configuration/modules/{}/{step}", module.0), t!("Configuration"))
}

fn another_serves(live: &ModuleLive, on: &ModuleOnNode) -> bool {
    live.nodes.iter().any(|other| {
        other.node != on.node && other.fresh && other.report.as_ref().is_some_and(|report| is_primary(report.state))
    })
}

fn of_state(
    module: &str,
    node: &str,
    on: &ModuleOnNode,
    report: &NodeModuleReport,
    live: &ModuleLive,
    found: &mut Vec<Issue>,
) {
    if report.data == DataState::Diverged {
        let title = tf!("{module}: the data on {node} diverged", module, node);
        let text = t!("It holds changes that the other copy lacks. They are kept until you decide.");
        let cure =
            tf!("Save what you need from {node}, then start it as secondary: its copy is then overwritten.", node);
        found.push(issue(Tone::Bad, title, text, cure));
    }
    match (report.state, report.readiness) {
        (ModuleState::Stop, _) if report.running => {
            let cure = t!("Read the module log and the application log, mend the cause, then start the module.");
            found.push(issue(
                Tone::Bad,
                tf!("{module} on {node} was stopped by an error", module, node),
                &report.detail,
                cure,
            ));
        }
        (ModuleState::Wait, Readiness::NotReady) => {
            let waits = report.waiting_for.clone().unwrap_or_else(|| report.detail.clone());
            found.push(issue(Tone::Bad, tf!("{module} on {node} waits", module, node), waits, ""));
        }
        // Served twice, it is told once, above.
        (ModuleState::Alone, Readiness::Ready) if live.nodes.len() > 1 && !another_serves(live, on) => {
            let following = live.nodes.iter().any(|other| {
                other.node != on.node
                    && other.fresh
                    && other.report.as_ref().is_some_and(|report| report.state == ModuleState::Second)
            });
            let title = tf!("{module} runs on {node} without redundancy", module, node);
            let text = t!("If this node fails now, no other can take over.");
            let cure = if following {
                t!("The other node is on its way; wait for the resync.")
            } else {
                t!("Start the other node.")
            };
            found.push(issue(Tone::Busy, title, text, cure));
        }
        _ => {
            if let Some(waits) = report.waiting_for.as_ref().filter(|_| report.state == ModuleState::Second) {
                found.push(issue(Tone::Busy, tf!("{module} on {node} cannot follow", module, node), waits, ""));
            }
        }
    }
}

/// Copies that were set aside wait for somebody to look at them.
fn of_set_aside(module: &ModuleLive, node: &str, report: &NodeModuleReport, id: NodeId, found: &mut Vec<Issue>) {
    if report.set_aside == 0 {
        return;
    }
    let name = &module.module.name;
    let title = tf!("{name}: data is set aside on {node}", name, node);
    let text = t!("What this node held alone when both copies had changed was kept before it was overwritten.");
    let cure = t!("Look inside, save what is needed and bring it back by hand; then delete it.");
    let link = Some((format!("/control/{}/{}/aside", module.module.id.0, id.0), t!("Set aside")));
    found.push(Issue { link, ..issue(Tone::Busy, title, text, cure) });
}

fn of_resources(
    module: &str,
    node: &str,
    report: &NodeModuleReport,
    clock: &dyn Fn(u64) -> String,
    found: &mut Vec<Issue>,
) {
    // A stopped module looks at nothing, and its peer's silence means nothing.
    if report.state == ModuleState::Stop {
        return;
    }
    let is = |name: &str, value: &str| {
        report.resources.iter().any(|resource| resource.name == name && resource.value.to_string() == value)
    };
    let links: Vec<_> = report.resources.iter().filter(|resource| resource.name.starts_with("heartbeat.")).collect();
    let hears = links.iter().any(|link| link.value == ResourceValue::Up);
    for resource in report.resources.iter().filter(|resource| resource.value == ResourceValue::Down) {
        let since = clock(resource.since_unix_ms);
        let (class, ident) = resource.name.split_once('.').unwrap_or((&resource.name, ""));
        match class {
            "heartbeat" if hears => {
                let title =
                    tf!("{module}: {node} does not hear the other node on network {ident}", module, node, ident);
                let cure = t!("Look at the cable, the address and the firewall of this network.");
                found.push(issue(Tone::Busy, title, tf!("Since {since}; another network still works.", since), cure));
            }
            "splitbrain" => {
                let title = tf!("{module}: the witness does not let {node} on", module, node);
                let cure = t!("Bring the witness back, or the network to the other node.");
                found.push(issue(Tone::Bad, title, tf!("Since {since}.", since), cure));
            }
            // Told by the states.
            "heartbeat" | "rfs" | "state" => {}
            _ => {
                let title = tf!("{module}: {0} is down on {node}", module, 0 = resource.name, node);
                let text = tf!("Since {since}, says {0}.", since, 0 = resource.by);
                found.push(issue(
                    Tone::Bad,
                    title,
                    text,
                    t!("Mend what it looks at; its rule says what happens meanwhile."),
                ));
            }
        }
    }
    if is("rfs.degraded", "up") {
        let title = tf!("{module}: the replication on {node} is degraded", module, node);
        found.push(issue(
            Tone::Busy,
            title,
            t!("The other node lives, but does not follow."),
            t!("Read the module log of both nodes."),
        ));
    }
    if is("heart.maxloop", "true") {
        let title = tf!("{module}: the restarts on {node} are used up", module, node);
        let cure = t!("Mend the application, then start the module by hand: that forgets the count.");
        found.push(issue(Tone::Bad, title, t!("It was restarted as often as maxloop allows."), cure));
    }
    of_switches(module, node, report, found);
}

/// What an operator has switched off.
fn of_switches(module: &str, node: &str, report: &NodeModuleReport, found: &mut Vec<Issue>) {
    let off = |name: &str| {
        report.resources.iter().any(|resource| resource.name == name && resource.value.to_string() == "off")
    };
    for (name, what) in [
        ("usersetting.failover", t!("A secondary takes over only when an operator orders it.")),
        ("usersetting.checker", t!("The checkers do not look; what they would notice stays unnoticed.")),
        ("usersetting.errd", t!("Processes are not watched.")),
    ] {
        if off(name) {
            let short = match name {
                "usersetting.failover" => t!("failover is off"),
                "usersetting.checker" => t!("the checkers are off"),
                _ => t!("the process checker is off"),
            };
            let cure = t!("Switch it on again in Control when the work is done.");
            found.push(issue(Tone::Busy, tf!("{module}: {short} on {node}", module, short, node), what, cure));
        }
    }
}

#[cfg(test)]
mod tests;
