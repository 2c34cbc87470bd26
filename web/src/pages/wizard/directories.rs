//! Wizard: the replicated directories, looked at on every node while they are typed.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::client;
use crate::components::form::{RepeatList, TextField};
use crate::components::notice::CheckLine;
use crate::effect::effect;
use crate::language::t;
use crate::rules::tone::Tone;
use crate::rules::wizard::{Step, path_lines};
use crate::store::Console;
use gloo_timers::future::TimeoutFuture;
use holdfast_api::agent::PathFacts;
use holdfast_api::config::check_directory;
use holdfast_api::ids::NodeId;
use leptos::prelude::*;

/// Nodes are asked when nothing has been typed for this long.
const QUIET_MS: u32 = 500;

/// The step.
#[component]
pub fn DirectoriesStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let rows = RwSignal::new(draft.settings.with_untracked(|settings| {
        settings.directories.iter().cloned().map(RwSignal::new).enumerate().collect::<Vec<_>>()
    }));
    effect(move || {
        let directories: Vec<String> =
            rows.with(|rows| rows.iter().map(|(_, path)| path.get().trim().to_owned()).collect());
        if draft.settings.with_untracked(|settings| settings.directories != directories) {
            draft.settings.update(|settings| settings.directories = directories);
        }
    });
    let row = move |key: usize, path: RwSignal<String>, remove: AnyView| {
        let problem = Signal::derive(move || {
            let index = rows.with(|rows| rows.iter().position(|(other, _)| *other == key))?;
            draft.message(&format!("directories[{index}]"))
        });
        view! {
            <div class="repeat-row"><TextField id=format!("directory-{key}") label=t!("Directory") value=path problem placeholder="/srv/ledger" code=true />{remove}</div>
            <OnNodes path />
        }
    };
    view! {
        <StepCard title=t!("Replicated directories") lead=t!("Every file below these directories is kept the same on both nodes: a write is acknowledged when both have it. Use the same paths on both nodes. Without any directory only the application fails over, not its data.")>
            <RepeatList rows row make=|| RwSignal::new(String::new()) add_label=t!("Add a directory") testid="add-directory" />
        </StepCard>
        <StepFoot draft step=Step::Directories />
    }
}

/// What each node says about `path`.
#[component]
fn OnNodes(path: RwSignal<String>) -> impl IntoView {
    let console = Console::get();
    let lines =
        console.cluster_nodes().into_iter().map(|(node, name)| view! { <OnNode node name path /> }).collect_view();
    view! { <div class="steps-grid dir-checks" data-testid="directory-checks">{lines}</div> }
}

#[component]
fn OnNode(node: NodeId, name: String, path: RwSignal<String>) -> impl IntoView {
    let console = Console::get();
    let found = RwSignal::new(None::<Result<PathFacts, String>>);
    let asked = StoredValue::new(0_u32);
    effect(move || {
        let wanted = path.get().trim().to_owned();
        asked.update_value(|count| *count += 1);
        let mine = asked.get_value();
        found.set(None);
        if check_directory(&wanted).is_err() {
            return;
        }
        leptos::task::spawn_local(async move {
            TimeoutFuture::new(QUIET_MS).await;
            if asked.try_get_value() != Some(mine) {
                return;
            }
            console.call(client::paths(node, vec![wanted]), move |answer| {
                if asked.try_get_value() == Some(mine) {
                    let facts = answer
                        .map_err(|error| error.text())
                        .and_then(|view| view.paths.into_iter().next().ok_or_else(|| t!("no answer").to_owned()));
                    found.set(Some(facts));
                }
            });
        });
    });
    let testid = format!("directory-on-{name}");
    let lines = move || match found.get() {
        None => vec![],
        Some(Err(text)) => vec![(Tone::Bad, text)],
        Some(Ok(facts)) => path_lines(&facts),
    };
    view! {
        <ul class="checks" data-testid=testid>
            {move || lines().into_iter().map(|(tone, text)| view! { <CheckLine tone text=format!("{name}: {text}") /> }).collect_view()}
        </ul>
    }
}
