//! Long lists are drawn a few at a time, so that the page answers in between.

use crate::effect::effect;
use leptos::prelude::*;

/// How many are drawn between two pictures of the browser.
const STEP: usize = 6;

/// The first of `all`, a few more with each picture of the browser until it is all of them. For a keyed list: what is drawn
/// stays.
pub fn gradually<T>(all: Memo<Vec<T>>) -> Memo<Vec<T>>
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    let drawn = RwSignal::new(STEP);
    effect(move || {
        if drawn.get() < all.with(Vec::len) {
            // The screen may have been left by then.
            request_animation_frame(move || {
                drawn.try_update(|count| *count += STEP);
            });
        }
    });
    Memo::new(move |_| {
        let count = drawn.get();
        all.with(|all| all.iter().take(count).cloned().collect())
    })
}
