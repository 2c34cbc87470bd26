//! Control: what a node set aside of copies that diverged: when, how much, what is inside; saved as a zip, or deleted.

use super::Subject;
use crate::client;
use crate::components::dialog::Question;
use crate::components::form::Problem;
use crate::components::icon::{Icon, draw};
use crate::components::notice::{Waiting, prose};
use crate::effect::effect;
use crate::language::{t, tf};
use crate::platform;
use crate::rules::aside::{kind, lost, part};
use crate::rules::text;
use crate::rules::tone::Tone;
use crate::store::Console;
use holdfast_api::agent::{AsideCopy, AsideEntry};
use holdfast_api::console::UserRole;
use leptos::prelude::*;
use std::sync::Arc;

/// Entries of a copy read at a time.
const PAGE: u32 = 200;

/// What the panel holds.
#[derive(Clone, Copy)]
struct Held {
    subject: Subject,
    copies: RwSignal<Option<Vec<AsideCopy>>>,
    problem: RwSignal<Option<String>>,
    /// The copy that is looked into.
    open: RwSignal<Option<String>>,
}

impl Held {
    fn read(self, console: Console) {
        let Subject { module, node, .. } = self.subject;
        console.call(client::set_aside(module, node), move |answer| match answer {
            Ok(found) => {
                self.problem.try_set(None);
                self.copies.try_set(Some(found));
            }
            Err(error) => drop(self.problem.try_set(Some(error.text()))),
        });
    }
}

/// The copies that were set aside on the node.
#[component]
pub fn SetAside(subject: Subject, reachable: Memo<bool>) -> impl IntoView {
    let console = Console::get();
    let held = Held { subject, copies: RwSignal::new(None), problem: RwSignal::new(None), open: RwSignal::new(None) };
    let count = Memo::new(move |_| subject.report(|report| report.set_aside));
    // Read at first, and whenever the node tells of more or fewer.
    effect(move || {
        count.track();
        if reachable.get() {
            held.read(console);
        }
    });
    let none = move || held.copies.with(|copies| copies.as_ref().is_some_and(Vec::is_empty));
    let some = Memo::new(move |_| held.copies.with(|copies| copies.as_ref().is_some_and(|copies| !copies.is_empty())));
    let admin = Memo::new(move |_| console.role().may(UserRole::Admin));
    view! {
        <div class="card-body stack tight" data-testid="aside-panel">
            <p class="muted">{t!("If both nodes served apart from each other, one copy is overwritten at their reunion. What it held alone is copied aside before, and stays here until it is deleted.")}</p>
            <Show when=move || !reachable.get()>
                <p class="muted">{prose(t!("The node is not in contact; on the node itself, `holdfast diverged` lists what is set aside."))}</p>
            </Show>
            <Problem id="aside" problem=held.problem />
            <Show when=move || reachable.get() && held.copies.with(Option::is_none) && held.problem.with(Option::is_none)>
                <Waiting text=t!("Asking the node…") />
            </Show>
            <Show when=none><p data-testid="aside-none">{t!("Nothing is set aside on this node.")}</p></Show>
            <Show when=move || some.get() && !admin.get()>
                <p class="muted small">{t!("They hold the users' files: only an administrator may save or delete them.")}</p>
            </Show>
        </div>
        <Show when=move || some.get()>
            <div class="table-wrap" tabindex="0" role="group" aria-label=t!("Copies that were set aside")>
                <table class="table" data-testid="aside">
                    <thead><tr>
                        <th scope="col">{t!("Set aside")}</th>
                        <th scope="col">{t!("Holds")}</th>
                        <th scope="col">{t!("Generation")}</th>
                        <th scope="col"><span class="visually-hidden">{t!("Look inside, save or delete")}</span></th>
                    </tr></thead>
                    <tbody>{move || held.copies.get().unwrap_or_default().into_iter().map(|copy| view! { <Row held copy admin /> }).collect_view()}</tbody>
                </table>
            </div>
        </Show>
        {move || held.open.get().map(|id| view! { <Inside held id /> })}
    }
}

#[component]
fn Row(held: Held, copy: AsideCopy, admin: Memo<bool>) -> impl IntoView {
    let console = Console::get();
    let Subject { module, node, .. } = held.subject;
    let id = copy.id.clone();
    let when = platform::date_time(copy.unix_ms);
    let (look_words, save_words, delete_words) = (
        tf!("Look inside what was set aside at {when}", when),
        tf!("Save as .zip what was set aside at {when}", when),
        tf!("Delete what was set aside at {when}", when),
    );
    let (of_look, of_pressed, of_save, of_delete) = (id.clone(), id.clone(), id.clone(), copy.clone());
    let look = move |_| {
        held.open.update(|open| *open = if open.as_ref() == Some(&of_look) { None } else { Some(of_look.clone()) });
    };
    let pressed = move || held.open.with(|open| open.as_ref() == Some(&of_pressed)).to_string();
    let save = move |_| {
        platform::download(&client::set_aside_href(module, node, &of_save), "");
        console.toast(Tone::Ok, t!("Saving. The zip is whole once the browser says that the download has ended."));
    };
    let delete = move |_| ask_to_delete(console, held, &of_delete);
    view! {
        <tr data-testid="aside-copy">
            <th scope="row"><div class="stack tight"><span class="nowrap">{when.clone()}</span><span class="mono small muted aside-folder">{copy.folder.clone()}</span></div></th>
            <td class="nowrap"><div class="stack tight"><span>{part(copy.whole)}</span><span class="small muted">{tf!("{0} differed, {1}", 0 = text::count(copy.entries, t!("entry"), t!("entries")), 1 = text::bytes(copy.bytes))}</span></div></td>
            <td class="mono">{copy.generation.clone()}</td>
            <td class="num"><div class="row tight end">
                <button type="button" class="btn compact" data-testid="aside-look" aria-label=look_words aria-pressed=pressed on:click=look>{t!("Look inside")}</button>
                <Show when=move || admin.get()>
                    <button type="button" class="btn ghost icon" data-testid="aside-save" aria-label=save_words.clone() title=t!("Save as .zip") on:click=save.clone()>{draw(Icon::Download)}</button>
                    <button type="button" class="btn ghost icon" data-testid="aside-delete" aria-label=delete_words.clone() title=t!("Delete") on:click=delete.clone()>{draw(Icon::Remove)}</button>
                </Show>
            </div></td>
        </tr>
    }
}

/// Deletes a copy once somebody has read what goes with it.
fn ask_to_delete(console: Console, held: Held, copy: &AsideCopy) {
    let Subject { module, node, .. } = held.subject;
    let id = copy.id.clone();
    let act = move || {
        let (asked, gone) = (id.clone(), id.clone());
        console.call(async move { client::remove_set_aside(module, node, &asked).await }, move |answer| match answer {
            Ok(()) => {
                held.open.try_set(None);
                held.copies.try_update(|copies| copies.iter_mut().for_each(|all| all.retain(|copy| copy.id != gone)));
                console.toast(Tone::Ok, t!("Deleted."));
            }
            Err(error) => console.toast(Tone::Bad, error.text()),
        });
    };
    console.ask(Question {
        title: tf!(
            "Delete what {0} set aside at {1}?",
            0 = console.node_name(node),
            1 = platform::date_time(copy.unix_ms)
        ),
        consequences: lost(copy, &console.node_name(node)),
        confirm: t!("Delete").to_owned(),
        danger: true,
        act: Arc::new(act),
    });
}

/// The entries of one copy, a page at a time.
#[component]
fn Inside(held: Held, id: String) -> impl IntoView {
    let console = Console::get();
    let Subject { module, node, .. } = held.subject;
    let (entries, total, problem) =
        (RwSignal::new(Vec::<AsideEntry>::new()), RwSignal::new(None::<u64>), RwSignal::new(None::<String>));
    let more = move || {
        let (copy, from) = (id.clone(), entries.with_untracked(Vec::len) as u64);
        let page = async move { client::set_aside_page(module, node, &copy, from, PAGE).await };
        console.call(page, move |answer| match answer {
            Ok(page) => {
                total.try_set(Some(page.total));
                // Asked for twice, it is shown once.
                entries.try_update(|entries| {
                    if entries.len() as u64 == page.from {
                        entries.extend(page.entries);
                    }
                });
            }
            Err(error) => drop(problem.try_set(Some(error.text()))),
        });
    };
    more();
    let left =
        move || total.get().map(|total| total.saturating_sub(entries.with(Vec::len) as u64)).filter(|left| *left > 0);
    let row = |entry: AsideEntry| {
        let size = if entry.kind == "file" { text::bytes(entry.size) } else { String::new() };
        view! {
            <tr>
                <th scope="row" class="mono aside-path">{entry.path}</th>
                <td>{kind(&entry.kind)}</td>
                <td class="nowrap">{size}</td>
                <td>{entry.why}</td>
            </tr>
        }
    };
    view! {
        <Problem id="aside-inside" problem />
        <div class="table-wrap" tabindex="0" role="group" aria-label=t!("What differed")>
            <table class="table" data-testid="aside-inside">
                <thead><tr>
                    <th scope="col">{t!("Path")}</th>
                    <th scope="col">{t!("What")}</th>
                    <th scope="col">{t!("Size")}</th>
                    <th scope="col">{t!("How it differs from the copy that stayed")}</th>
                </tr></thead>
                <tbody>{move || entries.get().into_iter().map(row).collect_view()}</tbody>
            </table>
        </div>
        {move || left().map(|left| {
            let more = more.clone();
            view! { <div class="card-foot"><button type="button" class="btn" data-testid="aside-more" on:click=move |_| more()>{tf!("Show more ({left} left)", left)}</button></div> }
        })}
    }
}
