//! Agents in one process on loopback addresses, with real sockets: who is let in, what is asked, what is exchanged.

use super::message::{Hello, PROTOCOL};
use super::{members, run};
use crate::agent::Agent;
use crate::control::server::carry_out;
use crate::control::{Answer, Ask, Request};
use crate::options::Options;
use crate::tls;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::config::{ClusterConfig, ClusterNode, ModuleConfig};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::package::{Package, PackageFile};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, VarInt};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const PORT: u16 = 14800;

/// An agent of which only the cluster link runs.
struct Node {
    agent: Arc<Agent>,
    address: Ipv4Addr,
    link: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.link.abort();
    }
}

impl Node {
    /// `third` keeps tests that run at the same time apart.
    fn new(root: &Path, third: u8, number: u8) -> Self {
        let dir = root.join(format!("node{number}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("boot_id"), "boot").unwrap();
        let address = Ipv4Addr::new(127, 0, third, number);
        let options = Options {
            data_dir: dir.join("data"),
            run_dir: None,
            health_listen: "127.0.0.1:0".parse().unwrap(),
            enrol_listen: "127.0.0.1:0".parse().unwrap(),
            cluster_listen: SocketAddr::from((address, PORT)),
            reboot_command: "true".into(),
            boot_id_file: dir.join("boot_id"),
            replica_bin: None,
            server: None,
            keep_set_aside_days: None,
            node_name: Some(format!("node{number}")),
        };
        let agent = Agent::open(options).unwrap();
        let link = tokio::spawn(run(Arc::clone(&agent)));
        Self { agent, address, link }
    }

    async fn reaches(&self, node: &str) -> bool {
        members(&self.agent).await.iter().any(|member| member.node == node && member.reachable && !member.here)
    }

    /// Why a node is not reachable.
    async fn why(&self, node: &str) -> String {
        members(&self.agent).await.into_iter().find(|member| member.node == node).unwrap().why
    }

    /// Has a request carried out on a node, as the command line does.
    async fn ask(&self, on: &str, request: Request) -> Answer {
        let (answers, mut answered) = mpsc::channel(64);
        let ask =
            Ask { protocol: crate::control::PROTOCOL, actor: "admin".to_owned(), on: Some(on.to_owned()), request };
        carry_out(&self.agent, ask, &answers).await;
        answered.recv().await.unwrap()
    }
}

fn cluster(version: u64, nodes: &[&Node]) -> ClusterConfig {
    let node = |node: &&Node| ClusterNode {
        id: NodeId(u16::from(node.address.octets()[3])),
        name: format!("node{}", node.address.octets()[3]),
        addresses: BTreeMap::from([("default".to_owned(), node.address.to_string())]),
        fingerprint: node.agent.identity().fingerprint.clone(),
    };
    ClusterConfig {
        version,
        name: "test".to_owned(),
        secret: "ab".repeat(32),
        lans: vec!["default".to_owned()],
        nodes: nodes.iter().map(node).collect(),
    }
}

fn module(version: u64, script: &str) -> ModuleConfig {
    let xml = "<safe><service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart><user/></service></safe>";
    let file = |text: &str, executable| PackageFile { bytes: text.as_bytes().to_vec(), executable };
    let mut package = Package::default();
    package.files.insert("conf/userconfig.xml".to_owned(), file(xml, false));
    package.files.insert("bin/start_prim".to_owned(), file(script, true));
    let package = STANDARD.encode(package.write().unwrap());
    ModuleConfig { id: ModuleId(3), name: "web".to_owned(), version, package }
}

async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited too long until {what}");
}

/// A connection to `to` as whoever has the key of `from`, without greeting.
async fn dial(from: &Agent, to: &Node) -> (Endpoint, Connection) {
    let crypto = tls::to_node(&from.identity(), &to.agent.identity().fingerprint).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(crypto).unwrap()));
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = SocketAddr::from((to.address, PORT));
    let connection = endpoint.connect_with(config, address, "node").unwrap().await.unwrap();
    (endpoint, connection)
}

/// Sends bytes on a first stream; why the other end closes the connection.
async fn refusal(connection: &Connection, bytes: &[u8]) -> String {
    if let Ok((mut to, _from)) = connection.open_bi().await {
        let _ = to.write_all(bytes).await;
        let _ = connection.closed().await;
    }
    super::session::explain(&connection.closed().await)
}

fn framed(value: &impl serde::Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).unwrap();
    [&u32::try_from(json.len()).unwrap().to_be_bytes()[..], &json].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_meet_and_a_removed_one_is_cut_off_and_refused() {
    let root = tempfile::tempdir().unwrap();
    let nodes = [1, 2, 3].map(|number| Node::new(root.path(), 91, number));
    let [one, two, three] = &nodes;
    for node in &nodes {
        node.agent.configure_cluster(cluster(1, &[one, two, three])).await.unwrap();
    }
    for (from, to) in [(one, "node2"), (one, "node3"), (two, "node1"), (two, "node3"), (three, "node1")] {
        until("all nodes reach each other", || from.reaches(to)).await;
    }
    until("a status is heard", || async {
        members(&three.agent).await.iter().all(|member| member.status.as_ref().is_some_and(|s| s.cluster.version == 1))
    })
    .await;

    // The two others hold a configuration without node 1: removal is revocation.
    for node in [two, three] {
        node.agent.configure_cluster(cluster(2, &[two, three])).await.unwrap();
    }
    until("the removed node is cut off", || async { !one.reaches("node2").await && !one.reaches("node3").await }).await;
    until("the removed node is told why", || async { one.why("node2").await.contains("cluster configuration") }).await;
    assert!(two.reaches("node3").await, "unchanged nodes stay connected");
    let answer = one.ask("node2", Request::State { module: None }).await;
    assert!(matches!(&answer, Answer::Unreachable { reason } if reason.contains("node2")), "{answer:?}");
    assert!(members(&two.agent).await.iter().all(|member| member.node != "node1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_other_versions_and_oversized_frames_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|number| Node::new(root.path(), 92, number));
    // Node 1's own link has no configuration and stays out of the way: the test speaks with its key.
    two.agent.configure_cluster(cluster(1, &[&one, &two])).await.unwrap();
    let stranger = Node::new(root.path(), 92, 9);

    let (_endpoint, foreign) = dial(&stranger.agent, &two).await;
    let why = refusal(&foreign, &framed(&Hello::own())).await;
    assert!(why.contains("not the one in the cluster configuration"), "{why}");

    let (_endpoint, other) = dial(&one.agent, &two).await;
    let why = refusal(&other, &framed(&Hello { protocol: PROTOCOL + 1, ..Hello::own() })).await;
    assert!(why.contains("install the same version"), "{why}");

    let (_endpoint, long) = dial(&one.agent, &two).await;
    let why = refusal(&long, &u32::MAX.to_be_bytes()).await;
    assert!(why.contains("at most"), "{why}");
    assert!(!two.reaches("node1").await);

    // The same key with a right greeting is let in; a request that is too long is refused, the connection goes on.
    let (_endpoint, good) = dial(&one.agent, &two).await;
    let (mut to, _from) = good.open_bi().await.unwrap();
    to.write_all(&framed(&Hello::own())).await.unwrap();
    until("node 1 is let in", || two.reaches("node1")).await;
    let (mut request, mut answer) = good.open_bi().await.unwrap();
    request.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let answer: Answer = super::frame::read(&mut answer, 1 << 20).await.unwrap().unwrap();
    assert!(matches!(&answer, Answer::Refused { reason } if reason.contains("at most")), "{answer:?}");
    let pairing = super::request::ask(&good, "admin", Request::Pairing { reopen: true }).await.unwrap();
    assert!(matches!(&pairing, Answer::Refused { reason } if reason.contains("pairing code")), "{pairing:?}");
    let key = super::request::ask(&good, "admin", Request::Key).await.unwrap();
    assert!(matches!(&key, Answer::Done { text } if *text == two.agent.identity().fingerprint), "{key:?}");
    good.close(VarInt::from_u32(0), b"");
    until("its end is noticed", || async { !two.reaches("node1").await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn higher_version_of_a_configuration_comes_by_itself_and_a_lower_one_never() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|number| Node::new(root.path(), 93, number));
    for node in [&one, &two] {
        node.agent.configure_cluster(cluster(1, &[&one, &two])).await.unwrap();
        node.agent.configure(module(1, "#!/bin/sh\n")).await.unwrap();
    }
    until("they meet", || one.reaches("node2")).await;
    two.agent.configure(module(5, "#!/bin/sh\nexit 0\n")).await.unwrap();
    until("node 1 has the newer module", || async {
        one.agent.module_config("web").await.is_ok_and(|config| config.version == 5)
    })
    .await;
    let marks = (one.agent.module_marks().await, two.agent.module_marks().await);
    assert_eq!(marks.0["web"].signature, marks.1["web"].signature);

    let later = ClusterConfig { name: "renamed".to_owned(), ..cluster(7, &[&one, &two]) };
    one.agent.configure_cluster(later.clone()).await.unwrap();
    until("node 2 has the newer cluster configuration", || async { two.agent.cluster().await == Some(later.clone()) })
        .await;
    until("both are still connected", || two.reaches("node1")).await;

    // While one of them has a management server, that decides.
    let server = two.agent.server_session();
    until("node 1 knows of the server", || async {
        members(&one.agent).await.iter().any(|member| member.status.as_ref().is_some_and(|status| status.server))
    })
    .await;
    one.agent.configure(module(6, "#!/bin/sh\n")).await.unwrap();
    until("node 2 hears of the newer module", || async {
        members(&two.agent).await.iter().any(|member| {
            let version = |status: &super::message::Status| status.modules.iter().any(|m| m.report.version == 6);
            member.node == "node1" && member.status.as_ref().is_some_and(version)
        })
    })
    .await;
    assert_eq!(two.agent.module_config("web").await.unwrap().version, 5);
    drop(server);
    until("node 2 has it without the server", || async {
        two.agent.module_config("web").await.is_ok_and(|config| config.version == 6)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn module_and_cluster_configuration_are_exported_and_the_actor_is_named_there() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|number| Node::new(root.path(), 94, number));
    for node in [&one, &two] {
        node.agent.configure_cluster(cluster(1, &[&one, &two])).await.unwrap();
    }
    one.agent.configure(module(4, "#!/bin/sh\n")).await.unwrap();
    until("they meet", || one.reaches("node2")).await;
    let export = |module: Option<&str>| Request::Export { module: module.map(str::to_owned), to: "node2".to_owned() };
    let answer = one.ask("node1", export(Some("web"))).await;
    assert!(matches!(&answer, Answer::Done { text } if text.contains("configuration 4")), "{answer:?}");
    assert_eq!(two.agent.module_config("web").await.unwrap(), module(4, "#!/bin/sh\n"));
    let answer = one.ask("node1", export(None)).await;
    assert!(matches!(&answer, Answer::Done { text } if text.contains("version 1")), "{answer:?}");
    let answer = one.ask("node1", export(Some("none"))).await;
    assert!(matches!(&answer, Answer::Refused { reason } if reason.contains("not installed")), "{answer:?}");
    let answer = one.ask("node7", Request::Key).await;
    assert!(matches!(&answer, Answer::Refused { reason } if reason.contains("node1, node2")), "{answer:?}");
    until("node 2 has it in its command log", || async {
        let lines = two.agent.commands.file().page(&holdfast_api::agent::LogWanted::last(50)).unwrap().lines;
        let told = |start: &str, text: &str| lines.iter().any(|l| l.text.starts_with(start) && l.text.contains(text));
        told("START", "config -m web (version 4 of another node) -u admin@node1") && told("END", "configuration 4")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_network_is_tried_when_the_first_does_not_answer() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|number| Node::new(root.path(), 95, number));
    let mut config = cluster(1, &[&one, &two]);
    config.lans.insert(0, "dead".to_owned());
    for node in &mut config.nodes {
        // Nobody listens there.
        node.addresses.insert("dead".to_owned(), format!("127.0.95.{}", 100 + node.id.0));
    }
    one.agent.configure_cluster(config.clone()).await.unwrap();
    until("node 2, which is in no cluster yet, does not answer", || async {
        let why = one.why("node2").await;
        why.contains("127.0.95.102:14800 on network dead") && why.contains("127.0.95.2:14800 on network default")
    })
    .await;
    two.agent.configure_cluster(config).await.unwrap();
    until("they meet on the second", || one.reaches("node2")).await;
    let address = members(&one.agent).await.into_iter().find(|member| !member.here).unwrap().address;
    assert_eq!(address.as_deref(), Some("127.0.95.2:14800"));
}

#[tokio::test(flavor = "multi_thread")]
async fn port_in_use_is_taken_once_it_is_free() {
    let root = tempfile::tempdir().unwrap();
    let [one, two] = [1, 2].map(|number| Node::new(root.path(), 96, number));
    let busy = std::net::UdpSocket::bind((two.address, PORT)).unwrap();
    for node in [&one, &two] {
        node.agent.configure_cluster(cluster(1, &[&one, &two])).await.unwrap();
    }
    until("nobody answers", || async { one.why("node2").await.contains("no answer") }).await;
    drop(busy);
    until("they meet", || one.reaches("node2")).await;
}
