//! Commits of two databases: SQLite (WAL, synchronous=FULL) and PostgreSQL (pgbench with 4 clients).

use super::Options;
use super::postgres::Server;
use super::slices::{Best, Contender, Random, in_turns, rate};
use super::stage::Stage;
use crate::bench::Row;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};

/// Measures.
///
/// # Errors
/// A database fails.
pub fn measure(stage: &Stage, options: &Options) -> Result<Vec<Row>> {
    let mut rows = sqlite(stage, options.rounds)?;
    rows.extend(pgbench(stage, options.rounds)?);
    Ok(rows)
}

fn rows(name: &str, unit: &'static str, [native, alone, floor, replicated, plain]: [f64; 5]) -> Vec<Row> {
    vec![
        Row::at_least(&format!("{name} / floor"), replicated, unit, floor, 0.85),
        Row::beside(&format!("{name}, without TLS / floor"), plain, unit, floor),
        Row::beside(&format!("{name}, FUSE without replication / floor"), alone, unit, floor),
        Row::beside(&format!("{name} / ext4"), replicated, unit, native),
    ]
}

fn places(stage: &Stage) -> [PathBuf; 5] {
    [stage.native(), stage.alone(), stage.whole(), stage.replicated(), stage.plain()]
}

/// SQLite's commits into a new database of that name.
///
/// # Errors
/// SQLite fails.
pub fn sqlite_at(directory: &Path, name: &str) -> Result<Contender<'static>> {
    let database = rusqlite::Connection::open(directory.join(name))?;
    let mode: String = database.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    ensure!(mode == "wal", "SQLite has no WAL in {}: {mode}", directory.display());
    database.execute_batch("PRAGMA synchronous=FULL; CREATE TABLE entry (id INTEGER PRIMARY KEY, body BLOB)")?;
    let body = Random::new(8).bytes(100);
    Ok(Box::new(move || rate(|| Ok(database.execute("INSERT INTO entry (body) VALUES (?1)", [&body]).map(drop)?))))
}

fn sqlite(stage: &Stage, rounds: usize) -> Result<Vec<Row>> {
    let [native, alone, whole, replicated, plain] = places(stage).map(|place| sqlite_at(&place, "bench.db"));
    let contenders = [native?, alone?, whole?, replicated?, plain?];
    Ok(rows("SQLite WAL FULL commits", "1/s", in_turns(4 * rounds, Best::Most, contenders)?))
}

fn pgbench(stage: &Stage, rounds: usize) -> Result<Vec<Row>> {
    let source = Server::initialise(&stage.native(), stage.folder())?;
    let copy = |directory: PathBuf| source.copy_to(&directory);
    let [_, alone, whole, replicated, plain] = places(stage);
    let copies = [copy(alone)?, copy(whole)?, copy(replicated)?, copy(plain)?];
    // Only now: a copy of a running server's files would be none.
    let [alone, whole, replicated, plain] = copies;
    let servers = [source.start()?, alone.start()?, whole.start()?, replicated.start()?, plain.start()?];
    let contenders = servers.each_ref().map(|server| Box::new(|| server.pgbench()) as Contender<'_>);
    Ok(rows("pgbench -c 4", "tps", in_turns(rounds.min(3), Best::Most, contenders)?))
}
