//! Two texts side by side in one column: what goes, what comes.

use crate::language::t;
use crate::rules::diff::{Change, lines, short};
use leptos::prelude::*;

/// Unchanged lines shown beside a change.
const AROUND: usize = 3;

/// The changes from `old` to `new`; a line says so when there are none.
pub fn diff(old: &str, new: &str) -> impl IntoView + use<> {
    if old == new {
        return view! { <p class="muted">{t!("Nothing differs.")}</p> }.into_any();
    }
    let row = |line: Option<(Change, String)>| match line {
        None => view! { <div class="diff-line muted"><span>"⋯"</span><span></span></div> }.into_any(),
        Some((change, text)) => {
            let (sign, class) = match change {
                Change::Same => (" ", "diff-line"),
                Change::Gone => ("−", "diff-line gone"),
                Change::New => ("+", "diff-line new"),
            };
            view! { <div class=class><span>{sign}</span><span>{text}</span></div> }.into_any()
        }
    };
    let rows = short(lines(old, new), AROUND).into_iter().map(row).collect_view();
    view! { <div class="diff mono" role="group" aria-label=t!("Changes") tabindex="0" data-testid="diff">{rows}</div> }
        .into_any()
}
