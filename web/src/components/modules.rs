//! Which module a page is about: the first, until another is chosen.

use super::form::SelectField;
use crate::language::t;
use crate::store::Console;
use holdfast_api::console::ModuleLive;
use holdfast_api::ids::ModuleId;
use leptos::prelude::*;
use std::sync::Arc;

/// The choice; a handle that is copied around.
#[derive(Clone, Copy)]
pub struct Pick {
    /// The module the page is about; none while there is none.
    pub chosen: Memo<Option<ModuleId>>,
    modules: Memo<Vec<(ModuleId, String)>>,
    picked: RwSignal<String>,
}

/// A choice between the modules that are `wanted`.
pub fn pick_module(console: Console, wanted: fn(&ModuleLive) -> bool) -> Pick {
    let modules = Memo::new(move |_| {
        let named = |module: &Arc<ModuleLive>| (module.module.id, module.module.name.clone());
        let wanted =
            |all: &[Arc<ModuleLive>]| all.iter().filter(|module| wanted(module)).map(named).collect::<Vec<_>>();
        console.modules.read(wanted).unwrap_or_default()
    });
    let picked = RwSignal::new(String::new());
    let chosen = Memo::new(move |_| {
        let picked = picked.get();
        modules.with(|modules| {
            let named = modules.iter().find(|(id, _)| id.0.to_string() == picked);
            named.or(modules.first()).map(|(id, _)| *id)
        })
    });
    Pick { chosen, modules, picked }
}

/// The list to choose from; nothing where there is no choice.
#[component]
pub fn ModulePick(
    /// The choice.
    pick: Pick,
    /// Unique on the page; also the `data-testid`.
    id: &'static str,
) -> impl IntoView {
    let choices = Signal::derive(move || {
        pick.modules.get().into_iter().map(|(id, name)| (id.0.to_string(), name)).collect::<Vec<_>>()
    });
    view! {
        <Show when=move || pick.modules.with(|modules| modules.len() > 1)>
            <div class="limited"><SelectField id label=t!("Module") value=pick.picked choices /></div>
        </Show>
    }
}
