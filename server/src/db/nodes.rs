//! Enrolled nodes, their certificates and join tokens.

use crate::db::now_ms;
use crate::error::{Failure, Outcome};
use holdfast_api::ids::NodeId;
use rusqlite::{OptionalExtension, Transaction, params};

/// An enrolled, not revoked node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Number.
    pub id: NodeId,
    /// Name.
    pub name: String,
    /// Key fingerprint.
    pub fingerprint: String,
    /// Address it was enrolled at or last dialled from.
    pub address: String,
    /// Version of its agent.
    pub agent_version: String,
    /// When it was last heard, Unix milliseconds; 0: never.
    pub last_seen_ms: u64,
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<NodeRow> {
    Ok(NodeRow {
        id: NodeId(row.get(0)?),
        name: row.get(1)?,
        fingerprint: row.get(2)?,
        address: row.get(3)?,
        agent_version: row.get(4)?,
        last_seen_ms: row.get(5)?,
    })
}

const COLUMNS: &str = "id, name, fingerprint, address, agent_version, last_seen_ms";

/// All nodes, by number.
pub fn list(tx: &Transaction<'_>) -> Outcome<Vec<NodeRow>> {
    let sql = format!("SELECT {COLUMNS} FROM node WHERE revoked_ms IS NULL ORDER BY id");
    let mut statement = tx.prepare(&sql)?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The node with this key, unless revoked.
pub fn by_fingerprint(tx: &Transaction<'_>, fingerprint: &str) -> Outcome<Option<NodeRow>> {
    let sql = format!("SELECT {COLUMNS} FROM node WHERE revoked_ms IS NULL AND fingerprint = ?1");
    Ok(tx.query_row(&sql, [fingerprint], read).optional()?)
}

/// What is known of a node that enrols.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// Name in the cluster.
    pub name: String,
    /// Key fingerprint.
    pub fingerprint: String,
    /// Address.
    pub address: String,
    /// Version of its agent.
    pub agent_version: String,
    /// Who enrols it.
    pub author: String,
}

/// Adds a node, or finds it again by its key (a repeated enrolment). Returns its number and whether it is new.
///
/// # Errors
/// 409 if another node has the name, 422 if the name is not one.
pub fn enrol(tx: &Transaction<'_>, node: &NewNode) -> Outcome<(NodeId, bool)> {
    holdfast_api::config::check_name(&node.name).map_err(|message| Failure::field("name", message))?;
    let holder: Option<String> = tx
        .query_row("SELECT fingerprint FROM node WHERE revoked_ms IS NULL AND name = ?1", [&node.name], |row| {
            row.get(0)
        })
        .optional()?;
    if holder.is_some_and(|fingerprint| fingerprint != node.fingerprint) {
        return Err(Failure::conflict(format!(
            "a node named {} is enrolled with another key; remove it first, or give this one another name",
            node.name
        )));
    }
    if let Some(known) = by_fingerprint(tx, &node.fingerprint)? {
        tx.execute(
            "UPDATE node SET address = ?2, agent_version = ?3 WHERE id = ?1",
            params![known.id.0, node.address, node.agent_version],
        )?;
        return Ok((known.id, false));
    }
    tx.execute(
        "INSERT INTO node (name, fingerprint, address, agent_version, enrolled_ms, enrolled_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![node.name, node.fingerprint, node.address, node.agent_version, now_ms(), node.author],
    )?;
    let id = u16::try_from(tx.last_insert_rowid()).map_err(|_| Failure::conflict("node numbers are used up"))?;
    Ok((NodeId(id), true))
}

/// Notes that the CA signed a certificate for a node.
pub fn add_certificate(tx: &Transaction<'_>, node: NodeId, serial: &[u8], not_after_ms: u64) -> Outcome<()> {
    tx.execute(
        "INSERT INTO certificate (serial, node, not_after_ms) VALUES (?1, ?2, ?3)",
        params![serial, node.0, not_after_ms],
    )?;
    Ok(())
}

/// When, where from and with which version a node was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub node: NodeId,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Address.
    pub address: String,
    /// Version of its agent.
    pub agent_version: String,
}

/// Notes that a node was heard.
pub fn seen(tx: &Transaction<'_>, heard: &Heard) -> Outcome<()> {
    tx.execute(
        "UPDATE node SET last_seen_ms = ?2, address = ?3, agent_version = ?4 WHERE id = ?1",
        params![heard.node.0, heard.at_ms, heard.address, heard.agent_version],
    )?;
    Ok(())
}

/// Revokes a node and every certificate it has.
///
/// # Errors
/// 404.
pub fn revoke(tx: &Transaction<'_>, node: NodeId) -> Outcome<NodeRow> {
    let sql = format!("SELECT {COLUMNS} FROM node WHERE revoked_ms IS NULL AND id = ?1");
    let row = tx
        .query_row(&sql, [node.0], read)
        .optional()?
        .ok_or_else(|| Failure::not_found(format!("there is no {node}")))?;
    tx.execute("UPDATE node SET revoked_ms = ?2 WHERE id = ?1", params![node.0, now_ms()])?;
    Ok(row)
}

/// Serial numbers and times of every revoked certificate that has not expired.
pub fn revoked_certificates(tx: &Transaction<'_>) -> Outcome<Vec<(Vec<u8>, u64)>> {
    let mut statement = tx.prepare(
        "SELECT c.serial, n.revoked_ms FROM certificate c JOIN node n ON n.id = c.node
         WHERE n.revoked_ms IS NOT NULL AND c.not_after_ms > ?1 ORDER BY c.serial",
    )?;
    let rows = statement.query_map([now_ms()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Saves a join token by its hash.
pub fn add_token(tx: &Transaction<'_>, hash: &[u8], expires_ms: u64, author: &str) -> Outcome<()> {
    tx.execute("DELETE FROM token WHERE expires_ms < ?1", [now_ms().saturating_sub(30 * 24 * 3_600_000)])?;
    tx.execute(
        "INSERT INTO token (secret_hash, created_ms, created_by, expires_ms) VALUES (?1, ?2, ?3, ?4)",
        params![hash, now_ms(), author, expires_ms],
    )?;
    Ok(())
}

/// Uses a join token up; returns who made it.
///
/// # Errors
/// 403 if it does not exist, was used, or has expired; which of these is not told.
pub fn use_token(tx: &Transaction<'_>, hash: &[u8], used_by: &str) -> Outcome<String> {
    let author = tx
        .query_row(
            "UPDATE token SET used_ms = ?2, used_by = ?3
             WHERE secret_hash = ?1 AND used_ms IS NULL AND expires_ms > ?2 RETURNING created_by",
            params![hash, now_ms(), used_by],
            |row| row.get(0),
        )
        .optional()?;
    author.ok_or_else(|| {
        Failure::forbidden("this token is unknown, used or expired; make a new one in the console (New node)")
    })
}

/// Renames a node.
///
/// # Errors
/// 409 if another node has the name.
pub fn rename(tx: &Transaction<'_>, node: NodeId, name: &str) -> Outcome<()> {
    let taken: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM node WHERE revoked_ms IS NULL AND name = ?1 AND id <> ?2)",
        params![name, node.0],
        |row| row.get(0),
    )?;
    if taken {
        return Err(Failure::conflict(format!("another enrolled node is named {name}")));
    }
    tx.execute("UPDATE node SET name = ?2 WHERE id = ?1", params![node.0, name])?;
    Ok(())
}
