//! x
pub mod name;
use leptos::prelude::*;
#[component]
pub fn WizardPage() -> impl IntoView { view! { <p>"w"</p> } }
