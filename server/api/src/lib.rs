//! Shared vocabulary of server, console and agents: ids, configuration, states and messages; serde only.
//!
//! The crate compiles for wasm as it is: no IO, no clock, no platform. Names follow the project's glossary
//! (README, "Vocabulary"), one name per thing, the same here, in SQL, in logs and on the screens.

pub mod agent;
pub mod checker;
pub mod config;
pub mod console;
pub mod enrol;
pub mod ids;
#[cfg(feature = "package")]
pub mod package;
mod place;
pub mod problem;
pub mod register;
pub mod resource;
pub mod rules;
pub mod state;
#[cfg(feature = "userconfig")]
pub mod userconfig;
pub mod witness;
