//! The nodes of the cluster as this node knows them: who is reachable, since when, where, and what it last said.

use super::message::Status;
use super::{REMOVED, REPLACED};
use crate::clock;
use holdfast_api::config::ClusterConfig;
use holdfast_api::ids::NodeId;
use quinn::Connection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub node: String,
    /// Its number.
    pub id: NodeId,
    /// It is the node that was asked.
    pub here: bool,
    /// It can be asked.
    pub reachable: bool,
    /// Since when it is reachable or not, as far as this node knows.
    pub since_unix_ms: u64,
    /// When it was last heard; none: never since this agent started.
    pub heard_unix_ms: Option<u64>,
    /// Where it was last reached.
    pub address: Option<String>,
    /// Why it is not reachable, and what to do.
    pub why: String,
    /// What it last said.
    pub status: Option<Status>,
}

#[derive(Debug, Default)]
struct Entry {
    connection: Option<Connection>,
    fingerprint: String,
    since_unix_ms: u64,
    heard_unix_ms: Option<u64>,
    address: Option<String>,
    why: String,
    status: Option<Status>,
}

impl Entry {
    /// The connection, if it has not ended.
    fn live(&self) -> Option<&Connection> {
        self.connection.as_ref().filter(|connection| connection.close_reason().is_none())
    }
}

/// The other nodes.
#[derive(Debug, Default)]
pub struct Members(Mutex<BTreeMap<NodeId, Entry>>);

impl Members {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node is connected; an older connection of it is dead and its end was not noticed yet.
    pub(super) fn joined(&self, id: NodeId, fingerprint: &str, connection: &Connection) {
        let mut entries = self.lock();
        let entry = entries.entry(id).or_default();
        if let Some(old) = entry.connection.replace(connection.clone()) {
            old.close(REPLACED, b"replaced by a newer connection");
        } else {
            entry.since_unix_ms = clock::unix_ms();
        }
        fingerprint.clone_into(&mut entry.fingerprint);
        entry.address = Some(connection.remote_address().to_string());
        entry.why.clear();
    }

    /// A node said what it is.
    pub(super) fn heard(&self, id: NodeId, status: Status) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.heard_unix_ms = Some(clock::unix_ms());
            entry.status = Some(status);
        }
    }

    /// This connection of a node has ended; another one may have replaced it already.
    pub(super) fn left(&self, id: NodeId, connection: &Connection, why: &str) {
        if let Some(entry) = self.lock().get_mut(&id)
            && entry.connection.as_ref().is_some_and(|current| current.stable_id() == connection.stable_id())
        {
            entry.connection = None;
            entry.since_unix_ms = clock::unix_ms();
            why.clone_into(&mut entry.why);
        }
    }

    /// A node was dialled in vain.
    pub(super) fn failed(&self, id: NodeId, why: &str) {
        let mut entries = self.lock();
        let entry = entries.entry(id).or_insert_with(|| Entry { since_unix_ms: clock::unix_ms(), ..Entry::default() });
        if entry.live().is_none() {
            why.clone_into(&mut entry.why);
        }
    }

    /// Only nodes of this configuration, with the keys in it, stay connected.
    pub(super) fn keep(&self, cluster: &ClusterConfig) {
        self.lock().retain(|id, entry| {
            let stays =
                cluster.node(*id).is_some_and(|node| entry.live().is_none() || node.fingerprint == entry.fingerprint);
            if let (false, Some(connection)) = (stays, &entry.connection) {
                connection.close(REMOVED, b"removed from the cluster configuration held here");
            }
            stays
        });
    }

    /// The connection to a node, or why there is none.
    pub(super) fn connection(&self, id: NodeId) -> Result<Connection, String> {
        let entries = self.lock();
        let entry = entries.get(&id);
        entry.and_then(Entry::live).cloned().ok_or_else(|| why(entry))
    }

    /// The other nodes of the cluster.
    pub(super) fn others(&self, cluster: &ClusterConfig, own: NodeId) -> Vec<Member> {
        let entries = self.lock();
        let others = cluster.nodes.iter().filter(|node| node.id != own);
        let member = |node: &holdfast_api::config::ClusterNode| {
            let entry = entries.get(&node.id);
            let reachable = entry.and_then(Entry::live).is_some();
            Member {
                node: node.name.clone(),
                id: node.id,
                here: false,
                reachable,
                since_unix_ms: entry.map_or(0, |entry| entry.since_unix_ms),
                heard_unix_ms: entry.and_then(|entry| entry.heard_unix_ms),
                address: entry.and_then(|entry| entry.address.clone()),
                why: if reachable { String::new() } else { why(entry) },
                status: entry.and_then(|entry| entry.status.clone()),
            }
        };
        others.map(member).collect()
    }
}

fn why(entry: Option<&Entry>) -> String {
    let known = entry.map(|entry| entry.why.clone()).filter(|why| !why.is_empty());
    known.unwrap_or_else(|| {
        "it has not been heard yet: is its agent running, and does it hold a cluster configuration with this node?"
            .to_owned()
    })
}
