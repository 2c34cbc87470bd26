//! Accounts and transfers in SQLite (WAL, `synchronous=FULL`): a transfer is on disk when `transfer` returns.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// Accounts, numbered from 0.
pub const ACCOUNTS: i64 = 100;
/// What each account holds at first, in cents.
pub const OPENING_CENTS: i64 = 1_000_000;
/// The sum over all accounts, which no transfer changes, in cents.
pub const TOTAL_CENTS: i64 = ACCOUNTS * OPENING_CENTS;
/// Longest transfer id, in bytes.
pub const ID_MAX: usize = 100;

/// One transfer, as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Chosen by the client; the same id again is the same transfer.
    pub id: String,
    /// Account to take from.
    pub from: i64,
    /// Account to give to.
    pub to: i64,
    /// How much, in cents (more than 0).
    pub cents: i64,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Committed now.
    Now,
    /// The same transfer was committed before.
    Before,
}

/// Why a transfer was not made.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The request makes no sense; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The id was used for another transfer.
    #[error("transfer id {0} was used for another transfer")]
    Conflict(String),
    /// SQLite could not do it; whether it is committed is not known to the client, who asks again with the same id.
    #[error("the ledger's database failed: {0}")]
    Database(#[from] rusqlite::Error),
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
}

impl Ledger {
    /// Opens the ledger at `path`; makes accounts and tables if the file is new.
    ///
    /// # Errors
    /// The file cannot be opened or is no ledger.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(
            "CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS transfer (
                 id TEXT PRIMARY KEY, from_account INTEGER NOT NULL REFERENCES account (id),
                 to_account INTEGER NOT NULL REFERENCES account (id), cents INTEGER NOT NULL CHECK (cents > 0)
             ) WITHOUT ROWID;",
        )?;
        for id in 0..ACCOUNTS {
            transaction
                .execute("INSERT OR IGNORE INTO account (id, cents) VALUES (?1, ?2)", params![id, OPENING_CENTS])?;
        }
        transaction.commit()?;
        Ok(Self { connection })
    }

    /// Makes a transfer; on disk when this returns.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn transfer(&mut self, transfer: &Transfer) -> Result<Made, LedgerError> {
        check(transfer)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = transaction
            .query_row("SELECT from_account, to_account, cents FROM transfer WHERE id = ?1", [&transfer.id], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        if let Some(known) = known {
            let same = known == (transfer.from, transfer.to, transfer.cents);
            return if same { Ok(Made::Before) } else { Err(LedgerError::Conflict(transfer.id.clone())) };
        }
        transaction.execute(
            "INSERT INTO transfer (id, from_account, to_account, cents) VALUES (?1, ?2, ?3, ?4)",
            params![transfer.id, transfer.from, transfer.to, transfer.cents],
        )?;
        let change = "UPDATE account SET cents = cents + ?1 WHERE id = ?2";
        transaction.execute(change, params![-transfer.cents, transfer.from])?;
        transaction.execute(change, params![transfer.cents, transfer.to])?;
        transaction.commit()?;
        Ok(Made::Now)
    }

    /// The ids of all transfers.
    ///
    /// # Errors
    /// SQLite failed.
    pub fn transfers(&self) -> Result<Vec<String>, LedgerError> {
        let mut statement = self.connection.prepare("SELECT id FROM transfer ORDER BY id")?;
        let ids = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(ids)
    }

    /// The sum over all accounts, in cents.
    ///
    /// # Errors
    /// SQLite failed.
    pub fn balance(&self) -> Result<i64, LedgerError> {
        Ok(self.connection.query_row("SELECT sum(cents) FROM account", [], |row| row.get(0))?)
    }
}

fn check(transfer: &Transfer) -> Result<(), LedgerError> {
    let account = 0..ACCOUNTS;
    let problem = if transfer.id.is_empty() || transfer.id.len() > ID_MAX {
        format!("the id must have 1 to {ID_MAX} bytes")
    } else if !account.contains(&transfer.from) || !account.contains(&transfer.to) {
        format!("accounts are 0 to {}", ACCOUNTS - 1)
    } else if transfer.from == transfer.to {
        "a transfer needs two different accounts".to_owned()
    } else if !(1..=OPENING_CENTS).contains(&transfer.cents) {
        format!("cents must be 1 to {OPENING_CENTS}")
    } else {
        return Ok(());
    };
    Err(LedgerError::Refused(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(id: &str, cents: i64) -> Transfer {
        Transfer { id: id.to_owned(), from: 1, to: 2, cents }
    }

    #[test]
    fn a_transfer_is_made_once_however_often_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().join("bank.db")).unwrap();
        assert_eq!(ledger.transfer(&transfer("a", 5)).unwrap(), Made::Now);
        assert_eq!(ledger.transfer(&transfer("a", 5)).unwrap(), Made::Before);
        assert!(matches!(ledger.transfer(&transfer("a", 6)), Err(LedgerError::Conflict(_))));
        drop(ledger);
        let ledger = Ledger::open(&folder.path().join("bank.db")).unwrap();
        assert_eq!(ledger.transfers().unwrap(), ["a"]);
        assert_eq!(ledger.balance().unwrap(), TOTAL_CENTS);
    }

    #[test]
    fn senseless_transfers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().join("bank.db")).unwrap();
        let senseless = [
            transfer("", 1),
            transfer(&"x".repeat(101), 1),
            transfer("a", 0),
            Transfer { to: 100, ..transfer("a", 1) },
        ];
        for transfer in senseless {
            assert!(matches!(ledger.transfer(&transfer), Err(LedgerError::Refused(_))), "{transfer:?}");
        }
        assert!(ledger.transfers().unwrap().is_empty());
    }
}
