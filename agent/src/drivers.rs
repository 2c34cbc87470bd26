//! The drivers: each turns one kind of effect into IO and hands its results back as inputs.

pub mod checks;
pub mod connections;
pub mod errd;
pub mod health;
pub mod heartbeat;
pub mod hook;
pub mod icmp;
pub mod inventory;
mod left;
pub mod processes;
pub mod program;
pub mod reboot;
pub mod replica;
pub mod script;
pub mod vip;
pub mod watch;
pub mod witness;

use holdfast_core::input::Input;
use tokio::sync::mpsc;

/// Where drivers hand in what happened.
pub type Inbox = mpsc::Sender<Input>;
