//! What the screens decide, as plain functions on the shared vocabulary: no browser, no signals.

pub mod actions;
pub mod cluster;
pub mod flow;
pub mod text;
pub mod tone;
pub mod wizard;
