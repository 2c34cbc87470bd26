//! Dialling a node: every network in turn, names resolved anew, again and again until the cluster has it no more.

use super::session::{self, explain, reason};
use crate::agent::Agent;
use crate::backoff::Backoff;
use crate::tls;
use anyhow::{Context, Result, bail, ensure};
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::ids::NodeId;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;

/// Short: a node that was away for a moment should be reached again at once.
const BACKOFF_MIN_MS: u64 = 200;
/// Commands for a node that is back should find it within seconds.
const BACKOFF_MAX_MS: u64 = 5_000;
/// One address gets this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name tried in turn.
const ADDRESSES_MAX: usize = 4;
/// Keys say who a node is; the name is the same for all.
const SERVER_NAME: &str = "node.holdfast.internal";

type Greeted = (Connection, (SendStream, RecvStream));

/// Keeps the connection to a node until the cluster configuration has no such node.
pub(super) async fn keep(agent: Arc<Agent>, endpoint: Endpoint, id: NodeId) {
    let mut backoff = Backoff::new(BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    let mut told = String::new();
    loop {
        let Some(cluster) = agent.cluster().await else {
            return;
        };
        let Some(node) = cluster.node(id) else {
            return;
        };
        match connect_any(&agent, &endpoint, &cluster, node).await {
            Ok((connection, streams)) => {
                told.clear();
                backoff.reset();
                session::run(&agent, node, &connection, streams).await;
            }
            Err(error) => {
                let why = format!("{error:#}");
                agent.members.failed(id, &why);
                if why != told {
                    tracing::info!(node = node.name, "not reached over the cluster link: {why}");
                    told = why;
                }
            }
        }
        backoff.wait().await;
    }
}

async fn connect_any(
    agent: &Agent,
    endpoint: &Endpoint,
    cluster: &ClusterConfig,
    node: &ClusterNode,
) -> Result<Greeted> {
    let port = agent.options.cluster_listen.port();
    let mut failures = Vec::new();
    for lan in &cluster.lans {
        let Some(name) = node.addresses.get(lan) else {
            continue;
        };
        let addresses = match lookup_host((name.as_str(), port)).await {
            Ok(addresses) => addresses.take(ADDRESSES_MAX).collect(),
            Err(error) => {
                failures.push(format!("{name} on network {lan}: {error}"));
                Vec::new()
            }
        };
        for address in addresses {
            match connect(agent, endpoint, node, address).await {
                Ok(greeted) => return Ok(greeted),
                Err(error) => failures.push(format!("{address} on network {lan}: {error:#}")),
            }
        }
    }
    ensure!(
        !failures.is_empty(),
        "the cluster configuration gives it no address: enter one and configure the cluster again"
    );
    bail!("{}", failures.join("; "))
}

async fn connect(agent: &Agent, endpoint: &Endpoint, node: &ClusterNode, address: SocketAddr) -> Result<Greeted> {
    let crypto = QuicClientConfig::try_from(tls::to_node(&agent.identity(), &node.fingerprint)?)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(super::transport());
    let connecting = endpoint.connect_with(config, address, SERVER_NAME)?;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let connection = match connected.with_context(|| format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))? {
        Ok(connection) => connection,
        Err(end) => bail!(explain(&end)),
    };
    match session::greet(&connection).await {
        Ok(streams) => Ok((connection, streams)),
        // A key that is refused there is told only now: TLS 1.3 has let this end in already.
        Err(error) => {
            let why = reason(&connection, &error);
            connection.close(super::DONE, b"the greeting failed");
            bail!(why)
        }
    }
}
