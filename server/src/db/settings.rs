//! The server's own settings, by name, as JSON.

use crate::error::Outcome;
use holdfast_api::console::Retention;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

const RETENTION: &str = "retention";
const PLAIN_HTTP: &str = "plain-http";

/// What is kept, and how long; as shipped, if nobody said otherwise.
pub fn retention(tx: &Transaction<'_>) -> Outcome<Retention> {
    read(tx, RETENTION)
}

/// Saves what is kept.
pub fn set_retention(tx: &Transaction<'_>, retention: &Retention) -> Outcome<()> {
    write(tx, RETENTION, retention)
}

/// Whether the nodes serve the console over plain http.
pub fn plain_http(tx: &Transaction<'_>) -> Outcome<bool> {
    read(tx, PLAIN_HTTP)
}

/// Saves whether they do.
pub fn set_plain_http(tx: &Transaction<'_>, on: bool) -> Outcome<()> {
    write(tx, PLAIN_HTTP, &on)
}

fn read<T: DeserializeOwned + Default>(tx: &Transaction<'_>, name: &str) -> Outcome<T> {
    let text: Option<String> =
        tx.query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default())
}

fn write<T: Serialize>(tx: &Transaction<'_>, name: &str, value: &T) -> Outcome<()> {
    tx.execute(
        "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, serde_json::to_string(value)?],
    )?;
    Ok(())
}
