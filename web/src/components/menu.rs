//! A button with a menu of commands: keyboard operated, disabled items say why.

use super::icon::{Icon, draw};
use super::notice::prose;
use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;

/// One line of a menu.
#[derive(Clone, Debug, PartialEq)]
pub struct MenuEntry {
    /// What is handed to `on_pick`; also the end of the item's `data-testid`.
    pub id: &'static str,
    /// The words.
    pub label: &'static str,
    /// Beside the words.
    pub icon: Icon,
    /// Drawn as dangerous.
    pub danger: bool,
    /// Why it cannot be used now; `None` when it can.
    pub disabled: Option<String>,
    /// A line is drawn above it.
    pub divided: bool,
}

/// A button that opens a menu.
#[component]
pub fn ActionMenu(
    /// The button's words.
    #[prop(into)]
    label: String,
    /// The button's `data-testid`; an item's is `<testid>-<entry id>`.
    #[prop(into)]
    testid: String,
    /// The menu's lines.
    #[prop(into)]
    entries: Signal<Vec<MenuEntry>>,
    /// Called with the id of the line picked; the focus is back on the button by then.
    on_pick: Callback<&'static str>,
    /// Only the icon is drawn; the words are its name.
    #[prop(optional)]
    icon: Option<Icon>,
) -> impl IntoView {
    // Drawn anew only when an item has changed: a press on an item, or the focus on it, outlives every other report.
    let entries = Memo::new(move |_| entries.get());
    let open = RwSignal::new(false);
    let root = NodeRef::<html::Div>::new();
    let button = NodeRef::<html::Button>::new();
    close_on_outside_press(open, root);
    let close = move || {
        open.set(false);
        focus(button.get_untracked());
    };
    let pick = move |entry: &MenuEntry| {
        if entry.disabled.is_none() {
            close();
            on_pick.run(entry.id);
        }
    };
    let keys = move |event: ev::KeyboardEvent| on_key(&event, root, open, close);
    let item_prefix = testid.clone();
    let words = label.clone();
    view! {
        <div class="menu" node_ref=root on:keydown=keys>
            <button
                type="button"
                class=if icon.is_some() { "btn ghost icon" } else { "btn" }
                node_ref=button
                aria-haspopup="menu"
                aria-expanded=move || open.get().to_string()
                aria-label=icon.map(|_| words)
                data-testid=testid
                on:click=move |_| open.update(|on| *on = !*on)
            >
                {match icon {
                    Some(icon) => draw(icon).into_any(),
                    None => view! { {label}{draw(Icon::Chevron)} }.into_any(),
                }}
            </button>
            <Show when=move || open.get()>
                <div class="menu-list" role="menu">
                    {
                        let item_prefix = item_prefix.clone();
                        move || entries.get().into_iter().map(|entry| item(&item_prefix, entry, pick)).collect_view()
                    }
                </div>
            </Show>
        </div>
    }
}

fn item<F: Fn(&MenuEntry) + 'static>(prefix: &str, entry: MenuEntry, pick: F) -> impl IntoView + use<F> {
    let class = if entry.danger { "menu-item danger" } else { "menu-item" };
    let testid = format!("{prefix}-{}", entry.id);
    let (label, icon, divided, why) = (entry.label, entry.icon, entry.divided, entry.disabled.clone());
    let blocked = why.is_some().then_some("true");
    view! {
        {divided.then(|| view! { <hr /> })}
        <button type="button" role="menuitem" class=class data-testid=testid aria-disabled=blocked on:click=move |_| pick(&entry)>
            {draw(icon)}
            <span>{label}</span>
            {why.map(|why| view! { <small>{prose(&why)}</small> })}
        </button>
    }
}

/// What a key does in the menu: Escape closes it, arrows walk its items, Tab leaves it.
fn on_key(event: &ev::KeyboardEvent, root: NodeRef<html::Div>, open: RwSignal<bool>, close: impl Fn()) {
    match event.key().as_str() {
        "Escape" if open.get_untracked() => {
            event.stop_propagation();
            close();
        }
        "ArrowDown" => step_focus(event, root, 1, open),
        "ArrowUp" => step_focus(event, root, -1, open),
        "Tab" => open.set(false),
        _ => {}
    }
}

/// Moves the focus among the items of the menu in `root`, opening it first.
fn step_focus(event: &ev::KeyboardEvent, root: NodeRef<html::Div>, by: i32, open: RwSignal<bool>) {
    event.prevent_default();
    let Some(root) = root.get_untracked() else { return };
    if !open.get_untracked() {
        open.set(true);
    }
    // The list is drawn by the next turn of the event loop.
    request_animation_frame(move || {
        let Ok(items) = root.query_selector_all("[role=menuitem]") else { return };
        let count = items.length() as i32;
        if count == 0 {
            return;
        }
        let active = document().active_element();
        let here = (0..count)
            .find(|index| items.get(*index as u32).map(|node| node.unchecked_into::<web_sys::Element>()) == active);
        let next = match here {
            Some(index) => (index + by).rem_euclid(count),
            None if by > 0 => 0,
            None => count - 1,
        };
        if let Some(node) = items.get(next as u32) {
            node.unchecked_into::<web_sys::HtmlElement>().focus().ok();
        }
    });
}

fn close_on_outside_press(open: RwSignal<bool>, root: NodeRef<html::Div>) {
    let handle = window_event_listener(ev::pointerdown, move |event| {
        let inside = root.get_untracked().is_some_and(|root| {
            let target = event.target().map(|target| target.unchecked_into::<web_sys::Node>());
            root.contains(target.as_ref())
        });
        if !inside && open.get_untracked() {
            open.set(false);
        }
    });
    on_cleanup(move || handle.remove());
}

fn focus(button: Option<web_sys::HtmlButtonElement>) {
    if let Some(button) = button {
        button.focus().ok();
    }
}
