//! The copies of a module's data: comparing both, and what was set aside of one that diverged.

use super::Agent;
use crate::engine::ToEngine;
use anyhow::{Context, Result, anyhow};
use holdfast_api::agent::AsideCopy;
use holdfast_replica::control::VerifyReport;
use holdfast_replica::setaside;
use tokio::sync::oneshot;

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

    /// Deletes what was set aside under this name.
    ///
    /// # Errors
    /// There is none, or it cannot be deleted.
    pub async fn delete_set_aside(&self, module: &str, id: &str) -> Result<String> {
        self.requests(module).await?;
        let (state, name) = (self.layout.replica(module), id.to_owned());
        let deleted = tokio::task::spawn_blocking(move || setaside::delete(&state, &name));
        deleted.await.context("deleting ended early")?.map_err(|reason| anyhow!(reason))?;
        Ok(format!("{id} is deleted"))
    }
}

fn ended() -> anyhow::Error {
    anyhow!("the module's engine ended")
}
