//! Wizard: what is checked besides processes.

use super::draft::Draft;
use super::{StepCard, StepFoot};
use crate::components::form::{RepeatList, SelectField, TextField};
use crate::effect::effect;
use crate::language::{later, t};
use crate::rules::wizard::{Step, checker_of_kind, kind_words, number};
use holdfast_api::checker::{CheckAction, When};
use holdfast_api::config::{CheckerKind, CheckerSettings, ModuleMode};
use leptos::prelude::*;

const WHENS: [(When, &str); 5] = [
    (When::Pre, later!("before the start on")),
    (When::Prim, later!("while primary")),
    (When::Both, later!("while started")),
    (When::Second, later!("while secondary")),
    (When::Sec, later!("while secondary or alone")),
];
const ACTIONS: [(CheckAction, &str); 5] = [
    (CheckAction::Wait, later!("Stop the module and wait")),
    (CheckAction::Restart, later!("Restart the application")),
    (CheckAction::StopStart, later!("Stop, fail over, start again")),
    (CheckAction::Stop, later!("Stop, fail over")),
    (CheckAction::NoAction, later!("Only show it")),
];

/// A checker as edited.
#[derive(Clone, Copy)]
struct Row {
    kind: RwSignal<String>,
    ident: RwSignal<String>,
    when: RwSignal<String>,
    action: RwSignal<String>,
    target: RwSignal<String>,
    port: RwSignal<String>,
    arg: RwSignal<String>,
    interval_ms: RwSignal<String>,
    timeout_ms: RwSignal<String>,
}

impl Row {
    fn of(checker: &CheckerSettings) -> Self {
        let text = |number: u32| if number == 0 { String::new() } else { number.to_string() };
        Self {
            kind: RwSignal::new(checker.kind.as_str().to_owned()),
            ident: RwSignal::new(checker.ident.clone()),
            when: RwSignal::new(checker.when.as_str().to_owned()),
            action: RwSignal::new(checker.action.as_str().to_owned()),
            target: RwSignal::new(checker.target.clone()),
            port: RwSignal::new(text(checker.port.into())),
            arg: RwSignal::new(checker.arg.clone()),
            interval_ms: RwSignal::new(text(checker.interval_ms)),
            timeout_ms: RwSignal::new(text(checker.timeout_ms)),
        }
    }

    fn empty() -> Self {
        Self::of(&checker_of_kind(CheckerKind::Tcp, ModuleMode::Mirror))
    }

    fn kind(self) -> CheckerKind {
        let kind = self.kind.get();
        CheckerKind::ALL.into_iter().find(|other| other.as_str() == kind).unwrap_or_default()
    }

    /// Another kind was chosen: what the old one said of time and action no longer fits.
    fn preset(self, mode: ModuleMode) {
        let preset = checker_of_kind(self.kind(), mode);
        self.when.set(preset.when.as_str().to_owned());
        self.action.set(preset.action.as_str().to_owned());
        let text = |number: u32| if number == 0 { String::new() } else { number.to_string() };
        self.port.set(text(preset.port.into()));
        self.interval_ms.set(text(preset.interval_ms));
        self.timeout_ms.set(text(preset.timeout_ms));
    }

    fn checker(self) -> CheckerSettings {
        let (when, action) = (self.when.get(), self.action.get());
        CheckerSettings {
            kind: self.kind(),
            ident: self.ident.get().trim().to_owned(),
            when: WHENS.into_iter().map(|(when, _)| when).find(|one| one.as_str() == when).unwrap_or(When::Pre),
            action: ACTIONS
                .into_iter()
                .map(|(action, _)| action)
                .find(|one| one.as_str() == action)
                .unwrap_or(CheckAction::NoAction),
            target: self.target.get().trim().to_owned(),
            port: u16::try_from(number(&self.port.get())).unwrap_or(0),
            arg: self.arg.get().trim().to_owned(),
            interval_ms: number(&self.interval_ms.get()),
            timeout_ms: number(&self.timeout_ms.get()),
        }
    }
}

/// The step.
#[component]
pub fn CheckersStep(
    /// The draft.
    draft: Draft,
) -> impl IntoView {
    let rows = RwSignal::new(
        draft.settings.with_untracked(|settings| settings.checkers.iter().map(Row::of).enumerate().collect::<Vec<_>>()),
    );
    effect(move || {
        let checkers: Vec<CheckerSettings> = rows.with(|rows| rows.iter().map(|(_, row)| row.checker()).collect());
        if draft.settings.with_untracked(|settings| settings.checkers != checkers) {
            draft.settings.update(|settings| settings.checkers = checkers);
        }
    });
    let row = move |key: usize, row: Row, remove: AnyView| view! { <Checker draft rows key row remove /> };
    view! {
        <StepCard title=t!("Checkers") lead=t!("Each checker sets a resource up or down; its rule acts when it is down. Virtual addresses bring their own checkers. None is needed for a first try.")>
            <RepeatList rows row make=Row::empty add_label=t!("Add a checker") testid="add-checker" />
        </StepCard>
        <StepFoot draft step=Step::Checkers />
    }
}

#[component]
fn Checker(draft: Draft, rows: RwSignal<Vec<(usize, Row)>>, key: usize, row: Row, remove: AnyView) -> impl IntoView {
    let mode = draft.settings.with_untracked(|settings| settings.mode);
    let problem = move |part: &'static str| {
        Signal::derive(move || {
            let index = rows.with(|rows| rows.iter().position(|(other, _)| *other == key))?;
            draft.message(&format!("checkers[{index}].{part}"))
        })
    };
    let kinds: Vec<_> = CheckerKind::ALL.map(|kind| (kind.as_str().to_owned(), kind_words(kind).0.to_owned())).to_vec();
    let whens: Vec<_> = WHENS.map(|(when, words)| (when.as_str().to_owned(), t(words).to_owned())).to_vec();
    let actions: Vec<_> = ACTIONS.map(|(action, words)| (action.as_str().to_owned(), t(words).to_owned())).to_vec();
    let before = StoredValue::new(row.kind.get_untracked());
    effect(move || {
        let kind = row.kind.get();
        if before.get_value() != kind {
            before.set_value(kind);
            untrack(move || row.preset(mode));
        }
    });
    view! {
        <div class="repeat-row"><SelectField id=format!("checker-{key}") label=t!("What is checked") value=row.kind choices=Signal::stored(kinds) />{remove}</div>
        <div class="columns">
            <TextField id=format!("checker-ident-{key}") label=t!("Name") hint=t!("Its resource is called by kind and name, such as `tcp.web`") value=row.ident problem=problem("ident") code=true />
            <SelectField id=format!("checker-when-{key}") label=t!("It looks") value=row.when choices=Signal::stored(whens) />
            <SelectField id=format!("checker-action-{key}") label=t!("When it is down") value=row.action choices=Signal::stored(actions) />
        </div>
        {told(problem("when"))}
        {told(problem("action"))}
        {move || view! { <Target key row kind=row.kind() target=problem("target") port=problem("port") arg=problem("arg") interval=problem("interval_ms") timeout=problem("timeout_ms") /> }}
    }
}

/// A problem of a choice from a list.
fn told(problem: Signal<Option<String>>) -> impl IntoView {
    move || problem.get().map(|text| view! { <p class="problem">{text}</p> })
}

/// The fields that a kind of checker has.
#[component]
fn Target(
    key: usize,
    row: Row,
    kind: CheckerKind,
    target: Signal<Option<String>>,
    port: Signal<Option<String>>,
    arg: Signal<Option<String>>,
    interval: Signal<Option<String>>,
    timeout: Signal<Option<String>>,
) -> impl IntoView {
    let (_, label, example) = kind_words(kind);
    let ported = matches!(kind, CheckerKind::Tcp | CheckerKind::Module);
    let looks = !matches!(kind, CheckerKind::Intf | CheckerKind::Custom);
    let answers = matches!(kind, CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Module);
    let more = match kind {
        CheckerKind::Custom => Some((t!("Arguments"), "")),
        CheckerKind::Module => Some((t!("Address of the node it runs on"), t!("Empty: this node"))),
        _ => None,
    };
    view! {
        <div class="columns">
            <TextField id=format!("checker-target-{key}") label=label value=row.target problem=target placeholder=example code=true />
            {more.map(|(label, hint)| view! { <TextField id=format!("checker-arg-{key}") label=label hint=hint value=row.arg problem=arg code=true /> })}
            {ported.then(|| view! { <TextField id=format!("checker-port-{key}") label=t!("Port") value=row.port problem=port /> })}
            {looks.then(|| view! { <TextField id=format!("checker-interval-{key}") label=t!("Every (ms)") value=row.interval_ms problem=interval /> })}
            {answers.then(|| view! { <TextField id=format!("checker-timeout-{key}") label=t!("Answer within (ms)") value=row.timeout_ms problem=timeout /> })}
        </div>
    }
}
