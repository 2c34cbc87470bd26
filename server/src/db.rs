//! The database: SQLite on one thread that writes and one that reads; callers hand them functions on a transaction.

pub mod cluster;
pub mod modules;
pub mod nodes;
pub mod records;
pub mod register;
pub mod settings;
pub mod tokens;
pub mod users;

use crate::error::{Failure, Outcome};
use anyhow::{Context, bail};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// The schema's steps, in order; `user_version` counts the applied ones. One entry for each folder of `migrations/`.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("001-start", include_str!("../../migrations/001-start/up.sql")),
    ("002-register", include_str!("../../migrations/002-register/up.sql")),
    ("003-tokens", include_str!("../../migrations/003-tokens/up.sql")),
];

/// How long another program (a backup) may hold the database.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Handle of the database threads; cheap to clone. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Db {
    writes: mpsc::Sender<Job>,
    /// Who only reads does not wait for a disk that writes.
    reads: mpsc::Sender<Job>,
}

/// A thread that runs jobs on a connection.
fn serve(name: &str, mut connection: Connection) -> std::io::Result<mpsc::Sender<Job>> {
    let (jobs, mut queue) = mpsc::channel::<Job>(256);
    std::thread::Builder::new().name(name.into()).spawn(move || {
        while let Some(job) = queue.blocking_recv() {
            job(&mut connection);
        }
    })?;
    Ok(jobs)
}

async fn ask<T: Send + 'static>(
    jobs: &mpsc::Sender<Job>,
    work: impl FnOnce(&mut Connection) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        let _ = sender.send(work(connection));
    });
    jobs.send(job).await.map_err(|_| Failure::internal("the database thread has ended"))?;
    receiver.await.map_err(|_| Failure::internal("the database thread dropped a job"))?
}

impl Db {
    /// Opens (or makes) the database file and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be opened, or was written by a newer version of this program.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut connection = Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        migrate(&mut connection, MIGRATIONS)?;
        let reader =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .with_context(|| format!("cannot open {} for reading", path.display()))?;
        reader.busy_timeout(BUSY_TIMEOUT)?;
        Ok(Self { writes: serve("database", connection)?, reads: serve("database-read", reader)? })
    }

    /// Runs `function` in one transaction: committed if it succeeds, rolled back if it fails.
    ///
    /// # Errors
    /// What `function` says, or 500 if the database does not work.
    pub async fn call<T, F>(&self, function: F) -> Outcome<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
    {
        ask(&self.writes, move |connection| in_transaction(connection, function)).await
    }

    /// Runs `function`, which only reads, on what is committed.
    ///
    /// # Errors
    /// As [`Db::call`]; 500 if it writes.
    pub async fn read<T, F>(&self, function: F) -> Outcome<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Outcome<T> + Send + 'static,
    {
        ask(&self.reads, move |connection| function(&connection.transaction()?)).await
    }
}

fn in_transaction<T>(connection: &mut Connection, function: impl FnOnce(&Transaction<'_>) -> Outcome<T>) -> Outcome<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = function(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

fn migrate(connection: &mut Connection, migrations: &[(&str, &str)]) -> anyhow::Result<()> {
    let applied: usize = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if applied > migrations.len() {
        bail!(
            "the database has schema {applied}, this program knows {}; start the newer program, or restore a backup",
            migrations.len()
        );
    }
    for (number, (name, sql)) in migrations.iter().enumerate().skip(applied) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql).with_context(|| format!("migration {name}"))?;
        transaction.pragma_update(None, "user_version", number + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The server's wall clock, Unix milliseconds.
pub fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "foreign_keys", "ON").unwrap();
        connection
    }

    #[tokio::test]
    async fn what_only_reads_sees_what_was_committed_and_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("x.sqlite")).unwrap();
        let write = |tx: &Transaction<'_>| Ok(tx.execute("INSERT INTO setting VALUES ('a', 'b')", [])?);
        assert!(db.read(write).await.is_err());
        let count =
            |tx: &Transaction<'_>| Ok(tx.query_row("SELECT count(*) FROM setting", [], |row| row.get::<_, u32>(0))?);
        assert_eq!(db.read(count).await.unwrap(), 0);
        db.call(write).await.unwrap();
        assert_eq!(db.read(count).await.unwrap(), 1);
    }

    #[test]
    fn a_number_that_no_row_can_have_is_looked_for_in_vain() {
        let mut connection = memory();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let outcome = in_transaction(&mut connection, |tx| {
            modules::package(tx, holdfast_api::ids::ModuleId(1), u64::MAX).map(drop)
        });
        assert_eq!(outcome.unwrap_err().status(), axum::http::StatusCode::NOT_FOUND);
    }

    #[test]
    fn every_migration_applies_to_an_empty_and_to_the_previous_database() {
        let mut empty = memory();
        migrate(&mut empty, MIGRATIONS).unwrap();
        let mut stepped = memory();
        for count in 1..=MIGRATIONS.len() {
            migrate(&mut stepped, &MIGRATIONS[..count]).unwrap();
            let version: usize = stepped.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
            assert_eq!(version, count);
        }
        migrate(&mut stepped, MIGRATIONS).unwrap();
    }

    #[test]
    fn every_folder_of_migrations_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, MIGRATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn a_database_of_a_newer_program_is_refused() {
        let mut connection = memory();
        connection.pragma_update(None, "user_version", MIGRATIONS.len() + 1).unwrap();
        assert!(migrate(&mut connection, MIGRATIONS).unwrap_err().to_string().contains("newer program"));
    }

    #[test]
    fn desired_configuration_cannot_be_changed_or_deleted() {
        let mut connection = memory();
        migrate(&mut connection, MIGRATIONS).unwrap();
        connection.execute("INSERT INTO cluster_version VALUES (1, '{}', 'a', 0, '')", []).unwrap();
        assert!(connection.execute("UPDATE cluster_version SET config = 'x'", []).is_err());
        assert!(connection.execute("DELETE FROM cluster_version", []).is_err());
    }

    #[test]
    fn records_of_the_register_only_rise_and_stay() {
        let mut connection = memory();
        migrate(&mut connection, MIGRATIONS).unwrap();
        connection.execute("INSERT INTO module VALUES (1, 'mirror', 'mirror.safe', 0, NULL)", []).unwrap();
        connection.execute("INSERT INTO node VALUES (1, 'node1', 'f', 'a', 'v', 0, 'a', 0, NULL)", []).unwrap();
        let add = "INSERT INTO register_record VALUES (1, ?1, 1, 0, 0)";
        connection.execute(add, [5]).unwrap();
        assert!(connection.execute(add, [5]).is_err());
        assert!(connection.execute(add, [4]).is_err());
        connection.execute(add, [6]).unwrap();
        assert!(connection.execute("UPDATE register_record SET owner = 2", []).is_err());
        assert!(connection.execute("DELETE FROM register_record", []).is_err());
    }

    #[test]
    fn a_failed_function_leaves_nothing_behind() {
        let mut connection = memory();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let outcome: Outcome<()> = in_transaction(&mut connection, |tx| {
            tx.execute("INSERT INTO setting VALUES ('a', 'b')", [])?;
            Err(Failure::conflict("no"))
        });
        assert!(outcome.is_err());
        let count: u32 = connection.query_row("SELECT count(*) FROM setting", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0);
    }
}
