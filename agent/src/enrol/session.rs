//! One connection on 9001: identity, SPAKE2, both proofs, then the certificate.

use crate::agent::Agent;
use anyhow::{Context, Result, bail, ensure};
use holdfast_api::enrol::{
    AgentLine, ENROL_VERSION, Enrolment, IDENTITY_AGENT, IDENTITY_SERVER, Identity, LINE_BYTES_MAX, Role, ServerLine,
    Transcript, normalize_code,
};
use spake2::{Ed25519Group, Password, Spake2};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const LINE_TIMEOUT: Duration = Duration::from_secs(20);

struct Line(BufReader<TlsStream<TcpStream>>);

impl Line {
    /// The next line of the server; `None` if it closed.
    async fn read(&mut self) -> Result<Option<ServerLine>> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.0).take(LINE_BYTES_MAX as u64);
        let read = tokio::time::timeout(LINE_TIMEOUT, bounded.read_until(b'\n', &mut bytes)).await?;
        // A probe closes without a word; some do so without the farewell of TLS.
        let gone = matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof) && bytes.is_empty();
        if gone || read? == 0 {
            return Ok(None);
        }
        ensure!(bytes.last() == Some(&b'\n'), "a line is too long or cut off");
        Ok(Some(serde_json::from_slice(&bytes).context("a line is not understood")?))
    }

    async fn write(&mut self, line: &AgentLine) -> Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let write = async {
            self.0.get_mut().write_all(&bytes).await?;
            self.0.get_mut().flush().await
        };
        Ok(tokio::time::timeout(LINE_TIMEOUT, write).await??)
    }

    async fn refuse(&mut self, agent: &Agent, reason: &str) -> Result<()> {
        let attempts_left = agent.pairing.attempts_left();
        self.write(&AgentLine::Refused { reason: reason.to_owned(), attempts_left }).await?;
        let _ = self.0.get_mut().shutdown().await;
        bail!("refused: {reason} ({attempts_left} guesses left)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? * 16 + digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Serves one connection.
pub(super) async fn serve(agent: &Arc<Agent>, acceptor: &TlsAcceptor, stream: TcpStream) -> Result<()> {
    let stream = tokio::time::timeout(LINE_TIMEOUT, acceptor.accept(stream)).await??;
    let mut line = Line(BufReader::new(stream));
    line.write(&AgentLine::Identity(Identity {
        protocol: ENROL_VERSION,
        name: agent.reports.node(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint: agent.identity().fingerprint.clone(),
        attempts_left: agent.pairing.attempts_left(),
    }))
    .await?;
    let message_a = match line.read().await? {
        // A probe: it only wanted to know who is here.
        None => return Ok(()),
        Some(ServerLine::PakeStart { protocol: ENROL_VERSION, message }) => message,
        Some(ServerLine::PakeStart { protocol, .. }) => {
            let reason = format!("this agent enrols with version {ENROL_VERSION} of the protocol, not {protocol}");
            return line.refuse(agent, &reason).await;
        }
        Some(_) => bail!("the server did not begin the pairing"),
    };
    let Some(code) = agent.pairing.guess() else {
        return line.refuse(agent, "pairing is closed; open it on the node with `holdfast pairing --reopen`").await;
    };
    let transcript = exchange(agent, &mut line, &code, &message_a).await?;
    match line.read().await? {
        Some(ServerLine::ServerConfirm { tag }) if transcript.verify(Role::Server, &[], &tag) => {}
        Some(ServerLine::ServerConfirm { .. }) => {
            return line.refuse(agent, "the pairing code is wrong; `holdfast pairing` on the node shows it").await;
        }
        _ => bail!("the server did not prove that it knows the code"),
    }
    let csr = agent.identity().request_pem()?;
    let tag = transcript.tag(Role::Agent, &[csr.clone().into_bytes()]);
    line.write(&AgentLine::AgentConfirm { csr, tag }).await?;
    let enrolment = match line.read().await? {
        Some(ServerLine::Enrolled { enrolment, tag })
            if transcript.verify(Role::Enrolled, &enrolment.parts(), &tag) =>
        {
            enrolment
        }
        Some(ServerLine::Refused { reason }) => bail!("the server refused: {reason}"),
        _ => bail!("the server sent no proven enrolment"),
    };
    finish(agent, &mut line, &enrolment).await
}

async fn exchange(agent: &Agent, line: &mut Line, code: &str, message_a: &str) -> Result<Transcript> {
    let password = Password::new(normalize_code(code));
    let (id_a, id_b) = (spake2::Identity::new(IDENTITY_SERVER), spake2::Identity::new(IDENTITY_AGENT));
    let (pake, message_b) = Spake2::<Ed25519Group>::start_b(&password, &id_a, &id_b);
    let message_a = unhex(message_a).context("the pairing message is not hexadecimal")?;
    let pake_key = pake.finish(&message_a).ok().context("the pairing message is none")?;
    line.write(&AgentLine::Pake { message: hex(&message_b) }).await?;
    Ok(Transcript { pake_key, message_a, message_b, fingerprint: agent.identity().fingerprint.clone() })
}

async fn finish(agent: &Arc<Agent>, line: &mut Line, enrolment: &Enrolment) -> Result<()> {
    if let Err(error) = agent.enrolled(enrolment) {
        return line.refuse(agent, &format!("{error:#}")).await;
    }
    tracing::info!("enrolled as {} ({})", enrolment.name, enrolment.node);
    line.write(&AgentLine::Done).await?;
    let _ = line.0.get_mut().shutdown().await;
    Ok(())
}
