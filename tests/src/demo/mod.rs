//! The demo: two nodes (and a management server) in a lab on this machine, a protected application, a client at work.
//!
//! `exercise` is the unattended story with figures, `show` the one for a person at a browser, `server` what the demo
//! asks of the management server, `application` what is protected.

pub mod application;
pub mod exercise;
pub mod interrupt;
pub mod server;
pub mod show;
