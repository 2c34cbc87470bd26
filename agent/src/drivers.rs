//! The drivers: each turns one kind of effect into IO and hands its results back as inputs.

pub mod health;
pub mod heartbeat;
pub mod processes;
pub mod reboot;
pub mod replica;
pub mod script;
pub mod vip;

use holdfast_core::input::Input;
use tokio::sync::mpsc;

/// Where drivers hand in what happened.
pub type Inbox = mpsc::Sender<Input>;
