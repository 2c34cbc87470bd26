//! Modules, their versions (insert-only) and which version the nodes are to have.

use crate::db::now_ms;
use crate::error::{Failure, Outcome};
use holdfast_api::config::MODULE_ID_MAX;
use holdfast_api::console::{ModuleView, VersionView};
use holdfast_api::ids::ModuleId;
use rusqlite::{OptionalExtension, Transaction, params};

const VIEW: &str = "SELECT m.id, m.name, m.template, v.version,
        (SELECT w.version FROM module_wanted w WHERE w.module = m.id ORDER BY w.id DESC LIMIT 1),
        v.author, v.at_ms
    FROM module m JOIN module_version v ON v.module = m.id
        AND v.version = (SELECT max(version) FROM module_version WHERE module = m.id)
    WHERE m.removed_ms IS NULL";

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<ModuleView> {
    Ok(ModuleView {
        id: ModuleId(row.get(0)?),
        name: row.get(1)?,
        template: row.get(2)?,
        version: row.get(3)?,
        desired: row.get(4)?,
        author: row.get(5)?,
        saved_unix_ms: row.get(6)?,
    })
}

/// All modules, by number.
pub fn list(tx: &Transaction<'_>) -> Outcome<Vec<ModuleView>> {
    let mut statement = tx.prepare(&format!("{VIEW} ORDER BY m.id"))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One module.
///
/// # Errors
/// 404.
pub fn get(tx: &Transaction<'_>, id: ModuleId) -> Outcome<ModuleView> {
    tx.query_row(&format!("{VIEW} AND m.id = ?1"), [id.0], read)
        .optional()?
        .ok_or_else(|| Failure::not_found(format!("there is no {id}")))
}

/// Removed modules (number, name): agents that still hold one are told to forget it.
pub fn removed(tx: &Transaction<'_>) -> Outcome<Vec<(ModuleId, String)>> {
    let mut statement = tx.prepare("SELECT id, name FROM module WHERE removed_ms IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((ModuleId(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn check_name(tx: &Transaction<'_>, name: &str, but: Option<ModuleId>) -> Outcome<()> {
    holdfast_api::config::check_name(name).map_err(|message| Failure::field("name", message))?;
    let holder: Option<u16> = tx
        .query_row("SELECT id FROM module WHERE removed_ms IS NULL AND name = ?1", [name], |row| row.get(0))
        .optional()?;
    match holder {
        Some(id) if Some(ModuleId(id)) != but => Err(Failure::field("name", "another module has this name")),
        _ => Ok(()),
    }
}

/// Adds a module with its first version.
///
/// # Errors
/// 422 if the name is not one or taken; 409 if the numbers are used up.
pub fn create(tx: &Transaction<'_>, name: &str, template: &str, package: &[u8], author: &str) -> Outcome<ModuleView> {
    check_name(tx, name, None)?;
    tx.execute(
        "INSERT INTO module (name, template, created_ms) VALUES (?1, ?2, ?3)",
        params![name, template, now_ms()],
    )?;
    let id = tx.last_insert_rowid();
    let id = u16::try_from(id)
        .ok()
        .filter(|id| *id <= MODULE_ID_MAX)
        .ok_or_else(|| Failure::conflict(format!("the {MODULE_ID_MAX} module numbers are used up")))?;
    insert_version(tx, ModuleId(id), 1, package, author, &format!("made from {template}"))?;
    get(tx, ModuleId(id))
}

fn insert_version(
    tx: &Transaction<'_>,
    id: ModuleId,
    version: u64,
    package: &[u8],
    author: &str,
    note: &str,
) -> Outcome<()> {
    tx.execute(
        "INSERT INTO module_version (module, version, package, author, at_ms, note) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id.0, version, package, author, now_ms(), note],
    )?;
    Ok(())
}

/// What is saved as a new version of a module.
pub struct NewVersion {
    /// The version that was edited.
    pub expected: u64,
    /// The highest version that any node holds: the new one is higher (after the restore of a backup it may be high).
    pub held: u64,
    /// The package (zip).
    pub package: Vec<u8>,
    /// Who saves it.
    pub author: String,
    /// What changed.
    pub note: String,
}

/// Saves a new version after `expected`.
///
/// # Errors
/// 404; 409 if `expected` is not the latest.
pub fn save(tx: &Transaction<'_>, id: ModuleId, new: &NewVersion) -> Outcome<ModuleView> {
    let module = get(tx, id)?;
    if module.version != new.expected {
        return Err(Failure::stale(new.expected, module.version));
    }
    let version = new.expected.max(new.held) + 1;
    insert_version(tx, id, version, &new.package, &new.author, &new.note)?;
    get(tx, id)
}

/// Renames a module that was never configured.
///
/// # Errors
/// 404; 422 if the name is not one or taken; 409 if it was configured.
pub fn rename(tx: &Transaction<'_>, id: ModuleId, name: &str) -> Outcome<()> {
    let module = get(tx, id)?;
    if module.name == name {
        return Ok(());
    }
    if module.desired.is_some() {
        return Err(Failure::field("name", "the name of a configured module stays; make a new module instead"));
    }
    check_name(tx, name, Some(id))?;
    tx.execute("UPDATE module SET name = ?2 WHERE id = ?1", params![id.0, name])?;
    Ok(())
}

/// The package (zip) of a version.
///
/// # Errors
/// 404.
pub fn package(tx: &Transaction<'_>, id: ModuleId, version: u64) -> Outcome<Vec<u8>> {
    tx.query_row(
        "SELECT package FROM module_version WHERE module = ?1 AND version = ?2",
        params![id.0, version],
        |row| row.get(0),
    )
    .optional()?
    .ok_or_else(|| Failure::not_found(format!("{id} has no version {version}")))
}

/// Makes a version the one that the nodes are to have.
pub fn want(tx: &Transaction<'_>, id: ModuleId, version: u64, author: &str) -> Outcome<()> {
    let module = get(tx, id)?;
    if module.desired == Some(version) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO module_wanted (module, version, author, at_ms) VALUES (?1, ?2, ?3, ?4)",
        params![id.0, version, author, now_ms()],
    )?;
    Ok(())
}

/// Marks a module as removed; its versions stay.
///
/// # Errors
/// 404.
pub fn remove(tx: &Transaction<'_>, id: ModuleId) -> Outcome<ModuleView> {
    let module = get(tx, id)?;
    tx.execute("UPDATE module SET removed_ms = ?2 WHERE id = ?1", params![id.0, now_ms()])?;
    Ok(module)
}

/// All versions, newest first.
pub fn versions(tx: &Transaction<'_>, id: ModuleId) -> Outcome<Vec<VersionView>> {
    let mut statement = tx.prepare(
        "SELECT version, author, at_ms, note FROM module_version WHERE module = ?1 ORDER BY version DESC LIMIT 200",
    )?;
    let rows = statement.query_map([id.0], |row| {
        Ok(VersionView { version: row.get(0)?, author: row.get(1)?, saved_unix_ms: row.get(2)?, note: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
