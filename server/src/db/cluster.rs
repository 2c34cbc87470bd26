//! Versions of the cluster configuration: insert-only.

use crate::db::now_ms;
use crate::error::{Failure, Outcome};
use holdfast_api::config::ClusterConfig;
use holdfast_api::console::VersionView;
use rusqlite::{OptionalExtension, Transaction, params};

/// The latest version with author and time.
#[derive(Clone, Debug)]
pub struct SavedCluster {
    /// The configuration.
    pub config: ClusterConfig,
    /// Who saved it.
    pub author: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// The latest version, if one was saved.
pub fn latest(tx: &Transaction<'_>) -> Outcome<Option<SavedCluster>> {
    let row = tx
        .query_row("SELECT config, author, at_ms FROM cluster_version ORDER BY version DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((config, author, at_ms)) = row else {
        return Ok(None);
    };
    Ok(Some(SavedCluster { config: serde_json::from_str(&config)?, author, at_ms }))
}

/// Saves `config` as the next version after `expected` and after `held`, the highest that any node holds (after the
/// restore of a backup that may be higher). Its own `version` is set here.
///
/// # Errors
/// 409 if `expected` is not the latest version (0: none).
pub fn save(
    tx: &Transaction<'_>,
    expected: u64,
    held: u64,
    mut config: ClusterConfig,
    author: &str,
    note: &str,
) -> Outcome<ClusterConfig> {
    let actual = latest(tx)?.map_or(0, |saved| saved.config.version);
    if actual != expected {
        return Err(Failure::stale(expected, actual));
    }
    config.version = actual.max(held) + 1;
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(Failure::invalid(problems));
    }
    tx.execute(
        "INSERT INTO cluster_version (version, config, author, at_ms, note) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![config.version, serde_json::to_string(&config)?, author, now_ms(), note],
    )?;
    Ok(config)
}

/// All versions, newest first.
pub fn versions(tx: &Transaction<'_>) -> Outcome<Vec<VersionView>> {
    let mut statement =
        tx.prepare("SELECT version, author, at_ms, note FROM cluster_version ORDER BY version DESC LIMIT 200")?;
    let rows = statement.query_map([], |row| {
        Ok(VersionView { version: row.get(0)?, author: row.get(1)?, saved_unix_ms: row.get(2)?, note: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
