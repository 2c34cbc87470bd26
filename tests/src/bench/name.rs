//! Which benches there are. The task runner reads this file too, so that both know the same names.

use clap::ValueEnum;

/// A bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// From a fault to an answer on the virtual address, beside keepalived; swap and stop.
    Failover,
    /// The speed of replicated files: writes, reads, trees of files, commits, resync, memory.
    Replication,
    /// What the agents of 32 modules cost while nothing happens.
    Idle,
    /// Whether the shipped heartbeat raises false alarms on a machine that is saturated by other work.
    FalseFailover,
    /// The management server with 500 nodes in session: reads, reconfiguration, restart, memory.
    Console,
    /// The console in a browser, as it is served, with 100 modules on two nodes: first load, long tasks.
    Page,
}
