//! A log to read: the newest lines, older ones on the way up, following that stops when one scrolls up, filters that the
//! server applies to the whole log, saving as text.

mod reader;

pub use reader::LogSource;

use super::form::{Problem, help_box};
use super::icon::{Icon, draw};
use super::notice::{Waiting, prose};
use crate::client;
use crate::effect::effect;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::log::{Filter, Piece, levels};
use crate::rules::tone::Tone;
use crate::store::Console;
use gloo_timers::future::TimeoutFuture;
use holdfast_api::agent::{LogKind, LogLine};
use leptos::{html, prelude::*};
use reader::{Reader, keep_reading};
use wasm_bindgen::JsCast;

/// Time without a key after which the server is asked for a filter.
const TYPING_MS: u32 = 300;
/// So near to the upper end, in pixels, older lines are read.
const NEAR_TOP: i32 = 48;

/// A log as it is looked at; a handle that is copied around.
#[derive(Clone, Copy)]
struct Look {
    reader: Reader,
    source: StoredValue<LogSource>,
    reachable: Signal<bool>,
    pane: NodeRef<html::Div>,
    has_older: Memo<bool>,
}

impl Look {
    /// Reads older lines and leaves what is looked at where it is.
    fn older(self) {
        let Self { reader, pane, .. } = self;
        if reader.older.get_untracked() || !self.reachable.get_untracked() || !self.has_older.get_untracked() {
            return;
        }
        reader.older.set(true);
        reader.follow.set(false);
        let source = self.source.get_value();
        let place = pane.get_untracked().and_then(|pane| Place::of(&pane));
        leptos::task::spawn_local(async move {
            reader.read_older(&source).await;
            if reader.is_alive() {
                keep_place(pane, place);
                reader.older.set(false);
            }
        });
    }

    /// At the lower end the log is followed, near the upper one older lines are read.
    fn scrolled(self) {
        let (reader, Some(pane)) = (self.reader, self.pane.get_untracked()) else { return };
        let at_end = pane.scroll_top() + pane.client_height() >= pane.scroll_height() - 24;
        // The end of what is held is not the end of the log when newer lines were let go.
        let newest = at_end && !reader.piece.with_untracked(Piece::is_detached);
        if newest != reader.follow.get_untracked() {
            reader.follow.set(newest);
        }
        if newest {
            reader.unseen.set(0);
        } else if pane.scroll_top() < NEAR_TOP {
            self.older();
        }
    }

    /// Back to the newest lines.
    fn newest(self) {
        let reader = self.reader;
        reader.follow.set(true);
        reader.unseen.set(0);
        let source = self.source.get_value();
        if reader.piece.with_untracked(Piece::is_detached) {
            leptos::task::spawn_local(async move { reader.read_last(&source).await });
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
    let reader = Reader::new();
    keep_reading(reader, source.clone(), reachable);
    let has_older = Memo::new(move |_| reader.piece.with(|piece| piece.before().is_some()));
    let pane = NodeRef::new();
    let look = Look { reader, source: StoredValue::new(source.clone()), reachable, pane, has_older };
    view! {
        <Tools reader source reachable />
        <Show when=move || !reachable.get()>
            <p class="log-tools small muted" data-testid="log-unreachable">{prose(t!("The node is not in contact; these lines are what was read before. On the node itself, `holdfast log` shows them all."))}</p>
        </Show>
        <Problem id="log" problem=reader.problem />
        <Lines look />
    }
}

/// The pane with the lines.
#[component]
fn Lines(look: Look) -> impl IntoView {
    let Look { reader, pane, reachable, has_older, .. } = look;
    let application = look.source.with_value(|source| source.which == LogKind::Application);
    let lines = Memo::new(move |_| reader.piece.with(|piece| piece.lines.clone()));
    effect(move || {
        lines.track();
        if reader.follow.get() {
            scroll_to_end(pane);
        }
    });
    let away = move || !reader.follow.get() && (reader.unseen.get() > 0 || reader.piece.with(Piece::is_detached));
    view! {
        <div class="log" role="log" aria-live="off" aria-label=t!("Log lines") tabindex="0" node_ref=pane on:scroll=move |_| look.scrolled() data-testid="log" data-shown=move || shown_word(&reader.shown.get())>
            <Show when=move || has_older.get()>
                <div class="log-older">
                    <button type="button" class="btn compact" data-testid="log-older" disabled=move || reader.older.get() || !reachable.get() on:click=move |_| look.older()>{t!("Older lines")}</button>
                </div>
            </Show>
            <For each=move || lines.get() key=|line| (line.at, line.unix_ms) let:line>{draw_line(&line, application)}</For>
            <Show when=move || lines.with(Vec::is_empty)>{move || no_line(reader.shown.get())}</Show>
            <Show when=away>
                <div class="log-more">
                    <button type="button" class="btn compact" data-testid="log-newest" on:click=move |_| look.newest()>{draw(Icon::Follow)}{move || match reader.unseen.get() {
                        0 => t!("To the newest lines").to_owned(),
                        unseen => tf!("{0} new lines", 0 = unseen),
                    }}</button>
                </div>
            </Show>
        </div>
    }
}

/// Help with the lines of a log.
pub fn log_help() -> AnyView {
    help_box(
        t!("Log lines"),
        t!(
            "The nodes write these lines, in English: the language of the logs and of the command line. They stay in English whatever language the console has."
        ),
    )
}

/// Why there is no line.
fn no_line(shown: Option<Filter>) -> AnyView {
    let text = match shown {
        None => return view! { <Waiting text=t!("Looking through the log…") /> }.into_any(),
        Some(filter) if filter.is_open() => t!("Nothing has been written yet."),
        Some(_) => t!("No line of the whole log passes the filter."),
    };
    view! { <p class="log-line app muted">{text}</p> }.into_any()
}

/// What `data-shown` says: `all`, or the filter by which the lines were found; nothing while they are looked for.
fn shown_word(shown: &Option<Filter>) -> Option<String> {
    let filter = shown.as_ref()?;
    Some(if filter.is_open() { "all".to_owned() } else { format!("{}:{}", filter.levels, filter.holding) })
}

#[component]
fn Tools(reader: Reader, source: LogSource, reachable: Signal<bool>) -> impl IntoView {
    let console = Console::get();
    let (to_save, of_filter) = (source.clone(), source.clone());
    let choices = levels(source.which);
    let refresh = move |_| {
        let source = source.clone();
        reader.follow.set(true);
        leptos::task::spawn_local(async move { reader.read_last(&source).await });
    };
    let refilter = move |wait_ms: u32, change: &dyn Fn(&mut Filter)| {
        reader.filter.update(|filter| change(filter));
        reader.shown.set(None);
        reader.follow.set(true);
        let (source, wanted) = (of_filter.clone(), reader.filter.get_untracked());
        leptos::task::spawn_local(async move {
            TimeoutFuture::new(wait_ms).await;
            if reader.is_alive() && reader.filter.get_untracked() == wanted {
                reader.read_last(&source).await;
            }
        });
    };
    let by_level = refilter.clone();
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
                aria-label=t!("Show only lines of the whole log that hold this text")
                data-testid="log-filter"
                maxlength="100"
                prop:value=move || reader.filter.with(|filter| filter.holding.clone())
                on:input=move |event| {
                    let text = event_target_value(&event);
                    refilter(TYPING_MS, &|filter| filter.holding.clone_from(&text));
                }
            />
            {(!choices.is_empty()).then(|| view! {
                <select class="input" aria-label=t!("Levels") data-testid="log-levels" on:change=move |event| {
                    let letters = event_target_value(&event);
                    by_level(0, &|filter| filter.levels.clone_from(&letters));
                }>
                    {choices.iter().map(|(letters, words)| view! { <option value=*letters>{t(words)}</option> }).collect_view()}
                </select>
            })}
            {log_help()}
            <div class="log-actions">
            <button type="button" class="btn compact" data-testid="log-follow" aria-pressed=move || reader.follow.get().to_string() on:click=move |_| reader.follow.update(|on| *on = !*on)>
                {draw(Icon::Follow)}{t!("Follow")}
            </button>
            <button type="button" class="btn compact" data-testid="log-refresh" disabled=move || !reachable.get() on:click=refresh>{draw(Icon::Refresh)}{t!("Refresh")}</button>
            <button type="button" class="btn compact" data-testid="log-save" disabled=move || !reachable.get() on:click=save>{draw(Icon::Download)}{t!("Save as .txt")}</button>
            </div>
        </div>
    }
}

fn draw_line(line: &LogLine, application: bool) -> impl IntoView + use<> {
    let text = line.text.clone();
    if application {
        // What scripts print bears no date of its own; the lines about the scripts themselves do, in their text.
        let class = if text.starts_with("--- ") { "log-line app muted" } else { "log-line app" };
        return view! { <div class=class><span class="text">{text}</span></div> }.into_any();
    }
    let (tone, word) = match line.level.as_str() {
        "C" => (Some("bad"), t!("error")),
        "W" => (Some("busy"), t!("warning")),
        "E" => (Some("ok"), t!("event")),
        "S" => (None, t!("script")),
        "U" => (None, t!("user")),
        _ => (None, t!("info")),
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
        // The log may have left the page by then.
        if let Some(pane) = pane.try_get_untracked().flatten() {
            pane.set_scroll_top(pane.scroll_height());
        }
    });
}

/// What is looked at: a line, and how far below the upper edge of the pane it is drawn, pixels. A height would not do: lines
/// may be let go at the lower end when older ones come.
struct Place {
    line: web_sys::HtmlElement,
    below: i32,
}

impl Place {
    fn of(pane: &web_sys::HtmlDivElement) -> Option<Self> {
        let line: web_sys::HtmlElement = pane.query_selector(".log-line").ok()??.dyn_into().ok()?;
        let below = line.offset_top() - pane.scroll_top();
        Some(Self { line, below })
    }
}

/// Leaves what is looked at where it is, once older lines are drawn above it.
fn keep_place(pane: NodeRef<html::Div>, place: Option<Place>) {
    request_animation_frame(move || {
        if let Some((pane, place)) = pane.try_get_untracked().flatten().zip(place) {
            pane.set_scroll_top(place.line.offset_top() - place.below);
        }
    });
}
