//! Virtual addresses: the seam. This version knows no `<vip>`, so setting and releasing are done at once.

use super::Inbox;
use holdfast_core::input::Input;

/// Sets the module's addresses; here there are none.
pub async fn set(run: u64, inbox: &Inbox) {
    let _ = inbox.send(Input::AddressesDone { run, error: None }).await;
}

/// Releases the module's addresses; here there are none.
pub async fn release(run: u64, inbox: &Inbox) {
    let _ = inbox.send(Input::AddressesDone { run, error: None }).await;
}
