//! The ledger over HTTP: `POST /transfer`, `GET /transfers`, `GET /balance`, `GET /healthz`.

use crate::bank::http::{self, Request};
use crate::bank::ledger::{Ledger, LedgerError, Made, Transfer};
use serde_json::json;
use std::io::{self, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections served at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 128;
/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Answers on `listener` until the process ends.
///
/// # Errors
/// The listener broke.
pub fn serve(listener: &TcpListener, ledger: Ledger) -> io::Result<()> {
    let ledger = Arc::new(Mutex::new(ledger));
    for stream in listener.incoming() {
        let stream = stream?;
        // Each connection's thread holds one share: their number is the number of connections.
        while Arc::strong_count(&ledger) > CONNECTIONS_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ledger = Arc::clone(&ledger);
        std::thread::spawn(move || {
            // A broken connection is the client's affair: it asks again with the same id.
            let _ = converse(&stream, &ledger);
        });
    }
    Ok(())
}

fn converse(stream: &TcpStream, ledger: &Mutex<Ledger>) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        match http::read_request(&mut reader) {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => {
                let (status, body) = answer(&request, ledger);
                http::write_response(&mut writer, status, "application/json", body.to_string().as_bytes())?;
                if !request.keep {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let body = json!({ "error": error.to_string() }).to_string();
                return http::write_response(&mut writer, 400, "application/json", body.as_bytes());
            }
            Err(error) => return Err(error),
        }
    }
}

fn answer(request: &Request, ledger: &Mutex<Ledger>) -> (u16, serde_json::Value) {
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let result = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/healthz") => Ok(json!({ "ok": true })),
        ("GET", "/balance") => ledger.balance().map(|cents| json!({ "cents": cents })),
        ("GET", "/transfers") => ledger.transfers().map(|ids| json!({ "transfers": ids })),
        ("POST", "/transfer") => make(&request.body, &mut ledger),
        (_, "/healthz" | "/balance" | "/transfers" | "/transfer") => {
            return (405, json!({ "error": "wrong method" }));
        }
        _ => {
            return (404, json!({ "error": "try POST /transfer, GET /transfers, GET /balance or GET /healthz" }));
        }
    };
    match result {
        Ok(body) => (200, body),
        Err(error) => {
            let status = match error {
                LedgerError::Refused(_) => 400,
                LedgerError::Conflict(_) => 409,
                LedgerError::Database(_) => 500,
            };
            (status, json!({ "error": error.to_string() }))
        }
    }
}

fn make(body: &[u8], ledger: &mut Ledger) -> Result<serde_json::Value, LedgerError> {
    let transfer: Transfer = serde_json::from_slice(body)
        .map_err(|error| LedgerError::Refused(format!("the body is no transfer: {error}")))?;
    let made = ledger.transfer(&transfer)?;
    Ok(json!({ "id": transfer.id, "repeated": made == Made::Before }))
}
