//! The failover brain of one module on one node, as a value.
//!
//! `Node::handle(moment, input) -> Output` and `Node::next_deadline()` are the whole surface. Time, results and random
//! numbers are inputs; there is no socket, file, clock, thread or randomness in this crate (tests/tidy.rs checks).
//!
//! **Order of effects.** The driver carries an [`output::Output`] out in this order and no other:
//! *persist → send → act → report*. Nothing of an output is sent or done before its `persist` is durable; if it cannot
//! be made durable the driver drops the rest of that output and hands in [`input::Input::SaveFailed`] as the very next
//! input of that module: while a save is pending its other inputs wait in a [`backlog::Backlog`] (those of other modules do
//! not), and the driver asks [`node::Node::while_saving`] what to say and when to give up.

pub mod arbiter;
pub mod automaton;
pub mod backlog;
pub mod covered;
pub mod durable;
pub mod grant;
pub mod heartbeat;
pub mod input;
pub mod levels;
pub mod liveness;
pub mod machine;
pub mod node;
pub mod output;
pub mod procedure;
pub mod pulses;
pub mod relation;
pub mod replay;
pub mod replica;
pub mod resources;
pub mod retry;
pub mod settings;
pub mod settled;
pub mod time;
pub mod view;
pub mod witness;
