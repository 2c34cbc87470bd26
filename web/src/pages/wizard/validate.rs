//! Wizard: the verdict of the form, of `userconfig.xml` and of each node, before anything is changed on a node.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::client;
use crate::components::diff::diff;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{CheckLine, Notice, Waiting};
use crate::language::{t, tf};
use crate::rules::tone::Tone;
use crate::rules::wizard::{Step, node_checks, path_lines};
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
        match verdict.with(|verdict| verdict.as_ref().map(|verdict| verdict.problems.is_empty())) {
            Some(true) => None,
            Some(false) => Some(t!("What is listed above has to be mended first.")),
            None => Some(t!("The check has to be made first.")),
        }
    });
    view! {
        <StepCard title=t!("Validate") lead=t!("The settings, the userconfig.xml made from them, and the directories on each node are checked. Nothing is changed on the nodes.")>
            <div><button type="button" class="btn" data-testid="validate" on:click=move |_| ask()>{draw(Icon::Refresh)}{t!("Validate again")}</button></div>
            {move || match (verdict.get(), problem.get()) {
                (Some(verdict), _) => view! { <Verdict verdict module=draft.module /> }.into_any(),
                (None, Some(text)) => view! { <Notice tone=Tone::Bad title=t!("The check could not be made") text /> }.into_any(),
                (None, None) => view! { <Waiting text=t!("Checking the form and asking the nodes…") /> }.into_any(),
            }}
        </StepCard>
        <StepFoot draft step=Step::Validate blocked />
    }
}

#[component]
fn Verdict(verdict: ValidateView, module: ModuleId) -> impl IntoView {
    let clean = verdict.problems.is_empty();
    let summary = match (clean, verdict.warnings.is_empty()) {
        (true, true) => (Tone::Ok, t!("Everything is right"), ""),
        (true, false) => (Tone::Busy, t!("Right, with things to mind"), t!("They do not stand in the way.")),
        (false, _) => (Tone::Bad, t!("This cannot be configured yet"), t!("Mend what is listed below.")),
    };
    let userconfig = verdict.userconfig.clone();
    view! {
        <Notice tone=summary.0 title=summary.1 text=summary.2 testid="verdict" />
        <ul class="checks" data-testid="validate-problems">
            {verdict.problems.iter().map(|problem| found(problem, Tone::Bad, module)).collect_view()}
            {verdict.warnings.iter().map(|problem| found(problem, Tone::Busy, module)).collect_view()}
        </ul>
        {matrix(&verdict.nodes, module)}
        <Changes module new=userconfig.clone() />
        {(!userconfig.is_empty()).then(|| view! {
            <details>
                <summary>{t!("The userconfig.xml that is configured")}</summary>
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
        {(tone == Tone::Bad && step != Step::Name).then(|| view! { <li><span></span><A href=step.href(module.0)>{tf!("Mend it in {0}", 0 = step.label())}</A></li> })}
    }
}

/// What differs from the configuration that the nodes have.
#[component]
fn Changes(module: ModuleId, new: String) -> impl IntoView {
    let console = Console::get();
    let old = RwSignal::new(None::<String>);
    let desired = untrack(move || console.module(module)).and_then(|live| live.module.desired);
    if let Some(version) = desired {
        console.call(client::files(module, version), move |answer| {
            if let Ok(view) = answer {
                let file = view.files.into_iter().find(|file| file.path == "conf/userconfig.xml");
                old.try_set(file.and_then(|file| file.text));
            }
        });
    }
    view! {
        {move || old.get().map(|old| view! {
            <section class="stack tight">
                <h3>{t!("Changes of userconfig.xml to what is configured")}</h3>
                {diff(&old, &new)}
            </section>
        })}
    }
}

/// What is checked of each node besides the directories.
fn checks(module: ModuleId) -> impl IntoView + use<> {
    let console = Console::get();
    let networks: Vec<String> = untrack(move || console.module(module))
        .and_then(|live| live.facts)
        .map(|facts| facts.networks.into_iter().map(|network| network.lan).collect())
        .unwrap_or_default();
    let columns: Vec<Vec<(String, Tone, String)>> = console
        .snapshot
        .with_untracked(|snapshot| {
            snapshot.as_deref().map(|snapshot| {
                let form = |id| snapshot.cluster.nodes.iter().find(|form| form.id == id);
                let members = snapshot.nodes.iter().filter(|node| node.in_cluster);
                members.map(|node| node_checks(node, form(node.id), &networks)).collect()
            })
        })
        .unwrap_or_default();
    let names: Vec<String> =
        columns.first().map(|cells| cells.iter().map(|cell| cell.0.clone()).collect()).unwrap_or_default();
    let row = |(index, name): (usize, String)| {
        let cell = |cells: &Vec<(String, Tone, String)>| {
            let found = cells.get(index).cloned();
            view! { <td><ul class="checks">{found.map(|(_, tone, text)| view! { <CheckLine tone text /> })}</ul></td> }
        };
        view! { <tr><th scope="row">{name}</th>{columns.iter().map(cell).collect_view()}</tr> }
    };
    names.into_iter().enumerate().map(row).collect_view()
}

/// Directories down, nodes across.
fn matrix(nodes: &[NodePaths], module: ModuleId) -> impl IntoView + use<> {
    let checks = checks(module);
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
    let nodes_asked = !nodes.is_empty();
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
    let first = if nodes_asked { t!("Directory") } else { t!("Check") };
    view! {
        <ul class="checks">{errors.into_iter().map(|text| view! { <CheckLine tone=Tone::Bad text /> }).collect_view()}</ul>
        <div class="table-wrap">
            <table class="table matrix" data-testid="validate-matrix">
                <thead><tr><th scope="col">{first}</th>{heads}</tr></thead>
                <tbody>{checks}{rows}</tbody>
            </table>
        </div>
    }
}
