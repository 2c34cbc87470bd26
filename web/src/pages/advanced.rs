//! Advanced configuration: every file of a module, changed as text, compared with what the nodes have, and applied.

use crate::client;
use crate::components::diff::diff;
use crate::components::editor::CodeEditor;
use crate::components::form::TextField;
use crate::components::icon::{Icon, draw};
use crate::components::modules::{ModulePick, pick_module};
use crate::components::notice::{CheckLine, EmptyState, Notice, PerNodeResult, Waiting, prose};
use crate::components::shell::PageHead;
use crate::components::tray::results_of;
use crate::keep;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::files::{Draft, changes};
use crate::rules::marks::marks_of;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::config::check_name;
use holdfast_api::console::{FileView, FilesForm, RestoreForm, UserRole, VersionView};
use holdfast_api::ids::ModuleId;
use holdfast_api::problem::FieldProblem;
use leptos::{ev, prelude::*};

const USERCONFIG: &str = "conf/userconfig.xml";

/// The page.
#[component]
pub fn AdvancedPage() -> impl IntoView {
    let console = Console::get();
    let may = Memo::new(move |_| console.role().may(UserRole::Admin));
    let pick = pick_module(console, |_| true);
    view! {
        <div class="page">
            <PageHead title=t!("Advanced configuration").to_owned() lead=t!("Every file of a module as text: what the wizard does not show is here.") />
            <Show
                when=move || may.get()
                fallback=|| view! { <EmptyState icon=Icon::Files title=t!("Only for administrators") text=t!("Your role may not change the configuration.") /> }
            >
                <ModulePick pick id="advanced-module" />
                {move || pick.chosen.get().map(|module| view! { <Files module /> })}
                <Import />
            </Show>
        </div>
    }
}

/// What is kept while the page is loaded anew: the version that was edited, what was edited, the file shown.
type Kept = (u64, Draft, String);

/// What the page edits; a handle that is copied around.
#[derive(Clone, Copy)]
struct Editor {
    module: ModuleId,
    version: RwSignal<u64>,
    /// As saved.
    saved: RwSignal<Vec<FileView>>,
    /// As configured on the nodes; empty while nothing is.
    deployed: RwSignal<Vec<FileView>>,
    draft: RwSignal<Draft>,
    open: RwSignal<String>,
    versions: RwSignal<Vec<VersionView>>,
    problems: RwSignal<Vec<FieldProblem>>,
    failure: RwSignal<Option<String>>,
    conflict: RwSignal<bool>,
    task: RwSignal<Option<u64>>,
    loaded: RwSignal<bool>,
}

impl Editor {
    fn open(console: Console, module: ModuleId) -> Self {
        let editor = Self {
            module,
            version: RwSignal::new(0),
            saved: RwSignal::new(Vec::new()),
            deployed: RwSignal::new(Vec::new()),
            draft: RwSignal::new(Draft::new()),
            open: RwSignal::new(USERCONFIG.to_owned()),
            versions: RwSignal::new(Vec::new()),
            problems: RwSignal::new(Vec::new()),
            failure: RwSignal::new(None),
            conflict: RwSignal::new(false),
            task: RwSignal::new(None),
            loaded: RwSignal::new(false),
        };
        let key = format!("files.{}", module.0);
        let kept = keep::take::<Kept>(&key);
        if let Some((_, draft, open)) = &kept {
            editor.draft.set(draft.clone());
            editor.open.set(open.clone());
        }
        let edited = move || {
            let (version, draft) = (editor.version.get_untracked(), editor.draft.get_untracked());
            (!draft.is_empty()).then(|| (version, draft, editor.open.get_untracked()))
        };
        keep::keep::<Kept>(key, edited);
        editor.read(console, kept.map(|(version, ..)| version));
        editor
    }

    /// Reads what is saved and what is configured; what was edited stays.
    /// What was edited in a version other than the one there is now is in conflict with it.
    fn read(self, console: Console, of_version: Option<u64>) {
        self.failure.set(None);
        self.conflict.set(false);
        console.call(client::latest_files(self.module), move |answer| match answer {
            Ok(view) => {
                self.version.try_set(view.version);
                self.saved.try_set(view.files);
                if of_version.is_some_and(|version| version != view.version) {
                    self.conflict.try_set(true);
                }
                self.loaded.try_set(true);
            }
            Err(error) => drop(self.failure.try_set(Some(error.text()))),
        });
        let desired = untrack(move || console.module(self.module)).and_then(|live| live.module.desired);
        if let Some(version) = desired {
            console.call(client::files(self.module, version), move |answer| {
                if let Ok(view) = answer {
                    self.deployed.try_set(view.files);
                }
            });
        }
        console.call(client::versions(self.module), move |answer| {
            if let Ok(found) = answer {
                self.versions.try_set(found);
            }
        });
    }

    fn text(self, path: &str) -> String {
        self.draft
            .with(|draft| draft.get(path).cloned().flatten())
            .unwrap_or_else(|| saved_text(&self.saved.get(), path))
    }

    fn dirty(self) -> bool {
        self.saved.with(|saved| self.draft.with(|draft| !changes(saved, draft).is_empty()))
    }

    fn save(self, console: Console, then: impl FnOnce() + 'static) {
        let changes = self.saved.with_untracked(|saved| self.draft.with_untracked(|draft| changes(saved, draft)));
        if changes.is_empty() {
            then();
            return;
        }
        self.problems.set(Vec::new());
        self.failure.set(None);
        let (module, form) = (self.module, FilesForm { expected_version: self.version.get_untracked(), changes });
        console.call(async move { client::save_files(module, &form).await }, move |answer| match answer {
            Ok(_) => {
                self.draft.set(Draft::new());
                self.read(console, None);
                console.toast(Tone::Ok, t!("Saved as a new version; the nodes have the old one until it is applied."));
                then();
            }
            Err(error) if error.status() == Some(409) => self.conflict.set(true),
            Err(error) => match error.problems() {
                problems if problems.is_empty() => self.failure.set(Some(error.text())),
                problems => self.problems.set(problems),
            },
        });
    }

    fn apply(self, console: Console) {
        self.save(console, move || {
            console.start_shown_task(client::configure(self.module, Vec::new()), move |task| {
                self.task.set(task);
                self.read(console, None);
            });
        });
    }
}

fn saved_text(files: &[FileView], path: &str) -> String {
    files.iter().find(|file| file.path == path).and_then(|file| file.text.clone()).unwrap_or_default()
}

#[component]
fn Files(module: ModuleId) -> impl IntoView {
    let console = Console::get();
    let editor = Editor::open(console, module);
    view! {
        {move || editor.failure.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("That did not work") text testid="advanced-failure" /> })}
        <Show when=move || editor.conflict.get()>
            <Notice tone=Tone::Bad title=t!("Somebody else saved this module meanwhile") text=t!("Nothing was overwritten. Read their version; your text stays here, and can then be compared and saved.") testid="advanced-conflict">
                <button type="button" class="btn compact" on:click=move |_| editor.read(console, None)>{t!("Read their version")}</button>
            </Notice>
        </Show>
        <Show when=move || editor.loaded.get() fallback=|| view! { <Waiting text=t!("Reading the files…") /> }>
            <div class="control">
                <Tree editor />
                <div class="stack loose">
                    <Text editor />
                    <Compare editor />
                    <History editor />
                </div>
            </div>
        </Show>
    }
}

/// The files; a dot marks what is edited and not saved.
#[component]
fn Tree(editor: Editor) -> impl IntoView {
    let name = RwSignal::new(String::new());
    let add = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let typed = name.get_untracked().trim().to_owned();
        if typed.is_empty() {
            return;
        }
        let path = if typed.contains('/') { typed } else { format!("bin/{typed}") };
        let text = if path.starts_with("bin/") { "#!/bin/sh\n" } else { "" };
        editor.draft.update(|draft| {
            draft.insert(path.clone(), Some(text.to_owned()));
        });
        editor.open.set(path);
        name.set(String::new());
    };
    let paths = Memo::new(move |_| {
        let mut paths: Vec<String> = editor.saved.with(|saved| saved.iter().map(|file| file.path.clone()).collect());
        editor
            .draft
            .with(|draft| paths.extend(draft.keys().filter(|path| !paths.contains(path)).cloned().collect::<Vec<_>>()));
        paths.sort();
        paths
    });
    let one = move |path: String| {
        let (for_open, for_mark, for_click) = (path.clone(), path.clone(), path.clone());
        let state = move || {
            let changed = editor.draft.with(|draft| draft.get(&for_mark).cloned());
            match changed {
                Some(None) => t!("(removed)"),
                Some(Some(_)) => t!("(edited)"),
                None => "",
            }
        };
        view! {
            <li><button type="button" class="file-link mono" aria-current=move || (editor.open.get() == for_open).then_some("true") on:click=move |_| editor.open.set(for_click.clone())>{path}" "<span class="small">{state}</span></button></li>
        }
    };
    view! {
        <nav class="card card-body stack tight" aria-label=t!("Files") data-testid="file-tree">
            <ul class="stack tight">{move || paths.get().into_iter().map(one).collect_view()}</ul>
            <form class="stack tight" on:submit=add>
                <TextField id="new-file" label=t!("New file") value=name placeholder="check.sh" code=true />
                <div><button class="btn compact" data-testid="add-file" disabled=move || name.with(String::is_empty)>{draw(Icon::Add)}{t!("Add")}</button></div>
            </form>
        </nav>
    }
}

#[component]
fn Text(editor: Editor) -> impl IntoView {
    let console = Console::get();
    let binary = Memo::new(move |_| {
        let open = editor.open.get();
        editor.saved.with(|saved| saved.iter().any(|file| file.path == open && file.text.is_none()))
    });
    let remove = move |_| {
        let path = editor.open.get_untracked();
        editor.draft.update(|draft| {
            draft.insert(path, None);
        });
    };
    let discard = move |_| editor.draft.set(Draft::new());
    view! {
        <section class="card" aria-label=t!("Text of the file")>
            <div class="card-head">
                <h2 class="mono">{move || editor.open.get()}</h2>
                <Show when=move || editor.open.with(|open| open != USERCONFIG)>
                    <button type="button" class="btn compact" on:click=remove>{draw(Icon::Remove)}{t!("Remove")}</button>
                </Show>
            </div>
            <div class="card-body stack tight">
                {move || if binary.get() {
                    view! { <p class="muted">{t!("This file is no text; it can be replaced by importing a package.")}</p> }.into_any()
                } else {
                    let path = editor.open.get();
                    view! { <FileEditor editor path /> }.into_any()
                }}
                <ul class="checks" data-testid="editor-problems" aria-live="polite">
                    {move || editor.problems.get().into_iter().map(|problem| view! { <CheckLine tone=Tone::Bad text=problem.message /> }).collect_view()}
                </ul>
            </div>
            <div class="card-foot">
                <button type="button" class="btn" data-testid="discard-files" disabled=move || !editor.dirty() on:click=discard>{t!("Discard")}</button>
                <button type="button" class="btn" data-testid="save-files" disabled=move || !editor.dirty() on:click=move |_| editor.save(console, || ())>{t!("Save")}</button>
                <button type="button" class="btn primary" data-testid="apply-files" on:click=move |_| editor.apply(console)>{draw(Icon::Configure)}{t!("Apply to all nodes")}</button>
            </div>
        </section>
        <Show when=move || editor.task.get().is_some()>
            <PerNodeResult results=Signal::derive(move || editor.task.get().and_then(|task| console.task(task)).map(|task| results_of(&task)).unwrap_or_default()) testid="apply-results" />
        </Show>
    }
}

/// The text of one file, with marks where the server's messages point to.
#[component]
fn FileEditor(editor: Editor, path: String) -> impl IntoView {
    let (for_text, for_input, for_marks) = (path.clone(), path.clone(), path.clone());
    let text = Memo::new(move |_| editor.text(&for_text));
    let input = move |typed: String| {
        editor.draft.update(|draft| {
            draft.insert(for_input.clone(), Some(typed));
        });
    };
    let marks = Signal::derive(move || editor.problems.with(|problems| marks_of(&for_marks, problems)));
    view! { <CodeEditor id="editor" label=tf!("Text of {path}", path) path text on_input=Callback::new(input) marks tall=true /> }
}

/// The open file against what the nodes have.
#[component]
fn Compare(editor: Editor) -> impl IntoView {
    let known = move || editor.deployed.with(|deployed| !deployed.is_empty());
    view! {
        <Show when=known>
            <details class="card card-body" data-testid="compare">
                <summary>{t!("Changes to what the nodes have")}</summary>
                {move || {
                    let open = editor.open.get();
                    diff(&saved_text(&editor.deployed.get(), &open), &editor.text(&open))
                }}
            </details>
        </Show>
    }
}

#[component]
fn History(editor: Editor) -> impl IntoView {
    let console = Console::get();
    let desired = Memo::new(move |_| console.module(editor.module).and_then(|live| live.module.desired));
    let row = move |version: VersionView| {
        let number = version.version;
        let restore = move |_| {
            let form = RestoreForm { version: number, expected_version: editor.version.get_untracked() };
            let module = editor.module;
            console.call(async move { client::restore(module, &form).await }, move |answer| match answer {
                Ok(_) => {
                    console
                        .toast(Tone::Ok, tf!("Version {number} is the newest again; apply it to the nodes.", number));
                    editor.draft.set(Draft::new());
                    editor.read(console, None);
                }
                Err(error) => console.toast(Tone::Bad, error.text()),
            });
        };
        let latest = move || editor.version.get() == number;
        view! {
            <tr>
                <th scope="row">{number}" "{move || (desired.get() == Some(number)).then_some(t!("(on the nodes)"))}</th>
                <td class="nowrap">{platform::date_time(version.saved_unix_ms)}</td>
                <td>{version.author}</td>
                <td>{version.note}</td>
                <td class="num"><button type="button" class="btn compact" data-testid=format!("restore-{number}") disabled=latest on:click=restore>{t!("Restore")}</button></td>
            </tr>
        }
    };
    view! {
        <section class="card" aria-labelledby="versions">
            <div class="card-head">
                <h2 id="versions">{t!("Versions")}</h2>
                <a class="btn compact" data-testid="export" href=client::package_href(editor.module) download="">{draw(Icon::Download)}{t!("Export .safe")}</a>
            </div>
            <div class="table-wrap" tabindex="0" role="group" aria-label=t!("Table of versions")>
                <table class="table" data-testid="versions">
                    <thead><tr><th scope="col">{t!("Version")}</th><th scope="col">{t!("Saved")}</th><th scope="col">{t!("By")}</th><th scope="col">{t!("What")}</th><th scope="col"><span class="visually-hidden">{t!("Restore")}</span></th></tr></thead>
                    <tbody>{move || editor.versions.get().into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
        </section>
    }
}

/// A module made from a package of this or another installation.
#[component]
fn Import() -> impl IntoView {
    let console = Console::get();
    let (name, file) = (RwSignal::new(String::new()), RwSignal::new_local(None::<web_sys::File>));
    let refusal = RwSignal::new(None::<String>);
    let problem = Signal::derive(move || name.with(|name| if name.is_empty() { None } else { check_name(name).err() }));
    let pick = move |event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        let picked = input.files().and_then(|files| files.get(0));
        if let Some(picked) = &picked
            && name.with_untracked(String::is_empty)
        {
            name.set(picked.name().trim_end_matches(".safe").to_lowercase());
        }
        file.set(picked);
    };
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let Some(file) = file.get_untracked() else { return };
        let name = name.get_untracked();
        refusal.set(None);
        console.call(async move { client::import(&name, file).await }, move |answer| match answer {
            Ok(module) => console.toast(Tone::Ok, tf!("{0} is imported as a draft.", 0 = module.name)),
            Err(error) => refusal.set(Some(error.text())),
        });
    };
    view! {
        <section class="card" aria-labelledby="import">
            <div class="card-head"><h2 id="import">{t!("Import a module")}</h2></div>
            <form class="card-body stack" on:submit=submit>
                <p class="muted">{prose(t!("A `.safe` package, exported here or elsewhere. It becomes a draft: nothing runs before it is configured."))}</p>
                <div class="columns">
                    <div class="field"><label for="import-file">{t!("Package")}</label><input class="input" type="file" id="import-file" data-testid="import-file" accept=".safe,.zip" on:change=pick /></div>
                    <TextField id="import-name" label=t!("Name of the module") value=name problem />
                </div>
                {move || refusal.get().map(|text| view! { <Notice tone=Tone::Bad title=t!("The package was not imported") text /> })}
                <div><button class="btn" data-testid="import" disabled=move || name.with(String::is_empty) || problem.get().is_some()>{draw(Icon::Add)}{t!("Import")}</button></div>
            </form>
        </section>
    }
}
