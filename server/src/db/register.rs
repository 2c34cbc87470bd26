//! The register's records: insert-only, numbers only rise; what a node reported to hold already stands there as well.

use crate::db::now_ms;
use crate::error::Outcome;
use holdfast_api::console::RegisterRecord;
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::register::Record;
use rusqlite::{OptionalExtension, Transaction, params};

/// The last grant of a module.
pub fn last_grant(tx: &Transaction<'_>, module: ModuleId) -> Outcome<Option<Record>> {
    let read = |row: &rusqlite::Row<'_>| {
        let nonce: i64 = row.get(2)?;
        Ok(Record { number: row.get(0)?, owner: NodeId(row.get(1)?), nonce: nonce.cast_unsigned() })
    };
    let sql = "SELECT number, owner, nonce FROM register_record WHERE module = ?1 AND nonce IS NOT NULL
               ORDER BY number DESC LIMIT 1";
    Ok(tx.query_row(sql, [module.0], read).optional()?)
}

/// Saves a grant.
pub fn grant(tx: &Transaction<'_>, module: ModuleId, record: &Record) -> Outcome<()> {
    tx.execute(
        "INSERT INTO register_record (module, number, owner, nonce, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![module.0, record.number, record.owner.0, record.nonce.cast_signed(), now_ms()],
    )?;
    Ok(())
}

/// Notes that `owner` holds generation `number`, if that is higher than anything recorded.
pub fn raise(tx: &Transaction<'_>, module: ModuleId, owner: NodeId, number: u64) -> Outcome<()> {
    tx.execute(
        "INSERT INTO register_record (module, number, owner, nonce, at_ms) SELECT ?1, ?2, ?3, NULL, ?4
         WHERE ?2 > (SELECT coalesce(max(number), 0) FROM register_record WHERE module = ?1)",
        params![module.0, number, owner.0, now_ms()],
    )?;
    Ok(())
}

/// A module's records, newest first; the first is the one that counts.
pub fn history(tx: &Transaction<'_>, module: ModuleId, limit: u32) -> Outcome<Vec<RegisterRecord>> {
    let mut statement = tx.prepare(
        "SELECT number, owner, nonce IS NOT NULL, at_ms FROM register_record WHERE module = ?1
         ORDER BY number DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![module.0, limit], |row| {
        Ok(RegisterRecord {
            number: row.get(0)?,
            owner: NodeId(row.get(1)?),
            granted: row.get(2)?,
            unix_ms: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
