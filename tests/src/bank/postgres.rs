//! The ledger kept in PostgreSQL: as much of its wire protocol (version 3, simple queries, trust) as that needs.

use crate::bank::ledger::{ACCOUNTS, OPENING_CENTS, Transfer};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest message read, in bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// A session on a PostgreSQL server.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
}

impl Session {
    /// Opens a session as user and database `postgres`; no single read or write waits longer than `timeout`.
    ///
    /// # Errors
    /// The server does not let us in.
    pub fn open(stream: TcpStream, timeout: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream };
        let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        let length = u32::try_from(parameters.len() + 4).map_err(io::Error::other)?;
        session.stream.write_all(&[&length.to_be_bytes()[..], parameters].concat())?;
        session.answer()?;
        Ok(session)
    }

    /// Makes tables and accounts if they are not there.
    ///
    /// # Errors
    /// The server refuses.
    pub fn set_up(&mut self) -> io::Result<()> {
        let text = format!(
            "CREATE TABLE IF NOT EXISTS account (id bigint PRIMARY KEY, cents bigint NOT NULL);
             CREATE TABLE IF NOT EXISTS transfer (id text PRIMARY KEY, from_account bigint NOT NULL REFERENCES account (id),
                 to_account bigint NOT NULL REFERENCES account (id), cents bigint NOT NULL CHECK (cents > 0));
             INSERT INTO account SELECT id, {OPENING_CENTS} FROM generate_series(0, {}) AS id ON CONFLICT DO NOTHING",
            ACCOUNTS - 1
        );
        self.query(&text).map(|_| ())
    }

    /// Makes a transfer once, however often it is asked for; committed when this returns.
    ///
    /// # Errors
    /// The server refuses or is gone: ask again with the same id.
    pub fn transfer(&mut self, transfer: &Transfer) -> io::Result<()> {
        let Transfer { id, from, to, cents } = transfer;
        let id = id.replace('\'', "''");
        let text = format!(
            "WITH made AS (INSERT INTO transfer VALUES ('{id}', {from}, {to}, {cents}) ON CONFLICT DO NOTHING RETURNING 1)
             UPDATE account SET cents = cents + CASE WHEN id = {to} THEN {cents} ELSE -{cents} END
             WHERE id IN ({from}, {to}) AND EXISTS (SELECT 1 FROM made)"
        );
        self.query(&text).map(|_| ())
    }

    /// The ids of all transfers.
    ///
    /// # Errors
    /// The server refuses or is gone.
    pub fn transfers(&mut self) -> io::Result<Vec<String>> {
        self.query("SELECT id FROM transfer")
    }

    /// The sum over all accounts, in cents.
    ///
    /// # Errors
    /// The server refuses or is gone.
    pub fn balance(&mut self) -> io::Result<i64> {
        let rows = self.query("SELECT sum(cents) FROM account")?;
        rows.first().and_then(|cents| cents.parse().ok()).ok_or_else(|| io::Error::other("no sum"))
    }

    /// The first column of all rows.
    fn query(&mut self, text: &str) -> io::Result<Vec<String>> {
        let length = u32::try_from(text.len() + 5).map_err(io::Error::other)?;
        self.stream.write_all(&[b"Q", &length.to_be_bytes()[..], text.as_bytes(), b"\0"].concat())?;
        self.answer()
    }

    /// Reads messages until the server is ready for a query.
    fn answer(&mut self) -> io::Result<Vec<String>> {
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let (kind, body) = self.message()?;
            match kind {
                b'Z' => return failure.map_or(Ok(rows), Err),
                b'D' => rows.push(first_column(&body)?),
                // A fatal error ends the session without a `Z`.
                b'E' => failure = Some(io::Error::other(error_text(&body))),
                b'R' if body != [0; 4] => return Err(io::Error::other("the server wants a password")),
                _ => {}
            }
        }
    }

    fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..=MESSAGE_MAX).contains(&length) {
            return Err(io::Error::other("a message has a senseless length"));
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

/// First column of a DataRow: count of columns (2 bytes), then length (4 bytes) and bytes of each.
fn first_column(body: &[u8]) -> io::Result<String> {
    let length = body.get(2..6).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let end = length.and_then(|length| 6_usize.checked_add(length as usize));
    let column = end.and_then(|end| body.get(6..end)).ok_or_else(|| io::Error::other("a row is malformed"))?;
    Ok(String::from_utf8_lossy(column).into_owned())
}

/// The message field (`M`) of an ErrorResponse.
fn error_text(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0);
    let text = fields.filter_map(|field| field.strip_prefix(b"M")).next().unwrap_or(b"an error without text");
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_errors_are_read_and_malformed_rows_refused() {
        assert_eq!(first_column(b"\0\x01\0\0\0\x02abX").unwrap(), "ab");
        assert!(first_column(b"\0\x01\0\0\0\x09ab").is_err());
        assert!(first_column(b"\0\x01\xff\xff\xff\xff").is_err());
        assert_eq!(error_text(b"SFATAL\0Mgoing down\0\0"), "going down");
    }
}
