//! Benches: each measures a thing and its baseline in the same run and prints ratios.

mod burden;
pub mod console;
pub mod failover;
pub mod false_failover;
mod flips;
mod heart;
pub mod idle;
mod keepalived;
mod name;
mod pair;
mod prober;
mod pulses;
pub mod replication;
mod row;

pub use heart::Heart;
pub use name::Name;
pub use row::{Row, print, write_json};
