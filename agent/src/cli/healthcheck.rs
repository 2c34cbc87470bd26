//! `healthcheck`: what is wrong on this node and in its cluster, test by test, for people and for monitoring.

use super::members::{configurations, differences};
use super::{DONE, REFUSED, states, unexpected};
use crate::cluster_link::members::Member;
use crate::control::client::Client;
use crate::control::{Answer, Request};
use anyhow::Result;
use holdfast_api::agent::NodeModuleReport;
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use std::io::{Write, stdout};

/// How a test went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Ok,
    Warn,
    Error,
}

/// One thing found by a test.
type Finding = (Mark, String);

/// Runs every test; its exit code says whether one found an error.
pub(super) fn run(client: &mut Client) -> Result<u8> {
    let reports = states(client, None)?;
    let members = match client.ask(Request::ClusterState)? {
        Answer::Members { members } => members,
        other => return Err(unexpected(other)),
    };
    let mut tests = vec![("cluster".to_owned(), of_cluster(&members))];
    tests.extend(reports.iter().map(|report| (format!("module {}", report.module), of_module(report))));
    for (name, findings) in &tests {
        writeln!(stdout(), "TEST  {name}")?;
        for (mark, text) in findings {
            let word = match mark {
                Mark::Ok => "OK",
                Mark::Warn => "WARN",
                Mark::Error => "ERROR",
            };
            writeln!(stdout(), "{word:<5} {text}")?;
        }
    }
    let failed = tests.iter().flat_map(|(_, findings)| findings).any(|(mark, _)| *mark == Mark::Error);
    Ok(if failed { REFUSED } else { DONE })
}

fn of_cluster(members: &[Member]) -> Vec<Finding> {
    if members.is_empty() {
        return vec![(
            Mark::Error,
            "this node is in no cluster: `holdfast cluster config FILE.json`, or the console".into(),
        )];
    }
    let lost = members.iter().filter(|member| !member.reachable && !member.here);
    let mut found: Vec<Finding> =
        lost.map(|member| (Mark::Error, format!("{} cannot be reached: {}", member.node, member.why))).collect();
    found.extend(differences(&configurations(members)).into_iter().map(|text| (Mark::Error, text)));
    if found.is_empty() {
        found.push((Mark::Ok, format!("{} nodes, reachable and configured alike", members.len())));
    }
    found
}

fn of_module(report: &NodeModuleReport) -> Vec<Finding> {
    let mut found = vec![of_state(report)];
    if report.state != ModuleState::Stop {
        found.extend(report.resources.iter().filter(|resource| is_looked_at(&resource.name)).filter_map(|resource| {
            let down = resource.value == ResourceValue::Down;
            down.then(|| (Mark::Warn, format!("{} is down, says {}", resource.name, resource.by)))
        }));
    }
    if matches!(report.data, DataState::Inconsistent | DataState::Diverged) {
        found.push((Mark::Error, format!("the copy here is {}", report.data)));
    }
    if report.set_aside > 0 {
        let text = format!("{} set-aside copies take room: `holdfast diverged -m {}`", report.set_aside, report.module);
        found.push((Mark::Warn, text));
    }
    found
}

/// Checkers, networks and processes; what the module says of its own role and data is told with its state.
fn is_looked_at(name: &str) -> bool {
    !["state.", "usersetting.", "heart.", "rfs.", "splitbrain.uptodate"].iter().any(|own| name.starts_with(own))
}

fn of_state(report: &NodeModuleReport) -> Finding {
    let state = format!("{} {}", report.state, report.readiness);
    let why = report.waiting_for.as_deref().unwrap_or(&report.detail);
    match (report.state, report.readiness) {
        (ModuleState::Stop, _) if report.running => (Mark::Error, format!("{state}, though it is to run: {why}")),
        (ModuleState::Stop, _) => (Mark::Ok, format!("{state}, as ordered")),
        (ModuleState::Wait, Readiness::NotReady) => (Mark::Error, format!("{state}: {why}")),
        (_, Readiness::Ready) if report.state == ModuleState::Alone => {
            (Mark::Warn, format!("{state}: no other node could take over: {why}"))
        }
        (_, Readiness::Ready) => (Mark::Ok, state),
        _ => (Mark::Warn, format!("{state}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, of_cluster, of_module};
    use holdfast_api::agent::{NodeModuleReport, ResourceReport};
    use holdfast_api::ids::ModuleId;
    use holdfast_api::resource::ResourceValue;
    use holdfast_api::state::{DataState, ModuleState, Readiness};

    fn report(state: ModuleState, readiness: Readiness) -> NodeModuleReport {
        NodeModuleReport { state, readiness, ..crate::report::blank("web", ModuleId(1), "node1", 1, "because") }
    }

    fn marks(report: &NodeModuleReport) -> Vec<Mark> {
        of_module(report).into_iter().map(|(mark, _)| mark).collect()
    }

    #[test]
    fn each_state_is_right_odd_or_wrong() {
        use ModuleState::{Alone, Prim, Second, Stop, Up, Wait};
        use Readiness::{NotReady, Ready, Transient};
        for (state, readiness, mark) in [
            (Prim, Ready, Mark::Ok),
            (Second, Ready, Mark::Ok),
            (Up, Ready, Mark::Ok),
            (Stop, NotReady, Mark::Ok),
            (Alone, Ready, Mark::Warn),
            (Second, Transient, Mark::Warn),
            (Wait, Transient, Mark::Warn),
            (Wait, NotReady, Mark::Error),
        ] {
            assert_eq!(marks(&report(state, readiness)), [mark], "{state} {readiness}");
        }
        let stopped = NodeModuleReport { running: true, ..report(Stop, NotReady) };
        assert_eq!(marks(&stopped), [Mark::Error]);
    }

    #[test]
    fn what_is_down_or_damaged_is_told_beside_the_state() {
        let resource = |name: &str, value| ResourceReport {
            name: name.to_owned(),
            value,
            since_unix_ms: 0,
            by: "tcpcheck (refused)".to_owned(),
        };
        let resources = vec![
            resource("tcp.web", ResourceValue::Down),
            resource("tcp.other", ResourceValue::Up),
            resource("heartbeat.flow", ResourceValue::Down),
            resource("rfs.degraded", ResourceValue::Down),
        ];
        let prim = NodeModuleReport { resources, set_aside: 2, ..report(ModuleState::Prim, Readiness::Ready) };
        assert_eq!(marks(&prim), [Mark::Ok, Mark::Warn, Mark::Warn, Mark::Warn]);
        let torn = NodeModuleReport { data: DataState::Inconsistent, ..report(ModuleState::Stop, Readiness::NotReady) };
        assert_eq!(marks(&torn), [Mark::Ok, Mark::Error]);
        assert_eq!(of_cluster(&[])[0].0, Mark::Error);
    }
}
