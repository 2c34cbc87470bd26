//! The copies of a module's data: comparing both, and what was set aside of one that diverged.

use super::Agent;
use crate::engine::ToEngine;
use anyhow::{Context, Result, anyhow};
use holdfast_api::agent::{ASIDE_ENTRIES_MAX, AsideCopy, AsideEntry, AsidePage};
use holdfast_replica::control::VerifyReport;
use holdfast_replica::setaside;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Shortest time between two countings of what is set aside.
const COUNT_PAUSE: Duration = Duration::from_secs(1);
/// Longest time between two countings of what is set aside.
const COUNT_PERIOD: Duration = Duration::from_secs(60);

impl Agent {
    /// Begins a comparison of both copies, or tells how far it is. `Err(peer)` in the inner result: this node is not the
    /// primary, that node may be.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn verify(&self, module: &str, start: bool) -> Result<Result<VerifyReport, Option<String>>> {
        let (reply, answer) = oneshot::channel();
        self.requests(module).await?.send(ToEngine::Verify { start, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Begins to compare the copy of a node that does not follow with the serving peer's, or tells how far that is.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn diff(&self, module: &str, start: bool) -> Result<Result<VerifyReport, String>> {
        let (reply, answer) = oneshot::channel();
        self.requests(module).await?.send(ToEngine::Diff { start, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Everything that was set aside of a module on this node, oldest first.
    ///
    /// # Errors
    /// The module is not configured here; what cannot be read.
    pub async fn set_aside(&self, module: &str) -> Result<Vec<AsideCopy>> {
        self.requests(module).await?;
        let state = self.layout.replica(module);
        let found = tokio::task::spawn_blocking({
            let state = state.clone();
            move || setaside::list(&state)
        });
        let shown = |manifest: setaside::Manifest| AsideCopy {
            node: manifest.node,
            generation: manifest.generation.to_string(),
            unix_ms: manifest.unix_ms,
            entries: manifest.entries.len() as u64,
            bytes: manifest.bytes,
            whole: manifest.whole,
            folder: setaside::folder(&state).join(&manifest.id).display().to_string(),
            id: manifest.id,
        };
        Ok(found
            .await
            .context("reading ended early")?
            .map_err(|reason| anyhow!(reason))?
            .into_iter()
            .map(shown)
            .collect())
    }

    /// A page of what was set aside under this name.
    ///
    /// # Errors
    /// The module is not configured here, there is no such copy, or its manifest cannot be read.
    pub async fn read_set_aside(&self, module: &str, id: &str, from: u64, limit: u32) -> Result<AsidePage> {
        self.requests(module).await?;
        let (state, name) = (self.layout.replica(module), id.to_owned());
        let told = tokio::task::spawn_blocking(move || setaside::tell(&state, &name));
        let manifest = told.await.context("reading ended early")?.map_err(|reason| anyhow!(reason))?;
        let total = manifest.entries.len() as u64;
        let first = usize::try_from(from).unwrap_or(usize::MAX);
        let shown = |entry: setaside::Entry| AsideEntry {
            path: entry.path,
            kind: entry.kind,
            size: entry.size,
            why: entry.why,
        };
        let entries = manifest.entries.into_iter().skip(first).take(limit.min(ASIDE_ENTRIES_MAX) as usize);
        Ok(AsidePage { total, from, entries: entries.map(shown).collect() })
    }

    /// Deletes what was set aside under this name.
    ///
    /// # Errors
    /// There is none, or it cannot be deleted.
    pub async fn delete_set_aside(&self, module: &str, id: &str) -> Result<String> {
        self.requests(module).await?;
        let (state, name) = (self.layout.replica(module), id.to_owned());
        let deleted = tokio::task::spawn_blocking(move || setaside::delete(&state, &name));
        deleted.await.context("deleting ended early")?.map_err(|reason| anyhow!(reason))?;
        self.count_set_aside(module).await;
        Ok(format!("{id} is deleted"))
    }

    /// Has the module's report say how many copies are set aside.
    async fn count_set_aside(&self, module: &str) {
        let state = self.layout.replica(module);
        if let Ok(count) = tokio::task::spawn_blocking(move || setaside::count(&state)).await {
            self.reports.count_set_aside(module, count);
        }
    }
}

/// Counts what is set aside whenever a module's report has changed, which it does when something is set aside, and now and
/// then, since an administrator may move a folder away; for as long as the agent runs.
pub(super) async fn keep_counting(agent: Arc<Agent>) {
    let mut changes = agent.reports.changes();
    loop {
        for name in agent.names().await {
            agent.count_set_aside(&name).await;
        }
        // A resync changes a report every moment; nothing here is in a hurry.
        tokio::time::sleep(COUNT_PAUSE).await;
        let _ = tokio::time::timeout(COUNT_PERIOD, changes.changed()).await;
    }
}

fn ended() -> anyhow::Error {
    anyhow!("the module's engine ended")
}
