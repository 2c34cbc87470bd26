//! One connection between two nodes, from the greeting to its end: statuses both ways, requests both ways.

use super::frame;
use super::message::{HELLO_MAX, Hello, STATUS_MAX, Status, read_hello, status};
use super::{BAD_GREETING, DONE, REMOVED, exchange, request};
use crate::agent::Agent;
use anyhow::{Context, Error, Result, anyhow, bail};
use holdfast_api::config::ClusterNode;
use holdfast_replica::tls::pin;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A greeting arrives within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// A quiet node repeats its status this often.
const STATUS_PERIOD: Duration = Duration::from_secs(2);
/// Changes within this time make one status.
const COALESCE: Duration = Duration::from_millis(100);
/// A status leaves within this time, or the other end is stuck.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests of one node carried out at the same time.
pub(super) const REQUESTS_MAX: usize = 8;

/// Greets the node that was dialled; the streams of the statuses.
pub(super) async fn greet(connection: &Connection) -> Result<(SendStream, RecvStream)> {
    let (mut to, mut from) = connection.open_bi().await?;
    frame::write(&mut to, &Hello::own(), HELLO_MAX).await?;
    hear_greeting(connection, &mut from).await?;
    Ok((to, from))
}

/// Answers the greeting of a node that dialled; the streams of the statuses.
pub(super) async fn welcome(connection: &Connection) -> Result<(SendStream, RecvStream)> {
    let accepted = tokio::time::timeout(HELLO_TIMEOUT, connection.accept_bi()).await;
    let (mut to, mut from) = accepted.context("no greeting came")??;
    hear_greeting(connection, &mut from).await?;
    frame::write(&mut to, &Hello::own(), HELLO_MAX).await?;
    Ok((to, from))
}

async fn hear_greeting(connection: &Connection, from: &mut RecvStream) -> Result<()> {
    let read = tokio::time::timeout(HELLO_TIMEOUT, frame::read_bytes(from, HELLO_MAX)).await;
    let refused = match read.context("no greeting came")? {
        Ok(Some(bytes)) => match read_hello(&bytes) {
            Ok(_) => return Ok(()),
            Err(reason) => reason,
        },
        Ok(None) => "no greeting came".to_owned(),
        Err(frame::FrameError::Lost(error)) => return Err(error.into()),
        Err(error) => error.to_string(),
    };
    connection.close(BAD_GREETING, refused.as_bytes());
    bail!(refused)
}

/// The node at the other end, by its key; `None` if the configuration does not (or no longer) name it.
pub(super) async fn node_of(agent: &Agent, connection: &Connection) -> Option<ClusterNode> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let fingerprint = pin::fingerprint(identity.first()?)?;
    agent.cluster().await?.nodes.into_iter().find(|node| node.fingerprint == fingerprint)
}

/// Carries a greeted connection to its end; why it ended.
pub(super) async fn run(
    agent: &Arc<Agent>,
    node: &ClusterNode,
    connection: &Connection,
    (mut to, mut from): (SendStream, RecvStream),
) -> String {
    agent.members.joined(node.id, &node.fingerprint, connection);
    // Looked at again once it is in the table: a configuration taken meanwhile may not name it any more.
    if node_of(agent, connection).await.is_none_or(|found| found.id != node.id) {
        connection.close(REMOVED, b"removed from the cluster configuration held here");
    }
    tracing::info!(node = node.name, address = %connection.remote_address(), "cluster link up");
    let (latest, statuses) = watch::channel(None);
    let error = tokio::select! {
        ended = tell(agent, &mut to) => ended.err(),
        ended = hear(agent, node, &mut from, &latest) => ended.err(),
        ended = serve(agent, node, connection) => ended.err(),
        ended = exchange::follow(agent, &node.name, connection, statuses) => ended.err(),
    };
    let why = reason(connection, &error.unwrap_or_else(|| anyhow!("it ended")));
    connection.close(DONE, why.as_bytes());
    agent.members.left(node.id, connection, &why);
    tracing::warn!(node = node.name, "cluster link down (modules run on without it): {why}");
    why
}

/// Why a connection ended: as the other end says, if it does.
pub(super) fn reason(connection: &Connection, error: &Error) -> String {
    connection.close_reason().map_or_else(|| format!("{error:#}"), |end| explain(&end))
}

/// An end in plain words.
pub(super) fn explain(end: &ConnectionError) -> String {
    let said = |reason: &[u8]| String::from_utf8_lossy(reason).chars().filter(|c| !c.is_control()).collect::<String>();
    match end {
        ConnectionError::ApplicationClosed(close) => format!("the other end says: {}", said(&close.reason)),
        ConnectionError::ConnectionClosed(close) => format!("the other end refuses: {}", said(&close.reason)),
        ConnectionError::TimedOut => "no answer: is the agent running, and is the port open on both nodes?".to_owned(),
        ConnectionError::TransportError(error) => error.reason.clone(),
        other => other.to_string(),
    }
}

async fn tell(agent: &Agent, to: &mut SendStream) -> Result<()> {
    let mut changes = agent.reports.changes();
    loop {
        changes.mark_unchanged();
        let now = status(agent).await;
        let sent = tokio::time::timeout(SEND_TIMEOUT, frame::write(to, &now, STATUS_MAX)).await;
        sent.context("the other end takes no data")??;
        tokio::select! {
            _ = changes.changed() => tokio::time::sleep(COALESCE).await,
            () = tokio::time::sleep(STATUS_PERIOD) => {}
        }
    }
}

async fn hear(
    agent: &Agent,
    node: &ClusterNode,
    from: &mut RecvStream,
    latest: &watch::Sender<Option<Status>>,
) -> Result<()> {
    loop {
        let status: Status = frame::read(from, STATUS_MAX).await?.context("the other end has ended")?;
        agent.members.heard(node.id, status.clone());
        latest.send_replace(Some(status));
    }
}

async fn serve(agent: &Arc<Agent>, node: &ClusterNode, connection: &Connection) -> Result<()> {
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let (to, from) = connection.accept_bi().await?;
        let (agent, name) = (Arc::clone(agent), node.name.clone());
        // Not ended with the connection: what was begun is carried out.
        tokio::spawn(async move {
            if let Err(error) = request::serve(&agent, &name, to, from).await {
                tracing::debug!(node = name, "request over the cluster link: {error:#}");
            }
            drop(slot);
        });
    }
}
