//! One session with the server: hello, reports at every change, requests and their answers, questions to the register; all
//! queues bounded.

use super::Socket;
use super::requests;
use crate::agent::Agent;
use crate::pairing::PairingStatus;
use crate::{clock, facts};
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use holdfast_api::agent::REPORT_INTERVAL_MS;
use holdfast_api::agent::{Answer, FRAME_BYTES_MAX, FromAgent, FromServer, Hello, NodeReport, PROTOCOL_VERSION};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// The server pings three times as often.
const SILENCE: Duration = Duration::from_secs(45);
const WELCOME_TIMEOUT: Duration = Duration::from_secs(20);
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Changes within this time make one report.
const COALESCE: Duration = Duration::from_millis(50);
const ANSWERS: usize = 8;
const REQUESTS_MAX: usize = 32;

async fn send(socket: &mut Socket, message: &FromAgent) -> Result<()> {
    let text = serde_json::to_string(message)?;
    if text.len() > FRAME_BYTES_MAX {
        bail!("a frame of {} bytes is too long to be sent", text.len());
    }
    let sent = tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::text(text))).await;
    sent.context("the server takes no data")?.context("the connection is lost")
}

async fn hello(agent: &Agent) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: agent.reports.node(),
        boot_id: agent.boot.text.clone(),
        cluster_version: agent.cluster_version().await,
        modules: agent.held().await,
    }
}

/// Runs the session with the server at this address; `Ok` after one that was welcomed.
pub(super) async fn run(agent: &Arc<Agent>, mut socket: Socket, server: &str) -> Result<()> {
    send(&mut socket, &FromAgent::Hello(hello(agent).await)).await?;
    let first = tokio::time::timeout(WELCOME_TIMEOUT, next(&mut socket)).await.context("the server said nothing")??;
    let life = match first {
        FromServer::Welcome { servers, certificate, name, register_life, .. } => {
            agent.welcomed(&name, servers, certificate)?;
            register_life
        }
        FromServer::Refused { reason } => bail!("refused: {reason}"),
        FromServer::Request { .. } | FromServer::Serve { .. } | FromServer::RegisterAnswered { .. } => {
            bail!("the server asked before it welcomed this node: install the same version on server and node")
        }
    };
    let _here = agent.server_session();
    let outcome = carry(agent, &mut socket, life, server).await;
    agent.serve_console(None)?;
    if let Err(error) = outcome {
        tracing::info!("session with the management server ended: {error:#}");
    }
    Ok(())
}

/// The next message; pings are answered meanwhile.
async fn next(socket: &mut Socket) -> Result<FromServer> {
    loop {
        if let Some(message) = take(socket.next().await)? {
            return Ok(message);
        }
    }
}

/// A message, `None` for a ping or pong, or the end.
fn take(frame: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>) -> Result<Option<FromServer>> {
    match frame.context("closed by the server")?.context("a frame cannot be read")? {
        Message::Text(text) => Ok(Some(serde_json::from_str(&text).context("a frame of the server cannot be read")?)),
        Message::Binary(_) => bail!("a binary frame came"),
        Message::Close(_) => bail!("closed by the server"),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

async fn carry(agent: &Arc<Agent>, socket: &mut Socket, register_life: u64, server: &str) -> Result<()> {
    let (answers, mut answered) = mpsc::channel::<(u64, Answer)>(ANSWERS);
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut changes = agent.reports.changes();
    let mut pairing = agent.pairing.changes();
    let mut questions = agent.register.open(register_life);
    let mut load = facts::Load::default();
    let mut heard = Instant::now();
    // The next report is due; a change brings it forward.
    let mut due = Instant::now();
    loop {
        tokio::select! {
            frame = socket.next() => {
                heard = Instant::now();
                match take(frame)? {
                    Some(FromServer::Request { id, request }) => {
                        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                            let reason = "too many requests are under way on this node: try again".to_owned();
                            send(socket, &FromAgent::Answer { id, answer: Answer::Refused { reason } }).await?;
                            continue;
                        };
                        let (agent, answers) = (Arc::clone(agent), answers.clone());
                        tokio::spawn(async move {
                            requests::answer(&agent, id, request, &answers).await;
                            drop(slot);
                        });
                    }
                    Some(FromServer::RegisterAnswered { id, answer }) => questions.answered(id, answer),
                    Some(FromServer::Serve { console }) => agent.serve_console(console.then_some(server))?,
                    Some(FromServer::Refused { reason }) => bail!("refused: {reason}"),
                    Some(FromServer::Welcome { .. }) | None => {}
                }
            }
            Some((id, answer)) = answered.recv() => send(socket, &FromAgent::Answer { id, answer }).await?,
            Some(question) = questions.next() => send(socket, &question).await?,
            _ = changes.changed() => due = due.min(Instant::now() + COALESCE),
            () = tokio::time::sleep_until(due) => {
                changes.mark_unchanged();
                let report = report(agent, &mut load).await;
                send(socket, &FromAgent::Report(report)).await?;
                due = Instant::now() + Duration::from_millis(REPORT_INTERVAL_MS);
            }
            _ = pairing.changed() => match agent.pairing.status() {
                PairingStatus::Enrolled => bail!("this node was enrolled anew"),
                PairingStatus::Open { .. } | PairingStatus::Closed => {}
            },
            () = tokio::time::sleep_until(heard + SILENCE) => bail!("nothing heard for {} s", SILENCE.as_secs()),
        }
    }
}

async fn report(agent: &Agent, load: &mut facts::Load) -> NodeReport {
    NodeReport {
        unix_ms: clock::unix_ms(),
        boot_id: agent.boot.text.clone(),
        cpu_percent: load.cpu_percent(),
        memory_percent: facts::memory_percent(),
        cluster_version: agent.cluster_version().await,
        modules: agent.reports.all(),
    }
}
