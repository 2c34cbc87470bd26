//! The screens, one file each.

pub mod cluster;
pub mod configuration;
pub mod control;
pub mod enrol;
pub mod login;
pub mod support;
pub mod wizard;
