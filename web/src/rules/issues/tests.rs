//! What is told, and where it leads.

use super::{Issue, issues};
use crate::rules::actions::tests::{module_on, on_node};
use crate::rules::tone::Tone;
use holdfast_api::agent::ResourceReport;
use holdfast_api::config::WitnessKind;
use holdfast_api::console::{
    ClusterView, LiveSnapshot, ModuleFacts, ModuleLive, ModuleOnNode, NetworkFacts, NodeView, RegisterLive,
};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};

fn node(id: u16) -> NodeView {
    NodeView {
        id: NodeId(id),
        name: format!("node{id}"),
        address: String::new(),
        fingerprint: String::new(),
        in_cluster: true,
        connected: true,
        last_seen_unix_ms: 1,
        agent_version: "1".into(),
        cluster_version: 3,
        clock_offset_ms: 0,
        cpu_percent: 0.0,
        memory_percent: 0.0,
        problem: String::new(),
        modules: Vec::new(),
    }
}

/// Two nodes that have nothing to complain about.
fn well() -> LiveSnapshot {
    let network = |lan: &str| NetworkFacts { lan: lan.into(), ident: lan.into() };
    let facts = ModuleFacts { networks: vec![network("a"), network("b")], ..ModuleFacts::default() };
    LiveSnapshot {
        sequence: 1,
        unix_ms: 1,
        server_version: "1".into(),
        console_build: String::new(),
        cluster: ClusterView {
            version: 3,
            name: "demo".into(),
            lans: vec!["a".into(), "b".into()],
            nodes: Vec::new(),
            author: String::new(),
            saved_unix_ms: 0,
        },
        nodes: vec![node(1), node(2)],
        modules: vec![ModuleLive {
            facts: Some(facts),
            ..module_on(vec![
                on_node(1, ModuleState::Prim, Readiness::Ready),
                on_node(2, ModuleState::Second, Readiness::Ready),
            ])
        }],
        server_problems: Vec::new(),
        tasks: Vec::new(),
    }
}

fn found(change: impl FnOnce(&mut LiveSnapshot)) -> Vec<Issue> {
    let mut snapshot = well();
    change(&mut snapshot);
    issues(&snapshot, &|at| format!("at {at}"))
}

fn on(snapshot: &mut LiveSnapshot, index: usize) -> &mut ModuleOnNode {
    &mut snapshot.modules[0].nodes[index]
}

#[test]
fn nothing_is_said_when_all_is_well() {
    assert_eq!(found(|_| ()), []);
}

#[test]
fn a_silent_node_is_told_with_its_time_before_what_is_only_to_be_minded() {
    let found = found(|snapshot| {
        snapshot.nodes[1].connected = false;
        snapshot.nodes[1].last_seen_unix_ms = 77;
        snapshot.nodes[0].clock_offset_ms = -5000;
        on(snapshot, 1).fresh = false;
    });
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].tone == Tone::Bad && found[0].title.contains("node2") && found[0].title.contains("at 77"));
    assert!(found[1].title.contains("clock of node1") && found[1].text.contains("behind"));
}

#[test]
fn each_trouble_of_a_module_is_told_once_with_where_to_go() {
    let wait = found(|snapshot| {
        *on(snapshot, 0) = on_node(1, ModuleState::Wait, Readiness::NotReady);
        on(snapshot, 0).report.as_mut().unwrap().waiting_for = Some("waits for node2".into());
    });
    assert_eq!((wait[0].text.as_str(), wait[0].link.as_ref().unwrap().0.as_str()), ("waits for node2", "/control/1/1"));
    let alone = found(|snapshot| {
        *on(snapshot, 0) = on_node(1, ModuleState::Alone, Readiness::Ready);
        *on(snapshot, 1) = on_node(2, ModuleState::Stop, Readiness::NotReady);
    });
    assert_eq!(alone.len(), 1, "{alone:#?}");
    assert!(alone[0].title.contains("without redundancy"));
    let twice = found(|snapshot| *on(snapshot, 1) = on_node(2, ModuleState::Prim, Readiness::Ready));
    assert!(twice[0].title.contains("served twice"));
    let apart = found(|snapshot| {
        *on(snapshot, 0) = on_node(1, ModuleState::Alone, Readiness::Ready);
        *on(snapshot, 1) = on_node(2, ModuleState::Alone, Readiness::Ready);
    });
    assert_eq!(apart.len(), 1, "nobody is told to start what runs: {apart:#?}");
    let diverged = found(|snapshot| on(snapshot, 1).report.as_mut().unwrap().data = DataState::Diverged);
    assert!(diverged[0].title.contains("diverged"));
    let aside = found(|snapshot| on(snapshot, 1).report.as_mut().unwrap().set_aside = 1);
    assert!(aside.len() == 1 && aside[0].title.contains("set aside on node2"), "{aside:#?}");
    assert_eq!(aside[0].link.as_ref().unwrap().0, "/control/1/2/aside");
}

#[test]
fn resources_that_are_down_are_told_and_a_lost_network_only_while_another_works() {
    let resource = |name: &str, value: ResourceValue| ResourceReport {
        name: name.into(),
        value,
        since_unix_ms: 5,
        by: "tcpcheck".into(),
    };
    let down =
        |list: Vec<ResourceReport>| found(move |snapshot| on(snapshot, 0).report.as_mut().unwrap().resources = list);
    let tcp = down(vec![resource("tcp.web", ResourceValue::Down)]);
    assert!(tcp[0].title.contains("tcp.web is down on node1") && tcp[0].text.contains("at 5"));
    let one = vec![resource("heartbeat.a", ResourceValue::Down), resource("heartbeat.b", ResourceValue::Up)];
    assert!(down(one)[0].title.contains("network a"));
    let all = vec![resource("heartbeat.a", ResourceValue::Down), resource("heartbeat.b", ResourceValue::Down)];
    assert_eq!(down(all), []);
    let off = down(vec![resource("usersetting.failover", ResourceValue::Other("off".into()))]);
    assert!(off[0].title.contains("failover is off"));
}

#[test]
fn a_register_to_be_armed_and_a_single_network_are_told() {
    let found = found(|snapshot| {
        let module = &mut snapshot.modules[0];
        module.register = Some(RegisterLive { armed: false, waits_for: vec!["node2".into()] });
        let facts = module.facts.as_mut().unwrap();
        facts.networks.truncate(1);
        facts.witness = WitnessKind::Register;
    });
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[0].arm, Some(ModuleId(1)));
    assert!(found[1].title.contains("no second heartbeat network"));
}

#[test]
fn programs_of_another_version_are_named() {
    let found = found(|snapshot| snapshot.nodes[1].agent_version = "0.9".into());
    assert!(found[0].title == "Versions differ" && found[0].text.contains("node2 0.9"));
}
