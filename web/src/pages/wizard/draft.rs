//! What the wizard's steps share: the settings being edited, the version they are of, saving.

use crate::client;
use crate::keep;
use crate::rules::merge::merge;
use crate::rules::wizard::{Step, message_for, problems_of};
use crate::store::Console;
use holdfast_api::config::{ModuleMode, ModuleSettings};
use holdfast_api::console::{SettingsForm, SettingsView};
use holdfast_api::ids::ModuleId;
use holdfast_api::problem::FieldProblem;
use leptos::prelude::*;

/// What edited settings are kept under while the page is loaded anew.
fn key(module: ModuleId) -> String {
    format!("settings.{}", module.0)
}

/// The settings being edited; a handle that is copied around.
#[derive(Clone, Copy)]
pub struct Draft {
    /// The module.
    pub module: ModuleId,
    /// The settings, as on the page.
    pub settings: RwSignal<ModuleSettings>,
    /// They have been read from the server.
    pub loaded: RwSignal<bool>,
    /// What went wrong with reading or saving.
    pub problem: RwSignal<Option<String>>,
    /// What the server finds wrong with the file, before any form can be shown.
    pub file_problems: RwSignal<Vec<FieldProblem>>,
    /// A request is under way.
    pub busy: RwSignal<bool>,
    /// Somebody else saved a version meanwhile.
    pub conflict: RwSignal<bool>,
    /// Rises when the settings were replaced: the steps are drawn anew.
    pub revision: RwSignal<u32>,
    /// Fields that both changed, after the changes were put together.
    pub both: RwSignal<Vec<&'static str>>,
    saved: RwSignal<ModuleSettings>,
    version: RwSignal<u64>,
}

impl Draft {
    /// The draft of `module`; begins to read it.
    pub fn open(console: Console, module: ModuleId) -> Self {
        let draft = Self {
            module,
            settings: RwSignal::new(ModuleSettings::default()),
            loaded: RwSignal::new(false),
            problem: RwSignal::new(None),
            file_problems: RwSignal::new(Vec::new()),
            busy: RwSignal::new(false),
            conflict: RwSignal::new(false),
            revision: RwSignal::new(0),
            both: RwSignal::new(Vec::new()),
            saved: RwSignal::new(ModuleSettings::default()),
            version: RwSignal::new(0),
        };
        let edited = move || {
            let (version, saved, settings) =
                (draft.version.get_untracked(), draft.saved.get_untracked(), draft.settings.get_untracked());
            (settings != saved).then_some((version, saved, settings))
        };
        keep::keep(key(module), edited);
        draft.read(console);
        draft
    }

    /// Reads the saved settings, dropping what was edited.
    pub fn read(self, console: Console) {
        self.problem.set(None);
        self.conflict.set(false);
        self.both.set(Vec::new());
        console.call(client::settings(self.module), move |answer| match answer {
            Ok(view) => self.take(view),
            Err(error) => self.problem.set(Some(error.text())),
        });
    }

    /// Reads what somebody else saved, and puts what was edited here on top of it.
    pub fn put_on_theirs(self, console: Console) {
        self.problem.set(None);
        console.call(client::settings(self.module), move |answer| match answer {
            Ok(SettingsView { version, settings: Some(theirs), .. }) => {
                // The wizard may have been left meanwhile.
                let edited = (self.saved.try_get_untracked(), self.settings.try_get_untracked());
                let (Some(base), Some(mine)) = edited else { return };
                let (merged, both) = merge(&base, &mine, &theirs);
                self.version.set(version);
                self.saved.set(theirs);
                self.settings.set(merged);
                self.both.set(both);
                self.conflict.set(false);
                self.revision.update(|count| *count += 1);
            }
            Ok(view) => self.file_problems.set(view.problems),
            Err(error) => self.problem.set(Some(error.text())),
        });
    }

    /// The kind of the module.
    pub fn mode(self) -> ModuleMode {
        self.settings.with(|settings| settings.mode)
    }

    fn take(self, view: SettingsView) {
        self.version.set(view.version);
        self.file_problems.set(view.problems);
        if let Some(settings) = view.settings {
            self.saved.set(settings.clone());
            let kept = keep::take::<(u64, ModuleSettings, ModuleSettings)>(&key(self.module));
            self.settings.set(match kept {
                Some((version, _, mine)) if version == view.version => mine,
                Some((_, base, mine)) => {
                    let (merged, both) = merge(&base, &mine, &settings);
                    self.both.set(both);
                    merged
                }
                None => settings,
            });
            self.loaded.set(true);
            self.revision.update(|count| *count += 1);
        }
    }

    /// True if something is edited and not saved.
    pub fn is_dirty(self) -> bool {
        self.settings.with(|settings| self.saved.with(|saved| settings != saved))
    }

    /// What is wrong with `field`, in words.
    pub fn message(self, field: &str) -> Option<String> {
        self.settings.with(|settings| message_for(field, &settings.validate()))
    }

    /// What is wrong with the part of the settings edited in `step`, if anything is.
    pub fn why_not(self, step: Step) -> Option<String> {
        self.settings.with(|settings| Some(problems_of(step, settings).into_iter().next()?.message))
    }

    /// Saves what was edited, if anything was, then goes on with `then`.
    pub fn save(self, console: Console, then: impl FnOnce() + 'static) {
        self.problem.set(None);
        if !untrack(move || self.is_dirty()) {
            then();
            return;
        }
        self.busy.set(true);
        let settings = self.settings.get_untracked();
        let form = SettingsForm { expected_version: self.version.get_untracked(), settings: settings.clone() };
        let module = self.module;
        console.call(async move { client::save_settings(module, &form).await }, move |answer| {
            self.busy.set(false);
            match answer {
                Ok(view) => {
                    self.version.set(view.version);
                    self.saved.set(settings);
                    then();
                }
                Err(error) if error.status() == Some(409) => self.conflict.set(true),
                Err(error) => self.problem.set(Some(error.text())),
            }
        });
    }
}
