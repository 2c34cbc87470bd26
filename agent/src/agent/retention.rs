//! Copies that were set aside longer ago than the node keeps them are deleted, and that is told in the module's log.

use super::Agent;
use crate::clock;
use crate::engine::ToEngine;
use holdfast_core::output::EventLevel;
use holdfast_replica::setaside;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(3600);
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Looks at once and then every hour, for as long as the agent runs; without an age it does nothing.
pub(super) async fn run(agent: Arc<Agent>) {
    let Some(days) = agent.options.keep_set_aside_days else { return };
    loop {
        for name in agent.names().await {
            let state = agent.layout.replica(&name);
            let before_ms = clock::unix_ms().saturating_sub(u64::from(days.get()) * DAY_MS);
            let deleted = tokio::task::spawn_blocking(move || delete_older(&state, before_ms)).await;
            for text in deleted.unwrap_or_default() {
                let (level, text) = match text {
                    Ok(what) => (EventLevel::Event, format!("{what}: it was set aside more than {days} days ago")),
                    Err(why) => (EventLevel::Warning, format!("what is set aside is not deleted by its age: {why}")),
                };
                if let Ok(requests) = agent.requests(&name).await {
                    // A module that goes tells nothing any more.
                    let _ = requests.send(ToEngine::Print { level, text }).await;
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Deletes what was set aside before this; what was deleted, and what could not be.
fn delete_older(state: &Path, before_ms: u64) -> Vec<Result<String, String>> {
    let copies = match setaside::list(state) {
        Ok(copies) => copies,
        Err(reason) => return vec![Err(reason)],
    };
    let old = copies.into_iter().filter(|copy| copy.unix_ms < before_ms);
    old.map(|copy| {
        setaside::delete(state, &copy.id)?;
        let setaside::Manifest { id, bytes, node, entries, .. } = copy;
        Ok(format!("{id} is deleted ({} entries, {bytes} bytes of node {node}'s diverged copy)", entries.len()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::ids::Generation;

    #[test]
    fn only_what_is_older_than_it_is_kept_goes() {
        let base = tempfile::tempdir().unwrap();
        for (id, unix_ms) in [("1-2", 1000), ("5-2", 5000)] {
            let folder = setaside::folder(base.path()).join(id);
            std::fs::create_dir_all(folder.join("files")).unwrap();
            let manifest = setaside::Manifest {
                format: 1,
                id: id.to_owned(),
                module: "bank".to_owned(),
                node: 2,
                generation: Generation { number: 2, id: 2 },
                unix_ms,
                bytes: 7,
                whole: false,
                entries: Vec::new(),
            };
            std::fs::write(folder.join(setaside::FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
        }
        let told = delete_older(base.path(), 5000);
        assert_eq!(told, [Ok("1-2 is deleted (0 entries, 7 bytes of node 2's diverged copy)".to_owned())]);
        let left: Vec<String> = setaside::list(base.path()).unwrap().into_iter().map(|copy| copy.id).collect();
        assert_eq!(left, ["5-2"]);
        std::fs::write(setaside::folder(base.path()).join("5-2").join(setaside::FILE), "{").unwrap();
        let told = delete_older(base.path(), 9000);
        assert!(matches!(&told[..], [Err(_)]), "what cannot be read is told and stays: {told:?}");
        assert!(setaside::folder(base.path()).join("5-2").is_dir());
    }
}
