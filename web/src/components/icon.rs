//! Every icon of the console, drawn by hand on a 24 px grid.

use leptos::prelude::*;

/// What an icon shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    Add,
    Alert,
    Back,
    Boot,
    Check,
    Chevron,
    Close,
    Cluster,
    Configure,
    Control,
    Copy,
    Download,
    Eye,
    Globe,
    Files,
    Follow,
    Forward,
    Info,
    Key,
    Leave,
    Monitor,
    Moon,
    More,
    Primary,
    Refresh,
    Remove,
    Restart,
    Secondary,
    Settings,
    Spinner,
    Start,
    Stop,
    Sun,
    Support,
    Swap,
    System,
    User,
    Wrench,
}

impl Icon {
    /// The strokes, as one SVG path.
    fn path(self) -> &'static str {
        match self {
            Self::Add => "M12 5v14M5 12h14",
            Self::Alert => "M12 4 3 19.5h18L12 4ZM12 10v4.5M12 17.2v.1",
            Self::Settings => {
                "M12 5.6a6.4 6.4 0 1 1 0 12.8 6.4 6.4 0 0 1 0-12.8ZM12 9.6a2.4 2.4 0 1 1 0 4.8 2.4 2.4 0 0 1 0-4.8ZM12 2.9v2.7M12 18.4v2.7M2.9 12h2.7M18.4 12h2.7M5.6 5.6l1.9 1.9M16.5 16.5l1.9 1.9M5.6 18.4l1.9-1.9M16.5 7.5l1.9-1.9"
            }
            Self::Back => "M19 12H5M11 6l-6 6 6 6",
            Self::Globe => {
                "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM3.5 12h17M12 3.5c5 5 5 12 0 17M12 3.5c-5 5-5 12 0 17"
            }
            Self::Boot => "M12 3v8M7 6.3a8 8 0 1 0 10 0",
            Self::Check => "m5 12.5 4.5 4.5L19 7.5",
            Self::Chevron => "m7 10 5 5 5-5",
            Self::Close => "M6 6l12 12M18 6 6 18",
            Self::Cluster => "M4 4h16v6H4ZM4 14h16v6H4ZM7.5 7h.1M7.5 17h.1M12 7h5M12 17h5",
            Self::Configure => {
                "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4ZM9 14.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4Z"
            }
            Self::Control => "M4 18a9 9 0 1 1 16 0M12 15l4-5M12 15a1.4 1.4 0 1 0 .1 2.8A1.4 1.4 0 0 0 12 15",
            Self::Copy => "M9 9h11v11H9ZM5 15H4V4h11v1",
            Self::Download => "M12 4v11M7 10.5l5 5 5-5M4 20h16",
            Self::Eye => {
                "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 9.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6Z"
            }
            Self::Files => "M6 3h8l4 4v14H6ZM14 3v4h4M9 12h6M9 16h6",
            Self::Follow => "M5 5h14M5 10h14M12 13.5v7M8.5 17l3.5 3.5 3.5-3.5",
            Self::Forward => "M5 12h14M13 6l6 6-6 6",
            Self::Info => "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM12 11v5.5M12 7.8v.1",
            Self::Key => "M8 11.5a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM11 12.6 19.5 4M16 7.6l3 3",
            Self::Leave => "M14 4h5v16h-5M4 12h11M11 8l4 4-4 4",
            Self::Monitor => "M3 12h4l3-7 4 14 3-7h4",
            Self::Moon => "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
            Self::More => {
                "M5 11.5a.5.5 0 1 1 0 1 .5.5 0 0 1 0-1ZM12 11.5a.5.5 0 1 1 0 1 .5.5 0 0 1 0-1ZM19 11.5a.5.5 0 1 1 0 1 .5.5 0 0 1 0-1Z"
            }
            Self::Primary => "M12 3.5 14.6 9l6 .7-4.4 4.1 1.2 5.9L12 16.7l-5.4 3 1.2-5.9L3.4 9.7l6-.7L12 3.5Z",
            Self::Refresh => {
                "M20 5v5h-5M4 19v-5h5M5.5 9.5A7.5 7.5 0 0 1 18.7 8L20 10M18.5 14.5A7.5 7.5 0 0 1 5.3 16L4 14"
            }
            Self::Remove => "M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13M10 11v5.5M14 11v5.5",
            Self::Restart => "M20 12a8 8 0 1 1-2.6-5.9L20 8.5M20 4v4.5h-4.5",
            Self::Secondary => "M8 4h12v12H8ZM16 20H4V8",
            Self::Spinner => "M12 3.5a8.5 8.5 0 1 0 8.5 8.5",
            Self::Start => "M7 4.5v15l12-7.5-12-7.5Z",
            Self::Stop => "M6 6h12v12H6Z",
            Self::Sun => {
                "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4"
            }
            Self::Support => {
                "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM12 8.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7ZM6 6l3.5 3.5M14.5 14.5 18 18M18 6l-3.5 3.5M9.5 14.5 6 18"
            }
            Self::Swap => "M4 8h15M15 4l4 4-4 4M20 16H5M9 12l-4 4 4 4",
            Self::System => "M3.5 4.5h17v11h-17ZM8.5 20h7M12 15.5V20",
            Self::User => "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM4.5 20.5a7.5 7.5 0 0 1 15 0",
            Self::Wrench => {
                "M14.5 6.5a4 4 0 0 1 5-1l-3 3 .5 2.5 2.5.5 3-3a4.5 4.5 0 0 1-6 5.5L8 21l-4-4 7.5-8.5a4.5 4.5 0 0 1 3-2Z"
            }
        }
    }
}

/// Draws `icon`; screen readers skip it, so the words beside it must say the same.
pub fn draw(icon: Icon) -> impl IntoView {
    let class = if icon == Icon::Spinner { "icon spin" } else { "icon" };
    view! { <svg class=class viewBox="0 0 24 24" aria-hidden="true"><path d=icon.path() /></svg> }
}

/// The product's mark.
pub fn mark() -> impl IntoView {
    view! {
        <svg viewBox="0 0 32 32" aria-hidden="true">
            <rect width="32" height="32" rx="8" fill="#1f5fbf" />
            <path d="M10 8v16M22 8v16M10 16h12" fill="none" stroke="#fff" stroke-width="3.2" stroke-linecap="round" />
            <circle cx="16" cy="16" r="3.4" fill="#1f5fbf" stroke="#fff" stroke-width="2.4" />
        </svg>
    }
}
