//! Versions of the cluster configuration: insert-only.

use crate::db::now_ms;
use crate::error::{Failure, Outcome};
use holdfast_api::config::{ClusterConfig, ClusterNode};
use holdfast_api::console::{ClusterNodeForm, ClusterView, VersionView};
use rusqlite::{OptionalExtension, Transaction, params};

/// A version with author and time.
#[derive(Clone, Debug)]
pub struct SavedCluster {
    /// The configuration.
    pub config: ClusterConfig,
    /// Who saved it.
    pub author: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

impl SavedCluster {
    /// As the console sees it, without its secret.
    pub fn view(&self) -> ClusterView {
        let form = |node: &ClusterNode| ClusterNodeForm {
            id: node.id,
            name: node.name.clone(),
            addresses: node.addresses.clone(),
        };
        ClusterView {
            version: self.config.version,
            name: self.config.name.clone(),
            lans: self.config.lans.clone(),
            nodes: self.config.nodes.iter().map(form).collect(),
            author: self.author.clone(),
            saved_unix_ms: self.at_ms,
        }
    }
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

/// This version.
///
/// # Errors
/// 404.
pub fn get(tx: &Transaction<'_>, version: u64) -> Outcome<SavedCluster> {
    let sql = "SELECT config, author, at_ms FROM cluster_version WHERE version = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?));
    // SQLite's numbers end at 2^63 - 1: what is above exists no more than any other version that was never saved.
    let row = i64::try_from(version).ok().map(|version| tx.query_row(sql, [version], read).optional()).transpose()?;
    let missing = || Failure::not_found(format!("the cluster configuration has no version {version}"));
    let (config, author, at_ms) = row.flatten().ok_or_else(missing)?;
    Ok(SavedCluster { config: serde_json::from_str(&config)?, author, at_ms })
}

/// Number of the version that came before this one; 0: none.
pub fn before(tx: &Transaction<'_>, version: u64) -> Outcome<u64> {
    let sql = "SELECT coalesce(max(version), 0) FROM cluster_version WHERE version < ?1";
    Ok(tx.query_row(sql, [version], |row| row.get(0))?)
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
