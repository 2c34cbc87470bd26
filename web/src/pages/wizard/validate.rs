//! Wizard: the verdict of the form, of `userconfig.xml` and of each node, before anything is changed on a node.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::client;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{CheckLine, Notice, Waiting};
use crate::rules::tone::Tone;
use crate::rules::wizard::{Step, path_lines};
use crate::store::Console;
use holdfast_api::console::{NodePaths, ValidateView};
use holdfast_api::ids::ModuleId;
use holdfast_api::problem::FieldProblem;
use leptos::prelude::*;
use leptos_router::components::A;

/// The step.
#[component]
pub fn ValidateStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let console = Console::get();
    let (verdict, problem) = (RwSignal::new(None::<ValidateView>), RwSignal::new(None::<String>));
    let ask = move || {
        verdict.set(None);
        problem.set(None);
        draft.save(console, move || {
            console.call(client::validate(draft.module), move |answer| match answer {
                Ok(view) => verdict.set(Some(view)),
                Err(error) => problem.set(Some(error.text())),
            });
        });
    };
    ask();
    let blocked = Signal::derive(move || {
        verdict.with(|verdict| verdict.as_ref().is_none_or(|verdict| !verdict.problems.is_empty()))
    });
    view! {
        <StepCard title="Validate" lead="The settings, the userconfig.xml made from them, and the directories on each node are checked. Nothing is changed on the nodes.">
            <div><button type="button" class="btn" data-testid="validate" on:click=move |_| ask()>{draw(Icon::Refresh)}"Validate again"</button></div>
            {move || match (verdict.get(), problem.get()) {
                (Some(verdict), _) => view! { <Verdict verdict module=draft.module /> }.into_any(),
                (None, Some(text)) => view! { <Notice tone=Tone::Bad title="The check could not be made" text /> }.into_any(),
                (None, None) => view! { <Waiting text="Checking the form and asking the nodes…" /> }.into_any(),
            }}
        </StepCard>
        <StepFoot draft step=Step::Validate blocked />
    }
}

#[component]
fn Verdict(verdict: ValidateView, module: ModuleId) -> impl IntoView {
    let clean = verdict.problems.is_empty();
    let summary = match (clean, verdict.warnings.is_empty()) {
        (true, true) => (Tone::Ok, "Everything is right", ""),
        (true, false) => (Tone::Busy, "Right, with things to mind", "They do not stand in the way."),
        (false, _) => (Tone::Bad, "This cannot be configured yet", "Mend what is listed below."),
    };
    let userconfig = verdict.userconfig.clone();
    view! {
        <Notice tone=summary.0 title=summary.1 text=summary.2 testid="verdict" />
        <ul class="checks" data-testid="validate-problems">
            {verdict.problems.iter().map(|problem| found(problem, Tone::Bad, module)).collect_view()}
            {verdict.warnings.iter().map(|problem| found(problem, Tone::Busy, module)).collect_view()}
        </ul>
        {matrix(&verdict.nodes)}
        {(!userconfig.is_empty()).then(|| view! {
            <details>
                <summary>"The userconfig.xml that is configured"</summary>
                <pre class="mono" tabindex="0">{userconfig}</pre>
            </details>
        })}
    }
}

/// One thing found, with the way to where it is mended.
fn found(problem: &FieldProblem, tone: Tone, module: ModuleId) -> impl IntoView + use<> {
    let step = Step::of_field(&problem.field);
    let text = if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.field, problem.message)
    };
    view! {
        <CheckLine tone text />
        {(tone == Tone::Bad && step != Step::Name).then(|| view! { <li><span></span><A href=step.href(module.0)>{format!("Mend it in {}", step.label())}</A></li> })}
    }
}

/// Directories down, nodes across.
fn matrix(nodes: &[NodePaths]) -> impl IntoView + use<> {
    let paths: Vec<String> = nodes.iter().flat_map(|node| node.paths.iter().map(|facts| facts.path.clone())).fold(
        Vec::new(),
        |mut all, path| {
            if !all.contains(&path) {
                all.push(path);
            }
            all
        },
    );
    let heads = nodes.iter().map(|node| view! { <th scope="col">{node.name.clone()}</th> }).collect_view();
    let errors: Vec<String> = nodes
        .iter()
        .filter(|node| !node.error.is_empty())
        .map(|node| format!("{}: {}", node.name, node.error))
        .collect();
    let nodes = nodes.to_vec();
    let row = move |path: String| {
        let cells = nodes.iter().map(|node| {
            let lines = node.paths.iter().find(|facts| facts.path == path).map(path_lines).unwrap_or_default();
            view! { <td><ul class="checks">{lines.into_iter().map(|(tone, text)| view! { <CheckLine tone text /> }).collect_view()}</ul></td> }
        });
        let cells = cells.collect_view();
        view! { <tr><th scope="row" class="mono">{path}</th>{cells}</tr> }
    };
    let rows = paths.into_iter().map(row).collect_view();
    view! {
        <ul class="checks">{errors.into_iter().map(|text| view! { <CheckLine tone=Tone::Bad text /> }).collect_view()}</ul>
        <div class="table-wrap">
            <table class="table matrix" data-testid="validate-matrix">
                <thead><tr><th scope="col">"Directory"</th>{heads}</tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}
