//! Wizard: the processes to watch, picked from a node's list or typed.

use super::draft::Draft;
use super::{Number, StepCard, StepFoot};
use crate::client;
use crate::components::form::{RepeatList, SelectField, TextField};
use crate::components::icon::{Icon, draw};
use crate::components::notice::Waiting;
use crate::effect::effect;
use crate::language::{t, tf};
use crate::rules::wizard::{Step, checker_for, number};
use crate::store::Console;
use holdfast_api::agent::ProcessFacts;
use holdfast_api::config::{ModuleMode, ProcessChecker};
use holdfast_api::ids::NodeId;
use leptos::prelude::*;

/// A checker as edited.
#[derive(Clone, Copy)]
struct Row {
    name: RwSignal<String>,
    argregex: RwSignal<String>,
    atleast: RwSignal<String>,
    action: RwSignal<String>,
    /// Not shown; kept as it is in the file.
    class: RwSignal<String>,
}

impl Row {
    fn of(checker: &ProcessChecker) -> Self {
        Self {
            name: RwSignal::new(checker.name.clone()),
            argregex: RwSignal::new(checker.argregex.clone()),
            atleast: RwSignal::new(checker.atleast.to_string()),
            action: RwSignal::new(checker.action.as_str().to_owned()),
            class: RwSignal::new(checker.class.clone()),
        }
    }

    fn empty() -> Self {
        Self::of(&checker_for("", ModuleMode::Mirror))
    }

    fn empty_light() -> Self {
        Self::of(&checker_for("", ModuleMode::Light))
    }

    fn checker(self) -> ProcessChecker {
        ProcessChecker {
            argregex: self.argregex.get(),
            atleast: number(&self.atleast.get()),
            action: self.action.get().into(),
            class: self.class.get(),
            name: self.name.get().trim().to_owned(),
        }
    }
}

/// The step.
#[component]
pub fn ProcessesStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let rows = RwSignal::new(
        draft
            .settings
            .with_untracked(|settings| settings.processes.iter().map(Row::of).enumerate().collect::<Vec<_>>()),
    );
    effect(move || {
        let processes: Vec<ProcessChecker> = rows.with(|rows| rows.iter().map(|(_, row)| row.checker()).collect());
        if draft.settings.with_untracked(|settings| settings.processes != processes) {
            draft.settings.update(|settings| settings.processes = processes);
        }
    });
    let mode = draft.settings.with_untracked(|settings| settings.mode);
    let make: fn() -> Row = if mode == ModuleMode::Light { Row::empty_light } else { Row::empty };
    let pick = Callback::new(move |name: String| {
        rows.update(|rows| {
            // An untouched row is filled first.
            match rows.iter().find(|(_, row)| row.name.with_untracked(String::is_empty)) {
                Some((_, row)) => row.name.set(name),
                None => {
                    let key = rows.iter().map(|(key, _)| key + 1).max().unwrap_or(0);
                    rows.push((key, Row::of(&checker_for(&name, mode))));
                }
            }
        });
    });
    let row = move |key: usize, row: Row, remove: AnyView| view! { <Checker draft rows key row remove /> };
    view! {
        <StepCard title=t!("Process checkers") lead=t!("These processes are watched on the primary. When one is missing, the application is restarted there; after too many restarts the module stops and the other node takes over. No checker is needed for a first try.")>
            <RepeatList rows row make=make add_label=t!("Add a process") testid="add-process" />
            <Picker pick />
            <div class="limited"><Number draft id="polltimer_s" label=t!("Look at processes every (s)") read=|settings| settings.polltimer_s write=|settings, value| settings.polltimer_s = value /></div>
        </StepCard>
        <StepFoot draft step=Step::Processes />
    }
}

#[component]
fn Checker(draft: Draft, rows: RwSignal<Vec<(usize, Row)>>, key: usize, row: Row, remove: AnyView) -> impl IntoView {
    let problem = move |part: &'static str| {
        Signal::derive(move || {
            let index = rows.with(|rows| rows.iter().position(|(other, _)| *other == key))?;
            draft.message(&format!("processes[{index}].{part}"))
        })
    };
    let actions = [
        ("restart", t!("Restart the application")),
        ("stopstart", t!("Stop, fail over, start again")),
        ("stop", t!("Stop, fail over")),
        ("noaction", t!("Only say so")),
    ];
    let mut choices = actions.map(|(word, label)| (word.to_owned(), label.to_owned())).to_vec();
    let program = row.action.get_untracked();
    if !actions.iter().any(|(word, _)| *word == program) {
        choices.push((program.clone(), tf!("Run {program}", program)));
    }
    view! {
        <div class="repeat-row"><TextField id=format!("process-{key}") label=t!("Command name") value=row.name problem=problem("name") placeholder="postgres" code=true />{remove}</div>
        <div class="columns">
            <TextField id=format!("argregex-{key}") label=t!("Arguments match") hint=t!("Regular expression on the command line; empty: any") value=row.argregex problem=problem("argregex") code=true />
            <TextField id=format!("atleast-{key}") label=t!("At least") hint=t!("How many must run") value=row.atleast problem=problem("atleast") />
            <SelectField id=format!("action-{key}") label=t!("When one is missing") value=row.action choices=Signal::stored(choices) />
        </div>
    }
}

/// The processes that run on a node now; pressing one adds it.
#[component]
fn Picker(pick: Callback<String>) -> impl IntoView {
    let console = Console::get();
    let open = RwSignal::new(None::<NodeId>);
    let (found, problem, filter) =
        (RwSignal::new(None::<Vec<ProcessFacts>>), RwSignal::new(None::<String>), RwSignal::new(String::new()));
    let nodes = console.cluster_nodes();
    let list = move |node: NodeId| {
        open.set(Some(node));
        found.set(None);
        problem.set(None);
        console.call(client::processes(node), move |answer| match answer {
            Ok(view) => found.set(Some(view.processes)),
            Err(error) => problem.set(Some(error.text())),
        });
    };
    let shown = move || {
        let filter = filter.get().to_lowercase();
        let fits = |process: &ProcessFacts| {
            filter.is_empty()
                || process.name.to_lowercase().contains(&filter)
                || process.arguments.to_lowercase().contains(&filter)
        };
        found.get().unwrap_or_default().into_iter().filter(fits).take(200).collect::<Vec<_>>()
    };
    view! {
        <div class="stack tight">
            <h3>{t!("Pick from what runs now")}</h3>
            <div class="row tight">
                {nodes.into_iter().map(|(node, name)| view! {
                    <button type="button" class="btn compact" data-testid=format!("processes-of-{name}") aria-pressed=move || (open.get() == Some(node)).to_string() on:click=move |_| list(node)>{name.clone()}</button>
                }).collect_view()}
            </div>
            {move || problem.get().map(|text| view! { <p class="problem">{draw(Icon::Alert)}{text}</p> })}
            <Show when=move || open.get().is_some() && found.with(Option::is_none) && problem.with(Option::is_none)><Waiting text=t!("Asking the node…") /></Show>
            <Show when=move || found.with(Option::is_some)>
                <TextField id="process-filter" label=t!("Filter") value=filter />
                <div class="process-list" data-testid="process-list">
                    {move || shown().into_iter().map(|process| {
                        let name = process.name.clone();
                        view! {
                            <button type="button" on:click=move |_| pick.run(name.clone())>
                                <span class="num">{process.pid}</span><strong>{process.name.clone()}</strong><span class="args mono">{process.arguments}</span>
                            </button>
                        }
                    }).collect_view()}
                </div>
            </Show>
        </div>
    }
}
