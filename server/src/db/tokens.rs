//! Tokens of scripts.

use crate::db::now_ms;
use crate::db::users::NOTED_MS;
use crate::db::users::{role_of, role_text};
use crate::error::{Failure, Outcome};
use holdfast_api::console::{ApiTokenView, UserRole, UserView};
use rusqlite::{OptionalExtension, Row, Transaction, params};

const VIEW: &str = "SELECT id, name, role, made_by, made_ms, used_ms FROM api_token";

fn read(row: &Row<'_>) -> rusqlite::Result<ApiTokenView> {
    Ok(ApiTokenView {
        id: row.get(0)?,
        name: row.get(1)?,
        role: role_of(&row.get::<_, String>(2)?),
        made_by: row.get(3)?,
        made_unix_ms: row.get(4)?,
        used_unix_ms: row.get(5)?,
    })
}

/// All tokens, by name.
pub fn list(tx: &Transaction<'_>) -> Outcome<Vec<ApiTokenView>> {
    let mut statement = tx.prepare(&format!("{VIEW} ORDER BY name"))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Adds a token.
///
/// # Errors
/// 422 if the name is taken.
pub fn add(tx: &Transaction<'_>, name: &str, role: UserRole, hash: &[u8], by: &str) -> Outcome<ApiTokenView> {
    let taken: bool =
        tx.query_row("SELECT EXISTS (SELECT 1 FROM api_token WHERE name = ?1)", [name], |row| row.get(0))?;
    if taken {
        return Err(Failure::field("name", "another token has this name"));
    }
    tx.execute(
        "INSERT INTO api_token (secret_hash, name, role, made_by, made_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![hash, name, role_text(role), by, now_ms()],
    )?;
    Ok(tx.query_row(&format!("{VIEW} WHERE id = ?1"), [tx.last_insert_rowid()], read)?)
}

/// Withdraws a token; its name.
///
/// # Errors
/// 404.
pub fn remove(tx: &Transaction<'_>, id: i64) -> Outcome<String> {
    let name = tx.query_row("DELETE FROM api_token WHERE id = ?1 RETURNING name", [id], |row| row.get(0)).optional()?;
    name.ok_or_else(|| Failure::not_found("there is no such token"))
}

/// Whose token this is; and whether its use is to be noted ([`touch`]): at most once a minute.
pub fn holder(tx: &Transaction<'_>, hash: &[u8]) -> Outcome<Option<(UserView, bool)>> {
    let found = tx.query_row(&format!("{VIEW} WHERE secret_hash = ?1"), [hash], read).optional()?;
    let Some(token) = found else {
        return Ok(None);
    };
    let stale = now_ms().saturating_sub(token.used_unix_ms) > NOTED_MS;
    Ok(Some((UserView { name: format!("{} (token)", token.name), role: token.role }, stale)))
}

/// Notes that a token is used now.
pub fn touch(tx: &Transaction<'_>, hash: &[u8]) -> Outcome<()> {
    tx.execute("UPDATE api_token SET used_ms = ?2 WHERE secret_hash = ?1", params![hash, now_ms()])?;
    Ok(())
}
