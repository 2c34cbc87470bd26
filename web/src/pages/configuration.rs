//! x
use leptos::prelude::*;
#[component]
pub fn ConfigurationPage() -> impl IntoView { view! { <p>"Configuration"</p> } }
