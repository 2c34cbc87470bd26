//! Tests of enrolment on 9001 with a server's side made here: wrong codes, right code, foreign certificates.

use super::run;
use crate::agent::Agent;
use crate::options::Options;
use crate::pairing::PairingStatus;
use holdfast_api::enrol::{
    AgentLine, ENROL_VERSION, Enrolment, IDENTITY_AGENT, IDENTITY_SERVER, Role, ServerLine, Transcript, normalize_code,
};
use holdfast_api::ids::NodeId;
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use spake2::{Ed25519Group, Password, Spake2};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn options(dir: &std::path::Path, last: u8) -> Options {
    let boot = dir.join("boot_id");
    std::fs::write(&boot, "boot").unwrap();
    Options {
        data_dir: dir.join("data"),
        run_dir: None,
        health_listen: "127.0.0.1:0".parse().unwrap(),
        enrol_listen: format!("127.0.80.{last}:19001").parse().unwrap(),
        cluster_listen: "127.0.0.1:0".parse().unwrap(),
        boot_id_file: boot,
        reboot_command: "true".to_owned(),
        replica_bin: None,
        server: None,
        keep_set_aside_days: None,
        node_name: Some("node7".to_owned()),
    }
}

struct Server {
    line: BufReader<TlsStream<TcpStream>>,
    fingerprint: String,
}

impl Server {
    /// Dials until the port answers.
    async fn dial(agent: &Agent) -> Self {
        let config = crate::tls::join("none").unwrap();
        let mut config = config;
        config.dangerous().set_certificate_verifier(Arc::new(crate::tls::tests::AnyKey));
        let name = rustls::pki_types::ServerName::try_from("node").unwrap();
        let dialled = async {
            loop {
                if let Ok(stream) = TcpStream::connect(agent.options.enrol_listen).await {
                    return TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let stream = tokio::time::timeout(Duration::from_secs(30), dialled).await.unwrap();
        let fingerprint = agent.identity().fingerprint.clone();
        let mut server = Self { line: BufReader::new(stream), fingerprint };
        let AgentLine::Identity(identity) = server.read().await else { panic!("an identity") };
        assert_eq!((identity.name.as_str(), &identity.fingerprint), ("node7", &server.fingerprint));
        server
    }

    async fn read(&mut self) -> AgentLine {
        let mut text = String::new();
        self.line.read_line(&mut text).await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    async fn write(&mut self, line: &ServerLine) {
        let text = serde_json::to_string(line).unwrap() + "\n";
        self.line.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// Goes through the exchange up to the server's proof.
    async fn exchange(&mut self, code: &str) -> Transcript {
        let (a, b) = (spake2::Identity::new(IDENTITY_SERVER), spake2::Identity::new(IDENTITY_AGENT));
        let (pake, message_a) = Spake2::<Ed25519Group>::start_a(&Password::new(normalize_code(code)), &a, &b);
        let message = message_a.iter().map(|byte| format!("{byte:02x}")).collect();
        self.write(&ServerLine::PakeStart { protocol: ENROL_VERSION, message }).await;
        let AgentLine::Pake { message } = self.read().await else { panic!("the other half") };
        let digits: Vec<char> = message.chars().collect();
        let byte = |pair: &[char]| pair.iter().fold(0, |sum, digit| sum * 16 + digit.to_digit(16).unwrap() as u8);
        let message_b: Vec<u8> = digits.chunks(2).map(byte).collect();
        let pake_key = pake.finish(&message_b).unwrap();
        let transcript = Transcript { pake_key, message_a, message_b, fingerprint: self.fingerprint.clone() };
        self.write(&ServerLine::ServerConfirm { tag: transcript.tag(Role::Server, &[]) }).await;
        transcript
    }
}

fn code(agent: &Agent) -> String {
    match agent.pairing.status() {
        PairingStatus::Open { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

/// A certificate for the key of `csr` by a new authority.
fn sign(csr: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = parameters.self_signed(&key).unwrap();
    let issuer = Issuer::new(parameters, key);
    let request = CertificateSigningRequestParams::from_pem(csr).unwrap();
    (request.signed_by(&issuer).unwrap().pem(), ca.pem())
}

fn enrolment(certificate: String, ca: String) -> Enrolment {
    Enrolment { certificate, ca, servers: vec!["127.0.0.1:1".to_owned()], node: NodeId(3), name: "node3".to_owned() }
}

#[tokio::test]
async fn wrong_codes_are_refused_and_the_third_closes_pairing() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::open(options(dir.path(), 1)).unwrap();
    let task = tokio::spawn(run(Arc::clone(&agent)));
    for left in [2, 1, 0] {
        let mut server = Server::dial(&agent).await;
        server.exchange("WRON-GONE").await;
        let AgentLine::Refused { attempts_left, reason } = server.read().await else { panic!("refused") };
        assert_eq!(attempts_left, left, "{reason}");
    }
    assert_eq!(agent.pairing.status(), PairingStatus::Closed);
    agent.pairing.reopen();
    Server::dial(&agent).await;
    task.abort();
}

#[tokio::test]
async fn right_code_enrols_and_closes_the_port() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::open(options(dir.path(), 2)).unwrap();
    let task = tokio::spawn(run(Arc::clone(&agent)));
    let mut server = Server::dial(&agent).await;
    let transcript = server.exchange(&code(&agent).to_lowercase()).await;
    let AgentLine::AgentConfirm { csr, tag } = server.read().await else { panic!("the agent's proof") };
    assert!(transcript.verify(Role::Agent, &[csr.clone().into_bytes()], &tag));
    let (certificate, ca) = sign(&csr);
    let enrolment = enrolment(certificate.clone(), ca);
    let tag = transcript.tag(Role::Enrolled, &enrolment.parts());
    server.write(&ServerLine::Enrolled { enrolment: enrolment.clone(), tag }).await;
    assert_eq!(server.read().await, AgentLine::Done);
    assert_eq!(agent.pairing.status(), PairingStatus::Enrolled);
    assert_eq!(agent.store.enrolment().unwrap(), Some(enrolment));
    assert_eq!(agent.identity().certificate_pem, certificate);
    let closed = async {
        while TcpStream::connect(agent.options.enrol_listen).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.unwrap();
    task.abort();
}

#[tokio::test]
async fn certificate_of_another_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::open(options(dir.path(), 3)).unwrap();
    let task = tokio::spawn(run(Arc::clone(&agent)));
    let mut server = Server::dial(&agent).await;
    let transcript = server.exchange(&code(&agent)).await;
    let AgentLine::AgentConfirm { .. } = server.read().await else { panic!("the agent's proof") };
    let foreign = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&foreign).unwrap().pem().unwrap();
    let (certificate, ca) = sign(&csr);
    let enrolment = enrolment(certificate, ca);
    let tag = transcript.tag(Role::Enrolled, &enrolment.parts());
    server.write(&ServerLine::Enrolled { enrolment, tag }).await;
    let AgentLine::Refused { reason, .. } = server.read().await else { panic!("refused") };
    assert!(reason.contains("another key"), "{reason}");
    assert_eq!(agent.store.enrolment().unwrap(), None);
    task.abort();
}
