//! Enrolment by pairing code and by token, against a simulated agent on a free port.

use crate::support::{Client, csr, join, server};
use holdfast_api::enrol::{
    AgentLine, ENROL_VERSION, IDENTITY_AGENT, IDENTITY_SERVER, Identity, Role, ServerLine, Transcript, normalize_code,
};
use holdfast_server::tls::{hex, key_fingerprint};
use hyper::{Method, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use spake2::{Ed25519Group, Spake2};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// How the simulated agent behaves.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Honest,
    /// Says another key's fingerprint than it shows.
    OtherFingerprint,
    /// Sends a request for another key.
    OtherKey,
    /// Sends one endless line.
    Endless,
    OldProtocol,
}

/// Serves 9001 of one agent; returns its port and fingerprint.
async fn pairing_agent(behaviour: Behaviour) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["agent".into()]).unwrap().self_signed(&key).unwrap();
    let fingerprint = key_fingerprint(certificate.der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = fingerprint.clone();
    tokio::spawn(async move {
        let mut attempts = 3;
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            serve(BufReader::new(stream), behaviour, &key, &own, &mut attempts).await;
        }
    });
    (port, fingerprint)
}

type Stream = BufReader<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>;

async fn say(stream: &mut Stream, line: &AgentLine) {
    let text = serde_json::to_string(line).unwrap() + "\n";
    let _ = stream.get_mut().write_all(text.as_bytes()).await;
    let _ = stream.get_mut().flush().await;
}

async fn hear(stream: &mut Stream) -> Option<ServerLine> {
    let mut text = String::new();
    stream.read_line(&mut text).await.ok().filter(|length| *length > 0)?;
    Some(serde_json::from_str(&text).unwrap())
}

async fn serve(mut stream: Stream, behaviour: Behaviour, key: &KeyPair, own: &str, attempts: &mut u32) -> Option<()> {
    if behaviour == Behaviour::Endless {
        while stream.get_mut().write_all(&[b'x'; 4096]).await.is_ok() {}
        return None;
    }
    let identity = Identity {
        protocol: if behaviour == Behaviour::OldProtocol { ENROL_VERSION + 1 } else { ENROL_VERSION },
        name: "node1".into(),
        version: "0.1.0".into(),
        fingerprint: if behaviour == Behaviour::OtherFingerprint { "0".repeat(64) } else { own.to_owned() },
        attempts_left: *attempts,
    };
    say(&mut stream, &AgentLine::Identity(identity)).await;
    let Some(ServerLine::PakeStart { message, .. }) = hear(&mut stream).await else { return None };
    *attempts = attempts.saturating_sub(1);
    let (pake, message_b) = Spake2::<Ed25519Group>::start_b(
        &spake2::Password::new(normalize_code("ABCD-2345")),
        &spake2::Identity::new(IDENTITY_SERVER),
        &spake2::Identity::new(IDENTITY_AGENT),
    );
    let message_a: Vec<u8> =
        (0..message.len()).step_by(2).map(|at| u8::from_str_radix(&message[at..at + 2], 16).unwrap()).collect();
    let pake_key = pake.finish(&message_a).unwrap();
    say(&mut stream, &AgentLine::Pake { message: hex(&message_b) }).await;
    let transcript = Transcript { pake_key, message_a, message_b, fingerprint: own.to_owned() };
    let Some(ServerLine::ServerConfirm { tag }) = hear(&mut stream).await else { return None };
    if !transcript.verify(Role::Server, &[], &tag) {
        let reason = "the pairing code is wrong".into();
        say(&mut stream, &AgentLine::Refused { reason, attempts_left: *attempts }).await;
        return None;
    }
    *attempts += 1;
    let csr = match behaviour {
        Behaviour::OtherKey => csr(&KeyPair::generate().unwrap(), "node1"),
        _ => csr(key, "node1"),
    };
    let tag = transcript.tag(Role::Agent, &[csr.clone().into_bytes()]);
    say(&mut stream, &AgentLine::AgentConfirm { csr, tag }).await;
    let Some(ServerLine::Enrolled { enrolment, tag }) = hear(&mut stream).await else { return None };
    assert!(transcript.verify(Role::Enrolled, &enrolment.parts(), &tag));
    say(&mut stream, &AgentLine::Done).await;
    None
}

fn form(port: u16, fingerprint: &str, code: &str) -> Value {
    json!({"address": format!("127.0.0.1:{port}"), "fingerprint": fingerprint, "code": code})
}

async fn nodes(admin: &Client) -> usize {
    admin.get("/api/v1/nodes").await.as_array().unwrap().len()
}

#[tokio::test]
async fn the_right_code_enrols_and_a_repeated_enrolment_keeps_the_number() {
    let running = server().await;
    let admin = running.admin().await;
    let (port, fingerprint) = pairing_agent(Behaviour::Honest).await;
    let probe = admin.done("/api/v1/nodes/probe", json!({"address": format!("127.0.0.1:{port}")})).await;
    assert_eq!(probe["identity"]["fingerprint"], fingerprint);
    assert!(probe["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true), "{probe}");
    let node = admin.done("/api/v1/nodes/enrol", form(port, &fingerprint, "abcd 2345")).await;
    assert_eq!((node["id"].as_u64(), node["name"].as_str()), (Some(1), Some("node1")));
    let again = admin.done("/api/v1/nodes/enrol", form(port, &fingerprint, "ABCD2345")).await;
    assert_eq!(again["id"], 1);
    assert_eq!(nodes(&admin).await, 1);
}

#[tokio::test]
async fn a_wrong_code_costs_an_attempt_and_changes_nothing() {
    let running = server().await;
    let admin = running.admin().await;
    let (port, fingerprint) = pairing_agent(Behaviour::Honest).await;
    for left in ["2 attempts", "1 attempt", "no attempts"] {
        let (status, problem) = admin.post("/api/v1/nodes/enrol", form(port, &fingerprint, "ZZZZ-9999")).await;
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("code")));
        assert!(problem["detail"].as_str().unwrap().contains(left), "{problem}");
    }
    let (status, _) = admin.post("/api/v1/nodes/enrol", form(port, &fingerprint, "ABCD-2345")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(nodes(&admin).await, 0);
}

#[tokio::test]
async fn an_agent_that_is_not_what_it_says_is_refused() {
    let running = server().await;
    let admin = running.admin().await;
    for behaviour in [Behaviour::OtherFingerprint, Behaviour::OtherKey, Behaviour::Endless, Behaviour::OldProtocol] {
        let (port, fingerprint) = pairing_agent(behaviour).await;
        let (status, problem) = admin.post("/api/v1/nodes/enrol", form(port, &fingerprint, "ABCD-2345")).await;
        assert!(status.is_client_error() || status == StatusCode::BAD_GATEWAY, "{problem}");
    }
    let (port, _) = pairing_agent(Behaviour::Honest).await;
    let (status, _) = admin.post("/api/v1/nodes/enrol", form(port, &"1".repeat(64), "ABCD-2345")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(nodes(&admin).await, 0);
}

#[tokio::test]
async fn a_probe_names_the_step_that_failed() {
    let running = server().await;
    let admin = running.admin().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let probe = admin.done("/api/v1/nodes/probe", json!({"address": format!("127.0.0.1:{free}")})).await;
    assert_eq!(
        (probe["checks"][1]["name"].as_str(), probe["checks"][1]["ok"].as_bool()),
        (Some("connect"), Some(false))
    );
    let (status, problem) = admin.post("/api/v1/nodes/probe", json!({"address": "https://x"})).await;
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("address")));
}

#[tokio::test]
async fn a_token_works_once_and_a_taken_name_does_not_use_it_up() {
    let running = server().await;
    let admin = running.admin().await;
    let first = join(&running, &admin, "node1").await;
    assert_eq!(first.enrolment.node.0, 1);
    let token = admin.done("/api/v1/nodes/tokens", json!({"minutes": 5})).await;
    let secret = token["token"].as_str().unwrap().split('.').next().unwrap().to_owned();
    let body = |name: &str| {
        json!({"protocol": 1, "secret": secret, "name": name, "version": "1",
        "csr": csr(&KeyPair::generate().unwrap(), name)})
    };
    assert_eq!(admin.post("/api/v1/join", body("node1")).await.0, StatusCode::CONFLICT);
    assert_eq!(admin.post("/api/v1/join", body("Node 2")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(admin.post("/api/v1/join", body("node2")).await.0, StatusCode::OK);
    assert_eq!(admin.post("/api/v1/join", body("node3")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(nodes(&admin).await, 2);
}

#[tokio::test]
async fn a_removed_nodes_number_is_not_used_again() {
    let running = server().await;
    let admin = running.admin().await;
    join(&running, &admin, "node1").await;
    let (status, _) = admin.send(Method::DELETE, "/api/v1/nodes/1", json!(null)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(join(&running, &admin, "node1").await.enrolment.node.0, 2);
}
