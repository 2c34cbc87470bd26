//! The resources of a module on a node: what checkers, networks and the module itself say, and since when.

use crate::language::t;
use crate::platform;
use crate::rules::tone::{Tone, resource_tone};
use holdfast_api::agent::ResourceReport;
use leptos::prelude::*;

use super::state::Chip;

/// A table of resources; `live` is false when they are what was last known.
#[component]
pub fn ResourceTable(
    /// The resources.
    #[prop(into)]
    resources: Signal<Vec<ResourceReport>>,
    /// They are known now.
    #[prop(into)]
    live: Signal<bool>,
) -> impl IntoView {
    let row = move |resource: ResourceReport| {
        let tone = if live.get() { resource_tone(&resource.name, &resource.value) } else { Tone::Lost };
        view! {
            <tr>
                <th scope="row" class="mono">{resource.name}</th>
                <td><Chip tone text=resource.value.to_string() /></td>
                <td class="nowrap">{platform::date_time(resource.since_unix_ms)}</td>
                <td>{resource.by}</td>
            </tr>
        }
    };
    view! {
        <div class="table-wrap" tabindex="0" role="group" aria-label=t!("Table of resources")>
            <table class="table" data-testid="resources">
                <thead><tr><th scope="col">{t!("Resource")}</th><th scope="col">{t!("Value")}</th><th scope="col">{t!("Since")}</th><th scope="col">{t!("Says who")}</th></tr></thead>
                <tbody>{move || resources.get().into_iter().map(row).collect_view()}</tbody>
            </table>
        </div>
    }
}
