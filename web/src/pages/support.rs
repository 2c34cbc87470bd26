//! x
use leptos::prelude::*;
#[component]
pub fn SupportPage() -> impl IntoView { view! { <p>"Support"</p> } }
