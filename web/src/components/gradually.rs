//! Long lists are drawn a few at a time, so that the page answers in between.

use crate::effect::effect;
use crate::platform;
use crate::rules::pace;
use leptos::prelude::*;
use std::time::Duration;

/// The first of `all`, a few more with each picture of the browser until it is all of them. For a keyed list: what is drawn
/// stays.
pub fn gradually<T>(all: Memo<Vec<T>>) -> Memo<Vec<T>>
where
    T: Clone + PartialEq + Send + Sync + 'static,
{
    let drawn = RwSignal::new(pace::FIRST);
    let step = StoredValue::new(pace::FIRST);
    effect(move || {
        if drawn.get() < all.with(Vec::len) {
            request_animation_frame(move || more(drawn, step));
        }
    });
    Memo::new(move |_| {
        let count = drawn.get();
        all.with(|all| all.iter().take(count).cloned().collect())
    })
}

/// Has a few more drawn, and sees how long that takes. The screen may have been left by then.
fn more(drawn: RwSignal<usize>, step: StoredValue<usize>) {
    let Some(count) = step.try_get_value() else { return };
    let began = platform::now_ms();
    drawn.try_update(|drawn| *drawn += count);
    // What has been asked for is drawn before the browser's next turn.
    let look = move || {
        step.try_set_value(pace::next(count, platform::now_ms().saturating_sub(began)));
    };
    set_timeout(look, Duration::ZERO);
}
