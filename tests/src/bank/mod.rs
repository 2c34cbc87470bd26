//! The bank ledger: the small real application that demo and tests protect, and the oracle of what it acknowledged.
//!
//! `ledger` keeps accounts and transfers in SQLite, `service` answers HTTP, `http` is the little HTTP both ends speak,
//! `postgres` is the same
//! ledger kept in PostgreSQL, `client` makes load, remembers each acknowledged transfer and follows the health URL over failovers.

pub mod client;
pub mod http;
pub mod ledger;
pub mod postgres;
pub mod service;
