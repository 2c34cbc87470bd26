//! A log to read: the newest lines, following that stops when one scrolls up, a filter, saving as text.

use super::form::Problem;
use super::icon::{Icon, draw};
use super::notice::prose;
use crate::client;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::tone::Tone;
use crate::store::Console;
use gloo_timers::future::TimeoutFuture;
use holdfast_api::agent::{LogKind, LogLine, LogPage};
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::{html, prelude::*};

/// Lines fetched at first and at each refresh.
const TAIL_LINES: u32 = 500;
/// Lines kept on the page; older ones are in the saved file.
const KEPT_LINES: usize = 2_000;
const FOLLOW_MS: u32 = 1_000;

/// Which log of which module on which node, and its name for the file.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSource {
    /// The module.
    pub module: ModuleId,
    /// Its name.
    pub module_name: String,
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Which of the two logs.
    pub which: LogKind,
}

#[derive(Clone, Copy)]
struct Reader {
    lines: RwSignal<Vec<LogLine>>,
    next: RwSignal<Option<u64>>,
    problem: RwSignal<Option<String>>,
    filter: RwSignal<String>,
    follow: RwSignal<bool>,
    unseen: RwSignal<usize>,
    alive: StoredValue<bool>,
}

impl Reader {
    fn take(self, page: LogPage, from_start: bool) {
        self.problem.set(None);
        let fresh = page.lines.len();
        let restarted = from_start || self.next.get_untracked().is_some_and(|next| page.first > next);
        self.next.set(Some(page.next));
        if fresh > 0 || from_start {
            self.lines.update(|lines| {
                if restarted {
                    lines.clear();
                }
                lines.extend(page.lines);
                let excess = lines.len().saturating_sub(KEPT_LINES);
                lines.drain(..excess);
            });
        }
        if !self.follow.get_untracked() && !from_start {
            self.unseen.update(|unseen| *unseen += fresh);
        }
    }

    /// Reads what is new, or everything again.
    async fn read(self, source: &LogSource, anew: bool) {
        let from = if anew { None } else { self.next.get_untracked() };
        let answer = client::log(source.module, source.node, source.which, from, TAIL_LINES).await;
        if self.alive.try_get_value() != Some(true) {
            return;
        }
        match answer {
            Ok(page) => self.take(page, from.is_none()),
            Err(error) => self.problem.set(Some(error.text())),
        }
    }
}

/// The log of `source`.
#[component]
pub fn LogViewer(
    /// Which log.
    source: LogSource,
    /// The node can be asked.
    #[prop(into)]
    reachable: Signal<bool>,
) -> impl IntoView {
    let reader = Reader {
        lines: RwSignal::new(Vec::new()),
        next: RwSignal::new(None),
        problem: RwSignal::new(None),
        filter: RwSignal::new(String::new()),
        follow: RwSignal::new(true),
        unseen: RwSignal::new(0),
        alive: StoredValue::new(true),
    };
    keep_reading(reader, source.clone(), reachable);
    let pane = NodeRef::<html::Div>::new();
    let visible = Memo::new(move |_| {
        let filter = reader.filter.get().to_lowercase();
        reader.lines.with(|lines| {
            lines
                .iter()
                .filter(|line| filter.is_empty() || line.text.to_lowercase().contains(&filter))
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    Effect::new(move || {
        visible.track();
        if reader.follow.get() {
            scroll_to_end(pane);
        }
    });
    let application = source.which == LogKind::Application;
    let scrolled = move |_| {
        if let Some(pane) = pane.get_untracked() {
            let at_end = pane.scroll_top() + pane.client_height() >= pane.scroll_height() - 24;
            if at_end != reader.follow.get_untracked() {
                reader.follow.set(at_end);
            }
            if at_end {
                reader.unseen.set(0);
            }
        }
    };
    view! {
        <Tools reader source reachable />
        <Show when=move || !reachable.get()>
            <p class="log-tools small muted" data-testid="log-unreachable">{prose(t!("The node is not in contact; these lines are what was read before. On the node itself, `holdfast log` shows them all."))}</p>
        </Show>
        <Problem id="log" problem=reader.problem />
        <div class="log" role="log" aria-live="off" aria-label=t!("Log lines") tabindex="0" node_ref=pane on:scroll=scrolled data-testid="log">
            <For each=move || visible.get() key=|line| (line.at, line.unix_ms) let:line>{draw_line(&line, application)}</For>
            <Show when=move || visible.with(Vec::is_empty)>
                <p class="log-line muted">{move || if reader.filter.with(String::is_empty) { t!("Nothing has been written yet.") } else { t!("No line holds this text.") }}</p>
            </Show>
            <Show when=move || { reader.unseen.get() > 0 && !reader.follow.get() }>
                <div class="log-more">
                    <button type="button" class="btn compact" on:click=move |_| { reader.follow.set(true); reader.unseen.set(0); }>{draw(Icon::Follow)}{move || tf!("{0} new lines", 0 = reader.unseen.get())}</button>
                </div>
            </Show>
        </div>
    }
}

#[component]
fn Tools(reader: Reader, source: LogSource, reachable: Signal<bool>) -> impl IntoView {
    let console = Console::get();
    let to_save = source.clone();
    let refresh = move |_| {
        let source = source.clone();
        reader.follow.set(true);
        leptos::task::spawn_local(async move { reader.read(&source, true).await });
    };
    let save = move |_| {
        // The server names the file, after module, node and date.
        platform::download(&client::log_text_href(to_save.module, to_save.node, to_save.which), "");
        let (module, node) = (&to_save.module_name, &to_save.node_name);
        console.toast(
            Tone::Ok,
            match to_save.which {
                LogKind::Module => tf!("Saving the module log of {module} on {node}.", module, node),
                LogKind::Application => tf!("Saving the application log of {module} on {node}.", module, node),
            },
        );
    };
    view! {
        <div class="log-tools">
            <input
                class="input"
                type="search"
                placeholder=t!("Filter")
                aria-label=t!("Show only lines that hold this text")
                data-testid="log-filter"
                prop:value=move || reader.filter.get()
                on:input=move |event| reader.filter.set(event_target_value(&event))
            />
            <span class="grow"></span>
            <button type="button" class="btn compact" data-testid="log-follow" aria-pressed=move || reader.follow.get().to_string() on:click=move |_| reader.follow.update(|on| *on = !*on)>
                {draw(Icon::Follow)}{t!("Follow")}
            </button>
            <button type="button" class="btn compact" data-testid="log-refresh" disabled=move || !reachable.get() on:click=refresh>{draw(Icon::Refresh)}{t!("Refresh")}</button>
            <button type="button" class="btn compact" data-testid="log-save" disabled=move || !reachable.get() on:click=save>{draw(Icon::Download)}{t!("Save as .txt")}</button>
        </div>
    }
}

/// Reads the tail, then what is added, for as long as the log is on the page and the node can be asked.
fn keep_reading(reader: Reader, source: LogSource, reachable: Signal<bool>) {
    on_cleanup(move || reader.alive.set_value(false));
    leptos::task::spawn_local(async move {
        loop {
            if reader.alive.try_get_value() != Some(true) {
                return;
            }
            if reachable.try_get_untracked() == Some(true) {
                reader.read(&source, false).await;
            }
            TimeoutFuture::new(FOLLOW_MS).await;
        }
    });
}

fn draw_line(line: &LogLine, application: bool) -> impl IntoView + use<> {
    let text = line.text.clone();
    if application {
        // What scripts print bears no date of its own; the lines about the scripts themselves do, in their text.
        let class = if text.starts_with("--- ") { "log-line app muted" } else { "log-line app" };
        return view! { <div class=class><span class="text">{text}</span></div> }.into_any();
    }
    let (tone, word) = match line.level.as_str() {
        "C" => (Some("bad"), "error"),
        "W" => (Some("busy"), "warning"),
        "E" => (Some("ok"), "event"),
        "S" => (None, "script"),
        "U" => (None, "user"),
        _ => (None, "info"),
    };
    view! {
        <div class="log-line" data-tone=tone>
            <time>{platform::date_time_ms(line.unix_ms)}</time>
            <span class="from">{word}</span>
            <span class="text">{text}</span>
        </div>
    }
    .into_any()
}

fn scroll_to_end(pane: NodeRef<html::Div>) {
    // After the lines have been drawn.
    request_animation_frame(move || {
        if let Some(pane) = pane.get_untracked() {
            pane.set_scroll_top(pane.scroll_height());
        }
    });
}
