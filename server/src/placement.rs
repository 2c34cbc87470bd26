//! Whether a register would live on the very machine whose loss it has to judge: asked before a module is configured.

use crate::app::{App, Desired};
use crate::tls::names;
use holdfast_api::config::ClusterConfig;
use holdfast_api::package::USERCONFIG;
use holdfast_api::problem::FieldProblem;
use holdfast_api::userconfig::{DefaultPrim, UserConfig, Witness};
use holdfast_api::witness::{Endpoint, Machine, etcd_problem};
use std::time::Duration;
use tokio::net::lookup_host;

/// A name that is not resolved within this is compared as it is written.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What forbids this configuration for a module of the cluster's nodes.
pub async fn problems(app: &App, config: &UserConfig) -> Vec<FieldProblem> {
    let mut problems = match &app.desired().cluster {
        Some(saved) => cluster_problems(config, &saved.config),
        None => Vec::new(),
    };
    let found = match &config.witness {
        Witness::None | Witness::Ping { .. } => None,
        Witness::Server { .. } => {
            let own = own_machine(app).await;
            server_problem(&own, &nodes(&app.desired()).await, &same_boot(app))
        }
        Witness::Etcd { endpoints, .. } => match Endpoint::parse_all(endpoints) {
            Ok(endpoints) => {
                let members = endpoints.into_iter().map(|endpoint| machine(endpoint.to_string(), vec![endpoint.host]));
                let members = futures_util::future::join_all(members).await;
                etcd_problem(&members, &nodes(&app.desired()).await)
            }
            Err(problem) => Some(problem),
        },
    };
    problems.extend(found.map(|message| FieldProblem::new(USERCONFIG, message)));
    problems
}

/// Names that the cluster does not have: the nodes would refuse them.
fn cluster_problems(config: &UserConfig, cluster: &ClusterConfig) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    let nodes: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    if let DefaultPrim::Node(name) = &config.service.defaultprim
        && !nodes.contains(&name.as_str())
    {
        let message = format!(
            "<service defaultprim=\"{name}\"> names no node of the cluster: write alone, lastprim or one of {}",
            nodes.join(", ")
        );
        problems.push(FieldProblem::new(USERCONFIG, message));
    }
    for link in config.heart.links.iter().filter(|link| !cluster.lans.contains(&link.lan)) {
        let message = format!(
            "{} is no network of the cluster, which has {}: choose one of them, or add it in Cluster configuration",
            link.lan,
            cluster.lans.join(", ")
        );
        problems.push(FieldProblem::new("networks", message));
    }
    problems
}

/// Why this server cannot be the register: a node is the same machine, by an address or by the running kernel.
fn server_problem(own: &Machine, nodes: &[Machine], same_boot: &[String]) -> Option<String> {
    let by_address = nodes.iter().find_map(|node| {
        let address = own.shared_with(node).map(str::to_owned);
        let address = address.or_else(|| node.is_loopback().then(|| "a loopback address".to_owned()))?;
        Some((node.name.clone(), format!("{address} is an address of both")))
    });
    let by_boot = || same_boot.first().map(|name| (name.clone(), "both run under the same kernel".to_owned()));
    let (node, proof) = by_address.or_else(by_boot)?;
    Some(format!(
        "the register at this management server cannot be the witness: the server runs on the machine of {node} \
         ({proof}), so that the loss of that machine takes the register away just when it is needed; run the server on \
         a machine that is no node of this module, or choose etcd on other machines, or a ping witness"
    ))
}

/// Connected nodes that say they run under the kernel this server runs under. (The addresses decide as well: a machine
/// may hand its programs another boot id.)
fn same_boot(app: &App) -> Vec<String> {
    let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let desired = app.desired();
    let same = |id: &holdfast_api::ids::NodeId| {
        app.hub.get(*id).report.is_some_and(|report| !own.trim().is_empty() && report.boot_id.trim() == own.trim())
    };
    let same = desired.members().into_iter().filter(same);
    same.map(|id| desired.node(id).map_or_else(|| id.to_string(), |node| node.name.clone())).collect()
}

async fn own_machine(app: &App) -> Machine {
    let told = app.tls.reached().given.iter().map(|name| names::bare_host(name).to_owned());
    let addresses = names::addresses().into_iter().map(|address| address.to_string());
    machine("this server".into(), told.chain(addresses).chain(names::host_name()).collect()).await
}

async fn nodes(desired: &Desired) -> Vec<Machine> {
    let nodes = desired.cluster.iter().flat_map(|saved| &saved.config.nodes);
    let nodes = nodes.map(|node| machine(node.name.clone(), node.addresses.values().cloned().collect()));
    futures_util::future::join_all(nodes).await
}

/// A machine with everything that its names resolve to.
async fn machine(name: String, hosts: Vec<String>) -> Machine {
    let resolved = futures_util::future::join_all(hosts.iter().map(|host| resolve(host))).await;
    Machine::new(&name, resolved.into_iter().flatten().chain(hosts.iter().cloned()))
}

async fn resolve(host: &str) -> Vec<String> {
    match tokio::time::timeout(RESOLVE_TIMEOUT, lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_canonical().to_string()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, hosts: &[&str]) -> Machine {
        Machine::new(name, hosts.iter().map(|host| (*host).to_owned()))
    }

    #[test]
    fn names_that_the_cluster_does_not_have_are_told_before_the_push() {
        let text = |prim: &str, lan: &str| {
            format!(
                "<safe><service mode=\"mirror\" defaultprim=\"{prim}\"><heart><heartbeat name=\"{lan}\"/></heart>\
                 </service></safe>"
            )
        };
        let node = holdfast_api::config::ClusterNode {
            id: holdfast_api::ids::NodeId(1),
            name: "node1".into(),
            addresses: std::collections::BTreeMap::new(),
            fingerprint: String::new(),
        };
        let cluster = ClusterConfig { lans: vec!["default".into()], nodes: vec![node], ..ClusterConfig::default() };
        let problems = |prim, lan| cluster_problems(&UserConfig::parse(&text(prim, lan)).unwrap(), &cluster);
        assert_eq!(problems("node1", "default"), vec![]);
        assert_eq!(problems("alone", "default"), vec![]);
        let found = problems("node3", "other");
        assert!(found[0].message.contains("node3") && found[1].message.contains("other"), "{found:?}");
    }

    #[test]
    fn a_register_on_a_node_is_refused_by_address_loopback_or_kernel() {
        let own = known("this server", &["console.example", "10.0.0.9", "127.0.1.1"]);
        let nodes = |second: &str| [known("node1", &["10.0.0.1"]), known("node2", &[second])];
        assert_eq!(server_problem(&own, &nodes("10.0.0.2"), &[]), None);
        for (second, proof) in
            [("10.0.0.9", "10.0.0.9 is"), ("Console.Example", "console.example"), ("::1", "loopback")]
        {
            let problem = server_problem(&own, &nodes(second), &[]).unwrap();
            assert!(problem.contains("node2") && problem.contains(proof), "{problem}");
        }
        let problem = server_problem(&own, &nodes("10.0.0.2"), &["node1".to_owned()]).unwrap();
        assert!(problem.contains("node1") && problem.contains("same kernel"), "{problem}");
    }
}
