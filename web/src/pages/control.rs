//! x
use leptos::prelude::*;
#[component]
pub fn ControlPage() -> impl IntoView { view! { <p>"Control"</p> } }
