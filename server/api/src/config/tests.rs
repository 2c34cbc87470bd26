//! Tests of the configuration's checks.

use super::*;
use crate::checker::{CheckAction, ProcAction, When};

fn settings() -> ModuleSettings {
    ModuleSettings {
        name: "mirror".into(),
        pulse_ms: 700,
        timeout_ms: 5000,
        maxloop: 3,
        loop_interval_h: 24,
        directories: vec!["/srv/data".into()],
        polltimer_s: 10,
        networks: vec!["default".into()],
        flow: "default".into(),
        ..ModuleSettings::default()
    }
}

fn checker(kind: CheckerKind, when: When, action: CheckAction) -> CheckerSettings {
    let target = if kind == CheckerKind::Custom { "check.sh" } else { "10.0.0.9" };
    CheckerSettings {
        kind,
        ident: "web".into(),
        when,
        action,
        target: target.into(),
        port: 80,
        arg: String::new(),
        interval_ms: 10_000,
        timeout_ms: 5000,
    }
}

fn fields(problems: &[FieldProblem]) -> Vec<&str> {
    problems.iter().map(|p| p.field.as_str()).collect()
}

#[test]
fn names_are_short_lower_case_and_begin_with_a_letter() {
    for good in ["a", "mirror", "my-db_2", "abcdefghijklmnopqrstuvwx"] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for bad in ["", "2x", "-a", "Mirror", "ä", "a b", "a/b", "abcdefghijklmnopqrstuvwxy", "a\n"] {
        assert!(check_name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn addresses_are_ip_or_dns_names_without_port() {
    for good in ["10.0.0.1", "fd00::1", "node1", "node-1.example.org", "node1.example.org."] {
        assert_eq!(check_address(good), Ok(()), "{good}");
    }
    for bad in ["", "10.0.0", "10.0.0.256", "node1:9453", "https://x", "a..b", "-a", "0.0.0.0", "[::1]", "a b"] {
        assert!(check_address(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn directories_are_absolute_plain_and_not_the_systems() {
    assert_eq!(check_directory("/srv/data/"), Ok(()));
    for bad in ["", "srv", "/", "//", "/srv/../etc", "/srv//a", "/etc", "/proc/1", "/dev/shm/x", "/a\u{7}"] {
        assert!(check_directory(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn overlapping_directories_are_named() {
    let dirs = ["/srv/a", "/srv/ab", "/srv/a/b", "/srv/a/"].map(String::from);
    assert_eq!(
        fields(&check_directories("directories", &dirs)),
        ["directories[2]", "directories[3]", "directories[3]"]
    );
}

#[test]
fn a_template_like_form_is_accepted() {
    assert_eq!(settings().validate(), vec![]);
}

#[test]
fn every_wrong_field_of_the_form_is_named() {
    let mut s = settings();
    s.name = "No".into();
    s.timeout_ms = 1000;
    s.flow = "nowhere".into();
    s.addresses.push(VirtualIp { addr: "10.0.0".into(), interface: "a b".into(), prefix: Some(33) });
    s.checkers.push(checker(CheckerKind::Tcp, When::Pre, CheckAction::Restart));
    s.witness = WitnessSettings { kind: WitnessKind::Etcd, addresses: vec!["https://etcd:2379".into()] };
    s.processes.push(ProcessChecker {
        name: "/usr/bin/x".into(),
        argregex: String::new(),
        atleast: 0,
        action: ProcAction::Restart,
        class: "no class".into(),
    });
    s.scripts.insert("start_x".into(), "#!/bin/sh\n".into());
    s.scripts.insert("start_prim".into(), "echo hello\n".into());
    assert_eq!(
        fields(&s.validate()),
        [
            "name",
            "timeout_ms",
            "flow",
            "addresses[0].addr",
            "addresses[0].prefix",
            "addresses[0].interface",
            "processes[0].name",
            "processes[0].atleast",
            "processes[0].class",
            "checkers[0].action",
            "witness.addresses[0]",
            "scripts.start_prim",
            "scripts.start_x"
        ]
    );
}

#[test]
fn a_checker_looks_when_its_action_can_be_taken() {
    let problem = |kind, when, action| {
        let checkers = vec![checker(kind, when, action)];
        ModuleSettings { checkers, ..settings() }.validate().first().map(|problem| problem.field.clone())
    };
    for (kind, when, action) in [
        (CheckerKind::Tcp, When::Prim, CheckAction::Restart),
        (CheckerKind::Ping, When::Pre, CheckAction::Wait),
        (CheckerKind::Intf, When::Pre, CheckAction::Wait),
        (CheckerKind::Ip, When::Prim, CheckAction::StopStart),
        (CheckerKind::Custom, When::Both, CheckAction::NoAction),
    ] {
        assert_eq!(problem(kind, when, action), None, "{kind:?}");
    }
    assert_eq!(problem(CheckerKind::Tcp, When::Prim, CheckAction::Wait).as_deref(), Some("checkers[0].action"));
    assert_eq!(problem(CheckerKind::Ip, When::Pre, CheckAction::StopStart).as_deref(), Some("checkers[0].when"));
    assert_eq!(problem(CheckerKind::Module, When::Both, CheckAction::Wait).as_deref(), Some("checkers[0].when"));
}

#[test]
fn a_light_module_has_nothing_that_needs_a_second_node() {
    let light = ModuleSettings { mode: ModuleMode::Light, ..settings() };
    assert_eq!(fields(&light.validate()), ["networks", "directories"]);
    let light = ModuleSettings { networks: vec![], flow: String::new(), directories: vec![], ..light };
    assert_eq!(light.validate(), vec![]);
    assert_eq!(ModuleSettings { directories: vec![], ..settings() }.validate(), vec![]);
}

#[test]
fn a_cluster_names_missing_and_repeated_things() {
    let node = |id: u16, name: &str, address: &str| ClusterNode {
        id: NodeId(id),
        name: name.into(),
        addresses: BTreeMap::from([("default".into(), address.into())]),
        fingerprint: format!("{id:064x}"),
    };
    let mut cluster = ClusterConfig {
        version: 1,
        name: "demo".into(),
        secret: "0".repeat(64),
        lans: vec!["default".into()],
        nodes: vec![node(1, "node1", "10.0.0.1"), node(2, "node2", "10.0.0.2")],
    };
    assert_eq!(cluster.validate(), vec![]);
    cluster.nodes[1].addresses.insert("default".into(), "10.0.0.1".into());
    cluster.nodes[1].id = NodeId(1);
    cluster.lans.push("replication".into());
    let problems = cluster.validate();
    assert_eq!(
        fields(&problems),
        [
            "nodes[0].addresses.replication",
            "nodes[1].addresses.replication",
            "nodes[1].addresses.default",
            "nodes[1].id"
        ]
    );
}
