//! Users and sessions.

use crate::db::now_ms;
use crate::error::{Failure, Outcome};
use holdfast_api::console::{SessionInfo, UserRole, UserView};
use rusqlite::{OptionalExtension, Transaction, params};

/// A use is noted again after this long.
pub const NOTED_MS: u64 = 60_000;
/// A session not used for this long ends.
pub const IDLE_MS: u64 = 12 * 3_600_000;
/// A session ends this long after login, used or not.
pub const AGE_MS: u64 = 7 * 24 * 3_600_000;

/// As the database keeps a role.
pub fn role_text(role: UserRole) -> &'static str {
    match role {
        UserRole::Admin => "admin",
        UserRole::Control => "control",
        UserRole::Monitor => "monitor",
    }
}

/// The role that the database keeps.
pub fn role_of(text: &str) -> UserRole {
    match text {
        "admin" => UserRole::Admin,
        "control" => UserRole::Control,
        _ => UserRole::Monitor,
    }
}

/// True if no user exists yet.
pub fn none(tx: &Transaction<'_>) -> Outcome<bool> {
    Ok(tx.query_row("SELECT NOT EXISTS (SELECT 1 FROM user)", [], |row| row.get(0))?)
}

/// Adds a user; `password` is an argon2 hash.
///
/// # Errors
/// 422 if the name is taken.
pub fn add(tx: &Transaction<'_>, name: &str, role: UserRole, password: &str) -> Outcome<()> {
    let taken: bool = tx.query_row("SELECT EXISTS (SELECT 1 FROM user WHERE name = ?1)", [name], |row| row.get(0))?;
    if taken {
        return Err(Failure::field("name", "another user has this name"));
    }
    tx.execute(
        "INSERT INTO user (name, role, password, created_ms) VALUES (?1, ?2, ?3, ?4)",
        params![name, role_text(role), password, now_ms()],
    )?;
    Ok(())
}

/// All users, by name.
pub fn list(tx: &Transaction<'_>) -> Outcome<Vec<UserView>> {
    let mut statement = tx.prepare("SELECT name, role FROM user ORDER BY name")?;
    let rows =
        statement.query_map([], |row| Ok(UserView { name: row.get(0)?, role: role_of(&row.get::<_, String>(1)?) }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes a user and its sessions.
///
/// # Errors
/// 404, or 409 for the last administrator.
pub fn remove(tx: &Transaction<'_>, name: &str) -> Outcome<()> {
    let removed = tx.execute("DELETE FROM user WHERE name = ?1", [name])?;
    if removed == 0 {
        return Err(Failure::not_found(format!("there is no user {name}")));
    }
    one_admin(tx)
}

/// Refuses a change after which nobody could change anything.
fn one_admin(tx: &Transaction<'_>) -> Outcome<()> {
    let admins: u32 = tx.query_row("SELECT count(*) FROM user WHERE role = 'admin'", [], |row| row.get(0))?;
    if admins == 0 {
        return Err(Failure::conflict("the last administrator stays one; make another one first"));
    }
    Ok(())
}

/// One user.
///
/// # Errors
/// 404.
pub fn get(tx: &Transaction<'_>, name: &str) -> Outcome<UserView> {
    let read = |row: &rusqlite::Row<'_>| Ok(UserView { name: row.get(0)?, role: role_of(&row.get::<_, String>(1)?) });
    let found = tx.query_row("SELECT name, role FROM user WHERE name = ?1", [name], read).optional()?;
    found.ok_or_else(|| Failure::not_found(format!("there is no user {name}")))
}

/// Gives a user another role.
///
/// # Errors
/// 404; 409 for the last administrator.
pub fn set_role(tx: &Transaction<'_>, name: &str, role: UserRole) -> Outcome<()> {
    get(tx, name)?;
    tx.execute("UPDATE user SET role = ?2 WHERE name = ?1", params![name, role_text(role)])?;
    one_admin(tx)
}

/// Gives a user another password (an argon2 hash); ends the user's sessions but `own`.
///
/// # Errors
/// 404.
pub fn set_password(tx: &Transaction<'_>, name: &str, password: &str, own: Option<&[u8]>) -> Outcome<()> {
    get(tx, name)?;
    tx.execute("UPDATE user SET password = ?2 WHERE name = ?1", params![name, password])?;
    tx.execute(
        "DELETE FROM session WHERE user = (SELECT id FROM user WHERE name = ?1) AND token_hash IS NOT ?2",
        params![name, own],
    )?;
    Ok(())
}

/// The sessions that stand, the latest used first; `own`: hash of the token of the one that asks.
pub fn sessions(tx: &Transaction<'_>, own: &[u8]) -> Outcome<Vec<SessionInfo>> {
    let now = now_ms();
    let mut statement = tx.prepare(
        "SELECT s.rowid, u.name, s.created_ms, s.last_used_ms, s.token_hash = ?3 FROM session s
         JOIN user u ON u.id = s.user WHERE s.last_used_ms >= ?1 AND s.created_ms >= ?2 ORDER BY s.last_used_ms DESC",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(SessionInfo {
            id: row.get(0)?,
            user: row.get(1)?,
            began_unix_ms: row.get(2)?,
            used_unix_ms: row.get(3)?,
            own: row.get(4)?,
        })
    };
    let rows = statement.query_map(params![now.saturating_sub(IDLE_MS), now.saturating_sub(AGE_MS), own], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends the session with this number; whose it was.
///
/// # Errors
/// 404.
pub fn end_session_of(tx: &Transaction<'_>, id: i64) -> Outcome<String> {
    let sql = "SELECT u.name FROM session s JOIN user u ON u.id = s.user WHERE s.rowid = ?1";
    let user = tx.query_row(sql, [id], |row| row.get(0)).optional()?;
    let user = user.ok_or_else(|| Failure::not_found("there is no such session"))?;
    tx.execute("DELETE FROM session WHERE rowid = ?1", [id])?;
    Ok(user)
}

/// Number and password hash of a user.
pub fn password(tx: &Transaction<'_>, name: &str) -> Outcome<Option<(i64, String)>> {
    Ok(tx
        .query_row("SELECT id, password FROM user WHERE name = ?1", [name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Number of a user by name.
pub fn id(tx: &Transaction<'_>, name: &str) -> Outcome<i64> {
    Ok(tx.query_row("SELECT id FROM user WHERE name = ?1", [name], |row| row.get(0))?)
}

/// Begins a session; ended ones are swept.
pub fn begin_session(tx: &Transaction<'_>, user: i64, token_hash: &[u8]) -> Outcome<UserView> {
    let now = now_ms();
    tx.execute(
        "DELETE FROM session WHERE last_used_ms < ?1 OR created_ms < ?2",
        params![now.saturating_sub(IDLE_MS), now.saturating_sub(AGE_MS)],
    )?;
    tx.execute(
        "INSERT INTO session (token_hash, user, created_ms, last_used_ms) VALUES (?1, ?2, ?3, ?3)",
        params![token_hash, user, now],
    )?;
    Ok(tx.query_row("SELECT name, role FROM user WHERE id = ?1", [user], |row| {
        Ok(UserView { name: row.get(0)?, role: role_of(&row.get::<_, String>(1)?) })
    })?)
}

/// Who this session is, if it stands; and whether its use is to be noted ([`touch_session`]): at most once a minute.
pub fn session(tx: &Transaction<'_>, token_hash: &[u8]) -> Outcome<Option<(UserView, bool)>> {
    let now = now_ms();
    let row = tx
        .query_row(
            "SELECT u.name, u.role, s.last_used_ms FROM session s JOIN user u ON u.id = s.user
             WHERE s.token_hash = ?1 AND s.last_used_ms >= ?2 AND s.created_ms >= ?3",
            params![token_hash, now.saturating_sub(IDLE_MS), now.saturating_sub(AGE_MS)],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, u64>(2)?)),
        )
        .optional()?;
    let Some((name, role, used)) = row else {
        return Ok(None);
    };
    Ok(Some((UserView { name, role: role_of(&role) }, now.saturating_sub(used) > NOTED_MS)))
}

/// Notes that a session is used now.
pub fn touch_session(tx: &Transaction<'_>, token_hash: &[u8]) -> Outcome<()> {
    tx.execute("UPDATE session SET last_used_ms = ?2 WHERE token_hash = ?1", params![token_hash, now_ms()])?;
    Ok(())
}

/// Ends a session.
pub fn end_session(tx: &Transaction<'_>, token_hash: &[u8]) -> Outcome<()> {
    tx.execute("DELETE FROM session WHERE token_hash = ?1", [token_hash])?;
    Ok(())
}
