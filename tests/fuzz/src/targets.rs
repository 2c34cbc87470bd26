//! The targets: every format that crosses a process, a disk or the network.

mod api;
mod core;
mod json;
mod link;
mod stream;

/// One format, and what must hold of any bytes read as it.
pub struct Target {
    /// Its name, that of its corpus, and that of its cargo-fuzz target.
    pub name: &'static str,
    /// Reads the bytes, checks what must hold, and says whether they were understood.
    pub check: fn(&[u8]) -> bool,
    /// Whole examples, of the formats as they are now.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory that a check may take beyond 64 per byte of input.
    pub memory_max: usize,
    /// Mutations of each entry in the unit ring: fewer where a check is slow.
    pub mutations: u64,
}

/// A megabyte: what a bounded format may take for one item.
const MIB: usize = 1 << 20;

const fn small(name: &'static str, check: fn(&[u8]) -> bool, samples: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, check, samples, memory_max: MIB, mutations: 10_000 }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { mutations: 500, memory_max: 8 * MIB, ..small("userconfig", api::userconfig, none) },
    Target { mutations: 5_000, ..small("rules", api::rules, none) },
    Target { mutations: 500, memory_max: 70 * MIB, ..small("package", api::package, none) },
    small("heartbeat", core::heartbeat, core::heartbeat_samples),
    Target { mutations: 2_000, ..small("ledger", core::ledger, core::ledger_samples) },
    Target {
        mutations: 2_000,
        memory_max: 4 * MIB,
        ..small("cluster-link", link::cluster_link, link::cluster_link_samples)
    },
    Target { mutations: 2_000, ..small("command-line", link::command_line, link::command_line_samples) },
    Target { memory_max: 4 * MIB, ..small("replica-control", stream::control, stream::control_samples) },
    Target { memory_max: 4 * MIB, ..small("stream", stream::frames, stream::frame_samples) },
    Target { mutations: 2_000, ..small("agent-server", json::agent_server, json::agent_server_samples) },
    Target { mutations: 1_000, ..small("console", json::console, json::console_samples) },
    small("enrolment", json::enrolment, json::enrolment_samples),
    small("register", json::register, json::register_samples),
];

/// The corpus says it all.
fn none() -> Vec<Vec<u8>> {
    Vec::new()
}
