//! The lab.
pub mod package;
