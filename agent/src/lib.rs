//! The node agent and the command line.
//!
//! ```text
//! socket ─▶ control ──────┐                        ┌─▶ ledger
//! server ⇄ link ──────────┼─▶ agent ─▶ engine ─▶ core ─▶ heartbeat, replica, addresses, scripts, checks, witness, health
//! nodes  ⇄ cluster_link ──┘    (one engine per module)
//! ```
//! The engine is the only place that waits for several things; every effect goes through it in the order persist →
//! send → act → report.

pub mod agent;
pub mod backoff;
pub mod boot;
pub mod cgroup;
pub mod cli;
pub mod clock;
pub mod cluster_link;
pub mod command_log;
pub mod complaint;
pub mod control;
pub mod drivers;
pub mod engine;
pub mod enrol;
pub mod facts;
pub mod files;
pub mod identity;
pub mod journal;
pub mod ledger;
pub mod link;
pub mod logs;
pub mod modules;
pub mod options;
pub mod pairing;
pub mod priority;
pub mod report;
pub mod settled;
pub mod snapshot;
pub mod store;
pub mod tls;
pub mod vhost;
