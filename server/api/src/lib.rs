//! Shared vocabulary of server, console and agents: ids, configuration, states and messages; serde only.
