//! The cluster link: QUIC between the nodes on UDP 4800, for membership, commands for other nodes and configurations
//! while no server is there. Never in the way of failover.
//!
//! Both ends are known by the keys in the cluster configuration; a node that is removed from it is let in nowhere that
//! holds the new one, and connected ones are cut off at once. Of two nodes the one with the lower number dials.

mod dial;
mod exchange;
pub mod frame;
pub mod members;
pub mod message;
mod request;
mod session;
#[cfg(test)]
mod tests;

pub use request::forward;

use crate::agent::Agent;
use crate::tls;
use anyhow::{Context, Result};
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::ids::NodeId;
use members::Member;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, TransportConfig, VarInt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// A port in use, or an address that is not there yet, is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);
/// Handshakes under way at the same time; others wait at their senders.
const HANDSHAKES_MAX: usize = 16;
/// A dead connection is noticed after this time.
const SILENCE_MS: u32 = 6_000;
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Bytes of one stream, and of all of a connection, that may wait to be read.
const STREAM_WINDOW: u32 = 1 << 20;
const WINDOW: u32 = 4 << 20;

/// Reasons to close a connection, told to the other end with words.
const DONE: VarInt = VarInt::from_u32(0);
const REMOVED: VarInt = VarInt::from_u32(1);
const REPLACED: VarInt = VarInt::from_u32(2);
const BAD_GREETING: VarInt = VarInt::from_u32(3);

/// The nodes of the cluster and what this one knows of them, by number; none without a cluster configuration.
pub async fn members(agent: &Agent) -> Vec<Member> {
    let Some((cluster, own)) = own(agent).await else {
        return Vec::new();
    };
    let mut members = agent.members.others(&cluster, own.id);
    members.push(Member {
        node: own.name,
        id: own.id,
        here: true,
        reachable: true,
        since_unix_ms: agent.started_unix_ms,
        heard_unix_ms: Some(crate::clock::unix_ms()),
        address: None,
        why: String::new(),
        status: Some(message::status(agent).await),
    });
    members.sort_by_key(|member| member.id);
    members
}

/// The cluster and this node in it.
async fn own(agent: &Agent) -> Option<(ClusterConfig, ClusterNode)> {
    let cluster = agent.cluster().await?;
    let fingerprint = agent.identity().fingerprint.clone();
    let own = cluster.nodes.iter().find(|node| node.fingerprint == fingerprint)?.clone();
    Some((cluster, own))
}

/// Keeps the link for ever: open while this node is in a cluster, and always by the configuration held.
pub async fn run(agent: Arc<Agent>) {
    let mut changes = agent.cluster_changes();
    let mut link = None;
    let mut told = String::new();
    loop {
        changes.mark_unchanged();
        match own(&agent).await {
            None => {
                link = None;
                agent.members.keep(&ClusterConfig::default());
            }
            Some((cluster, own)) => match Link::follow(link.take(), &agent, &cluster, own.id) {
                Ok(open) => {
                    told.clear();
                    link = Some(open);
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    if error != told {
                        tracing::warn!("no cluster link (modules run on without it): {error}");
                        told = error;
                    }
                }
            },
        }
        let waits = link.is_none() && !told.is_empty();
        tokio::select! {
            _ = changes.changed() => {}
            () = closed(&mut link) => {
                tracing::warn!("the port of the cluster link failed; it is opened again");
                link = None;
                tokio::time::sleep(RETRY).await;
            }
            () = tokio::time::sleep(RETRY), if waits => {}
        }
    }
}

/// Returns when an open port is no more, by an error of its socket.
async fn closed(link: &mut Option<Link>) {
    match link {
        Some(link) => drop(link.accepting.join_next().await),
        None => std::future::pending().await,
    }
}

/// The open port and who is dialled; closed when dropped.
struct Link {
    endpoint: Endpoint,
    dials: BTreeMap<NodeId, JoinHandle<()>>,
    accepting: JoinSet<()>,
}

impl Link {
    /// Opens the port if it is not open, and goes by this configuration from now on.
    fn follow(open: Option<Self>, agent: &Arc<Agent>, cluster: &ClusterConfig, own: NodeId) -> Result<Self> {
        let crypto = QuicServerConfig::try_from(tls::from_nodes(&agent.identity(), cluster)?)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(transport());
        let mut link = match open {
            Some(link) => link,
            None => Self::open(agent)?,
        };
        link.endpoint.set_server_config(Some(config));
        agent.members.keep(cluster);
        link.dials.retain(|_, dial| !dial.is_finished());
        for node in cluster.nodes.iter().filter(|node| node.id > own) {
            let dial = || tokio::spawn(dial::keep(Arc::clone(agent), link.endpoint.clone(), node.id));
            link.dials.entry(node.id).or_insert_with(dial);
        }
        Ok(link)
    }

    fn open(agent: &Arc<Agent>) -> Result<Self> {
        let address = agent.options.cluster_listen;
        let socket = std::net::UdpSocket::bind(address);
        let socket = socket.with_context(|| format!("cannot listen on {address}: give --cluster-listen"))?;
        let runtime = quinn::default_runtime().context("no runtime")?;
        let endpoint = Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(Arc::clone(agent), endpoint.clone()));
        Ok(Self { endpoint, dials: BTreeMap::new(), accepting })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.dials.values().for_each(JoinHandle::abort);
        self.endpoint.close(DONE, b"this node has left the cluster or its agent ends");
    }
}

/// How connections behave: small windows, early notice of a dead peer.
fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(SILENCE_MS).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(session::REQUESTS_MAX as u32 + 1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW));
    Arc::new(transport)
}

async fn accept(agent: Arc<Agent>, endpoint: Endpoint) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.accept().await {
        // Who gives a false sender address costs one small answer and is never heard again.
        if !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            let address = incoming.remote_address();
            let greeted = welcome(&agent, incoming).await;
            drop(slot);
            match greeted {
                Ok((node, connection, streams)) => drop(session::run(&agent, &node, &connection, streams).await),
                Err(error) => tracing::warn!(%address, "refused on the cluster link: {error:#}"),
            }
        });
    }
}

type Welcomed = (ClusterNode, quinn::Connection, (quinn::SendStream, quinn::RecvStream));

async fn welcome(agent: &Agent, incoming: Incoming) -> Result<Welcomed> {
    let connection = match incoming.accept()?.await {
        Ok(connection) => connection,
        Err(end) => anyhow::bail!(session::explain(&end)),
    };
    let (_, own) = own(agent).await.context("this node is in no cluster")?;
    let node = session::node_of(agent, &connection).await.filter(|node| node.id < own.id);
    let Some(node) = node else {
        connection.close(REMOVED, b"not a node with a lower number in the cluster configuration held here");
        anyhow::bail!("the node that dials is not one with a lower number in the cluster configuration");
    };
    match session::welcome(&connection).await {
        Ok(streams) => Ok((node, connection, streams)),
        Err(error) => {
            let why = session::reason(&connection, &error);
            connection.close(DONE, why.as_bytes());
            anyhow::bail!("{}: {why}", node.name)
        }
    }
}
