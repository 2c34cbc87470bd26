//! The whole server on a free port with simulated agents over real mutual TLS.

#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod agents;
mod aside;
mod cluster;
mod enrolment;
mod operation;
mod register;
mod settings;
mod support;
