//! Agents' sessions: certificates, hello, limits, pushes and re-pushes.

use crate::support::{Node, cluster, csr, dial, eventually, join, server, tls_config};
use futures_util::SinkExt;
use holdfast_api::agent::{AGENT_SNI, Answer, FRAME_BYTES_MAX, FromAgent, FromServer, PROTOCOL_VERSION, Request};
use holdfast_api::ids::ModuleId;
use holdfast_api::state::ModuleState;
use holdfast_server::tls::Tls;
use holdfast_server::tls::names::Names;
use hyper::{Method, StatusCode};
use rcgen::KeyPair;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn a_foreign_certificate_and_no_certificate_are_refused() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let folder = tempfile::tempdir().unwrap();
    let foreign = Tls::open(folder.path(), &Names::default(), &[]).unwrap();
    let (signed, _) = foreign.sign_request(&csr(&node.key, "node1"), "node1", None).unwrap();
    for own in [None, Some((signed.pem.as_str(), &node.key))] {
        let refused = match dial(node.address, AGENT_SNI, tls_config(&node.enrolment.ca, own)).await {
            Err(_) => true,
            // With TLS 1.3 the refusal comes with the first read.
            Ok(mut stream) => stream.read(&mut [0; 16]).await.is_err(),
        };
        assert!(refused);
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_key_has_no_session() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let key = KeyPair::generate().unwrap();
    let (signed, _) = running.server.app.tls.sign_request(&csr(&key, "node1"), "node1", None).unwrap();
    let mut enrolment = node.enrolment.clone();
    enrolment.certificate = signed.pem;
    let ghost = Node { key, enrolment, address: node.address };
    assert!(ghost.socket().await.unwrap_err().contains("403"));
}

#[tokio::test]
async fn removing_a_node_ends_its_session_and_its_certificate() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let mut session = node.connect(0, &[]).await;
    eventually("it is shown as connected", || async {
        (admin.get("/api/v1/nodes").await[0]["connected"] == true).then_some(())
    })
    .await;
    let remove = tokio::spawn({
        let admin = admin.clone();
        async move { admin.send(Method::DELETE, "/api/v1/nodes/1", json!(null)).await.0 }
    });
    assert_eq!(session.do_next("left").await, Request::Leave);
    assert_eq!(remove.await.unwrap(), StatusCode::NO_CONTENT);
    assert!(session.next().await.is_none());
    assert!(node.socket().await.is_err());
}

#[tokio::test]
async fn an_unknown_protocol_version_is_refused_with_the_cure() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let mut socket = node.socket().await.unwrap();
    let hello = json!({"type": "hello", "protocol": PROTOCOL_VERSION + 1, "unknown": true});
    socket.send(Message::text(hello.to_string())).await.unwrap();
    let mut session = crate::support::Session { socket, name: "node1".into(), held: vec![], cluster: 0 };
    match session.next().await {
        Some(FromServer::Refused { reason }) => assert!(reason.contains("same release"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(session.next().await.is_none());
    let view = &admin.get("/api/v1/nodes").await[0];
    assert!(view["problem"].as_str().unwrap().contains("protocol"), "{view}");
}

#[tokio::test]
async fn frames_that_are_too_long_or_no_json_end_the_session_only() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    for frame in [
        Message::text("x".repeat(FRAME_BYTES_MAX + 1)),
        Message::text("{}"),
        Message::binary(vec![0; 10]),
        Message::text(serde_json::to_string(&FromAgent::Hello(hello_of(&node))).unwrap()),
    ] {
        let mut session = node.connect(0, &[]).await;
        let _ = session.socket.send(frame).await;
        assert!(session.next().await.is_none());
    }
    node.connect(0, &[]).await;
}

fn hello_of(node: &Node) -> holdfast_api::agent::Hello {
    holdfast_api::agent::Hello {
        protocol: PROTOCOL_VERSION,
        version: "x".into(),
        node: node.enrolment.name.clone(),
        boot_id: "b".into(),
        cluster_version: 0,
        modules: vec![],
    }
}

#[tokio::test]
async fn an_agent_gets_what_it_missed_when_it_comes_back() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let task = cluster(&admin, &[&node]).await["task"].clone();
    let view = admin.get(&format!("/api/v1/tasks/{task}")).await;
    assert_eq!(view["state"], "waiting", "{view}");
    let mut session = node.connect(0, &[]).await;
    let (id, request) = session.request().await;
    let Request::PushCluster { config } = request else { panic!("{request:?}") };
    assert_eq!((config.version, config.nodes[0].id), (1, node.enrolment.node));
    assert_eq!(config.validate(), vec![]);
    // The connection breaks before the answer: the push comes again.
    drop(session);
    let mut session = node.connect(0, &[]).await;
    assert!(id >= 1);
    assert!(matches!(session.do_next("cluster saved").await, Request::PushCluster { .. }));
    let view = admin.task(&task).await;
    assert_eq!((view["state"].as_str(), view["nodes"][0]["message"].as_str()), (Some("done"), Some("cluster saved")));
    // An agent that has it already is not sent it again.
    let mut session = node.connect(1, &[]).await;
    session.report(ModuleState::Stop).await;
    eventually("it is shown", || async {
        let view = admin.get("/api/v1/nodes").await;
        (view[0]["cluster_version"] == 1 && view[0]["connected"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_newer_session_of_a_node_ends_the_older() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    let mut old = node.connect(0, &[]).await;
    let mut new = node.connect(0, &[]).await;
    assert!(old.next().await.is_none());
    new.report(ModuleState::Stop).await;
    assert_eq!(admin.get("/api/v1/nodes").await[0]["connected"], true);
}

#[tokio::test]
async fn a_node_with_a_newer_configuration_than_the_server_is_told_and_keeps_it() {
    let running = server().await;
    let admin = running.admin().await;
    let node = join(&running, &admin, "node1").await;
    cluster(&admin, &[&node]).await;
    let mut session = node.connect(7, &[(ModuleId(9), "other", 3)]).await;
    let problem = eventually("the problem is shown", || async {
        let view = admin.get("/api/v1/nodes").await;
        view[0]["problem"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    })
    .await;
    assert!(problem.contains("newer than the server's"), "{problem}");
    // Saving again goes above what the node holds.
    cluster(&admin, &[&node]).await;
    let request = session.do_next("ok").await;
    assert!(matches!(request, Request::PushCluster { config } if config.version == 8));
    session.answer(999, Answer::Done { text: "to nothing".into() }).await;
}
