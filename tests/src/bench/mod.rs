//! Benches: each measures a thing and its baseline in the same run and prints ratios.

pub mod failover;
pub mod idle;
mod keepalived;
mod name;
mod pair;
mod prober;
pub mod replication;
mod row;

pub use name::Name;
pub use row::{Row, print, write_json};
