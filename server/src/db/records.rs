//! Small records: audit lines, ended and running tasks.

use crate::db::now_ms;
use crate::error::Outcome;
use holdfast_api::console::{AuditLine, TaskView};
use rusqlite::{Transaction, params};

/// Notes who did what.
pub fn audit(tx: &Transaction<'_>, actor: &str, text: &str) -> Outcome<()> {
    tx.execute("INSERT INTO audit (at_ms, actor, text) VALUES (?1, ?2, ?3)", params![now_ms(), actor, text])?;
    Ok(())
}

/// The latest lines, newest first.
pub fn audit_lines(tx: &Transaction<'_>, limit: u32) -> Outcome<Vec<AuditLine>> {
    let mut statement = tx.prepare("SELECT at_ms, actor, text FROM audit ORDER BY id DESC LIMIT ?1")?;
    let rows = statement
        .query_map([limit], |row| Ok(AuditLine { unix_ms: row.get(0)?, actor: row.get(1)?, text: row.get(2)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Deletes the lines older than this (Unix milliseconds).
pub fn forget_audit(tx: &Transaction<'_>, before_ms: u64) -> Outcome<()> {
    tx.execute("DELETE FROM audit WHERE at_ms < ?1", [before_ms])?;
    Ok(())
}

/// Saves tasks as they are now; keeps the latest 500.
pub fn save_tasks(tx: &Transaction<'_>, tasks: &[TaskView]) -> Outcome<()> {
    for task in tasks {
        tx.execute(
            "INSERT INTO task (id, view) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET view = excluded.view",
            params![task.id, serde_json::to_string(task)?],
        )?;
    }
    tx.execute("DELETE FROM task WHERE id <= (SELECT max(id) FROM task) - 500", [])?;
    Ok(())
}

/// The saved tasks, oldest first.
pub fn tasks(tx: &Transaction<'_>) -> Outcome<Vec<TaskView>> {
    let mut statement = tx.prepare("SELECT view FROM task ORDER BY id")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut tasks = Vec::new();
    for row in rows {
        tasks.push(serde_json::from_str(&row?)?);
    }
    Ok(tasks)
}
