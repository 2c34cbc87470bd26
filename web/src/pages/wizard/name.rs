//! x
use leptos::prelude::*;
#[component]
pub fn NewModulePage() -> impl IntoView { view! { <p>"n"</p> } }
