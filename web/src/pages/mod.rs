//! The screens, one file each.

pub mod advanced;
pub mod cluster;
pub mod configuration;
pub mod control;
pub mod enrol;
pub mod later;
pub mod login;
pub mod monitoring;
pub mod plain;
pub mod settings;
pub mod support;
pub mod troubleshooting;
pub mod users;
pub mod wizard;
