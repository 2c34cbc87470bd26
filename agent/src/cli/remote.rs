//! `-H`: a command on other nodes, through the agent here; the answers one node after another, the exit code the worst.

use super::carry::verb;
use super::verbs::{Cluster, Verb};
use super::waits::{State, Wanted, wait};
use super::{DONE, LATE, code_of, done, logs, packages, states, tend, unexpected};
use crate::cluster_link::members::Member;
use crate::control::client::Client;
use crate::control::{Answer, Request};
use anyhow::{Result, bail, ensure};
use holdfast_api::state::ModuleState;
use std::io::{Write, stdout};

/// Seconds that a secondary has for its stop before the primary's begins.
const STOP_SECONDS: f64 = 120.0;

/// What `-E` and `-G` give to other nodes.
#[derive(Clone, Debug)]
pub(super) enum Exported {
    /// The cluster configuration.
    Cluster,
    /// A module.
    Module(String),
}

/// The nodes of the cluster as the agent knows them.
pub(super) fn members(client: &mut Client) -> Result<Vec<Member>> {
    match client.ask(Request::ClusterState)? {
        Answer::Members { members } if members.is_empty() => {
            bail!("this node is in no cluster: `holdfast cluster config FILE.json`, or the console")
        }
        Answer::Members { members } => Ok(members),
        other => Err(unexpected(other)),
    }
}

/// The nodes that `-H` names, in the order named, each once.
fn chosen(hosts: &str, members: &[Member]) -> Result<Vec<Member>> {
    if hosts.trim() == "*" {
        return Ok(members.to_vec());
    }
    let mut found: Vec<Member> = Vec::new();
    // `[https:9453],node1`, as scripts write it: how a node is reached is not theirs to say here.
    let named = hosts.split(',').map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('['));
    for name in named {
        let Some(member) = members.iter().find(|member| member.node == name) else {
            let names: Vec<&str> = members.iter().map(|member| member.node.as_str()).collect();
            bail!("{name} is no node of this cluster: -H takes \"*\" or names of {}, with commas", names.join(", "));
        };
        if !found.contains(member) {
            found.push(member.clone());
        }
    }
    ensure!(!found.is_empty(), "-H names no node: write \"*\" for all, or names with commas");
    Ok(found)
}

/// Whether a command makes sense on so many nodes, asked from here.
fn check(command: &Verb, nodes: usize) -> Result<()> {
    match command {
        Verb::Logs(logs::Verb::Logview { .. }) => bail!("a log is followed on its node only: `log`, or run it there"),
        Verb::Printi { .. } | Verb::Printe { .. } => bail!("printi and printe are for the scripts of the node itself"),
        Verb::Pairing { .. } => bail!("the pairing code is shown and reopened on the node itself only"),
        Verb::Cluster(Cluster::Deconfig) => bail!("a node leaves its cluster by a command on itself only"),
        Verb::Tend(tend::Verb::Snapshot { .. })
        | Verb::Logs(logs::Verb::Logsave { .. })
        | Verb::Module(packages::Verb::Package { .. })
            if nodes > 1 =>
        {
            bail!("this writes one file: name one node with -H")
        }
        _ => Ok(()),
    }
}

/// Whether the output is for programs: the node's name then goes beside it, not into it.
fn for_programs(command: &Verb) -> bool {
    match command {
        Verb::State { json, .. } | Verb::Boot { json, .. } => *json,
        Verb::Logs(verb) => logs::for_programs(verb),
        Verb::Tend(verb) => tend::for_programs(verb),
        Verb::Module(verb) => packages::for_programs(verb),
        Verb::VerifyPaths { json, .. } | Verb::Confinfo { json, .. } => *json,
        Verb::Cluster(Cluster::State { json } | Cluster::Confinfo { json }) => *json,
        Verb::Data(verb) => verb.for_programs(),
        Verb::Cluster(Cluster::Show) => true,
        _ => false,
    }
}

fn title(node: &str, beside: bool) -> Result<()> {
    if beside {
        eprintln!("== {node}");
    } else {
        writeln!(stdout(), "== {node}")?;
        stdout().flush()?;
    }
    Ok(())
}

/// Where a module is stopped first: at the secondary, so that nothing fails over; last at who serves.
fn stop_order(mut nodes: Vec<(Member, Option<ModuleState>)>) -> Vec<(Member, Option<ModuleState>)> {
    nodes.sort_by_key(|(_, state)| match state {
        Some(ModuleState::Second) => 0,
        Some(ModuleState::Alone | ModuleState::Prim) => 2,
        _ => 1,
    });
    nodes
}

/// Points the client at a node.
fn turn(client: &mut Client, member: &Member) {
    client.ask_node((!member.here).then(|| member.node.clone()));
}

/// Runs a command on the nodes; the worst exit code.
pub(super) fn run(client: &mut Client, hosts: &str, command: &Verb) -> Result<u8> {
    let nodes = chosen(hosts, &members(client)?)?;
    check(command, nodes.len())?;
    let beside = for_programs(command);
    let ordered = match command {
        Verb::Stop(control) if nodes.len() > 1 => {
            let state = |client: &mut Client, member: &Member| {
                turn(client, member);
                let reports = states(client, Some(control.module.module.clone())).ok()?;
                reports.first().map(|report| report.state)
            };
            let with_states = nodes.into_iter().map(|member| (state(client, &member), member));
            stop_order(with_states.map(|(state, member)| (member, state)).collect())
        }
        _ => nodes.into_iter().map(|member| (member, None)).collect(),
    };
    let mut worst = DONE;
    for (member, state) in &ordered {
        title(&member.node, beside)?;
        turn(client, member);
        let mut code = report(verb(client, command.clone()));
        if let (Verb::Stop(control), Some(ModuleState::Second), DONE) = (command, state, code) {
            code = report(wait(client, &control.module.module, Wanted::State(State::Stop), STOP_SECONDS));
            if code == LATE {
                eprintln!("holdfast: the other nodes are stopped nevertheless");
            }
        }
        worst = worst.max(code);
    }
    Ok(worst)
}

/// Gives the nodes what is held here; the worst exit code.
pub(super) fn export(client: &mut Client, hosts: &str, exported: &Exported) -> Result<u8> {
    let nodes = chosen(hosts, &members(client)?)?;
    let others: Vec<Member> = nodes.into_iter().filter(|member| !member.here).collect();
    ensure!(!others.is_empty(), "-H names this node only, which has it already: name the others, or \"*\"");
    let module = match exported {
        Exported::Cluster => None,
        Exported::Module(module) => Some(module.clone()),
    };
    let mut worst = DONE;
    for member in &others {
        title(&member.node, false)?;
        let answer = client.ask(Request::Export { module: module.clone(), to: member.node.clone() });
        let given = answer.map_err(anyhow::Error::from).and_then(done).map(|()| DONE);
        worst = worst.max(report(given));
    }
    Ok(worst)
}

/// Exit code of one node; why it failed goes to standard error.
fn report(outcome: Result<u8>) -> u8 {
    outcome.unwrap_or_else(|error| {
        eprintln!("holdfast: {error:#}");
        code_of(&error)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Member, chosen, stop_order};
    use holdfast_api::ids::NodeId;
    use holdfast_api::state::ModuleState;

    pub(in crate::cli) fn member(number: u16) -> Member {
        Member {
            node: format!("node{number}"),
            id: NodeId(number),
            here: number == 1,
            reachable: true,
            since_unix_ms: 0,
            heard_unix_ms: None,
            address: None,
            why: String::new(),
            status: None,
        }
    }

    #[test]
    fn hosts_are_all_or_names_and_unknown_ones_are_refused() {
        let members = [member(1), member(2), member(3)];
        let names = |hosts: &str| -> Result<Vec<String>, String> {
            let found = chosen(hosts, &members).map_err(|error| error.to_string())?;
            Ok(found.into_iter().map(|member| member.node).collect())
        };
        assert_eq!(names("*").unwrap().len(), 3);
        assert_eq!(names("node3, node1,node3").unwrap(), ["node3", "node1"]);
        assert_eq!(names("[https:9453],node2").unwrap(), ["node2"]);
        assert!(names("node1,node9").unwrap_err().contains("node1, node2, node3"));
        assert!(names(",").unwrap_err().contains("names no node"));
    }

    #[test]
    fn the_secondary_stops_first_and_who_serves_last() {
        let of = |states: [Option<ModuleState>; 3]| -> Vec<u16> {
            let nodes = states.into_iter().zip(1..).map(|(state, number)| (member(number), state)).collect();
            stop_order(nodes).into_iter().map(|(member, _)| member.id.0).collect()
        };
        let (prim, second) = (Some(ModuleState::Prim), Some(ModuleState::Second));
        assert_eq!(of([prim, second, None]), [2, 3, 1]);
        assert_eq!(of([None, Some(ModuleState::Alone), Some(ModuleState::Wait)]), [1, 3, 2]);
        assert_eq!(of([None, None, None]), [1, 2, 3]);
    }
}
