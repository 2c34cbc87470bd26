//! The tray at the foot of every page: the last task, and on demand all of them with their result per node.

use super::icon::{Icon, draw};
use super::notice::{NodeResult, PerNodeResult, tone_icon};
use crate::language::{self, t, tf};
use crate::platform;
use crate::rules::tone::task_tone;
use crate::store::Console;
use holdfast_api::console::{TaskState, TaskView};
use leptos::prelude::*;

/// A task's results, a line per node.
pub fn results_of(task: &TaskView) -> Vec<NodeResult> {
    let one = |node: &holdfast_api::console::TaskNode| NodeResult {
        node: node.name.clone(),
        tone: task_tone(node.state),
        text: result_text(node.state, &node.message),
    };
    task.nodes.iter().map(one).collect()
}

fn result_text(state: TaskState, message: &str) -> String {
    if !message.is_empty() {
        return message.to_owned();
    }
    match state {
        TaskState::Waiting => t!("Not connected: it gets this when it is back."),
        TaskState::Running => t!("Under way…"),
        TaskState::Done => t!("Done."),
        TaskState::Failed => t!("Failed."),
    }
    .to_owned()
}

/// The tray; nothing is drawn before the first task.
#[component]
pub fn TaskTray() -> impl IntoView {
    let console = Console::get();
    let open = RwSignal::new(false);
    let tasks = Memo::new(move |_| console.read(|snapshot| snapshot.tasks.clone()).unwrap_or_default());
    let bar = move |task: TaskView| {
        let tone = task_tone(task.state);
        view! {
            <button type="button" class="tray-bar" data-tone=tone.name() data-testid="tray" aria-expanded=move || open.get().to_string() on:click=move |_| open.update(|on| *on = !*on)>
                {draw(tone_icon(tone))}
                <span class="what"><strong>{language::heard(&task.title).into_owned()}</strong>" "<span class="muted">{summary(&task)}</span></span>
                <span class="muted nowrap">{platform::time(task.began_unix_ms)}</span>
                {draw(Icon::Chevron)}
            </button>
        }
    };
    view! {
        <Show when=move || tasks.with(|tasks| !tasks.is_empty())>
            <section class="tray" aria-label=t!("Tasks")>
                {move || tasks.with(|tasks| tasks.first().cloned()).map(bar)}
                <Show when=move || open.get()>
                    <div class="tray-list">
                        {move || tasks.get().into_iter().map(|task| view! { <Entry task /> }).collect_view()}
                    </div>
                </Show>
            </section>
        </Show>
    }
}

fn summary(task: &TaskView) -> String {
    match task.state {
        TaskState::Waiting | TaskState::Running => {
            let done = task.nodes.iter().filter(|node| node.state == TaskState::Done).count();
            tf!("{done} of {0} nodes done", done, 0 = task.nodes.len())
        }
        TaskState::Done => t!("done").to_owned(),
        TaskState::Failed => t!("failed on some node").to_owned(),
    }
}

#[component]
fn Entry(task: TaskView) -> impl IntoView {
    let results = results_of(&task);
    view! {
        <article class="stack tight">
            <p class="row between small"><strong>{language::heard(&task.title).into_owned()}</strong><span class="muted">{task.author}", "{platform::date_time(task.began_unix_ms)}</span></p>
            <PerNodeResult results=Signal::stored(results) testid="task-results" />
        </article>
    }
}
