//! The cluster's form: what is saved, what has been enrolled since, what differs.

use crate::language::{t, tf};
use crate::rules::text;
use holdfast_api::console::{ClusterChange, ClusterForm, ClusterNodeForm, ClusterView, NodeView};
use holdfast_api::ids::NodeId;
use holdfast_api::problem::FieldProblem;
use std::collections::{BTreeMap, BTreeSet};

/// The network every cluster has.
pub const DEFAULT_LAN: &str = "default";
/// The name offered for a new cluster.
const SUGGESTED_NAME: &str = "cluster1";

/// A difference between two versions of the cluster, in words.
pub fn change_words(change: &ClusterChange) -> String {
    match change {
        ClusterChange::Named { name } => tf!("the cluster is named {name}", name),
        ClusterChange::Renamed { name, before } => tf!("the cluster is named {name}, no longer {before}", name, before),
        ClusterChange::LanNew { lan } => tf!("network {lan} is new", lan),
        ClusterChange::LanGone { lan } => tf!("network {lan} is gone", lan),
        ClusterChange::NodeNew { node } => tf!("{node} is new", node),
        ClusterChange::NodeGone { node } => tf!("{node} is gone", node),
        ClusterChange::NodeRenamed { node, before } => tf!("{before} is named {node}", before, node),
        ClusterChange::AddressNew { node, lan, address } => tf!("{node} is {address} on {lan}", node, address, lan),
        ClusterChange::AddressChanged { node, lan, address, before } => {
            tf!("{node} is {address} on {lan}, no longer {before}", node, address, lan, before)
        }
        ClusterChange::AddressGone { node, lan } => tf!("{node} has no address on {lan} any more", node, lan),
    }
}

/// The form of the cluster as it is saved; of a new one while none is.
pub fn saved_form(cluster: &ClusterView) -> ClusterForm {
    if cluster.version == 0 {
        return ClusterForm {
            expected_version: 0,
            name: SUGGESTED_NAME.to_owned(),
            lans: vec![DEFAULT_LAN.to_owned()],
            nodes: Vec::new(),
        };
    }
    ClusterForm {
        expected_version: cluster.version,
        name: cluster.name.clone(),
        lans: cluster.lans.clone(),
        nodes: cluster.nodes.clone(),
    }
}

/// Takes into `form` the enrolled nodes that it lacks, each at the address it was enrolled at, and drops those that are
/// no longer enrolled or were taken `out`.
pub fn take_enrolled(form: &mut ClusterForm, enrolled: &[NodeView], out: &BTreeSet<NodeId>) {
    let enrolled: Vec<&NodeView> = enrolled.iter().filter(|view| !out.contains(&view.id)).collect();
    form.nodes.retain(|node| enrolled.iter().any(|view| view.id == node.id));
    for view in enrolled {
        if form.nodes.iter().all(|node| node.id != view.id) {
            let host = host_of(&view.address);
            let addresses: BTreeMap<String, String> = form.lans.iter().map(|lan| (lan.clone(), host.clone())).collect();
            form.nodes.push(ClusterNodeForm { id: view.id, name: view.name.clone(), addresses });
        }
    }
}

/// Whether a newly saved cluster may take the place of what is on the page: nothing was edited since `before`, or what was
/// edited is what is saved now. Otherwise somebody else saved meanwhile.
pub fn may_take(before: Option<&ClusterForm>, form: &ClusterForm, saved: &ClusterForm) -> bool {
    let same = |a: &ClusterForm, b: &ClusterForm| a.name == b.name && a.lans == b.lans && a.nodes == b.nodes;
    form.lans.is_empty() || same(form, saved) || before.is_none_or(|before| same(form, before))
}

/// Adds a network; the nodes' addresses on it are still to be given.
pub fn add_network(form: &mut ClusterForm, lan: &str) {
    form.lans.push(lan.to_owned());
    for node in &mut form.nodes {
        node.addresses.insert(lan.to_owned(), String::new());
    }
}

/// Takes a network away, with the nodes' addresses on it.
pub fn remove_network(form: &mut ClusterForm, lan: &str) {
    form.lans.retain(|other| other != lan);
    for node in &mut form.nodes {
        node.addresses.remove(lan);
    }
}

/// An address without its port, if it has one.
pub fn host_of(address: &str) -> String {
    if let Some(rest) = address.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest).to_owned();
    }
    match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => address.to_owned(),
    }
}

/// What `form` changes of `saved`, a line each.
pub fn changes(saved: &ClusterForm, form: &ClusterForm) -> Vec<String> {
    let mut lines = Vec::new();
    if saved.expected_version == 0 || saved.name != form.name {
        lines.push(tf!("name {0}", 0 = form.name));
    }
    if saved.lans != form.lans {
        lines.push(tf!("networks {0}", 0 = form.lans.join(", ")));
    }
    for node in &form.nodes {
        match saved.nodes.iter().find(|other| other.id == node.id) {
            None => lines.push(tf!("{0} added", 0 = node.name)),
            Some(other) if other != node => lines.push(tf!("{0} changed", 0 = node.name)),
            Some(_) => {}
        }
    }
    for node in &saved.nodes {
        if form.nodes.iter().all(|other| other.id != node.id) {
            lines.push(tf!("{0} removed", 0 = node.name));
        }
    }
    lines
}

/// The heading of the bar that saves: `2 changes: …`.
pub fn changes_text(changes: &[String]) -> String {
    format!("{}: {}", text::count(changes.len() as u64, t!("change"), t!("changes")), changes.join(", "))
}

/// What is wrong with the form before it is sent.
pub fn problems(form: &ClusterForm) -> Vec<FieldProblem> {
    let mut problems = form.validate();
    if form.nodes.is_empty() {
        problems.push(FieldProblem::new("nodes", t!("enter the first node's address")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{add_network, changes, host_of, may_take, remove_network, saved_form, take_enrolled};
    use holdfast_api::console::{ClusterView, NodeView};
    use holdfast_api::ids::NodeId;
    use std::collections::BTreeSet;

    fn node(id: u16, address: &str) -> NodeView {
        NodeView {
            id: NodeId(id),
            name: format!("node{id}"),
            address: address.into(),
            fingerprint: String::new(),
            in_cluster: false,
            connected: true,
            last_seen_unix_ms: 0,
            agent_version: String::new(),
            cluster_version: 0,
            clock_offset_ms: 0,
            cpu_percent: 0.0,
            memory_percent: 0.0,
            problem: String::new(),
            modules: Vec::new(),
        }
    }

    fn none() -> ClusterView {
        ClusterView {
            version: 0,
            name: String::new(),
            lans: Vec::new(),
            nodes: Vec::new(),
            author: String::new(),
            saved_unix_ms: 0,
        }
    }

    #[test]
    fn an_enrolled_node_waits_in_the_form_to_be_saved() {
        let saved = saved_form(&none());
        let mut form = saved.clone();
        take_enrolled(&mut form, &[node(1, "10.0.0.1:9001")], &BTreeSet::new());
        assert_eq!(form.nodes[0].addresses["default"], "10.0.0.1");
        assert_eq!(changes(&saved, &form), ["name cluster1", "node1 added"]);
        take_enrolled(&mut form, &[node(2, "node2.example")], &BTreeSet::new());
        assert_eq!(form.nodes.len(), 1, "node1 is no longer enrolled");
        assert!(form.validate().is_empty());
        take_enrolled(&mut form, &[node(2, "node2.example")], &BTreeSet::from([NodeId(2)]));
        assert!(form.nodes.is_empty(), "node2 was taken out");
    }

    #[test]
    fn a_network_comes_with_a_place_for_every_nodes_address_and_goes_with_them() {
        let mut form = saved_form(&none());
        take_enrolled(&mut form, &[node(1, "10.0.0.1"), node(2, "10.0.0.2")], &BTreeSet::new());
        let before = form.clone();
        add_network(&mut form, "second");
        let fields: Vec<_> = form.validate().into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["nodes[0].addresses.second", "nodes[1].addresses.second"]);
        remove_network(&mut form, "second");
        assert_eq!(form, before);
    }

    #[test]
    fn what_was_edited_here_is_not_replaced_by_what_somebody_else_saved() {
        let mut before = saved_form(&none());
        take_enrolled(&mut before, &[node(1, "10.0.0.1")], &BTreeSet::new());
        let (mut mine, mut theirs) = (before.clone(), before.clone());
        theirs.expected_version = 2;
        theirs.name = "theirs".into();
        assert!(may_take(Some(&before), &before, &theirs), "nothing was edited here");
        mine.name = "mine".into();
        assert!(!may_take(Some(&before), &mine, &theirs));
        theirs.name = "mine".into();
        assert!(may_take(Some(&before), &mine, &theirs), "it is what was saved from here");
        assert!(may_take(None, &mine, &theirs), "the page has just been opened");
    }

    #[test]
    fn hosts_are_told_from_ports() {
        for (address, host) in [
            ("10.0.0.1:9001", "10.0.0.1"),
            ("a.example", "a.example"),
            ("fd00::1", "fd00::1"),
            ("[fd00::1]:9001", "fd00::1"),
            ("node1:1", "node1"),
        ] {
            assert_eq!(host_of(address), host);
        }
    }
}
