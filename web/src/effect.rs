//! What a screen does when something changes, for as long as the screen is shown.

use leptos::prelude::{Effect, IsDisposed, StoredValue};

/// Runs `what` a turn from now, and whenever something that it reads has changed, until the part of the page that asked for
/// it is gone.
///
/// Leptos runs an effect for the first time even when its owner went within that turn (`reactive_graph` 0.2, `Effect::new`:
/// `update_if_necessary() || first_run`); what it reads is gone then, and reading it ends the page's program. A part that is
/// made anew twice in a turn (something that it reads and something around it both changed) gets into this, so every effect
/// of the console is made here.
pub fn effect(mut what: impl FnMut() + 'static) {
    let owned = StoredValue::new(());
    Effect::new(move || {
        if !owned.is_disposed() {
            what();
        }
    });
}
