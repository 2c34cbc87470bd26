//! Enrolment, the server's side: probing a node on 9001, the pairing code exchange, and one-time tokens.

use crate::app::App;
use crate::db::{self, nodes::NewNode};
use crate::error::{Failure, Outcome};
use crate::tls::{hex, key_fingerprint};
use holdfast_api::console::{EnrolForm, ProbeCheck, ProbeIdentity, ProbeView};
use holdfast_api::enrol::{
    AgentLine, ENROL_PORT, ENROL_VERSION, Enrolment, IDENTITY_AGENT, IDENTITY_SERVER, Identity, JoinRequest,
    LINE_BYTES_MAX, Role, ServerLine, Transcript, normalize_code,
};
use holdfast_api::ids::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use spake2::{Ed25519Group, Spake2};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const LINE_TIMEOUT: Duration = Duration::from_secs(15);

/// Accepts any certificate: who it is, is proved by the pairing code, which covers the key's fingerprint.
#[derive(Debug)]
struct AnyKey(rustls::crypto::CryptoProvider);

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// An open line to a node's port 9001.
struct Line {
    stream: BufReader<TlsStream<TcpStream>>,
    fingerprint: String,
    local: IpAddr,
    peer: SocketAddr,
}

impl Line {
    async fn read(&mut self) -> Result<AgentLine, String> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.stream).take(LINE_BYTES_MAX as u64);
        let read = tokio::time::timeout(LINE_TIMEOUT, bounded.read_until(b'\n', &mut bytes));
        read.await
            .map_err(|_| "the node did not answer in time")?
            .map_err(|error| format!("the line broke: {error}"))?;
        if bytes.last() != Some(&b'\n') {
            return Err("the node closed the line, or sent too much".into());
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("what answers there is no Holdfast agent ({error})"))
    }

    async fn write(&mut self, line: &ServerLine) -> Result<(), String> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| error.to_string())?;
        bytes.push(b'\n');
        let stream = self.stream.get_mut();
        let write = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        let written = tokio::time::timeout(LINE_TIMEOUT, write).await.map_err(|_| "the node takes no data")?;
        written.map_err(|error| format!("the line broke: {error}"))
    }
}

/// Splits `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let address = address.trim();
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => match address.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (address, None),
        },
    };
    holdfast_api::config::check_address(host)?;
    let port = match port {
        None => ENROL_PORT,
        Some(port) => port.parse().map_err(|_| format!("{port} is no port number"))?,
    };
    Ok((host.to_owned(), port))
}

fn check(checks: &mut Vec<ProbeCheck>, name: &str, outcome: Result<String, String>) -> bool {
    let ok = outcome.is_ok();
    let detail = outcome.unwrap_or_else(|detail| detail);
    checks.push(ProbeCheck { name: name.into(), ok, detail });
    ok
}

/// Dials a node; notes each step in `checks`. None: a step failed.
async fn dial(host: &str, port: u16, checks: &mut Vec<ProbeCheck>) -> Option<(Line, Identity)> {
    let found: Vec<SocketAddr> = match tokio::net::lookup_host((host, port)).await {
        Ok(found) => found.take(8).collect(),
        Err(error) => {
            let cure = "check the name's spelling, or give the IP address";
            check(checks, "resolve", Err(format!("{host} has no address ({error}): {cure}")));
            return None;
        }
    };
    let addresses = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    check(checks, "resolve", Ok(format!("{host} is {addresses}")));
    let mut stream = Err("no address".to_owned());
    for address in found {
        stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        };
        if stream.is_ok() {
            break;
        }
    }
    let cure = "is the agent running, is pairing open there (`holdfast pairing`), and does the firewall let it pass?";
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            check(checks, "connect", Err(format!("port {port} does not answer ({error}): {cure}")));
            return None;
        }
    };
    check(checks, "connect", Ok(format!("port {port} answers")));
    match identify(stream).await {
        Ok((line, identity)) => {
            check(checks, "identity", Ok(format!("{}, key {}", identity.name, identity.fingerprint)));
            Some((line, identity))
        }
        Err(problem) => {
            check(checks, "identity", Err(format!("{problem}; {cure}")));
            None
        }
    }
}

async fn identify(stream: TcpStream) -> Result<(Line, Identity), String> {
    let text = |error: std::io::Error| error.to_string();
    let (peer, local) = (stream.peer_addr().map_err(text)?, stream.local_addr().map_err(text)?.ip());
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(peer.ip().into());
    let connect = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(LINE_TIMEOUT, connect).await;
    let stream = stream.map_err(|_| "no TLS answer")?.map_err(|error| format!("TLS failed ({error})"))?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = certificates.first().ok_or("the node showed no key")?;
    let fingerprint = key_fingerprint(certificate).map_err(|error| error.to_string())?;
    let mut line = Line { stream: BufReader::new(stream), fingerprint, local, peer };
    match line.read().await? {
        AgentLine::Identity(identity) if identity.fingerprint == line.fingerprint => Ok((line, identity)),
        AgentLine::Identity(_) => Err("the node names another key than it shows; something stands in between".into()),
        AgentLine::Refused { reason, .. } => Err(reason),
        _ => Err("the node did not say who it is".into()),
    }
}

fn version_check(identity: &Identity) -> Result<String, String> {
    if identity.protocol == ENROL_VERSION {
        return Ok(format!("agent {}", identity.version));
    }
    Err(format!(
        "agent {} enrols with version {} of the protocol, this server with {ENROL_VERSION}: install the same release",
        identity.version, identity.protocol
    ))
}

fn pairing_check(identity: &Identity) -> Result<String, String> {
    match identity.attempts_left {
        0 => {
            Err("pairing is closed after wrong codes: open it again on the node with `holdfast pairing --reopen`"
                .into())
        }
        left => Ok(format!("pairing is open, {left} attempts left")),
    }
}

/// Looks who is at an address, step by step.
///
/// # Errors
/// 422 if the address is none.
pub async fn probe(address: &str) -> Outcome<ProbeView> {
    let (host, port) = host_and_port(address).map_err(|message| Failure::field("address", message))?;
    let mut view = ProbeView { address: address.trim().to_owned(), checks: Vec::new(), identity: None };
    if let Some((_, identity)) = dial(&host, port, &mut view.checks).await {
        check(&mut view.checks, "version", version_check(&identity));
        check(&mut view.checks, "pairing", pairing_check(&identity));
        view.identity = Some(ProbeIdentity {
            name: identity.name,
            version: identity.version,
            fingerprint: identity.fingerprint,
            attempts_left: identity.attempts_left,
        });
    }
    Ok(view)
}

/// Enrols the node at an address with its pairing code; returns its number.
///
/// # Errors
/// 422 for a wrong address, code or name; 409 if the key is another one than expected or the name is taken; 502 if the
/// node does not do its part.
pub async fn enrol(app: &App, form: &EnrolForm, author: &str) -> Outcome<NodeId> {
    let (host, port) = host_and_port(&form.address).map_err(|message| Failure::field("address", message))?;
    let code = normalize_code(&form.code);
    if code.is_empty() || code.len() > 64 {
        return Err(Failure::field("code", "type the code that the agent printed (`holdfast pairing` shows it)"));
    }
    let mut checks = Vec::new();
    let Some((mut line, identity)) = dial(&host, port, &mut checks).await else {
        let detail = checks.pop().map(|check| check.detail).unwrap_or_default();
        return Err(Failure::field("address", detail));
    };
    if line.fingerprint != form.fingerprint {
        return Err(Failure::conflict("another key answers at this address than before; check the address again"));
    }
    version_check(&identity).and(pairing_check(&identity)).map_err(|message| Failure::field("code", message))?;
    let name = if form.name.is_empty() { identity.name.clone() } else { form.name.clone() };
    holdfast_api::config::check_name(&name).map_err(|message| Failure::field("name", message))?;
    let (transcript, csr) = pair(&mut line, &code).await?;
    let (signed, _) = app
        .tls
        .sign_request(&csr, &name, Some(&line.fingerprint))
        .map_err(|error| Failure::node(format!("the node's certificate request is refused: {error:#}")))?;
    let new = NewNode {
        name,
        fingerprint: line.fingerprint.clone(),
        address: line.peer.ip().to_string(),
        agent_version: identity.version,
        author: author.to_owned(),
    };
    let enrolment = record(app, new, signed, line.local, None).await?;
    let id = enrolment.node;
    let tag = transcript.tag(Role::Enrolled, &enrolment.parts());
    let finish = async {
        line.write(&ServerLine::Enrolled { enrolment, tag }).await?;
        match line.read().await? {
            AgentLine::Done => Ok(()),
            AgentLine::Refused { reason, .. } => Err(reason),
            _ => Err("the node answered something else than asked".to_owned()),
        }
    };
    finish.await.map_err(|problem| {
        Failure::node(format!(
            "{problem}; the node may not have kept its certificate: if it does not connect, enrol it again"
        ))
    })?;
    Ok(id)
}

/// The exchange of proofs; returns the transcript and the node's certificate request.
async fn pair(line: &mut Line, code: &str) -> Outcome<(Transcript, String)> {
    let (pake, message_a) = Spake2::<Ed25519Group>::start_a(
        &spake2::Password::new(code.as_bytes()),
        &spake2::Identity::new(IDENTITY_SERVER),
        &spake2::Identity::new(IDENTITY_AGENT),
    );
    line.write(&ServerLine::PakeStart { protocol: ENROL_VERSION, message: hex(&message_a) })
        .await
        .map_err(Failure::node)?;
    let message_b = match line.read().await.map_err(Failure::node)? {
        AgentLine::Pake { message } => message,
        AgentLine::Refused { reason, attempts_left } => return Err(refused(&reason, attempts_left)),
        _ => return Err(Failure::node("the node answered something else than asked")),
    };
    let message_b = unhex(&message_b).ok_or_else(|| Failure::node("the node's answer is not hex"))?;
    let pake_key = pake.finish(&message_b).map_err(|_| Failure::node("the node's answer is no pairing message"))?;
    let transcript = Transcript { pake_key, message_a, message_b, fingerprint: line.fingerprint.clone() };
    line.write(&ServerLine::ServerConfirm { tag: transcript.tag(Role::Server, &[]) }).await.map_err(Failure::node)?;
    match line.read().await.map_err(Failure::node)? {
        AgentLine::AgentConfirm { csr, tag } => {
            if transcript.verify(Role::Agent, &[csr.clone().into_bytes()], &tag) {
                return Ok((transcript, csr));
            }
            let reason = "the node's proof is wrong".to_owned();
            let _ = line.write(&ServerLine::Refused { reason }).await;
            Err(Failure::node("the node could not prove that it knows the code; something stands in between"))
        }
        AgentLine::Refused { reason, attempts_left } => Err(refused(&reason, attempts_left)),
        _ => Err(Failure::node("the node answered something else than asked")),
    }
}

fn refused(reason: &str, attempts_left: u32) -> Failure {
    let reason = reason.trim_end_matches('.');
    Failure::field(
        "code",
        match attempts_left {
            0 => format!("{reason}; no attempts left: open pairing again on the node with `holdfast pairing --reopen`"),
            1 => format!("{reason}; 1 attempt left"),
            left => format!("{reason}; {left} attempts left"),
        },
    )
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 1024 || !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Saves the node and its certificate, and uses up the token (by its hash), if there is one, in one transaction: a taken
/// name does not use a token up. Returns what the agent keeps.
async fn record(
    app: &App,
    mut new: NewNode,
    signed: crate::tls::SignedNode,
    local: IpAddr,
    token: Option<Vec<u8>>,
) -> Outcome<Enrolment> {
    let certificate = signed.pem.clone();
    let name = new.name.clone();
    let node = app
        .db
        .call(move |tx| {
            if let Some(hash) = token {
                new.author = db::nodes::use_token(tx, &hash, &new.name)?;
            }
            let (id, is_new) = db::nodes::enrol(tx, &new)?;
            db::nodes::add_certificate(tx, id, &signed.serial, signed.not_after_ms)?;
            let again = if is_new { "" } else { " again" };
            let text = format!("enrolled {}{again} ({id}, key {})", new.name, new.fingerprint);
            db::records::audit(tx, &new.author, &text)?;
            Ok(id)
        })
        .await?;
    app.reload().await?;
    let name = app.desired().node(node).map_or(name, |row| row.name.clone());
    Ok(Enrolment { certificate, ca: app.tls.ca_pem.clone(), servers: app.server_addresses(Some(local)), node, name })
}

/// Enrols a node that shows a one-time token.
///
/// # Errors
/// 403 for a token that does not work; 422 for a wrong name or request; 409 if the name is taken.
pub async fn join(app: &App, request: JoinRequest, peer: IpAddr, local: IpAddr) -> Outcome<Enrolment> {
    if request.protocol != ENROL_VERSION {
        return Err(Failure::field(
            "protocol",
            format!(
                "the agent enrols with version {}, this server with {ENROL_VERSION}: install the same release",
                request.protocol
            ),
        ));
    }
    holdfast_api::config::check_name(&request.name).map_err(|message| Failure::field("name", message))?;
    let (signed, fingerprint) = app
        .tls
        .sign_request(&request.csr, &request.name, None)
        .map_err(|error| Failure::field("csr", format!("{error:#}")))?;
    let new = NewNode {
        name: request.name,
        fingerprint,
        address: peer.to_string(),
        agent_version: request.version,
        author: String::new(),
    };
    record(app, new, signed, local, Some(blake3::hash(request.secret.as_bytes()).as_bytes().to_vec())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_carry_a_port() {
        let ok = |text: &str, host: &str, port: u16| assert_eq!(host_and_port(text), Ok((host.to_owned(), port)));
        ok("node1", "node1", 9001);
        ok(" 10.0.0.1:9101 ", "10.0.0.1", 9101);
        ok("fd00::1", "fd00::1", 9001);
        ok("[fd00::1]:99", "fd00::1", 99);
        for bad in ["", "a b", "a:x", "https://a", "a:99999"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hex_is_read_or_refused() {
        assert_eq!(unhex("00ff"), Some(vec![0, 255]));
        assert_eq!((unhex("0"), unhex("zz"), unhex("éé")), (None, None, None));
    }
}
