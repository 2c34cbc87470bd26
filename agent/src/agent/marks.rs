//! What the configurations held are, without their content; and whether a management server is there.

use super::Agent;
use crate::cluster_link::message::{Mark, cluster_signature};
use anyhow::{Context, Result};
use holdfast_api::config::ModuleConfig;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// A session with the management server; it has ended when this is dropped.
pub struct ServerSession<'a>(&'a Agent);

impl Drop for ServerSession<'_> {
    fn drop(&mut self) {
        self.0.server_session.store(false, Ordering::Relaxed);
    }
}

impl Agent {
    /// The server has welcomed this node.
    pub fn server_session(&self) -> ServerSession<'_> {
        self.server_session.store(true, Ordering::Relaxed);
        ServerSession(self)
    }

    /// There is a session with the management server.
    pub fn has_server(&self) -> bool {
        self.server_session.load(Ordering::Relaxed)
    }

    /// Wakes when the cluster configuration held has changed.
    pub fn cluster_changes(&self) -> watch::Receiver<()> {
        self.cluster_changed.subscribe()
    }

    /// The configuration held of a module.
    pub async fn module_config(&self, module: &str) -> Result<ModuleConfig> {
        let inner = self.inner.lock().await;
        let held = inner.modules.get(module);
        let held = held.with_context(|| format!("module {module} is not configured on this node"))?;
        Ok(held.checked.config.clone())
    }

    /// What the cluster configuration held is; version 0: none.
    pub async fn cluster_mark(&self) -> Mark {
        let inner = self.inner.lock().await;
        inner.cluster.as_ref().map_or_else(Mark::default, |cluster| Mark {
            version: cluster.version,
            signature: cluster_signature(cluster),
            unix_ms: self.store.cluster_saved_unix_ms(),
        })
    }

    /// What the configurations held of the modules are, by name.
    pub async fn module_marks(&self) -> BTreeMap<String, Mark> {
        let inner = self.inner.lock().await;
        let mark = |(name, held): (&String, &super::Held)| {
            let mark = Mark {
                version: held.checked.config.version,
                signature: held.checked.signature.clone(),
                unix_ms: self.store.module_saved_unix_ms(name),
            };
            (name.clone(), mark)
        };
        inner.modules.iter().map(mark).collect()
    }
}
