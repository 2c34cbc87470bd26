//! What the screens decide, as plain functions on the shared vocabulary: no browser, no signals.

pub mod actions;
pub mod all_nodes;
pub mod aside;
pub mod cluster;
pub mod consequences;
pub mod diff;
pub mod files;
pub mod flow;
pub mod help;
pub mod history;
pub mod issues;
pub mod links;
pub mod log;
pub mod marks;
pub mod merge;
pub mod news;
pub mod pace;
pub mod scrub;
pub mod settings;
pub mod text;
pub mod tone;
pub mod witness;
pub mod wizard;
