//! The server's own settings, by name, as JSON.

use crate::error::Outcome;
use holdfast_api::console::Retention;
use rusqlite::{OptionalExtension, Transaction, params};

const RETENTION: &str = "retention";

/// What is kept, and how long; as shipped, if nobody said otherwise.
pub fn retention(tx: &Transaction<'_>) -> Outcome<Retention> {
    let text: Option<String> =
        tx.query_row("SELECT value FROM setting WHERE name = ?1", [RETENTION], |row| row.get(0)).optional()?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default())
}

/// Saves what is kept.
pub fn set_retention(tx: &Transaction<'_>, retention: &Retention) -> Outcome<()> {
    tx.execute(
        "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![RETENTION, serde_json::to_string(retention)?],
    )?;
    Ok(())
}
